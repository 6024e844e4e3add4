"""enqueue: accept jobs, all or none; a repeat is answered with the first job."""

import dataclasses
import time

import pytest

from ferryman.backoff import Backoff
from ferryman.draft import draft
from ferryman.errors import IdempotencyConflict, QueueFull
from ferryman.job import Draft
from ferryman.lifecycle import State
from ferryman.store import Store, calls


def test_a_job_goes_to_the_tail_of_its_level(world):
    world.enqueue("a")
    with world.changes() as changed:
        assert world.enqueue("b") == [("b", True)]
    assert changed == {
        "job:b": {"state": "pending", "created_at": 0, "type": "noop", "payload": "{}"},
        "pending:default:normal": ["a", "b"],
        "recent": ["b", "a"],
        "stats": {"pending": 1, "created_total": 1},
        "queue:default": {"pending": 1},
    }


def test_a_queue_and_a_level_have_a_list_of_their_own(world):
    with world.changes() as changed:
        world.enqueue("h", queue="images", priority="high")
        world.enqueue("l", queue="images", priority="low")
        world.enqueue("n", queue="mail")
    assert changed["pending:images:high"] == ["h"]
    assert changed["pending:images:low"] == ["l"]
    assert changed["pending:mail:normal"] == ["n"]
    assert changed["queues"] == {"images", "mail"}
    assert changed["queue:images"] == {"pending": 2}
    assert changed["queue:mail"] == {"pending": 1}


def test_everything_said_is_on_the_record_and_defaults_are_not(world):
    whole = Draft(
        id="a",
        type="report",
        payload='{"n":1}',
        queue="q",
        priority="low",
        max_attempts=7,
        timeout=1.5,
        backoff=Backoff(1, 2, 30, 0.1),
        expires_at=9e9,
        tags=("x", "y"),
        meta={"k": "v"},
        idempotency_key="key",
        digest="d",
    )
    with world.changes() as changed:
        world.store.enqueue([whole])
    assert changed["job:a"] == {
        "state": "pending",
        "created_at": 0,
        "type": "report",
        "payload": '{"n":1}',
        "queue": "q",
        "priority": "low",
        "max_attempts": 7,
        "timeout": "1.5",
        "backoff": '{"base":1,"factor":2,"cap":30,"jitter":0.1}',
        "expires_at": "9000000000.0",
        "tags": '["x","y"]',
        "meta": '{"k":"v"}',
        "idempotency_key": "key",
        "digest": "d",
    }
    assert changed["idem:key"] == ("a", 86_400)
    job = world.store.get("a")
    assert (job.tags, job.meta, job.timeout, job.max_attempts) == (("x", "y"), {"k": "v"}, 1.5, 7)
    assert job.backoff == whole.backoff


@pytest.mark.parametrize("said", [{"delay": 30.0}, {"run_at": None}], ids=["delay", "run_at"])
def test_a_job_for_later_is_scheduled_and_wakes_upkeep(world, said):
    if "run_at" in said:
        said = {"run_at": world.snapshot().at + 30}
    with world.changes() as changed:
        world.enqueue("a", **said)
    assert changed == {
        "job:a": {
            "state": "scheduled",
            "created_at": 0,
            "type": "noop",
            "payload": "{}",
            "run_at": 30,
        },
        "scheduled": {"a": 30},
        "wake": ["1"],
        "recent": ["a"],
        "queues": {"default"},
        "stats": {"scheduled": 1, "created_total": 1},
        "queue:default": {"scheduled": 1},
    }


def test_only_a_job_due_before_all_others_wakes_upkeep(world):
    world.enqueue("first", delay=20.0)
    assert world.store.await_wake(0.1)
    world.enqueue("later", delay=30.0)
    assert world.list("wake") == []
    world.enqueue("sooner", delay=10.0)
    world.enqueue("soonest", delay=5.0)
    assert world.list("wake") == ["1"]


@pytest.mark.parametrize("said", [{"delay": 0.0}, {"run_at": 1.0}], ids=["delay", "run_at"])
def test_a_time_that_is_over_makes_the_job_pending(world, said):
    world.enqueue("a", **said)
    assert world.field("a", "state") == "pending"
    assert world.list("pending:default:normal") == ["a"]


def test_a_thousand_jobs_of_one_call_lie_in_their_order(world):
    ids = [f"j{n}" for n in range(1000)]
    assert world.enqueue(*ids) == [(i, True) for i in ids]
    assert world.list("pending:default:normal") == ids
    assert world.stat("created_total") == world.stat("pending") == 1000


def test_a_job_for_a_paused_queue_is_held(world):
    world.store.pause("default")
    with world.changes() as changed:
        world.enqueue("a")
    assert changed["held:default:normal"] == ["a"]
    assert not any(name.startswith("pending:") for name in changed)


# Repeats.


def test_the_same_id_with_the_same_body_is_answered_and_not_repeated(world):
    world.enqueue("a", digest="d")
    with world.changes() as changed:
        assert world.enqueue("a", digest="d") == [("a", False)]
    assert changed == {}


def test_a_repeat_whose_reply_was_lost_is_known_by_its_generated_id(world):
    job = draft("noop")
    world.store.enqueue([job])
    with world.changes() as changed:
        assert world.store.enqueue([job]) == [(job.id, False)]
    assert changed == {}


@pytest.mark.parametrize("state", [State.RUNNING, State.COMPLETED, State.FAILED])
def test_a_repeat_is_answered_whatever_became_of_the_first(world, state):
    hand = world.running("a", digest="d")
    if state is State.COMPLETED:
        hand.finish("a")
    if state is State.FAILED:
        hand.bury("a")
    with world.changes() as changed:
        assert world.enqueue("a", digest="d") == [("a", False)]
    assert changed == {}
    assert world.field("a", "state") == state


def test_the_same_key_is_answered_with_the_first_job(world):
    world.enqueue("a", idempotency_key="k", digest="d")
    with world.changes() as changed:
        assert world.enqueue("b", idempotency_key="k", digest="d") == [("a", False)]
    assert changed == {}


def test_the_same_id_with_another_body_is_a_conflict(world):
    world.enqueue("a", digest="d")
    with world.changes() as changed, pytest.raises(IdempotencyConflict, match="id 'a'"):
        world.enqueue("a", digest="other")
    assert changed == {}


def test_the_same_key_with_another_body_is_a_conflict(world):
    world.enqueue("a", idempotency_key="k", digest="d")
    with world.changes() as changed, pytest.raises(IdempotencyConflict, match="Idempotency-Key"):
        world.enqueue("b", idempotency_key="k", digest="other")
    assert changed == {}


def test_repeats_within_one_call_are_one_job(world):
    jobs = [
        Draft(id="a", type="noop", digest="d"),
        Draft(id="b", type="noop", digest="e", idempotency_key="k"),
        Draft(id="a", type="noop", digest="d"),
        Draft(id="c", type="noop", digest="e", idempotency_key="k"),
    ]
    answer = world.store.enqueue(jobs)
    assert answer == [("a", True), ("b", True), ("a", False), ("b", False)]
    assert world.list("pending:default:normal") == ["a", "b"]
    assert world.stat("created_total") == 2


def test_a_key_that_reads_like_an_id_is_no_id(world):
    jobs = [
        Draft(id="a", type="noop", digest="d", idempotency_key="id:b"),
        Draft(id="b", type="noop", digest="e"),
        Draft(id="c", type="noop", digest="f", idempotency_key="idem:id:b"),
    ]
    assert world.store.enqueue(jobs) == [("a", True), ("b", True), ("c", True)]


def test_a_key_whose_job_is_gone_does_not_open_the_way_over_another_job(world):
    """The key outlives its job where the retention is short; the id is still taken."""
    hand = world.running("a", digest="d")
    world.store.command("SET", world.store.keys.idem("k"), "gone")
    with world.changes() as changed, pytest.raises(IdempotencyConflict):
        world.enqueue("a", idempotency_key="k", digest="other")
    assert changed == {}
    assert hand.finish("a")


# All or none.


def test_one_conflict_in_a_call_refuses_all_of_it(world):
    world.enqueue("b", digest="d")
    jobs = [
        Draft(id="a", type="noop", digest="d"),
        Draft(id="b", type="noop", digest="other"),
        Draft(id="c", type="noop", digest="d"),
    ]
    with world.changes() as changed, pytest.raises(IdempotencyConflict):
        world.store.enqueue(jobs)
    assert changed == {}


def test_one_full_queue_refuses_the_whole_call(make_world, settings, keys):
    world = make_world(Store(dataclasses.replace(settings, max_pending=2), keys))
    world.enqueue("a", "b", queue="full")
    jobs = [Draft(id="c", type="noop"), Draft(id="d", type="noop", queue="full")]
    with world.changes() as changed, pytest.raises(QueueFull, match=r"'full' is full: at most 2"):
        world.store.enqueue(jobs)
    assert changed == {"stats": {"refused_total": 2}}


def test_a_queue_is_full_by_what_waits_not_by_what_runs(make_world, settings, keys):
    world = make_world(Store(dataclasses.replace(settings, max_pending=2), keys))
    world.running("a", "b")
    world.enqueue("c")
    world.enqueue("d", delay=60.0)
    with pytest.raises(QueueFull):
        world.enqueue("e")
    assert world.enqueue("c") == [("c", False)]  # a repeat needs no room
    world.store.cancel("d")
    assert world.enqueue("e") == [("e", True)]


def test_a_queue_may_have_a_limit_of_its_own(world):
    world.store.command("HSET", world.store.keys.queue("small"), "max_pending", "1")
    world.enqueue("a", queue="small")
    with pytest.raises(QueueFull, match="1 jobs"):
        world.enqueue("b", queue="small")
    world.enqueue("b")


def test_retry_passes_even_when_the_queue_is_full(make_world, settings, keys):
    world = make_world(Store(dataclasses.replace(settings, max_pending=1), keys))
    hand = world.running("a")
    world.enqueue("b")
    with pytest.raises(QueueFull):
        world.enqueue("c")
    assert hand.retry("a")
    world.make_due("a")
    world.store.promote()
    assert world.list("pending:default:normal") == ["b", "a"]
    with pytest.raises(QueueFull):
        world.enqueue("c")


# What is kept.


def test_a_payload_is_kept_to_the_byte(world):
    payload = '{"n":9007199254740993,"empty":[],"deep":' + "[" * 1500 + "]" * 1500 + ',"e":1e400}'
    world.enqueue("a", payload=payload)
    assert world.worker().claim()[0].payload == payload
    assert world.field("a", "payload") == payload


def test_recent_keeps_the_newest_ids(world, monkeypatch):
    monkeypatch.setattr(calls, "RECENT_CAP", 3)
    world.enqueue("a", "b")
    world.enqueue("c", "d", "e")
    assert world.list("recent") == ["e", "d", "c"]


def test_a_waiting_job_never_expires_by_itself(world):
    world.enqueue("a")
    world.enqueue("b", delay=60.0)
    keys = world.snapshot().keys
    assert keys["job:a"].expires is keys["job:b"].expires is None


def test_times_are_the_servers(world, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1.0)
    with world.changes() as changed:
        world.enqueue("a", delay=30.0)
    assert changed["job:a"]["created_at"] == 0
    assert changed["scheduled"] == {"a": 30}
