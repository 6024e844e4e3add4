"""expire: a job whose `expires_at` passed before it started is cancelled, by claim or upkeep."""

import pytest

LATER = 9e9


def test_a_pending_job_past_its_time_is_cancelled_at_its_claim(world):
    world.enqueue("a", expires_at=1.0)
    world.enqueue("b", expires_at=LATER)
    hand = world.worker()
    with world.changes() as changed:
        assert [job.id for job in hand.claim(5)] == ["b"]
    assert changed["pending:default:normal"] == []
    assert changed["running:w"] == ["b"]
    assert changed["finished"] == ["a"]
    assert changed["job:a"] == {"state": "cancelled", "completed_at": 0, "ttl": 604_800}
    assert changed["stats"] == {"pending": -2, "running": 1, "cancelled": 1, "expired_total": 1}
    assert changed["queue:default"] == {"pending": -2, "running": 1, "cancelled": 1}


def test_a_delivered_job_past_its_time_is_cancelled(world):
    hand = world.worker()
    world.enqueue("a", expires_at=1.0)
    hand.deliver()
    assert hand.begin("a") == []
    assert world.field("a", "state") == "cancelled"
    assert world.list("running:w") == []


def test_a_scheduled_job_past_its_time_is_cancelled_instead_of_promoted(world):
    world.enqueue("a", expires_at=1.0, delay=60.0)
    world.make_due("a")
    with world.changes() as changed:
        world.store.promote()
    assert changed == {
        "scheduled": {},
        "finished": ["a"],
        "job:a": {"state": "cancelled", "completed_at": 0, "ttl": 604_800},
        "stats": {"scheduled": -1, "cancelled": 1, "expired_total": 1},
        "queue:default": {"scheduled": -1, "cancelled": 1},
    }


@pytest.mark.parametrize("verb", ["retry", "snooze"])
def test_a_retry_past_its_time_is_cancelled(world, verb):
    hand = world.running("a", expires_at=LATER)
    hand.settle_by(verb, "a")
    world.set("a", expires_at=1.0)
    world.make_due("a")
    world.store.promote()
    assert world.field("a", "state") == "cancelled"


def test_a_running_job_does_not_expire(world):
    hand = world.running("a", expires_at=LATER)
    world.set("a", expires_at=1.0)
    assert hand.finish("a")
    assert world.field("a", "state") == "completed"


def test_a_revived_job_does_not_expire_again(world):
    world.enqueue("a", expires_at=1.0)
    hand = world.worker()
    hand.claim()
    world.store.revive("a")
    assert [job.id for job in hand.claim()] == ["a"]
