"""repair: what is mended stands as if nothing had happened, and what has moved on is left alone."""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter

import pytest
from redis.exceptions import ResponseError

from ferryman.check import inspect, keyspace, repair
from ferryman.check.repair import apply
from ferryman.config import Settings
from ferryman.errors import StoreUnavailable
from ferryman.store import calls
from ferryman.store.audit import Audit

NORMAL, HIGH, LOW = (f"pending:default:{level}" for level in ("normal", "high", "low"))
ALONE = "pending:default:alone"


def one(town, kind):
    """The only finding there is."""
    [finding] = town.findings()
    assert finding.kind == kind
    return finding


def test_a_lost_job_comes_to_the_head_of_its_list(town):
    town.redis("LREM", f"/{NORMAL}", 1, "p2")
    assert one(town, "lost").remedy == "push it to the head of its list"
    with town.world.changes() as changed:
        town.repair()
    assert changed == {NORMAL: ["p2", "p1", "cancelled", "deleted", "revived"]}
    assert town.world.worker("new").claim()[0].id == "urgent"
    assert town.world.worker("newer").claim()[0].id == "p2"


def test_a_lost_job_of_a_paused_queue_is_held(town):
    town.redis("LREM", "/held:other:normal", 1, "h2")
    town.repair()
    assert town.world.list("held:other:normal") == ["h2", "h1"]


def test_a_lost_job_that_must_run_alone_comes_to_the_list_for_that(town):
    town.redis("DEL", f"/{ALONE}")
    town.repair()
    assert town.world.list(ALONE) == ["crashed"]


def test_a_lost_run_waits_again_uncharged_and_its_late_result_is_refused(town):
    town.redis("LREM", "/running:w", 1, "run")
    with town.world.changes() as changed:
        town.repair()
    assert changed == {
        NORMAL: ["run", "p1", "p2", "cancelled", "deleted", "revived"],
        "job:run": {"state": "pending", "updated_at": 0},
        "queue:default": {"running": -1, "pending": 1},
        "stats": {"running": -1, "pending": 1},
    }
    hand = town.world.unregistered("w")
    assert not hand.finish("run")
    assert town.world.stat("fenced_total") == 1


def test_a_lost_job_that_waits_for_a_time_waits_for_it_again(town):
    run_at = float(town.world.field("later", "run_at"))
    town.redis("ZREM", "/scheduled", "later")
    town.repair()
    assert float(town.redis("ZSCORE", "/scheduled", "later")) == pytest.approx(run_at, abs=0.001)


def test_where_a_live_id_lies_is_the_truth(town):
    """A running job in a pending list waits; one in the set is scheduled."""
    town.redis("LMOVE", "/running:w", f"/{LOW}", "LEFT", "LEFT")
    town.redis("HSET", "/job:run", "priority", "low")
    with town.world.changes() as changed:
        town.repair()
    assert changed == {
        "job:run": {"state": "pending", "updated_at": 0},
        "queue:default": {"running": -1, "pending": 1},
        "stats": {"running": -1, "pending": 1},
    }


def test_a_finished_job_does_not_run_again(town):
    town.redis("LPUSH", f"/{NORMAL}", "done")
    with town.world.changes() as changed:
        town.repair()
    [line] = changed.pop("quarantine")
    assert (line["element"], line["from"], line["reason"]) == (
        "done",
        NORMAL,
        "in a list, but completed",
    )
    assert changed == {
        NORMAL: ["p1", "p2", "cancelled", "deleted", "revived"],
        "stats": {"quarantined_total": 1},
    }


def test_the_second_entry_goes_and_the_first_stays_in_its_place(town):
    town.redis("RPUSH", f"/{NORMAL}", "p1")
    with town.world.changes() as changed:
        town.repair()
    assert changed == {NORMAL: ["p1", "p2", "cancelled", "deleted", "revived"]}


def test_a_foreign_element_is_kept_with_the_reason(town):
    town.redis("RPUSH", f"/{LOW}", b"\xff")
    with town.world.changes() as changed:
        town.repair()
    [line] = changed["quarantine"]
    assert (line["from"], line["reason"]) == (LOW, "no such job")
    assert changed["stats"] == {"quarantined_total": 1}
    assert changed[LOW] == []


def test_the_list_of_nobody_is_recovered_like_that_of_a_dead_worker(town):
    town.redis("RENAME", "/running:w", "/running:ghost")
    town.redis("HSET", "/job:run", "worker", "ghost")
    mended, after = town.repair()
    assert ("ownerless", "running:ghost") in {(f.kind, f.subject) for f in mended}
    assert after.findings == []
    assert town.world.field("run", "crashes") == "1"
    assert town.world.field("claimed", "crashes") is None
    assert town.world.list(NORMAL)[0] == "claimed"
    assert town.world.list(ALONE) == ["run", "crashed"]
    assert town.redis("ZSCORE", "/reaped", "ghost")


def test_a_record_that_is_no_hash_makes_way_and_its_entry_is_set_aside(town):
    """Two rounds: only when the key is gone can the entry be seen for what it is."""
    town.redis("DEL", "/job:p1")
    town.redis("SET", "/job:p1", "precious")
    mended, after = town.repair()
    assert Counter(f.kind for f in mended) == {"wrong_type": 1, "orphan": 1, "counter": 1}
    assert after.findings == []
    [aside] = [k for k in town.world.snapshot().keys if k.startswith("aside:job:p1:")]
    assert town.world.snapshot().value(aside, None) == "precious"


def test_counters_that_were_lost_are_counted_again(town):
    before = town.world.snapshot()
    town.redis("DEL", "/queue:default")
    town.redis("DEL", "/stats")
    _, after = town.repair()
    assert after.findings == []
    counted = town.world.snapshot()
    live = ("pending", "running", "scheduled")
    for key in ("stats", "queue:default"):
        old, new = before.value(key, {}), counted.value(key, {})
        assert {n: new[n] for n in live} == {n: old[n] for n in live}


@pytest.mark.parametrize("name", ["recent", "quarantine", "finished"])
def test_a_list_over_its_cap_is_cut(town, name, monkeypatch):
    monkeypatch.setattr(keyspace, "CAPS", {name: 1})
    monkeypatch.setattr(keyspace, "ROOM", 0)
    monkeypatch.setattr(calls, "FINISHED_CAP", 1)
    for n in range(3):
        town.redis("LPUSH", f"/{name}", f"old{n}")
    length = len(town.world.list(name))
    assert one(town, "overlong").what == f"{length} elements, its cap is 1"
    _, after = town.repair()
    assert after.findings == []
    assert town.world.list(name) == ["old2"]


@pytest.mark.parametrize("priority", ["high", "normal"])
def test_an_id_deep_in_a_long_list_is_not_lost(town, priority):
    """The last look is at the ends of a long list; the walks before it saw the middle."""
    ids = [f"j{n:05}" for n in range(25_000)]
    for start in range(0, len(ids), 1000):
        town.world.enqueue(*ids[start : start + 1000], priority=priority)
    assert town.findings() == []
    town.redis("LREM", f"/pending:default:{priority}", 1, ids[12_500])
    assert [f.subject for f in town.findings()] == [ids[12_500]]
    town.redis("RPUSH", f"/pending:default:{priority}", ids[12_501])
    assert {(f.kind, f.subject) for f in town.findings()} == {
        ("lost", ids[12_500]),
        ("extra", ids[12_501]),
    }
    _, after = town.repair()
    assert after.findings == []
    listed = town.world.list(f"pending:default:{priority}")
    assert ids[12_500] in listed[:2]
    assert [i for i in listed if i.startswith("j")][1:] == [i for i in ids if i != ids[12_500]]


def test_a_repair_that_comes_too_late_changes_nothing(town):
    """Found, and then it moved: the evidence holds no longer."""
    town.redis("LREM", f"/{NORMAL}", 1, "p1")
    town.redis("RPUSH", f"/{NORMAL}", "p2", "ghost")
    town.redis("LREM", "/dlq", 1, "failed")
    report = town.inspect()
    assert Counter(f.kind for f in report.findings) == {
        "lost": 1, "extra": 1, "orphan": 1, "unlisted": 1,
    }  # fmt: skip
    town.redis("LPUSH", f"/{NORMAL}", "p1")
    town.redis("LREM", f"/{NORMAL}", 1, "p2")
    town.redis("LREM", f"/{NORMAL}", 1, "ghost")
    town.world.store.revive("failed")
    with town.world.changes() as changed:
        assert apply(town.audit, report) == []
    assert changed == {}


def test_a_repair_done_twice_is_done_once(town):
    for plant in (
        ("LREM", f"/{NORMAL}", 1, "p1"),
        ("RPUSH", f"/{NORMAL}", "ghost", "p2"),
        ("ZREM", "/scheduled", "later"),
        ("PERSIST", "/job:done"),
        ("SREM", "/queues", "other"),
        ("SET", "/idem:k", "ghost", "EX", 9),
        ("SET", "/wake", "x"),
    ):
        town.redis(*plant)
    report = town.inspect()
    assert len(apply(town.audit, report)) == len(report.findings) == 8
    with town.world.changes() as changed:
        assert apply(town.audit, report) == []
    assert changed == {}


def test_a_job_without_a_type_is_left_to_a_person(town):
    town.redis("HDEL", "/job:p1", "type")
    with town.world.changes() as changed:
        mended, after = town.repair()
    assert mended == []
    assert changed == {}
    [finding] = after.findings
    assert (finding.kind, finding.subject, finding.repair) == ("corrupt", "p1", None)
    assert "HSET" in finding.remedy
    town.redis("HINCRBY", "/stats", "created_total", 1)
    assert Counter(f.kind for f in town.findings()) == {"corrupt": 1, "counter": 1}


def test_a_job_with_a_foreign_state_in_no_place_is_left_to_a_person(town):
    town.redis("HSET", "/job:done", "state", "sleeping")
    mended, after = town.repair()
    assert mended == []
    assert [(f.kind, f.subject, f.repair) for f in after.findings] == [("corrupt", "done", None)]


def test_a_repair_works_while_memory_is_full_and_after_script_flush(
    start_server, redis_kind, make_world
):
    server = start_server(binary="redis-server" if redis_kind == "redis" else None)
    audit = Audit(Settings(redis_url=server.url))
    world = make_world(audit)
    world.running("a", "b")
    for name in ("a", "b"):
        audit.command("LREM", audit.keys.running("w"), "1", name)
    audit.command("HINCRBY", audit.keys("stats"), "created_total", "5")
    audit.command("HSET", audit.keys.worker("ghost"), "beat", "1")
    audit.command("CONFIG", "SET", "maxmemory", "1")
    audit.command("SCRIPT", "FLUSH")
    mended, after = repair(audit, inspect(audit, settle=0.0), settle=0.0)
    assert Counter(f.kind for f in mended) == {"lost": 2, "stray": 1, "counter": 1}
    assert after.findings == []


def test_data_of_a_newer_version_is_left_alone(town):
    town.redis("HSET", "/meta", "schema", 2)
    mended, after = town.repair()
    assert mended == []
    assert [f.kind for f in after.findings] == ["schema"]


def test_everything_wrong_at_once_is_mended_and_every_job_still_runs(town):
    """Whatever was broken, what was waiting runs, each job once."""
    for words in (
        ("LREM", f"/{NORMAL}", 1, "p1"),
        ("RPUSH", f"/{HIGH}", "p2", "p2", "done", "ghost"),
        ("LREM", "/running:w", 1, "run"),
        ("ZREM", "/scheduled", "retried"),
        ("ZADD", "/scheduled", 1, "claimed"),
        ("LREM", "/dlq", 1, "failed"),
        ("RENAME", f"/{ALONE}", "/running:ghost"),
        ("RENAME", "/held:other:normal", "/pending:other:normal"),
        ("DEL", "/stats"),
        ("SREM", "/queues", "default"),
        ("HSET", "/job:urgent", "state", "scheduled", "attempt", "x"),
    ):
        town.redis(*words)
    _, after = town.repair()
    assert after.findings == []
    world = town.world
    world.store.resume("other")
    world.recover("w")
    world.make_due("retried", "snoozed", "later", "claimed")
    world.store.promote()
    hand = world.worker("new", queues=("default", "other"))
    lists = [*hand.port.lists, ALONE]
    done = []
    while jobs := hand.claim(50, lists=lists):
        for job in jobs:
            assert hand.finish(job.id, job.attempt)
            done.append(job.id)
    assert sorted(done) == sorted(
        "p1 p2 run retried snoozed later claimed crashed urgent revived h1 h2".split()
    )
    assert sorted(world.list("dlq")) == ["buried", "failed"]
    assert {json.loads(line)["element"] for line in world.list("quarantine")} == {"done", "ghost"}
    assert town.findings() == []


FIELDS = (
    "state queue priority worker dropped attempt failures crashes max_attempts settled type "
    "deleted lies_in run_at alone expires_at idempotency_key"
).split()
VALUES = [
    "", "x", "0", "-1", "3", "9" * 21, b"\xff\x00", "pending", "running", "completed", "failed",
    "scheduled", "cancelled", "w", "default", "other", "1e5", "nan",
]  # fmt: skip


def harm(town, roll, snapshot):
    """One command somebody might have sent by mistake; it may be refused."""
    names = ["/" + name for name in snapshot.keys]
    lists = ["/" + name for name in snapshot.of_kind("list")]
    jobs = [name for name in names if name.startswith("/job:")]
    ids = [name.removeprefix("/job:") for name in jobs] + VALUES
    key, job, value = roll.choice(names), roll.choice(jobs), roll.choice(VALUES)
    return roll.choice(
        [
            ("DEL", key), ("SET", key, value), ("SADD", key, value), ("EXPIRE", key, 1000),
            ("PERSIST", key), ("RENAME", key, roll.choice(names)), ("LPOP", roll.choice(lists)),
            ("HSET", job, roll.choice(FIELDS), value), ("HSET", job, roll.choice(FIELDS), value),
            ("HDEL", job, roll.choice(FIELDS)), ("LPUSH", roll.choice(lists), roll.choice(ids)),
            ("RPUSH", key, roll.choice(ids)), ("ZADD", "/scheduled", 2e9, roll.choice(ids)),
            ("ZADD", "/workers", roll.choice([1, 9e12]), roll.choice(["w", "ghost", ""])),
            ("ZREM", "/workers", "w"), ("HINCRBY", "/queue:default", "pending", 9),
            ("HSET", "/stats", roll.choice(["pending", "running", "created_total"]), value),
        ]
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(100))
def test_whatever_was_done_to_the_data_it_is_mended_and_work_goes_on(town, seed):
    """What is left needs a person; no script fails on it, and every job that can run does."""
    roll, snapshot, done = random.Random(seed), town.world.snapshot(), []
    for _ in range(roll.randint(1, 8)):
        done.append(harm(town, roll, snapshot))
        with contextlib.suppress(ResponseError, StoreUnavailable):
            town.redis(*done[-1])
    _, after = town.repair()
    assert [f for f in after.findings if f.repair] == [], done
    for queue in ("default", "other"):
        town.world.store.resume(queue)
    hand = town.world.worker("new", queues=("default", "other"))
    while jobs := hand.claim(50, lists=[*hand.port.lists, ALONE]):
        assert all(hand.finish(job.id, job.attempt) for job in jobs), done


def test_what_a_repair_says_it_would_do_is_words_for_every_act(town):
    """A dry run can be read: no act without words."""
    town.redis("HSET", "/job:cancelled", "dropped", 3)
    town.redis("LREM", f"/{NORMAL}", 1, "deleted")
    town.redis("HSET", "/job:p1", "crashes", 9)
    remedies = {f.subject: f.remedy for f in town.findings()}
    assert remedies == {
        "cancelled": "set dropped to '1'",
        "deleted": "delete what is left of it",
        "p1": "set crashes to '3'",
    }
