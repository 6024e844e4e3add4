"""release: running -> pending at the head, nothing charged."""


def test_release_returns_the_job_to_the_head_and_charges_nothing(world):
    hand = world.running("a")
    world.enqueue("b")
    with world.changes() as changed:
        assert hand.release("a")
    assert changed == {
        "running:w": [],
        "pending:default:normal": ["a", "b"],
        "job:a": {
            "state": "pending",
            "settled": 1,
            "settled_by": "release",
            "updated_at": 0,
            "ready_at": 0,
        },
        "stats": {"running": -1, "pending": 1, "released_total": 1},
        "queue:default": {"running": -1, "pending": 1},
    }
    [job] = hand.claim()
    assert (job.id, job.attempt, job.failures, job.crashes) == ("a", 2, 0, 0)


def test_released_jobs_lie_at_the_head_in_the_order_of_their_claim(world):
    hand = world.running("a", "b", "c")
    world.enqueue("d")
    assert hand.release("a", "b", "c")
    assert world.list("pending:default:normal") == ["a", "b", "c", "d"]


def test_a_released_job_returns_to_its_own_level_and_queue(world):
    world.enqueue("a", priority="high", queue="images")
    hand = world.worker("w", ("images",))
    hand.claim()
    hand.release("a")
    assert world.list("pending:images:high") == ["a"]


def test_a_job_released_from_a_paused_queue_is_held(world):
    hand = world.running("a")
    world.enqueue("b")
    world.store.pause("default")
    with world.changes() as changed:
        hand.release("a")
    assert changed["held:default:normal"] == ["a", "b"]
    assert not any(name.startswith("pending:") for name in changed)


def test_a_job_asked_to_stop_is_cancelled_instead(world):
    hand = world.running("a", "b")
    world.store.cancel("a")
    with world.changes() as changed:
        assert hand.release("a", "b")
    assert changed["job:a"]["state"] == "cancelled"
    assert changed["pending:default:normal"] == ["b"]
    assert changed["finished"] == ["a"]
    assert changed["stats"] == {"running": -2, "cancelled": 1, "pending": 1, "released_total": 1}


def test_jobs_of_a_killed_child_run_alone_once(world):
    """A run over its limit is killed with its child; the others are not to blame, but who knows."""
    world.running("a", "b")
    with world.changes() as changed:
        assert world.store.release("w", [("a", 1), ("b", 1)], True) == [1, 1]
    assert changed["pending:default:alone"] == ["a", "b"]
    assert changed["job:a"]["alone"] == 1
    hand = world.worker("w2")
    hand.claim(lists=["pending:default:alone"])
    assert world.field("a", "alone") is None
    hand.release("a", 2)
    assert world.list("pending:default:normal") == ["a"]
