"""The statistics a figure goes through before it is shown."""

from __future__ import annotations

import pytest
from bench.figures import Spread, drain_rate, medians, percentile, ratios, spread
from bench.profile import inclusive, own


def test_a_spread_is_the_median_between_the_extremes() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([]) is None


def test_a_spread_shows_its_extremes_only_where_they_differ() -> None:
    assert Spread(12345.4, 11000.0, 13000.0).text() == "12,345 (11,000-13,000)"
    assert Spread(2.0, 1.9996, 2.0004).text(2) == "2.00"


def test_ratios_are_made_inside_a_round() -> None:
    # Both twice as fast in the second round: the ratio has not moved.
    assert ratios({1: 10.0, 2: 20.0}, {1: 5.0, 2: 10.0}) == Spread(2.0, 2.0, 2.0)


def test_ratios_leave_out_rounds_only_one_has() -> None:
    assert ratios({1: 10.0, 2: 99.0}, {1: 5.0, 3: 1.0}) == Spread(2.0, 2.0, 2.0)
    assert ratios({1: 1.0}, {1: 0.0}) is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)])
def test_percentile_is_a_value_that_occurred(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], share) == expected


def test_percentile_of_few_values_is_the_greatest() -> None:
    assert percentile([1.0, 2.0], 0.99) == 2.0


def test_drain_rate_of_one_process_counts_from_its_first_job() -> None:
    assert drain_rate({7: [0.0, 0.5, 1.0, 1.5, 2.0]}, 1) == pytest.approx(2.0)


def test_drain_rate_of_two_processes_counts_once_both_work() -> None:
    slow_start = {1: [0.0, 0.1, 10.0, 10.5], 2: [9.5, 10.0, 10.5]}
    assert drain_rate(slow_start, 2) == pytest.approx(4 / 1.0)


def test_drain_rate_of_a_process_per_job_counts_from_the_first() -> None:
    assert drain_rate({n: [float(n)] for n in range(5)}, 1) == pytest.approx(1.0)


def test_medians_are_taken_by_name() -> None:
    assert medians([("a", 1.0), ("b", 9.0), ("a", 3.0), ("a", 2.0)]) == {"a": 2.0, "b": 9.0}


def test_a_profile_counts_a_function_once_per_stack() -> None:
    stacks = ["main;turn;send 3", "main;turn;turn 2", "main 1"]
    assert own(stacks) == {"send": 3, "turn": 2, "main": 1}
    assert inclusive(stacks) == {"main": 6, "turn": 5, "send": 3}
