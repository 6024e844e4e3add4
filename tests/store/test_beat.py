"""beat: a supervisor renews its workers' leases and looks around."""


def beat(world, supervisor="sup", busy=None, queues=("default",)):
    return world.store.beat(supervisor, {} if busy is None else busy, queues)


def test_a_beat_renews_leases_and_notes_what_is_busy(world):
    world.worker("w")
    world.store.command("ZADD", world.store.keys("workers"), "1", "w")
    with world.changes() as changed:
        answer = beat(world, busy={"w": 3})
    assert changed == {
        "workers": {"w": world.store.settings.lease},
        "worker:w": {"beat": 2, "busy": 3},
        "upkeep": ("sup", 3),
    }
    instance = world.store.command("HGET", world.store.keys("meta"), "instance").decode()
    assert answer == (True, [], [], {}, 0, instance)


def test_a_beat_notes_how_long_ago_each_worker_heard_redis(world):
    world.worker("w")
    world.worker("new")
    world.store.beat("sup", {"w": 0, "new": 0}, (), {"w": 7.5})
    assert world.store.stats().claim_age == 7.5
    world.store.beat("sup", {"w": 0, "new": 0}, (), {"w": 0.5, "new": 1.25})
    assert world.store.stats().claim_age == 1.25
    world.recover("new")
    assert world.store.stats().claim_age == 0.5


def test_other_data_behind_the_address_are_told_and_counted_once(world):
    assert beat(world).instance == ""
    world.worker("w")
    known = beat(world).instance
    assert known
    for name in ("meta", "workers", "worker:w"):
        world.store.command("DEL", world.store.keys(name))
    assert world.store.beat("sup", {"w": 0}, (), {}, known).instance == ""  # nobody is there yet
    world.worker("anew")
    now = world.store.beat("sup", {"anew": 0}, (), {}, known).instance
    assert now not in ("", known)
    assert world.stat("replaced_total") == 1
    assert world.store.beat("sup", {"anew": 0}, (), {}, now).instance == now
    assert world.stat("replaced_total") == 1


def test_data_that_lost_only_their_name_get_it_back(world):
    world.worker("w")
    known = beat(world).instance
    world.store.command("DEL", world.store.keys("meta"))
    assert world.store.beat("sup", {"w": 0}, (), {}, known).instance == known
    assert beat(world).instance == known
    assert world.stat("replaced_total") == 0


def test_a_worker_that_is_not_on_the_roll_has_lost_its_lease(world):
    world.worker("alive")
    world.worker("gone")
    world.recover("gone")
    with world.changes() as changed:
        assert beat(world, busy={"gone": 1, "alive": 1, "never": 0}).lost == ["gone", "never"]
    assert set(changed) == {"workers", "worker:alive", "upkeep"}


def test_one_supervisor_leads_until_its_three_seconds_are_over(world):
    assert beat(world, "first").leads
    assert not beat(world, "second").leads
    assert beat(world, "first").leads
    world.store.command("DEL", world.store.keys("upkeep"))
    assert beat(world, "second").leads
    assert not beat(world, "first").leads


def test_workers_past_their_lease_are_told_with_the_beat_they_stopped_at(world):
    for name in ("late", "later", "well"):
        world.worker(name)
    beat(world, busy={"late": 0})
    world.store.command("ZADD", world.store.keys("workers"), "1", "late", "2", "later")
    assert beat(world, busy={"well": 0}).late == {"late": "2", "later": "1"}
    assert beat(world, busy={"late": 0, "well": 0}).late == {"later": "1"}


def test_jobs_asked_to_stop_are_told_at_every_beat_until_they_end(world):
    hand = world.running("a", "b")
    world.store.cancel("a")
    world.store.cancel("b")
    for _ in range(2):
        assert beat(world, busy={"w": 2}).cancels == [("w", "a"), ("w", "b")]
    hand.cancel("a")
    assert beat(world, busy={"w": 1}).cancels == [("w", "b")]
    assert world.list("cancel:w") == ["b"]
    hand.finish("b")
    assert beat(world, busy={"w": 0}).cancels == []
    assert world.list("cancel:w") == []


def test_a_request_to_stop_ends_with_the_attempt_it_was_meant_for(world):
    """The same job on the same worker again, before a beat could clear the request away."""
    hand = world.running("a")
    world.store.cancel("a")
    hand.finish("a")
    world.store.revive("a")
    assert hand.claim()[0].attempt == 2
    assert beat(world, busy={"w": 1}).cancels == []


def test_jobs_that_wait_to_run_alone_are_counted_in_the_queues_served(world):
    world.enqueue("m", queue="mail")
    hand = world.worker("w", ("default", "mail"))
    world.enqueue("a", "b")
    assert len(hand.claim(5)) == 3
    world.recover()
    assert beat(world).alone == 2
    assert beat(world, queues=("default", "mail")).alone == 3
    assert beat(world, queues=("other",)).alone == 0
