"""retry: running -> scheduled, a failure charged."""

from ferryman.decision import Retry


def test_retry_schedules_the_next_run_and_charges_a_failure(world):
    hand = world.running("a")
    with world.changes() as changed:
        assert hand.retry("a", delay=20.0, error="boom")
    assert changed == {
        "running:w": [],
        "scheduled": {"a": 20},
        "wake": ["1"],
        "job:a": {
            "state": "scheduled",
            "run_at": 20,
            "failures": 1,
            "error": "boom",
            "errors": [{"attempt": 1, "error": "boom", "failed_at": 0}],
            "settled": 1,
            "settled_by": "retry",
        },
        "stats": {"running": -1, "scheduled": 1, "failed_total": 1, "retried_total": 1},
        "queue:default": {"running": -1, "scheduled": 1},
    }


def test_a_retry_without_delay_is_due_at_once(world):
    hand = world.running("a")
    hand.retry("a", delay=0.0)
    assert world.store.promote().promoted == 1
    assert hand.claim()[0].failures == 1


def test_errors_keeps_the_last_ten(world):
    hand = world.running("a")
    for attempt in range(1, 14):
        assert hand.retry("a", attempt, delay=0.0, error=f"boom {attempt}")
        world.store.promote()
        hand.claim()
    job = world.store.get("a")
    assert [e["attempt"] for e in job.errors] == list(range(4, 14))
    assert [e["error"] for e in job.errors] == [f"boom {n}" for n in range(4, 14)]
    assert all(e["failed_at"] > 0 for e in job.errors)
    assert (job.failures, job.error) == (13, "boom 13")


def test_the_limit_in_force_is_noted_for_readers(world):
    hand = world.running("a")
    with world.changes() as changed:
        hand.settle(Retry("a", 1, 10.0, "boom", '{"attempt":1}', max_attempts=7))
    assert changed["job:a"]["max_attempts"] == 7


def test_a_job_asked_to_stop_is_cancelled_instead(world):
    hand = world.running("a")
    world.store.cancel("a")
    with world.changes() as changed:
        assert hand.retry("a")
    assert changed == {
        "running:w": [],
        "finished": ["a"],
        "job:a": {
            "state": "cancelled",
            "completed_at": 0,
            "cancel_requested": None,
            "failures": 1,
            "error": "boom",
            "errors": [{"attempt": 1, "error": "boom", "failed_at": 0}],
            "settled": 1,
            "settled_by": "retry",
            "ttl": 604_800,
        },
        "stats": {"running": -1, "cancelled": 1, "failed_total": 1, "retried_total": 1},
        "queue:default": {"running": -1, "cancelled": 1},
    }


def test_several_retry_in_one_call(world):
    hand = world.running("a", "b")
    with world.changes() as changed:
        assert hand.settle(*(Retry(i, 1, 10.0, "boom", '{"attempt":1}') for i in "ab"))
    assert changed["scheduled"] == {"a": 10, "b": 10}
    assert changed["wake"] == ["1"]
