"""When a child has done enough."""

from __future__ import annotations

from typing import Any

import pytest

from ferryman.config import Settings
from ferryman_worker import recycle
from ferryman_worker.recycle import MIB, SPREAD, Recycle, memory


def limits(**settings: Any) -> Recycle:
    return Recycle(Settings(**settings), roll=0.0)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The memory in use, to be set; looked at every time."""
    now = [0]
    monkeypatch.setattr(recycle, "memory", lambda: now[0])
    monkeypatch.setattr(recycle, "LOOK", 0.0)
    return now


def test_a_child_stays_for_ever_unless_told_otherwise(used: list[int]) -> None:
    used[0] = 1 << 50
    assert limits().due(10**9) == ""


def test_it_leaves_after_so_many_jobs() -> None:
    own = limits(max_child_jobs=100)
    assert own.due(99) == ""
    assert own.due(100) == "it has begun 100 jobs"


def test_it_leaves_when_it_uses_so_much_memory(used: list[int]) -> None:
    own = limits(max_child_memory=512)
    used[0] = 512 * MIB - 1
    assert own.due(1) == ""
    used[0] = 512 * MIB
    assert own.due(1) == "it uses 512 MiB"


def test_one_that_is_too_large_from_the_start_serves_before_it_leaves(used: list[int]) -> None:
    used[0] = 600 * MIB
    assert limits(max_child_memory=512).due(0) == ""


def test_its_memory_is_looked_at_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(recycle, "memory", lambda: looks.append(1) or 0)
    own = limits(max_child_memory=512)
    later = own._look_at + 0.5
    monkeypatch.setattr(recycle.time, "monotonic", lambda: later)
    for _ in range(3):
        own.due(1)
    assert len(looks) == 1


def test_children_born_together_do_not_leave_together() -> None:
    settings = Settings(max_child_jobs=1000, max_child_memory=1000)
    each = [Recycle(settings) for _ in range(200)]
    assert len({own.jobs for own in each}) > 50
    assert all(1000 * (1 - SPREAD) <= own.jobs <= 1000 for own in each)
    assert all(1000 * (1 - SPREAD) <= own.memory / MIB <= 1000 for own in each)


def test_the_memory_of_a_process_is_what_it_holds_now() -> None:
    before = memory()
    held = b"x" * (64 * MIB)
    assert memory() - before > 48 * MIB
    del held
