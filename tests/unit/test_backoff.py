"""How long a failed job waits: the formula of the design, and a tenacity wait in its place."""

from __future__ import annotations

import random
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from ferryman.backoff import Backoff, from_tenacity
from ferryman.errors import ConfigError

ROLL = st.floats(0, 1, exclude_max=True)


def test_the_defaults_wait_1_2_4_up_to_30_seconds() -> None:
    middle = [Backoff().delay(n, 0.5) for n in range(1, 8)]
    assert middle == pytest.approx([1, 2, 4, 8, 16, 30, 30])


@given(st.integers(1, 1000), ROLL)
def test_jitter_spreads_a_wait_by_its_share(failures: int, roll: float) -> None:
    middle = Backoff(jitter=0).delay(failures, roll)
    assert 0.9 * middle <= Backoff(jitter=0.1).delay(failures, roll) <= 1.1 * middle


def test_jitter_spreads_over_its_whole_range_evenly() -> None:
    rng = random.Random(7)
    waits = [Backoff(base=10, jitter=0.1).delay(1, rng.random()) for _ in range(10_000)]
    assert min(waits) == pytest.approx(9, abs=0.01)
    assert max(waits) == pytest.approx(11, abs=0.01)
    assert sum(waits) / len(waits) == pytest.approx(10, abs=0.05)


def test_a_hundred_retries_at_once_spread_over_150_ms() -> None:
    rng = random.Random(7)
    waits = [Backoff().delay(1, rng.random()) for _ in range(100)]
    assert max(waits) - min(waits) >= 0.15


@given(st.integers(1, 1000), ROLL)
def test_full_jitter_waits_anything_up_to_the_formula(failures: int, roll: float) -> None:
    most = Backoff(jitter=0).delay(failures, roll)
    assert Backoff(jitter="full").delay(failures, roll) == pytest.approx(most * roll)


@given(
    st.floats(0, 86_400),
    st.floats(1, 100),
    st.floats(0, 86_400),
    st.one_of(st.just("full"), st.floats(0, 1)),
    st.integers(1, 1000),
    ROLL,
)
def test_no_wait_is_negative_endless_or_twice_the_cap(
    base: float, factor: float, cap: float, jitter: Any, failures: int, roll: float
) -> None:
    wait = Backoff(base, factor, cap, jitter).delay(failures, roll)
    assert 0 <= wait <= 2 * cap


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base", -1),
        ("base", 86_401),
        ("base", float("nan")),
        ("factor", 0.9),
        ("factor", 101),
        ("cap", -1),
        ("cap", float("inf")),
        ("jitter", 1.1),
        ("jitter", -0.1),
        ("jitter", "half"),
        ("jitter", None),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^backoff {field}: expected "):
        Backoff(**{field: value})


def test_a_tenacity_wait_is_taken_as_a_formula() -> None:
    wait = from_tenacity(tenacity.wait_exponential(multiplier=1, max=5))
    assert [wait(n, 0.0) for n in range(1, 6)] == [1, 2, 4, 5, 5]


def test_a_tenacity_wait_keeps_its_own_randomness() -> None:
    wait = from_tenacity(tenacity.wait_random(min=1, max=2))
    assert all(1 <= wait(1, 0.0) <= 2 for _ in range(100))
    assert len({wait(1, 0.0) for _ in range(100)}) > 1


def test_a_tenacity_wait_is_never_negative() -> None:
    assert from_tenacity(lambda state: -1.0)(1, 0.0) == 0.0
