"""stats: every counter at one moment."""

from ferryman.lifecycle import State


def test_an_empty_server_counts_nothing(world):
    with world.changes() as changed:
        stats = world.store.stats()
    assert changed == {}
    assert stats.total == stats.waiting == stats.dlq_size == stats.workers == 0
    assert set(stats.states.values()) == {0}
    assert stats.queues == {}


def test_each_state_is_counted_and_the_total_is_created_less_cancelled(world):
    world.enqueue("cancelled", "pending", "p2")
    world.store.cancel("cancelled")
    world.enqueue("scheduled", delay=60.0)
    hand = world.worker("w", ("mail",))
    world.enqueue("running", "completed", "failed", queue="mail")
    assert len(hand.claim(3)) == 3
    hand.finish("completed")
    hand.bury("failed")
    stats = world.store.stats()
    assert stats.states == {
        State.PENDING: 2,
        State.SCHEDULED: 1,
        State.BLOCKED: 0,
        State.RUNNING: 1,
        State.COMPLETED: 1,
        State.FAILED: 1,
        State.CANCELLED: 1,
    }
    assert (stats.waiting, stats.total, stats.dlq_size, stats.workers) == (3, 6, 1, 1)
    assert stats.total == stats.events["created_total"] - stats.states[State.CANCELLED]
    assert stats.queues["default"]["pending"] == 2
    assert stats.queues["mail"] == {
        "pending": 0,
        "scheduled": 0,
        "blocked": 0,
        "running": 1,
        "completed": 1,
        "failed": 1,
        "cancelled": 0,
        "paused": 0,
    }


def test_a_queue_a_worker_serves_is_known_before_its_first_job(world):
    world.worker("w", ("mail",))
    assert list(world.store.stats().queues) == ["mail"]
