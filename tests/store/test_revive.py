"""revive: failed | completed | cancelled -> pending, with failures and crashes at 0."""

import pytest

from ferryman.errors import JobNotFound, WrongState
from ferryman.lifecycle import State


def test_a_dead_letter_runs_again(world):
    hand = world.running("a")
    hand.retry("a", delay=0.0)
    world.store.promote()
    hand.claim()
    hand.bury("a", 2)
    world.enqueue("b")
    with world.changes() as changed:
        assert world.store.revive("a") is State.FAILED
    assert changed == {
        "dlq": [],
        "pending:default:normal": ["b", "a"],
        "job:a": {
            "state": "pending",
            "failures": None,
            "error": None,
            "completed_at": None,
            "started_at": None,
            "deadline": None,
            "run_at": None,
            "updated_at": 0,
            "ready_at": 0,
        },
        "stats": {"failed": -1, "pending": 1, "revived_total": 1},
        "queue:default": {"failed": -1, "pending": 1},
    }
    assert len(world.store.get("a").errors) == 2  # its history stays
    hand.claim()
    [job] = hand.claim()
    assert (job.id, job.attempt, job.failures, job.crashes) == ("a", 3, 0, 0)


def test_a_job_buried_for_its_crashes_starts_anew(world):
    alone = ["pending:default:alone"]
    world.running("a")
    world.recover()
    world.worker("w2").claim(lists=alone)
    world.recover("w2")
    world.make_due("a")
    world.store.promote()
    world.worker("w3").claim(lists=alone)
    world.recover("w3")
    assert world.store.revive("a") is State.FAILED
    [job] = world.worker("w4").claim()
    assert (job.attempt, job.crashes) == (4, 0)


def test_a_completed_job_runs_again_and_no_longer_expires(world):
    hand = world.running("a")
    hand.finish("a", result='"A"')
    with world.changes() as changed:
        assert world.store.revive("a") is State.COMPLETED
    assert changed == {
        "pending:default:normal": ["a"],
        "job:a": {
            "state": "pending",
            "result": None,
            "completed_at": None,
            "started_at": None,
            "deadline": None,
            "updated_at": 0,
            "ready_at": 0,
            "stale": 1,
            "ttl": None,
        },
        "stats": {"completed": -1, "pending": 1, "revived_total": 1},
        "queue:default": {"completed": -1, "pending": 1},
    }
    assert hand.claim()[0].attempt == 2


def test_a_dropped_id_is_only_unmarked(world):
    world.enqueue("a", "b")
    world.store.cancel("a")
    with world.changes() as changed:
        assert world.store.revive("a") is State.CANCELLED
    assert changed == {
        "job:a": {
            "state": "pending",
            "dropped": None,
            "completed_at": None,
            "updated_at": 0,
            "ready_at": 0,
        },
        "stats": {"cancelled": -1, "pending": 1, "revived_total": 1},
        "queue:default": {"cancelled": -1, "pending": 1},
    }
    assert world.list("pending:default:normal") == ["a", "b"]
    assert [job.id for job in world.worker().claim(5)] == ["a", "b"]


def test_a_cancelled_job_whose_id_is_gone_from_its_list_is_pushed(world):
    world.enqueue("a", delay=60.0)
    world.store.cancel("a")
    world.store.revive("a")
    assert world.list("pending:default:normal") == ["a"]
    assert world.snapshot().keys["job:a"].expires is None


def test_a_new_payload_replaces_the_old_one(world):
    hand = world.running("a", payload='{"n":1}')
    hand.bury("a")
    world.store.revive("a", '{"n":9007199254740993}')
    assert hand.claim()[0].payload == '{"n":9007199254740993}'


def test_without_a_new_payload_the_old_one_stays(world):
    hand = world.running("a", payload='{"n":1}')
    hand.bury("a")
    world.store.revive("a")
    assert hand.claim()[0].payload == '{"n":1}'


@pytest.mark.parametrize("state", ["pending", "scheduled", "running"])
def test_a_job_that_is_not_finished_is_refused(world, state):
    if state == "running":
        world.running("a")
    else:
        world.enqueue("a", delay=60.0 if state == "scheduled" else None)
    with world.changes() as changed, pytest.raises(WrongState, match=state):
        world.store.revive("a", '{"n":1}')
    assert changed == {}


def test_an_unknown_or_deleted_job_is_not_found(world):
    world.enqueue("deleted")
    world.store.delete("deleted")
    with world.changes() as changed:
        for job_id in ("unknown", "deleted"):
            with pytest.raises(JobNotFound):
                world.store.revive(job_id)
    assert changed == {}


def test_a_job_of_a_paused_queue_is_held(world):
    world.running("a").bury("a")
    world.store.pause("default")
    world.store.revive("a")
    assert world.list("held:default:normal") == ["a"]


def test_a_request_to_stop_is_forgotten(world):
    hand = world.running("a")
    world.store.cancel("a")
    hand.finish("a")
    world.store.revive("a")
    assert world.field("a", "cancel_requested") is None
    assert hand.claim()[0].attempt == 2
    assert world.store.beat("sup", {"w": 1}, []).cancels == []


def test_the_order_of_dead_letters_stays(world):
    hand = world.running("a", "b", "c")
    for job_id in "abc":
        hand.bury(job_id)
    world.store.revive("b")
    assert world.list("dlq") == ["c", "a"]
