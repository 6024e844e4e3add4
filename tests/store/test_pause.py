"""pause: a queue starts nothing until it is resumed."""


def test_the_lists_of_a_paused_queue_are_set_aside_whole(world):
    for level in ("high", "normal", "low"):
        world.enqueue(f"{level}-1", f"{level}-2", priority=level)
    world.enqueue("other", queue="other")
    with world.changes() as changed:
        assert world.store.pause("default")
    expected = {"queue:default": {"paused": 0}}
    for level in ("high", "normal", "low"):
        expected[f"pending:default:{level}"] = []
        expected[f"held:default:{level}"] = [f"{level}-1", f"{level}-2"]
    assert changed == expected
    assert [job.id for job in world.worker("w", ("default", "other")).claim(9)] == ["other"]


def test_jobs_that_wait_to_run_alone_are_set_aside_too(world):
    world.running("a")
    world.recover()
    world.store.pause("default")
    assert world.list("held:default:alone") == ["a"]
    assert world.list("pending:default:alone") == []


def test_a_second_pause_changes_nothing(world):
    world.store.pause("default")
    with world.changes() as changed:
        assert not world.store.pause("default")
    assert changed == {}


def test_a_queue_nobody_knows_yet_may_be_paused(world):
    with world.changes() as changed:
        assert world.store.pause("later")
    assert changed == {"queue:later": {"paused": 0}, "queues": {"later"}}
    world.enqueue("a", queue="later")
    assert world.worker("w", ("later",)).claim() == []


def test_running_jobs_of_a_paused_queue_end_as_usual(world):
    hand = world.running("a")
    world.store.pause("default")
    assert hand.finish("a")


def test_what_was_pushed_by_hand_to_the_held_list_stays_behind_the_others(world):
    world.enqueue("a", "b", "x")
    world.store.command("LREM", world.store.keys.pending("default", "normal"), "1", "x")
    world.store.command("RPUSH", world.store.keys.held("default", "normal"), "x")
    world.store.pause("default")
    assert world.list("held:default:normal") == ["a", "b", "x"]
    assert world.list("pending:default:normal") == []


def test_a_paused_queue_is_told_in_the_stats(world):
    world.enqueue("a")
    world.store.pause("default")
    assert world.store.stats().queues["default"]["paused"] == 1
    assert world.store.stats().queues["default"]["pending"] == 1
    world.store.resume("default")
    assert world.store.stats().queues["default"]["paused"] == 0


def test_a_retry_that_comes_due_in_a_paused_queue_is_held(world):
    world.running("a").retry("a", delay=0.0)
    world.store.pause("default")
    world.store.promote()
    assert world.list("held:default:normal") == ["a"]
    assert world.list("pending:default:normal") == []
