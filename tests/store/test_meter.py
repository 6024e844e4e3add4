"""Meters: what happened to jobs, by queue and type, and what /metrics reads of all that."""

import re
from importlib import resources

import pytest

from ferryman.config import Settings
from ferryman.errors import QueueFull
from ferryman.job import Draft
from ferryman.store import Store
from ferryman.store.meters import EVENTS, PAIRS, RUN, WAIT, Histogram

NONE = Histogram((0,) * len(WAIT), 0.0)
OBSERVE = (resources.files("ferryman") / "lua/include/observe.lua").read_text("utf-8")


def meter(world, queue="default", type="noop"):
    """The meter of one pair as /metrics reads it."""
    [found] = [m for m in world.store.scrape().meters if (m.queue, m.type) == (queue, type)]
    return found


def happened(world, **labels):
    """The events that happened, and how often."""
    return {event: n for event, n in meter(world, **labels).events.items() if n}


def raw(world, pair="default:noop"):
    """A meter as it lies in Redis."""
    return world.snapshot().value(f"metrics:{pair}", {})


def age(world, job_id, seconds, field="created_at"):
    """Make a time of a job lie this long ago."""
    now = int(world.store.command("TIME")[0])
    world.set(job_id, **{field: now - seconds})


def test_every_event_of_a_life_is_counted_once(world):
    hand = world.worker()
    world.enqueue("done", "again", "dead", "naps", "back", "stops", digest="d")
    world.enqueue("done", digest="d")
    assert len(hand.claim(6)) == 6
    world.store.cancel("stops")
    hand.finish("done")
    hand.retry("again")
    hand.bury("dead")
    hand.snooze("naps")
    hand.release("back")
    hand.cancel("stops")
    assert happened(world) == {
        "created": 6,
        "deduplicated": 1,
        "started": 6,
        "completed": 1,
        "failed": 2,
        "retried": 1,
        "dead": 1,
        "snoozed": 1,
        "released": 1,
        "cancelled": 1,
    }


def test_jobs_of_other_queues_and_types_are_counted_apart_in_one_call(world):
    drafts = [Draft(f"{q}{t}{n}", t, queue=q) for q in "ab" for t in "xy" for n in range(2)]
    world.store.enqueue(drafts)
    hand = world.worker("w", ("a", "b"))
    jobs = hand.claim(8)
    assert len(jobs) == 8
    assert hand.settle_by("finish", "ax0")
    for queue in "ab":
        for kind in "xy":
            done = {"completed": 1} if (queue, kind) == ("a", "x") else {}
            assert happened(world, queue=queue, type=kind) == {"created": 2, "started": 2} | done


@pytest.mark.parametrize("place", ["claim", "promote"])
def test_an_expired_job_is_expired_and_cancelled(world, place):
    world.enqueue("a", delay=60.0 if place == "promote" else None)
    world.set("a", expires_at=1.0)
    world.make_due("a")
    world.store.promote()
    world.worker().claim()
    assert happened(world) == {"created": 1, "expired": 1, "cancelled": 1}
    assert meter(world).total.counts[-1] == 1


@pytest.mark.parametrize("verb", ["cancel", "delete"])
@pytest.mark.parametrize("delay", [None, 60.0])
def test_a_waiting_job_that_is_cancelled_or_deleted_has_come_to_its_end(world, verb, delay):
    world.enqueue("a", delay=delay)
    getattr(world.store, verb)("a")
    assert happened(world) == {"created": 1, "cancelled": 1}
    assert meter(world).total.counts[-1] == 1
    assert meter(world).durations == {}


@pytest.mark.parametrize("verb", ["retry", "snooze", "release", "recover"])
def test_a_run_asked_to_stop_ends_as_cancelled(world, verb):
    hand = world.running("a")
    world.store.cancel("a")
    world.recover() if verb == "recover" else hand.settle_by(verb, "a")
    ended = meter(world)
    assert ended.events["cancelled"] == ended.total.counts[-1] == 1
    how = {"retry": "failed", "recover": "crashed"}.get(verb, "cancelled")
    assert set(ended.durations) == {how}
    assert ended.events["snoozed"] == ended.events["released"] == 0


def test_a_refused_settle_is_counted_in_no_meter(world):
    hand = world.running("a")
    before = raw(world)
    assert not hand.finish("a", 7)
    assert raw(world) == before


def test_refused_jobs_are_counted_in_no_meter(world, settings, make_world):
    full = make_world(Store(Settings(**{**vars(settings), "max_pending": 1}), world.store.keys))
    full.enqueue("a")
    with pytest.raises(QueueFull):
        full.enqueue("b", "c")
    assert happened(world) == {"created": 1}


# Histograms.


def test_the_bounds_in_lua_are_those_in_python():
    for name, bounds in (("RUN", RUN), ("WAIT", WAIT)):
        [told] = re.findall(rf"^local {name} = {{(.*), INF}}$", OBSERVE, re.MULTILINE)
        assert [float(b) for b in told.split(", ")] == [float(b) for b in bounds[:-1]]
        assert bounds[-1] == "inf"
        assert list(map(float, bounds)) == sorted(map(float, bounds))


def test_run_times_fall_into_their_buckets_and_sum(world):
    seconds = [0.001, 0.005, 0.3, 1.0, 2.5, 7.0, 1800.0, 5000.0]
    ids = [f"j{n}" for n in range(len(seconds))]
    hand = world.running(*ids)
    for job_id, duration in zip(ids, seconds, strict=True):
        hand.finish(job_id, seconds=duration)
    counts, total = meter(world).durations["completed"]
    assert counts == tuple(sum(s <= float(bound) for s in seconds) for bound in RUN)
    assert total == pytest.approx(sum(seconds))


def test_a_failed_run_took_the_time_since_it_started(world):
    hand = world.running("a", "b", "c")
    for job_id in "abc":
        age(world, job_id, 45.0, "started_at")
    hand.retry("a")
    hand.bury("b")
    world.recover()
    failed, crashed = (meter(world).durations[how] for how in ("failed", "crashed"))
    assert failed.counts[RUN.index("30")] == 0
    assert failed.counts[RUN.index("60")] == 2
    assert failed.sum == pytest.approx(90, abs=3)
    assert (crashed.counts[-1], crashed.sum) == (1, pytest.approx(45, abs=2))


def test_a_fresh_job_waits_from_its_creation(world):
    world.enqueue("a")
    age(world, "a", 50.0)
    world.worker().claim()
    counts, total = meter(world).wait
    assert (counts[WAIT.index("30")], counts[WAIT.index("60")]) == (0, 1)
    assert total == pytest.approx(50, abs=2)


@pytest.mark.parametrize("how", ["delay", "retry", "snooze", "release", "recover", "revive"])
def test_a_wait_begins_when_the_job_is_ready_again(world, how):
    """Not with its creation an hour before."""
    if how == "delay":
        world.enqueue("a", delay=60.0)
    else:
        hand = world.running("a")
        age(world, "a", 3600.0)
        if how == "recover":
            world.recover()
        elif how == "revive":
            hand.bury("a")
            world.store.revive("a")
        else:
            hand.settle_by(how, "a")
    age(world, "a", 3600.0)
    world.make_due("a")
    world.store.promote()
    lists = [f"pending:default:{level}" for level in ("normal", "alone")]
    before = meter(world).wait.sum
    assert world.worker("other").claim(lists=lists)
    assert meter(world).wait.sum - before < 5


def test_a_life_ends_with_completed_dead_or_cancelled_and_counts_from_its_creation(world):
    hand = world.running("a", "b", "c")
    for job_id in "abc":
        age(world, job_id, 100.0)
    hand.retry("a")
    assert meter(world).total == NONE
    hand.finish("b")
    hand.bury("c")
    world.store.cancel("a")
    counts, total = meter(world).total
    assert (counts[WAIT.index("60")], counts[WAIT.index("300")]) == (0, 3)
    assert total == pytest.approx(300, abs=6)


@pytest.mark.parametrize("junk", ["", "x", "nan", "inf", "-inf", "1e400", "9" * 40, "-1", "0x10"])
@pytest.mark.parametrize("field", ["created_at", "ready_at", "started_at", "type"])
def test_a_damaged_record_neither_stops_a_verb_nor_spoils_a_sum(world, field, junk):
    world.enqueue("a", "b")
    hand = world.worker()
    for job_id in "ab":
        world.set(job_id, **{field: junk})
    assert len(hand.claim(2)) == 2
    for job_id in "ab":
        world.set(job_id, **{field: junk})
    assert hand.finish("a")
    assert hand.retry("b")
    hashes = world.snapshot().of_kind("hash")
    meters = [fields for name, fields in hashes.items() if name.startswith("metrics:")]
    sums = [float(n) for fields in meters for name, n in fields.items() if name.endswith(":sum")]
    assert len(sums) >= 3
    assert all(0 <= n < 1e15 for n in sums)
    assert sum(m.events["started"] for m in world.store.scrape().meters) == 2
    assert world.list("quarantine") == []


@pytest.mark.parametrize("value", ["x", "nan", "inf", "9223372036854775807", ""])
def test_a_field_of_a_meter_that_is_no_number_begins_again(world, value):
    world.enqueue("a", "b")
    for field in ("started", "wait:0.01", "wait:sum", "completed", "total:sum"):
        world.store.command("HSET", world.store.keys.meter(b"default:noop"), field, value)
    world.store.scrape()
    hand = world.worker()
    assert len(hand.claim(2)) == 2
    assert hand.finish("a")
    assert meter(world).events["started"] in (0, 2)
    assert hand.finish("b")
    assert all(n >= 0 for n in meter(world).events.values())


@pytest.mark.parametrize("key", ["labels", "metrics:default:noop"])
def test_a_meter_of_another_type_is_set_aside_and_stops_nobody(world, key):
    world.enqueue("a")
    world.store.command("SET", world.store.keys(key), "by hand")
    assert world.store.scrape().stats.total == 1
    hand = world.worker()
    assert hand.claim()
    assert hand.finish("a")
    assert happened(world) == {"started": 1, "completed": 1} | (
        {"created": 1} if key == "labels" else {}
    )
    assert [n for n in world.snapshot().keys if n.startswith(f"aside:{key}:")]


# Labels.


def test_at_most_200_pairs_are_told_apart(world):
    types = [f"t{n}" for n in range(PAIRS + 50)]
    world.store.enqueue([Draft(f"j{n}", name) for n, name in enumerate(types)])
    labels = world.snapshot().value("labels", set())
    assert len(labels) == PAIRS
    assert "other:other" in labels
    assert len([k for k in world.snapshot().keys if k.startswith("metrics:")]) == PAIRS
    read = world.store.scrape().meters
    assert sum(m.events["created"] for m in read) == len(types)
    assert meter(world, "other", "other").events["created"] == 51
    known = min(labels - {"other:other"}).removeprefix("default:")
    world.store.enqueue([Draft("known", known), Draft("late", "u", queue="q")])
    assert meter(world, type=known).events["created"] == 2
    assert meter(world, "other", "other").events["created"] == 52
    assert world.snapshot().value("labels", set()) == labels


@pytest.mark.parametrize("type", ["a b", "ü", 'a"b', "a\\b", "{x}", "x" * 128 + "y"])
def test_an_odd_name_is_counted_as_other(world, type):
    world.enqueue("a", type=type)
    assert [(m.queue, m.type) for m in world.store.scrape().meters] == [("other", "other")]


def test_a_type_may_have_a_colon_and_is_told_from_its_queue(world):
    world.enqueue("a", type="mail:send/now.v1_x-y", queue="q-1.x")
    [one] = world.store.scrape().meters
    assert (one.queue, one.type) == ("q-1.x", "mail:send/now.v1_x-y")


def test_labels_that_were_lost_come_back_with_the_next_job(world):
    hand = world.running("a", "b")
    hand.finish("a")
    world.store.command("DEL", world.store.keys("labels"))
    hand.finish("b")
    assert world.store.scrape().meters == []
    world.enqueue("c")
    assert happened(world) == {"created": 3, "started": 2, "completed": 2}


def test_what_has_no_place_leaves_no_key_of_its_own(world):
    world.running("a", type="an odd name")
    names = [n for n in world.snapshot().keys if n.startswith("metrics:")]
    assert names == ["metrics:other:other"]
    assert raw(world, "other:other")["started"] == "1"


def test_every_pair_has_every_event_from_the_start(world):
    """A series that begins with its first event hides it from rate()."""
    world.enqueue("a")
    assert set(meter(world).events) == set(EVENTS)


# What /metrics reads beside the meters.


def test_the_latency_of_a_queue_is_the_age_of_its_oldest_ready_job(world):
    world.enqueue("old", "young", priority="low")
    world.enqueue("urgent", priority="high")
    world.enqueue("later", queue="q", delay=60.0)
    age(world, "old", 500.0)
    age(world, "later", 500.0)
    latency = world.store.scrape().latency
    assert latency == {"default": pytest.approx(500, abs=2), "q": 0}


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_a_dropped_head_does_not_hide_the_oldest(world, verb):
    world.enqueue("gone", "old")
    age(world, "old", 500.0)
    getattr(world.store, verb)("gone")
    assert world.store.scrape().latency["default"] == pytest.approx(500, abs=2)


def test_jobs_of_a_paused_queue_and_those_to_run_alone_wait_too(world):
    world.running("a")
    world.recover()
    age(world, "a", 500.0, "ready_at")
    assert world.store.scrape().latency["default"] == pytest.approx(500, abs=2)
    world.store.pause("default")
    assert world.store.scrape().latency["default"] == pytest.approx(500, abs=2)


def test_a_queue_whose_jobs_all_run_has_no_latency(world):
    world.running("a")
    age(world, "a", 500.0)
    assert world.store.scrape().latency == {"default": 0}


def test_the_oldest_dead_letter_of_each_queue(world):
    hand = world.worker("w", ("a", "b", "c"))
    world.enqueue("a1", "a2", queue="a")
    world.enqueue("b1", queue="b")
    world.enqueue("c1", queue="c")
    hand.claim(4)
    for job_id in ("b1", "a1", "a2"):
        hand.bury(job_id)
    hand.finish("c1")
    age(world, "a1", 9000.0, "completed_at")
    age(world, "b1", 50.0, "completed_at")
    read = world.store.scrape()
    assert read.oldest_dead == {
        "a": pytest.approx(9000, abs=2),
        "b": pytest.approx(50, abs=2),
        "c": 0,
    }
    assert {q: counts["failed"] for q, counts in read.stats.queues.items()} == {
        "a": 2,
        "b": 1,
        "c": 0,
    }


def test_workers_are_running_stopping_or_lost_and_their_slots_count_for_each_queue(world):
    def register(name, slots, queues, busy):
        about = {"host": "h", "slots": slots, "queues": ",".join(queues)}
        world.store.register(name, queues, about)
        world.store.beat("sup", {name: busy}, queues, stopping=name == "stops")

    register("one", 5, ["a", "b"], 2)
    register("stops", 3, ["b"], 3)
    register("lost", 7, ["a"], 1)
    world.store.command("ZADD", world.store.keys("workers"), "1", "lost")
    world.store.command("HSET", world.store.keys.worker("one"), "queues", "a,b,unknown")
    hands = world.store.scrape().hands
    assert (hands.running, hands.stopping, hands.lost) == (1, 1, 1)
    assert hands.busy == {"a": 2, "b": 5}
    assert hands.idle == {"a": 3, "b": 3}


def test_a_queue_may_have_a_limit_of_its_own(world):
    world.enqueue("a")
    world.enqueue("b", queue="q")
    world.store.command("HSET", world.store.keys.queue("q"), "max_pending", "7")
    world.store.command("HSET", world.store.keys.queue("default"), "max_pending", "x")
    assert world.store.scrape().limits == {"q": 7}


def test_memory_is_told_in_bytes(world):
    used, most = world.store.scrape().memory
    assert used > 100_000
    assert most == 0


# Leases.


def expire_lease(world, worker="w"):
    world.store.command("ZADD", world.store.keys("workers"), "1", worker)


def test_runs_of_a_worker_that_fell_silent_are_counted(world):
    world.running("a", "b")
    expire_lease(world)
    world.recover()
    assert meter(world).leases_expired == 2
    assert happened(world)["recovered"] == 2


def test_runs_given_back_uncharged_by_a_worker_that_fell_silent_are_counted_as_well(world):
    world.begun_behind_a_wait("a")
    expire_lease(world)
    world.recover(is_silent=True)
    assert meter(world).leases_expired == 1
    assert happened(world)["recovered"] == 1


def test_runs_of_a_worker_seen_to_die_are_not(world):
    world.running("a")
    world.recover()
    assert meter(world).leases_expired == 0


def test_a_long_list_is_counted_over_all_calls(world):
    ids = [f"j{n}" for n in range(250)]
    hand = world.worker()
    world.enqueue(*ids)
    assert len(hand.claim(200)) + len(hand.claim(50)) == 250
    expire_lease(world)
    assert world.recover().left == 50
    assert world.recover().left == 0
    assert meter(world).leases_expired == 250
    assert "worker:w" not in world.snapshot().keys


def test_reading_changes_nothing(world):
    world.running("a", "b")
    before = world.snapshot().keys
    world.store.scrape()
    assert world.snapshot().keys == before
