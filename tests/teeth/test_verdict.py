"""What a run says about a guard: only a test that failed by its own part shows teeth."""

import pytest
from tests.teeth import verdict
from tests.teeth.verdict import Note

NAME = "tests/test_x.py::test_it"


def note(
    kind: str = "", text: str = "", when: str = "call", test: str = NAME, outcome: str = "failed"
) -> Note:
    return {"test": test, "when": when, "outcome": outcome, "kind": kind, "text": text}


PASSED = note(outcome="passed")
FAILED = note("AssertionError", "assert 1 == 2")


@pytest.mark.parametrize(
    ("notes", "end"),
    [
        ([FAILED], "assertion"),
        ([note("Failed", "DID NOT RAISE")], "assertion"),
        ([note("StoreUnavailable", "Redis is out of memory")], "error"),
        ([PASSED], "green"),
        ([], "missing"),
        ([note("AssertionError", when="setup")], "setup"),
        ([PASSED, note("AssertionError", when="teardown")], "setup"),
        ([note("Failed", "Timeout (>120.0s) from pytest-timeout.")], "timeout"),
        ([note("NameError", "name 'x' is not defined")], "broken"),
        ([note("StoreUnavailable", "attempt to call a nil value")], "broken"),
        ([note(test=f"{NAME}[a]", outcome="passed"), note("KeyError", test=f"{NAME}[b]")], "error"),
        ([note("AssertionError", test=f"{NAME}_else")], "missing"),
    ],
)
def test_a_test_ends_as_its_reddest_case_and_only_by_its_own_part(
    notes: list[Note], end: str
) -> None:
    assert verdict.of_test(NAME, notes) == end


def test_a_guard_has_teeth_when_every_named_test_is_red() -> None:
    other = f"{NAME}_else"
    red, green = (
        [FAILED, note("KeyError", test=other)],
        [FAILED, note("", test=other, outcome="passed")],
    )
    assert verdict.of_guard([NAME, other], red) in verdict.RED
    assert verdict.of_guard([NAME, other], green) == "green"
    assert verdict.of_guard([NAME, other], [FAILED]) == "missing"


@pytest.mark.parametrize(("code", "end"), [(70, "error"), (-9, "error"), (None, "timeout")])
def test_a_test_that_took_its_process_with_it_is_red_unless_we_cut_it_short(
    code: int | None, end: str
) -> None:
    begun = note(when="setup", outcome="begun")
    before = [note(test="t::a", outcome="begun"), note(test="t::a", outcome="passed")]
    assert verdict.of_test(NAME, verdict.whole([*before, begun], code)) == end
    assert verdict.of_test(NAME, verdict.whole([begun, PASSED], 0)) == "green"
    assert verdict.whole([], 4) == []
