"""claim: pending -> running. What BLMOVE delivered is begun, then more is taken from the lists."""

import select
import time

import pytest

from ferryman.job import Draft
from ferryman.keys import ALONE, LEVELS
from ferryman.lifecycle import State
from ferryman.store import wire


def begun(attempt=1, worker="w", **more):
    """The fields that beginning writes; 65 is the default time limit and grace."""
    fields = {"state": "running", "attempt": attempt, "worker": worker, "started_at": 0}
    return fields | {"deadline": 65} | more


def moved(n=1):
    return {"pending": -n, "running": n}


def test_a_claimed_job_is_running_and_owned(world):
    hand = world.worker()
    world.enqueue("a", "b")
    with world.changes() as changed:
        [job] = hand.claim(1)
    assert (job.id, job.attempt, job.type, job.payload) == ("a", 1, "noop", "{}")
    assert (job.queue, job.priority, job.failures, job.crashes) == ("default", "normal", 0, 0)
    assert changed == {
        "pending:default:normal": ["b"],
        "running:w": ["a"],
        "job:a": begun(),
        "stats": moved(),
        "queue:default": moved(),
    }


def test_a_delivered_id_begins(world):
    hand = world.worker()
    world.enqueue("a")
    assert hand.deliver() == "a"
    with world.changes() as changed:
        assert [job.id for job in hand.begin("a")] == ["a"]
    assert changed == {"job:a": begun(), "stats": moved(), "queue:default": moved()}


def test_the_deadline_is_the_jobs_own_time_limit_and_the_grace(world):
    world.enqueue("a", timeout=100.0)
    with world.changes() as changed:
        [job] = world.worker().claim()
    assert job.timeout == 100.0
    assert changed["job:a"]["deadline"] == 105


def test_higher_levels_come_first_and_each_is_first_in_first_out(world):
    for level in ("low", "normal", "high"):
        world.enqueue(f"{level}-1", f"{level}-2", priority=level)
    ids = [job.id for job in world.worker().claim(5)]
    assert ids == ["high-1", "high-2", "normal-1", "normal-2", "low-1"]


def test_no_more_is_claimed_than_there_are_free_slots(world):
    world.enqueue(*"abcde")
    hand = world.worker()
    turn = hand.turn(2)
    assert [job.id for job in turn.jobs] == ["a", "b"]
    assert not turn.more
    assert world.list("pending:default:normal") == ["c", "d", "e"]


def test_a_worker_takes_only_from_the_lists_it_serves(world):
    world.enqueue("mail", queue="mail")
    world.enqueue("default")
    assert [job.id for job in world.worker("m", ("mail",)).claim(5)] == ["mail"]


def test_the_attempt_only_grows(world):
    hand = world.running("a")
    hand.release("a")
    assert hand.claim()[0].attempt == 2
    hand.snooze("a", 2)
    world.make_due("a")
    world.store.promote()
    assert hand.claim()[0].attempt == 3
    hand.bury("a", 3)
    world.store.revive("a")
    assert hand.claim()[0].attempt == 4


def test_a_listener_brings_ids_in_the_order_of_the_list(world):
    hand = world.worker()
    world.enqueue("a", "b")
    listener = hand.port.listeners[1]
    assert listener.name == "pending:default:normal"
    for expected in ("a", "b"):
        listener.arm()
        assert listener.take().id == expected
    listener.arm()
    world.enqueue("c")  # the waiting BLMOVE is served at once
    assert listener.take().id == "c"
    assert world.list("running:w") == ["a", "b", "c"]


def taken(hand):
    """Everything that waits on the listeners: ids that are still to be begun, and begun jobs."""
    ids, jobs = [], []
    for listener in hand.port.listeners:
        if select.select([listener], [], [], 0.2)[0]:
            found, turn = hand.port.take(listener)
            ids, jobs = ids + found, jobs + [(job.id, job.attempt) for job in turn.jobs]
    return ids, jobs


@pytest.fixture
def waiter(world):
    """A worker whose server knows the scripts, as after any first claim."""
    hand = world.worker()
    hand.claim()
    return hand


def test_with_a_slot_for_each_list_what_a_wait_brings_is_begun(world, waiter):
    hand = waiter
    hand.port.listen(len(hand.port.listeners))
    world.enqueue("a", payload='{"n":1}')
    assert taken(hand) == ([], [("a", 1)])
    job = world.store.get("a")
    assert (job.state, job.worker) == (State.RUNNING, "w")
    assert hand.finish("a")


def test_without_a_slot_for_each_list_a_wait_brings_the_id_only(world, waiter):
    hand = waiter
    hand.port.listen(len(hand.port.listeners) - 1)
    world.enqueue("a")
    assert taken(hand) == (["a"], [])
    assert world.store.get("a").attempt == 0
    assert [job.id for job in hand.begin("a")] == ["a"]


def test_two_waits_that_end_at_once_bring_each_job_once(world, waiter):
    """Redis serves both before it looks at the claim behind either."""
    hand = waiter
    hand.port.listen(len(hand.port.listeners))
    while b"blocked_clients:3" not in world.store.command("INFO", "clients"):
        time.sleep(0.01)
    world.store.enqueue([Draft(id=level, type="noop", priority=level) for level in LEVELS])
    ids, jobs = taken(hand)
    assert sorted(jobs) == [("high", 1), ("low", 1), ("normal", 1)]
    assert hand.begin(*ids) == []


def test_a_wait_that_ends_empty_begins_nothing(world, monkeypatch):
    monkeypatch.setattr(wire, "BLOCK", 0.05)
    hand = world.worker("quick")
    hand.claim()
    hand.port.listen(len(hand.port.listeners))
    time.sleep(0.2)
    assert taken(hand) == ([], [])


def test_when_the_claim_behind_a_wait_is_refused_the_id_is_left_to_the_next_one(world, waiter):
    hand = waiter
    world.store.command("SCRIPT FLUSH")
    hand.port.listen(len(hand.port.listeners))
    world.enqueue("a")
    assert taken(hand) == (["a"], [])
    assert [job.id for job in hand.begin("a")] == ["a"]


def test_a_reaped_worker_learns_of_it_from_its_wait(world, waiter):
    hand = waiter
    hand.port.listen(len(hand.port.listeners))
    world.recover()
    world.enqueue("a")
    found, turn = hand.port.take(hand.port.listeners[1])
    assert (found, turn.jobs, turn.lease_lost) == (["a"], [], True)


# The rules of begin: an id in running:W starts only if ...


def test_an_id_that_is_not_in_the_workers_list_does_not_begin(world):
    hand = world.worker()
    world.enqueue("a")
    with world.changes() as changed:
        assert hand.begin("a", "no-such-job") == []
    assert changed == {}


def test_an_id_in_another_workers_list_does_not_begin(world):
    world.enqueue("a")
    world.worker("other").deliver()
    with world.changes() as changed:
        assert world.worker("w").begin("a") == []
    assert set(changed) == {"workers", "worker:w"}


def test_a_worker_that_never_registered_begins_nothing(world):
    hand = world.unregistered("w")
    world.enqueue("a", "b")
    hand.deliver()
    with world.changes() as changed:
        turn = hand.turn(5, "a")
    assert turn.lease_lost
    assert turn.jobs == []
    assert changed == {}


def test_a_reaped_worker_begins_nothing(world):
    hand = world.worker()
    world.recover()
    world.enqueue("a", "b")
    hand.deliver()
    with world.changes() as changed:
        turn = hand.turn(5, "a")
    assert turn.lease_lost
    assert turn.jobs == []
    assert changed == {}


@pytest.mark.parametrize("verb", ["finish", "bury", "retry"])
def test_an_id_that_is_not_pending_is_set_aside_with_the_reason(world, verb):
    """Somebody pushed the id of a job that lies elsewhere: it never runs twice."""
    hand = world.running("a")
    assert hand.settle_by(verb, "a")
    state = world.field("a", "state")
    world.store.command("RPUSH", world.store.keys.pending("default", "normal"), "a")
    with world.changes() as changed:
        assert hand.claim(5) == []
    assert changed == {
        "pending:default:normal": [],
        "quarantine": [
            {"at": 0, "from": "running:w", "reason": f"in a list, but {state}", "element": "a"}
        ],
        "stats": {"quarantined_total": 1},
    }


def test_a_second_entry_of_a_running_job_is_set_aside(world):
    world.running("a")
    world.store.command("RPUSH", world.store.keys.pending("default", "normal"), "a")
    with world.changes() as changed:
        assert world.worker("other").claim(5) == []
    assert changed["quarantine"][0]["reason"] == "in a list, but running"
    assert "job:a" not in changed
    assert "running:w" not in changed


def test_an_id_without_a_job_is_set_aside(world):
    hand = world.worker()
    world.enqueue("a")
    world.store.command("LPUSH", world.store.keys.pending("default", "normal"), "ghost")
    with world.changes() as changed:
        assert [job.id for job in hand.claim(5)] == ["a"]
    assert changed["quarantine"] == [
        {"at": 0, "from": "running:w", "reason": "no such job", "element": "ghost"}
    ]
    assert world.list("running:w") == ["a"]


def test_a_job_key_of_another_type_is_set_aside(world):
    world.store.command("SET", world.store.keys.job("odd"), "text")
    world.store.command("RPUSH", world.store.keys.pending("default", "normal"), "odd")
    with world.changes() as changed:
        assert world.worker().claim(5) == []
    assert changed["quarantine"][0]["reason"] == "not a hash"
    assert changed["stats"] == {"quarantined_total": 1}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(("HDEL", "type"), "no type"), (("HSET", "attempt", "many"), "no attempt")],
)
def test_a_record_that_is_no_job_is_set_aside(world, damage, reason):
    world.enqueue("a", "b")
    command, *words = damage
    world.store.command(command, world.store.keys.job("a"), *words)
    with world.changes() as changed:
        assert [job.id for job in world.worker().claim(5)] == ["b"]
    assert [(q["element"], q["reason"]) for q in changed["quarantine"]] == [("a", reason)]
    assert "job:a" not in changed


def test_a_dropped_id_vanishes(world):
    hand = world.worker()
    world.enqueue("a", "b")
    world.store.cancel("a")
    with world.changes() as changed:
        assert [job.id for job in hand.claim(5)] == ["b"]
    assert changed == {
        "pending:default:normal": [],
        "running:w": ["b"],
        "finished": ["a"],
        "job:a": {"dropped": None, "ttl": 604_800},
        "job:b": begun(),
        "stats": moved() | {"dropped_total": 1},
        "queue:default": moved(),
    }


def test_a_delivered_id_that_was_dropped_meanwhile_vanishes(world):
    hand = world.worker()
    world.enqueue("a")
    hand.deliver()
    world.store.cancel("a")
    with world.changes() as changed:
        assert hand.begin("a") == []
    assert changed == {
        "running:w": [],
        "finished": ["a"],
        "job:a": {"dropped": None, "ttl": 604_800},
        "stats": {"dropped_total": 1},
    }


def test_a_delivered_id_of_a_paused_queue_goes_to_the_head_of_the_held_list(world):
    hand = world.worker()
    world.enqueue("a", "b", "c")
    hand.deliver()
    hand.deliver()
    world.store.pause("default")
    with world.changes() as changed:
        assert hand.begin("a", "b", free=5) == []
    assert changed == {
        "running:w": [],
        "held:default:normal": ["a", "b", "c"],
        "stats": {"returned_total": 2},
    }


# More than there are free slots for.


def test_surplus_returns_to_the_head_in_order(world):
    hand = world.worker()
    world.enqueue(*"abcdef")
    for _ in range(4):
        hand.deliver()
    with world.changes() as changed:
        jobs = hand.begin("a", "b", "c", "d", free=1)
    assert [job.id for job in jobs] == ["a"]
    assert changed == {
        "running:w": ["a"],
        "pending:default:normal": ["b", "c", "d", "e", "f"],
        "job:a": begun(),
        "stats": moved() | {"returned_total": 3},
        "queue:default": moved(),
    }


def test_surplus_returns_to_the_level_it_came_from(world):
    hand = world.worker()
    for level in ("high", "normal", "low"):
        world.enqueue(f"{level}-1", f"{level}-2", priority=level)
        hand.deliver(level)
    assert hand.begin("high-1", "normal-1", "low-1", free=0) == []
    for level in ("high", "normal", "low"):
        assert world.list(f"pending:default:{level}") == [f"{level}-1", f"{level}-2"]
    assert world.list("running:w") == []


def test_surplus_named_twice_returns_once(world):
    hand = world.worker()
    world.enqueue("a", "b")
    hand.deliver()
    assert hand.begin("a", "a", free=0) == []
    assert world.list("pending:default:normal") == ["a", "b"]


def test_what_was_delivered_begins_before_the_lists_are_asked(world):
    hand = world.worker()
    world.enqueue("low", priority="low")
    hand.deliver("low")
    world.enqueue("high", priority="high")
    assert [job.id for job in hand.turn(1, "low").jobs] == ["low"]
    assert world.list("pending:default:high") == ["high"]


# A lost reply.


def test_an_id_adopted_and_delivered_begins_once(world):
    """Its BLMOVE was taken for lost and the id adopted; then the reply arrives after all."""
    hand = world.worker()
    world.enqueue("a")
    hand.deliver()
    adopted = hand.begin(*hand.port.running(), free=5, adopt=True)
    assert [(job.id, job.attempt) for job in adopted] == [("a", 1)]
    with world.changes() as changed:
        assert hand.begin("a", free=5) == []
    assert changed == {}
    assert hand.finish("a")
    assert world.stat("processed_total") == 1


def test_an_id_adopted_and_delivered_in_one_call_begins_once(world):
    hand = world.worker()
    world.enqueue("a")
    hand.deliver()
    jobs = hand.begin("a", "a", free=5, adopt=True)
    assert [(job.id, job.attempt) for job in jobs] == [("a", 1)]


def test_a_job_begun_by_a_lost_reply_is_handed_out_again(world):
    hand = world.running("a")  # say its reply was lost
    with world.changes() as changed:
        [job] = hand.begin("a", free=1, adopt=True)
    assert (job.id, job.attempt) == ("a", 1)
    assert changed == {}


def test_a_job_begun_by_a_lost_reply_stays_until_a_slot_is_free(world):
    hand = world.running("a", "b")
    world.store.cancel("b")
    with world.changes() as changed:
        assert hand.begin("a", "b", free=0, adopt=True) == []
    assert changed == {}
    assert [job.id for job in hand.begin("a", "b", free=1, adopt=True)] == ["a"]
    assert [job.id for job in hand.begin("a", "b", free=2, adopt=True)] == ["a", "b"]


def test_a_late_copy_of_a_call_takes_no_run_away_from_a_worker_that_lives(world):
    """Its reply was lost on the way there, so it was asked again; then it arrives after all."""
    hand = world.running("a")
    late = {"free": 0, "adopt": True}
    [job] = hand.begin("a", free=1, adopt=True)
    world.store.cancel("a")
    with world.changes() as changed:
        hand.begin("a", **late)
    assert changed == {}
    assert hand.finish("a", attempt=job.attempt)


# Bounds.


def test_a_claim_stops_after_200_ids_and_says_that_there_may_be_more(world):
    ids = [f"j{n}" for n in range(250)]
    world.enqueue(*ids)
    for job_id in ids:
        world.store.cancel(job_id)
    world.enqueue("last")
    hand = world.worker()
    first, second = hand.turn(1), hand.turn(1)
    assert (first.jobs, first.more) == ([], True)
    assert [job.id for job in second.jobs] == ["last"]
    assert not second.more


def test_a_job_that_crashed_is_found_in_the_list_for_running_alone(world):
    world.running("a")
    world.recover()
    hand = world.worker("alone")
    assert hand.claim(5) == []
    [job] = hand.claim(1, lists=[world.store.keys.pending_name("default", ALONE)])
    assert (job.id, job.attempt, job.crashes) == ("a", 2, 1)
