"""What /metrics shows of counters never falls while the data are the same."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ferryman_api.marks import LONGEST, Marks


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def marks(clock: Clock) -> Iterator[Marks]:
    marks = Marks(clock)
    yield marks
    marks.close()


def shown(marks: Marks, instance: str = "one", **hashes: dict[str, Any]) -> dict[str, Any]:
    flat = {
        name.encode(): [str(part).encode() for pair in fields.items() for part in pair]
        for name, fields in hashes.items()
    }
    held = marks.hold(instance.encode(), flat)
    return {
        name.decode(): dict(
            zip([f.decode() for f in row[::2]], [v.decode() for v in row[1::2]], strict=True)
        )
        for name, row in held.items()
    }


def test_what_rises_is_shown_as_it_is(marks: Marks) -> None:
    for n in (1, 2, 2, 10):
        assert shown(marks, a={"x": n, "sum": f"{n}.5"}) == {"a": {"x": str(n), "sum": f"{n}.5"}}


def test_what_falls_is_held_until_it_has_caught_up(marks: Marks) -> None:
    shown(marks, a={"x": 100, "sum": "9.75"}, b={"x": 3})
    assert shown(marks, a={"x": 90, "sum": "9.5"}, b={"x": 4}) == {
        "a": {"x": "100", "sum": "9.75"},
        "b": {"x": "4"},
    }
    assert shown(marks, a={"x": 99, "sum": "9.75"}, b={"x": 4})["a"]["x"] == "100"
    assert shown(marks, a={"x": 101, "sum": "9.8"}, b={"x": 4})["a"] == {"x": "101", "sum": "9.8"}


def test_what_is_gone_is_held_too(marks: Marks) -> None:
    shown(marks, a={"x": 1, "y": 2}, b={"x": 3})
    assert shown(marks, a={"x": 1}) == {"a": {"x": "1", "y": "2"}, "b": {"x": "3"}}


def test_other_data_begin_anew(marks: Marks) -> None:
    shown(marks, a={"x": 100})
    assert shown(marks, "two", a={"x": 1}) == {"a": {"x": "1"}}
    assert shown(marks, "two", a={"x": 2}) == {"a": {"x": "2"}}


def test_what_does_not_catch_up_is_shown_as_it_is_in_the_end(marks: Marks, clock: Clock) -> None:
    shown(marks, a={"x": 100})
    assert shown(marks, a={"x": 1})["a"]["x"] == "100"
    clock.now += LONGEST - 1
    assert shown(marks, a={"x": 2})["a"]["x"] == "100"
    clock.now += 2
    assert shown(marks, a={"x": 3})["a"]["x"] == "3"
    assert shown(marks, a={"x": 4})["a"]["x"] == "4"


def test_the_time_counts_from_the_last_fall(marks: Marks, clock: Clock) -> None:
    for start in (100, 200):
        shown(marks, a={"x": start})
        shown(marks, a={"x": start - 1})
        clock.now += LONGEST - 1
        assert shown(marks, a={"x": start - 1})["a"]["x"] == str(start)
        assert shown(marks, a={"x": start})["a"]["x"] == str(start)


def test_what_is_no_number_counts_as_nothing(marks: Marks) -> None:
    shown(marks, a={"x": 5})
    assert shown(marks, a={"x": "many"})["a"]["x"] == "5"


def test_processes_forked_later_share_the_marks(marks: Marks) -> None:
    fork = multiprocessing.get_context("fork")
    shown(marks, a={"x": 1})
    for n in (50, 100):
        child = fork.Process(target=shown, args=(marks,), kwargs={"a": {"x": n}})
        child.start()
        child.join(10)
        assert child.exitcode == 0
    assert shown(marks, a={"x": 90})["a"]["x"] == "100"


COUNTED = re.compile(
    r'^jobs_created_total (\d+)|^ferryman_jobs_total{event="created".*} (\d+)', re.MULTILINE
)


def test_metrics_show_no_fall_after_a_failover(client, store, post, hand) -> None:
    """A replica that lacks the last two jobs takes over."""
    hand.begin()  # a worker has named the data
    for _ in range(5):
        post()
    before = client.get("/metrics").text
    keys = store.keys
    store.command("HINCRBY", keys("stats"), "created_total", "-2")
    store.command("HINCRBY", keys.meter(b"default:a"), "created", "-2")
    behind = client.get("/metrics").text
    counted = [[n for n in m if n] for m in COUNTED.findall(behind)]
    assert counted == [["5"], ["5"]] == [[n for n in m if n] for m in COUNTED.findall(before)]
    for _ in range(3):
        post()
    assert [[n for n in m if n] for m in COUNTED.findall(client.get("/metrics").text)] == [
        ["6"]
    ] * 2
