"""Whatever bytes lie in a list, a hash or a payload: nobody stumbles, nothing is altered."""

import json

import pytest

from ferryman.decision import Bury
from ferryman.job import encode

HOSTILE = [
    b"\xff\xfe",
    b"",
    b"\x00",
    b"a\r\nb",
    b'{"id": 1}',
    b"*1\r\n$4\r\nPING\r\n",
    b"\xed\xa0\x80",
    "\u2028\x85".encode(),
    b"%s%d",
    b"x" * 100_000,
]
NAMES = [repr(element[:12]) for element in HOSTILE]

hostile = pytest.mark.parametrize("element", HOSTILE, ids=NAMES)


def push(world, key, element):
    """RPUSH of raw bytes, as a foreign program would do it."""
    world.store._redis.execute_command("RPUSH", key, element)


@hostile
def test_a_foreign_element_in_a_pending_list_is_set_aside_and_the_next_job_runs(world, element):
    push(world, world.store.keys.pending("default", "normal"), element)
    world.enqueue("a")
    hand = world.worker()
    assert [job.id for job in hand.claim(5)] == ["a"]
    assert world.list("running:w") == ["a"]
    assert len(world.list("quarantine")) == world.stat("quarantined_total") == 1


@hostile
def test_a_foreign_element_that_a_listener_brings_is_set_aside(world, element):
    hand = world.worker()
    push(world, world.store.keys.pending("default", "normal"), element)
    listener = hand.port.listeners[1]
    listener.arm()
    delivered = listener.take().id
    assert delivered.encode("utf-8", "surrogateescape") == element
    assert hand.port.running() == world.store.running("w") == [delivered]
    assert world.store.get_many([delivered]) == []
    assert hand.begin(delivered) == []
    assert world.list("running:w") == []
    assert world.stat("quarantined_total") == 1


@hostile
def test_a_foreign_element_in_the_list_of_a_dead_worker_is_set_aside(world, element):
    world.running("a")
    push(world, world.store.keys.running("w"), element)
    assert world.recover() == (0, 1, 0, 1)
    assert world.list("running:w") == []
    assert world.stat("quarantined_total") == 1


@hostile
def test_a_foreign_element_among_the_dead_letters_does_not_hide_the_others(world, element):
    world.running("a").bury("a")
    world.store._redis.execute_command("LPUSH", world.store.keys("dlq"), element)
    ids = [job_id for _, job_id in world.store.dead(None, 10)]
    assert [job.id for job in world.store.get_many(ids)] == ["a"]


def test_quarantine_keeps_the_beginning_of_a_long_element(world):
    push(world, world.store.keys.pending("default", "normal"), b"x" * 1000)
    world.worker().claim()
    [line] = world.list("quarantine")
    assert json.loads(line)["element"] == "x" * 256


def test_quarantine_keeps_the_newest_10_000(world):
    world.store.command("LPUSH", world.store.keys("quarantine"), *(["old"] * 10_000))
    push(world, world.store.keys.pending("default", "normal"), b"x")
    world.worker().claim()
    kept = world.list("quarantine")
    assert len(kept) == 10_000
    assert json.loads(kept[0])["element"] == "x"


def test_a_job_made_by_hand_of_bytes_that_are_no_text_can_be_claimed_and_settled(world):
    """It fails like any bad job; the worker and the jobs beside it live on."""
    execute, keys = world.store._redis.execute_command, world.store.keys
    key = keys.prefix.encode() + b"job:\xff"
    execute("HSET", key, "state", "pending", "type", b"\xfe", "payload", b'"\xfd"', "meta", b"\xfc")
    push(world, keys.pending("default", "normal"), b"\xff")
    world.enqueue("a")
    hand = world.worker()
    odd, job = hand.claim(5)
    assert (odd.id, odd.type, job.id) == ("\udcff", "\\xfe", "a")
    assert odd.type.encode()
    assert hand.bury(odd.id)
    assert hand.finish("a")
    assert execute("LRANGE", keys("dlq"), 0, -1) == [b"\xff"]


@pytest.mark.parametrize(
    "value",
    [
        2**53 + 1,
        -(2**63) - 1,
        [],
        {},
        [[]],
        "\u2028\x85\x00\x1f\x7f\U0001f600",
        {"__proto__": {"\\": '"\n\r\t'}},
        "x" * 200_000,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_payload_and_a_result_come_back_as_they_were_said(world, value):
    text = encode(value)
    hand = world.running("a", payload=text)
    world.recover()
    world.make_due("a")
    world.store.promote()
    hand = world.worker("w2")
    [job] = hand.claim(lists=["pending:default:alone"])
    assert job.payload == text
    hand.finish("a", 2, result=text)
    record = world.store.get("a")
    assert record.payload == record.result == text
    assert json.loads(record.payload) == value


@pytest.mark.parametrize("text", ["\u2028", "a\nb\r\nc", "\x1b[2J", "\x85", "\x1c", '"}\\', "\x00"])
def test_an_error_of_any_text_can_be_read_back(world, text):
    hand = world.running("a")
    hand.settle_by("retry", "a")
    world.make_due("a")
    world.store.promote()
    hand.claim()
    assert hand.settle(Bury("a", 2, text, encode({"attempt": 2, "error": text})))
    record = world.store.get("a")
    assert record.error == text
    assert [e["error"] for e in record.errors] == ["boom", text]


def test_any_valid_id_is_kept_apart_from_every_key(world):
    """Ids may read like keys or like parts of them."""
    ids = ["job:a", "a", "pending:default:normal", "stats", "..", "-", ":", "x" * 128]
    world.enqueue(*ids)
    hand = world.worker()
    assert [job.id for job in hand.claim(20)] == ids
    assert all(hand.finish(i) for i in ids)
    assert world.list("finished") == ids[::-1]
