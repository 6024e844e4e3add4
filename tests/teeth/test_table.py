"""The table of guards stays true; `make teeth` then shows that each of them is missed."""

from collections import Counter
from pathlib import Path

import pytest
from tests.teeth.guards import ROOT, Guard, exists, load

GUARDS = load()


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_once_in_its_file_and_its_tests_are_there(guard: Guard) -> None:
    assert guard.trouble(ROOT) is None
    assert guard.red, "no test would miss it"


def test_every_guard_has_a_name_of_its_own_and_a_fault_it_is_against() -> None:
    assert [name for name, n in Counter(g.name for g in GUARDS).items() if n > 1] == []
    assert [g.name for g in GUARDS if not g.against] == []


def test_what_is_left_of_a_python_file_is_still_python() -> None:
    """A file that no longer compiles would turn every test red and prove nothing."""
    for guard in GUARDS:
        if guard.file.endswith(".py"):
            text = guard.without((ROOT / guard.file).read_text("utf-8"))
            compile(text, f"{guard.file} without {guard.name}", "exec")


def test_every_script_that_writes_has_its_place_in_the_table() -> None:
    files = {g.file for g in GUARDS}
    for path in (ROOT / "shared/ferryman/lua").glob("*.lua"):
        if "no-writes" not in path.read_text("utf-8").partition("\n")[0]:
            assert path.relative_to(ROOT).as_posix() in files


def test_an_entry_that_is_no_longer_true_is_found(tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text("if a and b and b:\n    pass\n")
    (tmp_path / "test_part.py").write_text("def test_it():\n    pass\n")
    red = ("test_part.py::test_it",)
    assert Guard("n", "w", "part.py", "a and ", red).trouble(tmp_path) is None
    assert Guard("n", "w", "part.py", " and b", red).trouble(tmp_path) is not None
    assert Guard("n", "w", "part.py", "c", red).trouble(tmp_path) is not None
    assert Guard("n", "w", "part.py", "a", red, "a").trouble(tmp_path) is not None
    assert Guard("n", "w", "gone.py", "a", red).trouble(tmp_path) is not None
    gone = ("test_part.py::test_other",)
    assert Guard("n", "w", "part.py", "a and ", gone).trouble(tmp_path) is not None


def test_a_test_is_known_with_and_without_its_case() -> None:
    here = "tests/teeth/test_table.py::test_a_test_is_known_with_and_without_its_case"
    assert exists(ROOT, here)
    assert exists(ROOT, f"{here}[a-1]")
    assert not exists(ROOT, f"{here}_and_more")
