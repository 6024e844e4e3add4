"""bury: running -> failed, in the dead-letter list."""

from ferryman.decision import Bury


def test_bury_puts_the_job_among_the_dead_letters(world):
    hand = world.running("a")
    with world.changes() as changed:
        assert hand.bury("a", error="gone")
    assert changed == {
        "running:w": [],
        "dlq": ["a"],
        "job:a": {
            "state": "failed",
            "completed_at": 0,
            "failures": 1,
            "error": "gone",
            "errors": [{"attempt": 1, "error": "gone", "failed_at": 0}],
            "settled": 1,
            "settled_by": "bury",
        },
        "stats": {"running": -1, "failed": 1, "failed_total": 1, "dlq_total": 1},
        "queue:default": {"running": -1, "failed": 1},
    }


def test_the_newest_dead_letter_is_first_and_none_expires(world):
    hand = world.running("a", "b", "c")
    for job_id in "abc":
        hand.bury(job_id)
    now = world.snapshot()
    assert now.value("dlq", []) == ["c", "b", "a"]
    assert [now.keys[f"job:{i}"].expires for i in "abc"] == [None, None, None]
    assert world.store.dead(None, 2) == [(3, "c"), (2, "b")]
    assert world.store.dead(2, 2) == [(1, "a")]
    for job_id in "ab":
        world.store.delete(job_id)
    assert world.store.dead(4, 1) == [(1, "c")]  # asked for by a place that there is no more


def test_failed_runs_are_those_retried_and_those_buried(world):
    hand = world.running("a", "b")
    hand.retry("a", delay=0.0)
    hand.bury("b")
    world.store.promote()
    hand.claim()
    hand.bury("a", 2)
    assert world.stat("failed_total") == 3
    assert world.stat("retried_total") == 1
    assert world.stat("dlq_total") == 2


def test_a_job_asked_to_stop_that_fails_for_good_is_a_dead_letter(world):
    hand = world.running("a")
    world.store.cancel("a")
    assert hand.bury("a")
    assert world.field("a", "state") == "failed"
    assert world.list("dlq") == ["a"]


def test_the_limit_in_force_is_noted_for_readers(world):
    hand = world.running("a")
    with world.changes() as changed:
        hand.settle(Bury("a", 1, "boom", '{"attempt":1}', max_attempts=7))
    assert changed["job:a"]["max_attempts"] == 7
