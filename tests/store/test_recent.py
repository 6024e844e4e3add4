"""recent: the ids of all jobs, newest first, in pages that do not shift."""

import pytest

from ferryman.errors import JobNotFound
from ferryman.store import calls


def ids(page):
    return [job_id for _, job_id in page]


def test_the_newest_come_first_with_a_place_that_stays(world):
    world.enqueue("a", "b", "c")
    assert world.store.recent(None, 10) == [(3, "c"), (2, "b"), (1, "a")]
    world.enqueue("d")
    assert world.store.recent(None, 2) == [(4, "d"), (3, "c")]


def test_pages_follow_each_other_while_jobs_come_in(world):
    world.enqueue(*"abcde")
    first = world.store.recent(None, 2)
    world.enqueue(*"xyz")
    second = world.store.recent(first[-1][0], 2)
    third = world.store.recent(second[-1][0], 2)
    assert ids(first) + ids(second) + ids(third) == ["e", "d", "c", "b", "a"]
    assert world.store.recent(third[-1][0], 2) == []


def test_the_end_of_the_list_is_the_end(world, monkeypatch):
    monkeypatch.setattr(calls, "RECENT_CAP", 2)
    world.enqueue(*"abc")
    assert world.store.recent(None, 10) == [(3, "c"), (2, "b")]
    assert world.store.recent(2, 10) == []


def test_no_jobs_no_pages(world):
    assert world.store.recent(None, 10) == []
    assert world.store.recent(7, 10) == []


def test_facets_tell_enough_to_filter_by(world):
    world.enqueue("a", type="report", queue="q")
    world.enqueue("b", delay=60.0)
    assert world.store.facets(["a", "gone", "b"]) == [
        ("pending", "report", "q"),
        (None, None, None),
        ("scheduled", "noop", "default"),
    ]


def test_records_come_in_the_order_asked_without_those_that_are_gone(world):
    world.enqueue("a", "b")
    assert [job.id for job in world.store.get_many(["b", "gone", "a"])] == ["b", "a"]
    assert world.store.get_many([]) == []
    with pytest.raises(JobNotFound):
        world.store.get("gone")


@pytest.mark.parametrize(
    "damage",
    [
        ("HSET", "attempt", "x"), ("HSET", "state", "x"), ("HSET", "errors", "{"),
        ("HSET", "created_at", "1e12"), ("HSET", "timeout", "nan"), ("HDEL", "type"),
    ],
)  # fmt: skip
def test_a_damaged_record_is_left_out_and_hides_no_other(world, damage):
    world.enqueue("a", "b", "c")
    command, *words = damage
    world.store.command(command, world.store.keys.job("b"), *words)
    assert [job.id for job in world.store.get_many(["a", "b", "c"])] == ["a", "c"]


def test_a_record_of_another_type_is_left_out_and_hides_no_other(world):
    world.enqueue("a", "b", "c")
    world.store.command("SET", world.store.keys.job("b"), "text")
    assert [job.id for job in world.store.get_many(["a", "b", "c"])] == ["a", "c"]


def test_reading_changes_nothing(world):
    world.running("a").bury("a")
    with world.changes() as changed:
        world.store.get("a")
        world.store.get_many(["a"])
        world.store.recent(None, 10)
        world.store.dead(None, 10)
        world.store.facets(["a"])
        world.store.stats()
        world.store.running("w")
        world.store.ping()
    assert changed == {}
