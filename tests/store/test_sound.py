"""Keys of another type, and counters that are no numbers: set aside, and every verb goes on."""

import json

import pytest

from ferryman.check import inspect
from ferryman.errors import StoreDamaged, StoreUnavailable
from ferryman.store.audit import Audit

KEYS = """stats queues queue:default recent finished scheduled dlq workers reaped worker:w running:w
    cancel:w wake meta quarantine pending:default:normal idem:k analytics:d job:a""".split()

FIELDS = {
    "stats": ["pending", "created_total", "processed_total", "duration_sum", "duration_le_inf"],
    "queue:default": ["pending", "running", "scheduled", "max_pending"],
    "worker:w": ["beat"],
    "analytics:d": ["n"],
}


def life(world):
    """One step after the other, every verb in it; each gives what it should."""
    store = world.store
    hand = world.worker()
    yield
    world.enqueue(*"abcdefgh", "i", "j")
    yield
    world.enqueue("keyed", idempotency_key="k", digest="x", queue="q")
    yield
    world.enqueue("later", delay=60.0)
    yield
    assert [job.id for job in hand.claim(8)] == list("abcdefgh")
    yield
    assert hand.finish("a", seconds=5000.0)
    yield
    assert hand.retry("b", delay=60.0)
    yield
    assert hand.bury("c")
    yield
    assert hand.snooze("d", delay=60.0)
    yield
    assert hand.release("e")
    yield
    assert store.cancel("f") == "running"
    yield
    assert store.beat("sup", {"w": 1}, ["default"]).lost == []
    yield
    assert hand.cancel("f")
    yield
    assert store.progress("w", "g", 1, 0.5, "half")
    yield
    world.make_due("b", "d")
    store.promote()
    yield
    assert store.cancel("i") == "pending"
    yield
    assert store.delete("j") == "pending"
    yield
    assert store.revive("c") == "failed"
    yield
    assert store.tally("a", {"d": {"n": 1}}) == {"d": {"n": 1}}
    yield
    store.pause("default")
    yield
    store.resume("default")
    yield
    world.recover()
    yield
    store.sweep()
    yield


def audit(world):
    one = Audit(world.store.settings, world.store.keys)
    try:
        return inspect(one, settle=0.0).findings
    finally:
        one.close()


def reasons(world):
    return [(q["from"], q["reason"]) for q in map(json.loads, world.list("quarantine"))]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_another_type_is_set_aside_by_the_script_that_meets_it(world, key):
    by_hand = "SADD" if key.startswith("idem:") else "SET"
    world.store.command(by_hand, world.store.keys(key), "by hand")
    for _ in life(world):
        pass
    aside = [n for n, e in world.snapshot().keys.items() if e.value in ("by hand", {"by hand"})]
    assert [n.rpartition(":")[0] for n in aside] == [f"aside:{key}"]
    assert reasons(world) == [(key, "a key of another type")]
    assert world.stat("quarantined_total") == 1
    assert audit(world) == []


@pytest.mark.parametrize("key", ["stats", "queue:default", "finished", "dlq", "recent", "queues"])
def test_no_verb_stops_half_way_at_a_key_of_another_type(world, key):
    """What is written last in a script is met after everything else was: it must still be done."""
    for _ in life(world):
        world.store.command("SET", world.store.keys(key), "by hand")
    world.store.sweep()
    places = {f.kind for f in audit(world)}
    assert places <= {"counter", "unlisted", "number", "unknown_queue", "stranded"}


@pytest.mark.parametrize(("key", "field"), [(k, f) for k, fs in FIELDS.items() for f in fs])
@pytest.mark.parametrize("value", ["x", "nan", "inf", "9223372036854775807", ""])
def test_a_counter_that_is_no_number_begins_again(world, key, field, value):
    for n, _ in enumerate(life(world)):
        if n % 3 == 0:
            world.store.command("HSET", world.store.keys(key), field, value)
    assert {f.kind for f in audit(world)} <= {"counter", "number", "stray"}
    world.store.stats()


@pytest.mark.parametrize("key", ["stats", "queues", "queue:default", "dlq", "recent", "workers"])
def test_a_read_is_refused_until_a_sweep_has_set_the_key_aside(world, key):
    world.enqueue("a")
    world.store.command("SET", world.store.keys(key), "by hand")
    reads = [world.store.stats, lambda: world.store.recent(None, 9)]
    with pytest.raises(StoreDamaged):  # noqa: PT012 (one of them meets the key)
        for read in reads:
            read()
    world.store.sweep()
    world.store.stats()
    world.store.recent(None, 9)


@pytest.mark.parametrize("name", ["pending:default:normal", "running:w"])
def test_a_listener_that_meets_a_key_of_another_type_is_refused_and_a_claim_mends_it(world, name):
    hand = world.worker()
    world.enqueue("a")
    if name == "running:w":
        world.store.command("SET", world.store.keys(name), "by hand")
    else:
        world.store.command("RENAME", world.store.keys(name), world.store.keys("kept"))
        world.store.command("SET", world.store.keys(name), "by hand")
    listener = hand.port.listeners[1]
    listener.arm()
    assert isinstance(listener.take().id, StoreUnavailable)
    assert hand.port.running() == []
    hand.claim()
    assert reasons(world) == [(name, "a key of another type")]
    listener.arm()
    world.enqueue("b")
    assert hand.port.running() or listener.take().id in ("a", "b")
