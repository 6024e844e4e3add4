"""snooze: running -> scheduled, nothing charged."""


def test_snooze_schedules_the_next_run_and_charges_nothing(world):
    hand = world.running("a")
    with world.changes() as changed:
        assert hand.snooze("a", delay=20.0)
    assert changed == {
        "running:w": [],
        "scheduled": {"a": 20},
        "wake": ["1"],
        "job:a": {
            "state": "scheduled",
            "run_at": 20,
            "settled": 1,
            "settled_by": "snooze",
            "updated_at": 0,
        },
        "stats": {"running": -1, "scheduled": 1, "snoozed_total": 1},
        "queue:default": {"running": -1, "scheduled": 1},
    }


def test_a_job_may_snooze_without_end(world):
    hand = world.running("a")
    for attempt in range(1, 20):
        assert hand.snooze("a", attempt, delay=0.0)
        world.store.promote()
        [job] = hand.claim()
        assert (job.attempt, job.failures, job.crashes) == (attempt + 1, 0, 0)


def test_a_job_asked_to_stop_is_cancelled_instead(world):
    hand = world.running("a")
    world.store.cancel("a")
    with world.changes() as changed:
        assert hand.snooze("a")
    assert changed["job:a"]["state"] == "cancelled"
    assert changed["finished"] == ["a"]
    assert "scheduled" not in changed
    assert changed["stats"] == {"running": -1, "cancelled": 1}
