"""Foreign elements and damaged records: never run, never lost silently; nothing fails on them."""

import json
import random

import pytest

from ferryman.errors import FerrymanError, StoreUnavailable
from ferryman.job import Draft

BLOB = random.Random(7).randbytes(1 << 20)
"""One MiB of anything."""

ELEMENTS = {
    "few": [b"", b"\x00\xff\xfe", b"a b\n", "ä".encode(), b"%s{0}", BLOB],
    "many": [random.Random(n).randbytes(n % 40) for n in range(1000)],
}
LISTS = """pending:default:normal pending:default:alone held:default:low running:w dlq finished
    recent cancel:w wake quarantine""".split()
SETS = ["scheduled", "workers", "reaped"]


def put(world, key, elements):
    """Elements by hand, before and behind what lies there."""
    name = world.store.keys(key)
    if key in SETS:
        for n, element in enumerate(elements):
            world.store._command("ZADD", name, n, element)
    elif key == "queues":
        world.store._command("SADD", name, *elements)
    else:
        world.store._command("LPUSH", name, *elements)
        world.store._command("RPUSH", name, *elements)


def work(world, hand):
    """Everything workers and upkeep do, until nothing is left; the ids that ran to an end."""
    store, done = world.store, []
    for _ in range(200):
        due = store.promote().promoted
        beat = store.beat("sup", {"w": 1}, ["default"])
        for worker in beat.late:
            world.recover(worker)
        for worker in store.sweep()[1]:
            world.recover(worker)
        turns = [
            hand.turn(200, *hand.port.running()),
            hand.turn(200, lists=["pending:default:alone"]),
        ]
        jobs = [job for turn in turns for job in turn.jobs]
        done += [job.id for job in jobs if hand.finish(job.id, job.attempt)]
        more = any(turn.more for turn in turns) or hand.port.running()
        if not (jobs or due or more):
            return done
    raise AssertionError("it does not come to an end")


def read(world):
    """Everything that is ever read for a person."""
    store = world.store
    store.stats()
    store.dead(None, 5000)
    placed = store.recent(None, 5000)
    store.get_many([i for _, i in placed])
    store.facets([i for _, i in placed])


def quarantined(world):
    return [json.loads(line) for line in world.list("quarantine") if '"reason":' in line]


@pytest.mark.parametrize("kind", ELEMENTS)
@pytest.mark.parametrize("key", [*LISTS, *SETS, "queues"])
def test_foreign_elements_stop_nothing(world, key, kind):
    hand = world.worker()
    world.enqueue("a", "b", "c")
    world.enqueue("later", delay=60.0)
    world.make_due("later")
    world.enqueue("dead")
    assert world.store.delete("dead")
    put(world, key, ELEMENTS[kind])
    read(world)
    assert sorted(work(world, hand)) == ["a", "b", "c", "later"]
    read(world)
    asked = {"pending:default:normal": 2, "pending:default:alone": 2, "running:w": 2}
    times = 1 if key == "scheduled" else asked.get(key, 0)
    expected = times * len(set(ELEMENTS[kind]) if times == 1 else ELEMENTS[kind])
    assert len(quarantined(world)) == expected
    assert world.stat("quarantined_total") == expected


FIELDS = """state type queue priority attempt failures crashes created_at timeout max_attempts
    payload backoff tags meta worker dropped expires_at run_at errors alone settled""".split()
VALUES = [None, b"", b"x", b"nan", b"-1", b"1e400", b"9" * 21, b"a:b", b"\xff\x00", b"[" * 5000]
VERBS = ["claim", "promote", "recover", "retry", "release", "cancel", "delete", "revive", "beat"]


@pytest.mark.parametrize("verb", VERBS)
def test_no_field_of_a_record_stops_a_verb(world, verb):
    """Whatever one of them holds: each verb ends, and what runs after it runs."""
    harms = {f"{field}-{n}": (field, v) for field in FIELDS for n, v in enumerate(VALUES)}
    hand = before(world, verb, list(harms))
    for job_id, (field, value) in harms.items():
        words = ("HDEL", field) if value is None else ("HSET", field, value)
        world.store._command(words[0], world.store.keys.job(job_id), *words[1:])
    for job_id in harms:
        act(world, hand, verb, job_id)
    read(world)
    other = world.worker("other")
    while world.recover().left:
        pass
    world.make_due(*harms)
    work(world, other)
    read(world)
    assert world.list("running:other") == world.list("running:w") == []
    world.enqueue("sound")
    assert work(world, other) == ["sound"]


def before(world, verb, ids):
    hand = world.worker()
    if verb == "promote":
        world.enqueue(*ids, delay=60.0)
        world.make_due(*ids)
        return hand
    world.enqueue(*ids)
    if verb in ("recover", "retry", "release", "beat"):
        hand.claim(len(ids))
    if verb == "revive":
        hand.claim(len(ids))
        for job_id in ids:
            hand.bury(job_id)
    if verb == "beat":
        for job_id in ids:
            world.store.cancel(job_id)
    return hand


def act(world, hand, verb, job_id):
    """The verb; it may be refused, in words of ours."""
    store = world.store
    acts = {
        "claim": lambda: hand.claim(1),
        "promote": store.promote,
        "recover": world.recover,
        "retry": lambda: hand.retry(job_id),
        "release": lambda: hand.release(job_id),
        "cancel": lambda: store.cancel(job_id),
        "delete": lambda: store.delete(job_id),
        "revive": lambda: store.revive(job_id),
        "beat": lambda: store.beat("sup", {"w": 1}, ["default"]),
    }
    try:
        acts[verb]()
    except StoreUnavailable:
        raise
    except FerrymanError:
        pass


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("attempt", "nan", "no attempt"), ("attempt", "1e3", "no attempt"),
        ("attempt", "9" * 21, "no attempt"), ("attempt", "-1", "no attempt"),
        ("queue", "a:b", "no queue"), ("queue", "", "no queue"), ("type", None, "no type"),
        ("state", None, "no such job"), ("state", "odd", "in a list, but odd"),
    ],
)  # fmt: skip
def test_a_record_that_is_no_job_goes_to_the_quarantine(world, field, value, reason):
    hand = world.worker()
    world.enqueue("a", "b")
    words = ("HDEL", field) if value is None else ("HSET", field, value)
    world.store.command(words[0], world.store.keys.job("a"), *words[1:])
    assert [job.id for job in hand.claim(2)] == ["b"]
    [entry] = quarantined(world)
    assert (entry["element"], entry["from"], entry["reason"]) == ("a", "running:w", reason)
    assert world.stat("quarantined_total") == 1


def test_an_id_longer_than_any_of_ours_goes_to_the_quarantine(world):
    hand = world.worker()
    for long in ("a" * 128, "b" * 129):
        world.enqueue("draft")
        world.store.command("RENAME", world.store.keys.job("draft"), world.store.keys.job(long))
        world.store.command("RPUSH", world.store.keys("pending:default:normal"), long)
    world.store.command("LREM", world.store.keys("pending:default:normal"), 0, "draft")
    assert [job.id for job in hand.claim(4)] == ["a" * 128]
    [entry] = quarantined(world)
    assert (entry["element"], entry["reason"]) == ("b" * 129, "no id of ours")


def test_a_job_whose_priority_is_another_word_waits_where_it_is_served(world):
    world.enqueue("a", delay=60.0)
    world.set("a", priority="urgent")
    world.make_due("a")
    world.store.promote()
    assert [job.id for job in world.worker().claim()] == ["a"]


def test_an_id_many_times_in_lists_runs_once(world):
    hand = world.worker()
    world.enqueue("a")
    put(world, "pending:default:normal", [b"a"] * 50)
    put(world, "running:w", [b"a"] * 50)
    jobs = hand.turn(9, *hand.port.running()).jobs
    assert [job.id for job in jobs] == ["a"]
    assert hand.finish("a")
    assert work(world, hand) == []
    assert world.stat("processed_total") == 1


def test_a_stub_that_does_not_say_where_it_lies_makes_way(world):
    world.enqueue("a")
    world.store.delete("a")
    world.store.command("HDEL", world.store.keys.job("a"), "lies_in")
    world.store.enqueue([Draft(id="b", type="noop"), Draft(id="a", type="noop")])
    hand = world.worker()
    assert sorted(work(world, hand)) == ["a", "b"]


def test_a_million_tokens_do_not_keep_upkeep_awake(world):
    """Each would wake it at once; a promote has seen what all of them stand for."""
    put(world, "wake", [b"1"] * 5000)
    world.store.promote()
    assert world.list("wake") == []
    world.enqueue("late", delay=60.0)
    assert world.list("wake") == ["1"]
