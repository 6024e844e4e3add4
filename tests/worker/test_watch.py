"""When a silent worker counts as dead: never because the watcher itself, or Redis, stood still."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_worker.watch import GAP, SERIES, Watch

LEASE = 12.0


class Clock:
    """A monotonic clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(LEASE, clock)


def look(watch: Watch, clock: Clock, after: float, **late: str) -> list[str]:
    clock.now += after
    return watch.dead(late)


def test_a_late_worker_is_dead_after_three_seconds_of_looks(watch: Watch, clock: Clock) -> None:
    assert look(watch, clock, 1, w="5") == []
    assert look(watch, clock, 1, w="5") == []
    assert look(watch, clock, 1, w="5") == []
    assert look(watch, clock, 0.99, w="5") == []
    assert look(watch, clock, 0.02, w="5") == ["w"]


def test_a_beat_that_moves_begins_the_series_anew(watch: Watch, clock: Clock) -> None:
    for _ in range(3):
        assert look(watch, clock, 1, w="5") == []
    for beat in ("6", "6", "6", "7", "7", "7"):
        assert look(watch, clock, 1, w=beat) == []
    assert look(watch, clock, 1, w="7") == ["w"]


def test_a_worker_that_renewed_its_lease_in_between_is_watched_anew(
    watch: Watch, clock: Clock
) -> None:
    look(watch, clock, 1, w="5")
    look(watch, clock, 2)
    assert look(watch, clock, 2, w="5") == []
    assert look(watch, clock, 2, w="5") == []
    assert look(watch, clock, 1, w="5") == ["w"]


def test_each_worker_has_a_series_of_its_own(watch: Watch, clock: Clock) -> None:
    look(watch, clock, 1, first="1")
    look(watch, clock, 2, first="1", second="1")
    assert look(watch, clock, 1, first="1", second="1") == ["first"]
    assert look(watch, clock, 2, second="1") == ["second"]


def test_a_dead_worker_is_named_once_a_series(watch: Watch, clock: Clock) -> None:
    for _ in range(3):
        look(watch, clock, 1, w="5")
    assert look(watch, clock, 1, w="5") == ["w"]
    for _ in range(3):
        assert look(watch, clock, 1, w="5") == []
    assert look(watch, clock, 1, w="5") == ["w"]


def test_a_stall_of_the_watcher_gives_everyone_a_lease(watch: Watch, clock: Clock) -> None:
    for _ in range(3):
        look(watch, clock, 1, w="5")
    assert look(watch, clock, GAP + 0.1, w="5") == []
    for _ in range(11):
        assert look(watch, clock, 1, w="5") == []
    for _ in range(3):
        assert look(watch, clock, 1, w="5") == []
    assert look(watch, clock, 1, w="5") == ["w"]


def test_a_slow_look_is_no_stall(watch: Watch, clock: Clock) -> None:
    look(watch, clock, GAP, w="5")
    assert look(watch, clock, GAP, w="5") == []
    assert look(watch, clock, GAP, w="5") == ["w"]


def test_losing_sight_of_redis_gives_everyone_a_lease(watch: Watch, clock: Clock) -> None:
    for _ in range(3):
        look(watch, clock, 1, w="5")
    watch.lost_sight()
    for _ in range(14):
        assert look(watch, clock, 1, w="5") == []
    assert look(watch, clock, 1, w="5") == ["w"]


@given(
    st.lists(st.tuples(st.floats(0.05, 20), st.sampled_from(["late", "beat", "away"])), max_size=60)
)
def test_only_three_unbroken_seconds_of_the_same_beat_ever_kill(
    steps: list[tuple[float, str]],
) -> None:
    clock = Clock()
    watch = Watch(LEASE, clock)
    beat = 0
    since = calm_from = clock.now  # the beat stands since; nothing was lost since
    last = clock.now
    for pause, what in steps:
        clock.now += pause
        if what == "away":
            watch.lost_sight()
            calm_from = clock.now
            continue
        if what == "beat":
            beat += 1
            since = clock.now
        if clock.now - last > GAP:
            calm_from = clock.now
        last = clock.now
        if watch.dead({"w": str(beat)}):
            assert clock.now - since >= SERIES
            assert calm_from == 1000.0 or clock.now - calm_from >= LEASE
