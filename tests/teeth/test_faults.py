"""docs/faults.md: every fault has its entry, and every test it names is there."""

import re

import pytest
from tests.teeth.guards import ROOT, exists

PAGE = (ROOT / "docs/faults.md").read_text("utf-8")
ENTRIES = re.findall(
    r"^\*\*(\d+)\. (.+?)\.\*\* (.+?)(?=\n\n|\n?\Z)", PAGE, re.DOTALL | re.MULTILINE
)


def test_sixty_four_faults_are_numbered_in_order() -> None:
    assert [int(number) for number, _, _ in ENTRIES] == list(range(1, 65))


@pytest.mark.parametrize(("number", "fault", "said"), ENTRIES, ids=[e[0] for e in ENTRIES])
def test_a_fault_is_met_by_tests_that_are_there_or_is_for_later(
    number: str, fault: str, said: str
) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py::\w+)`", said)
    assert [test for test in named if not exists(ROOT, test)] == []
    assert bool(named) is not said.startswith("*Later*"), fault
