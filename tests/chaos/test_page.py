"""docs/reliability.md says what the harness measured, and nobody else."""

from __future__ import annotations

import page
from result import Result
from run import ACTS


def test_every_table_of_the_page_is_the_one_its_result_gives() -> None:
    """A figure typed by hand, or a result without its table, is found."""
    assert page.rendered(page.PAGE.read_text()) == page.PAGE.read_text()


def test_the_page_has_a_place_for_every_act() -> None:
    blocks = [found["act"] for found in page.BLOCK.finditer(page.PAGE.read_text())]
    assert sorted(blocks) == sorted(ACTS)


def test_a_row_that_is_not_met_is_shown_as_such() -> None:
    result = Result("storm", violations=["lost: a"])
    result.none("lost", 1)
    said = page.table(result)
    assert "| lost | 1 | 0 **(not met)** |" in said
    assert "**1 rows not met, 1 violations.**" in said
    assert "- lost: a" in said
