"""The trace of a job: kept with it from enqueue on, handed out with each claim, and costs nothing
where there is none."""

import pytest

from ferryman.traceparent import Trace

LISTS = ["pending:default:normal", "pending:default:alone"]
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STATES = ["", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"]


def trace_of(job):
    return job.traceparent, job.tracestate


def test_a_job_keeps_the_trace_that_asked_for_it(world):
    with world.changes() as changed:
        world.enqueue("a", trace=Trace(PARENT, STATES[1]))
    written = changed["job:a"]
    assert (written["traceparent"], written["tracestate"]) == (PARENT, STATES[1])
    assert world.store.get("a").trace_id == PARENT[3:35]


def test_a_job_without_a_trace_has_no_field_of_one(world):
    with world.changes() as changed:
        world.enqueue("a")
    assert set(changed["job:a"]) == {"state", "created_at", "type", "payload"}
    assert world.store.get("a").trace_id is None


@pytest.mark.parametrize("state", STATES, ids=["parent", "parent and state"])
def test_each_claim_hands_the_trace_out(world, state):
    world.enqueue("a", trace=Trace(PARENT, state))
    [job] = world.worker().claim()
    assert trace_of(job) == (PARENT, state or None)
    assert (job.tags, job.meta, job.damage) == (None, None, None)


def test_a_claim_tells_jobs_with_a_trace_from_those_without(world):
    world.enqueue("a", trace=Trace(PARENT, STATES[1]))
    world.enqueue("b", meta={"k": 1})
    world.enqueue("c", trace=Trace(PARENT), meta={"k": 1})
    world.enqueue("d")
    jobs = world.worker().claim(4)
    none = (None, None)
    assert [trace_of(job) for job in jobs] == [(PARENT, STATES[1]), none, (PARENT, None), none]
    assert [job.meta for job in jobs] == [None, '{"k":1}', '{"k":1}', None]


def test_a_job_handed_out_again_after_a_lost_reply_has_its_trace(world):
    hand = world.running("a", trace=Trace(PARENT, STATES[1]))
    [job] = hand.begin("a", adopt=True)
    assert trace_of(job) == (PARENT, STATES[1])


@pytest.mark.parametrize("verb", ["retry", "snooze", "release", "bury", "finish", "recover"])
def test_the_trace_outlives_every_end_of_a_run(world, verb):
    hand = world.running("a", trace=Trace(PARENT, STATES[1]))
    if verb == "recover":
        world.recover("w")
    else:
        getattr(hand, verb)("a")
    if verb in {"bury", "finish"}:
        world.store.revive("a", "[]")
    world.make_due("a")
    world.store.promote()
    [job] = world.worker("next").claim(lists=LISTS)
    assert (job.attempt, trace_of(job)) == (2, (PARENT, STATES[1]))


def test_a_damaged_trace_is_handed_out_as_it_is_and_damages_nothing_else(world):
    world.enqueue("a", timeout=5.0)
    world.set("a", traceparent="not one", tracestate="x")
    [job] = world.worker().claim()
    assert (job.damage, job.timeout, job.traceparent) == (None, 5.0, "not one")
