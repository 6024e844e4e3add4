"""sweep: reaped workers whose list holds an id again are found, for a day and until it is empty."""

DAY = 86_400


def test_a_late_delivery_to_a_reaped_worker_is_found_and_returned(world):
    hand = world.worker()
    world.worker("other")
    world.recover("other")
    world.recover()
    world.enqueue("a", "b")
    hand.deliver()  # a BLMOVE that was under way when the worker was taken for dead
    with world.changes() as changed:
        assert world.store.sweep() == (2, ["w"])
    assert changed == {}
    world.recover()
    assert world.list("pending:default:normal") == ["a", "b"]
    assert world.store.sweep() == (2, [])


def test_a_reaped_name_is_forgotten_after_a_day(world):
    world.worker()
    world.recover()
    now = world.snapshot().at
    world.store.command("ZADD", world.store.keys("reaped"), str(now - DAY + 60), "w")
    assert world.store.sweep() == (1, [])
    world.store.command("ZADD", world.store.keys("reaped"), str(now - DAY - 60), "w")
    with world.changes() as changed:
        assert world.store.sweep() == (0, [])
    assert changed == {"reaped": {}}


def test_a_reaped_name_whose_list_is_not_empty_is_never_forgotten(world):
    """Every worker may have been away for longer than a day."""
    hand = world.worker()
    world.recover()
    world.enqueue("a")
    hand.deliver()
    world.store.command("ZADD", world.store.keys("reaped"), "1", "w")
    assert world.store.sweep() == (1, ["w"])


def test_a_hundred_names_are_looked_at_in_a_call(world):
    names = [f"w{n:03}" for n in range(150)]
    for n, name in enumerate(names):
        world.store.command("ZADD", world.store.keys("reaped"), str(2e9 + n), name)
    world.store.command("RPUSH", world.store.keys.running("w000"), "x")
    world.store.command("RPUSH", world.store.keys.running("w149"), "x")
    assert world.store.sweep() == (100, ["w149"])
    assert world.store.sweep(100) == (50, ["w000"])
