"""register: a worker's name goes on the roll, with its first lease."""


def test_a_worker_is_on_the_roll_with_a_lease(world):
    with world.changes() as changed:
        assert world.store.register("w", ["default", "mail"], {"host": "h", "pid": 7})
    assert len(changed["meta"].pop("instance")) == 40
    assert changed == {
        "workers": {"w": world.store.settings.lease},
        "worker:w": {"registered_at": 0, "beat": 1, "host": "h", "pid": "7"},
        "queues": {"default", "mail"},
        "meta": {"schema": 1},
    }
    assert world.store.stats().workers == 1


def test_a_reaped_name_is_refused(world):
    world.worker()
    world.recover()
    with world.changes() as changed:
        assert not world.store.register("w", ["default"], {"host": "h"})
    assert changed == {}


def test_the_first_worker_names_the_data_and_no_other_names_them_anew(world):
    world.worker("first")
    with world.changes() as changed:
        world.worker("second")
    assert "meta" not in changed


def test_a_name_may_register_again_while_it_lives(world):
    hand = world.running("a")
    assert world.store.register("w", ["default"], {"host": "h", "pid": 1})
    assert hand.finish("a")
