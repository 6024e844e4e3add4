"""cancel: a waiting job at once, a running one when it stops as asked."""

import pytest

from ferryman.errors import JobNotFound, WrongState
from ferryman.lifecycle import State


def test_a_pending_job_is_cancelled_and_its_id_marked_as_dropped(world):
    """The id stays where it lies: taking it out of a list of 1,000,000 would cost 20 ms."""
    world.enqueue("a", "b")
    with world.changes() as changed:
        assert world.store.cancel("a") is State.PENDING
    assert changed == {
        "job:a": {"state": "cancelled", "completed_at": 0, "dropped": 1},
        "stats": {"pending": -1, "cancelled": 1},
        "queue:default": {"pending": -1, "cancelled": 1},
    }
    assert [job.id for job in world.worker().claim(5)] == ["b"]


def test_a_scheduled_job_is_cancelled_at_once(world):
    world.enqueue("a", delay=60.0)
    with world.changes() as changed:
        assert world.store.cancel("a") is State.SCHEDULED
    assert changed == {
        "scheduled": {},
        "finished": ["a"],
        "job:a": {"state": "cancelled", "completed_at": 0, "ttl": 604_800},
        "stats": {"scheduled": -1, "cancelled": 1},
        "queue:default": {"scheduled": -1, "cancelled": 1},
    }


def test_a_running_job_is_asked_to_stop_once(world):
    world.running("a")
    with world.changes() as changed:
        assert world.store.cancel("a") is State.RUNNING
        assert world.store.cancel("a") is State.RUNNING
    assert changed == {"cancel:w": ["a"], "job:a": {"cancel_requested": 0}}
    assert world.store.get("a").cancel_requested


def test_a_run_that_stopped_as_asked_is_cancelled(world):
    hand = world.running("a")
    world.store.cancel("a")
    with world.changes() as changed:
        assert hand.cancel("a")
    assert changed == {
        "running:w": [],
        "finished": ["a"],
        "job:a": {
            "state": "cancelled",
            "completed_at": 0,
            "cancel_requested": None,
            "settled": 1,
            "settled_by": "cancel",
            "ttl": 604_800,
        },
        "stats": {"running": -1, "cancelled": 1},
        "queue:default": {"running": -1, "cancelled": 1},
    }


def test_a_run_that_ended_before_it_heard_is_completed(world):
    hand = world.running("a")
    world.store.cancel("a")
    assert hand.finish("a")
    assert world.field("a", "state") == "completed"


@pytest.mark.parametrize("verb", ["finish", "bury", "cancel"])
def test_a_finished_job_is_refused(world, verb):
    hand = world.running("a")
    hand.settle_by(verb, "a")
    with world.changes() as changed, pytest.raises(WrongState):
        world.store.cancel("a")
    assert changed == {}


def test_an_unknown_job_is_not_found(world):
    with world.changes() as changed, pytest.raises(JobNotFound):
        world.store.cancel("a")
    assert changed == {}


def test_a_deleted_job_is_not_found_though_its_stub_is_there(world):
    world.enqueue("a")
    world.store.delete("a")
    with world.changes() as changed, pytest.raises(JobNotFound):
        world.store.cancel("a")
    assert changed == {}


def test_a_cancelled_job_counts_no_more_in_the_total(world):
    world.enqueue("a", "b")
    world.store.cancel("a")
    stats = world.store.stats()
    assert stats.total == stats.events["created_total"] - stats.states["cancelled"] == 1


def test_a_job_cancelled_twice_over_its_life_leaves_one_entry(world):
    world.enqueue("a", "b")
    for _ in range(3):
        world.store.cancel("a")
        world.store.revive("a")
    assert world.list("pending:default:normal") == ["a", "b"]
    assert world.field("a", "dropped") is None
    assert [job.id for job in world.worker().claim(5)] == ["a", "b"]
