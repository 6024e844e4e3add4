"""resume: the lists that pause set aside come back."""


def test_resume_brings_every_list_back_with_what_came_meanwhile(world):
    for level in ("high", "normal", "low"):
        world.enqueue(f"{level}-1", priority=level)
    world.store.pause("default")
    for level in ("high", "normal", "low"):
        world.enqueue(f"{level}-2", priority=level)
    with world.changes() as changed:
        assert world.store.resume("default")
    expected = {"queue:default": {"paused": None}}
    for level in ("high", "normal", "low"):
        expected[f"held:default:{level}"] = []
        expected[f"pending:default:{level}"] = [f"{level}-1", f"{level}-2"]
    assert changed == expected


def test_resume_of_a_queue_that_is_not_paused_changes_nothing(world):
    world.enqueue("a")
    with world.changes() as changed:
        assert not world.store.resume("default")
    assert changed == {}


def test_what_was_pushed_by_hand_to_the_pending_list_stays_behind_the_others(world):
    world.enqueue("a", "b", "x")
    world.store.pause("default")
    world.store.command("LREM", world.store.keys.held("default", "normal"), "1", "x")
    world.store.command("RPUSH", world.store.keys.pending("default", "normal"), "x")
    world.store.resume("default")
    assert world.list("pending:default:normal") == ["a", "b", "x"]
    assert world.list("held:default:normal") == []


def test_a_worker_that_waits_in_blmove_is_served_at_once(world):
    hand = world.worker()
    world.store.pause("default")
    world.enqueue("a")
    listener = hand.port.listeners[1]
    listener.arm()
    world.store.resume("default")
    assert listener.take().id == "a"
    assert [job.id for job in hand.begin("a")] == ["a"]
