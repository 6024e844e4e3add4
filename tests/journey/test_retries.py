"""Failed runs: the waits between them, the dead letters at the end, and the way back."""

from __future__ import annotations

import json

import pytest
from tests.journey.programs import until
from tests.journey.sites import Site

from ferryman.lifecycle import State


def test_three_runs_with_waits_of_1_and_2_seconds_then_the_dead_letters(site: Site) -> None:
    site.worker()

    def act() -> float:
        handle = site.enqueue("fail", {"message": "no"})
        due = []
        for attempt in (1, 2):
            until(lambda: handle.job().failures == attempt, within=5)  # noqa: B023
            job = handle.job()
            assert job.state == "scheduled"
            due.append(job.run_at)
        dead = handle.wait(10)
        assert (dead.state, dead.attempt, dead.failures) == ("failed", 3, 3)
        assert [e["attempt"] for e in dead.errors] == [1, 2, 3]
        failed = [e["failed_at"] for e in dead.errors]
        assert due[0] - failed[0] == pytest.approx(1, rel=0.1, abs=0.002)
        assert due[1] - failed[1] == pytest.approx(2, rel=0.1, abs=0.002)
        # The run takes no time: when it failed is when it started.
        late = [failed[1] - due[0], failed[2] - due[1]]
        assert min(late) >= 0
        return max(late)

    site.keeps(0.25, act)


def test_a_dead_letter_is_read_with_lrange_and_hgetall(site: Site) -> None:
    site.worker()
    first = site.enqueue("fail", {"message": "first"}, max_attempts=1)
    first.wait(20)
    second = site.enqueue("fail", {"message": "second"}, max_attempts=1, priority="high")
    second.wait(20)
    assert site.raw.lrange("ferryman:{0}:dlq", 0, 9) == [second.id, first.id]
    fields = site.raw.hgetall(f"ferryman:{{0}}:job:{second.id}")
    assert fields["type"] == "fail"
    assert fields["state"] == "failed"
    assert fields["payload"] == '{"message":"second"}'
    assert (fields["priority"], fields["attempt"], fields["failures"]) == ("high", "1", "1")
    assert fields["error"] == "RuntimeError: second"
    entry = json.loads(fields["errors"])
    assert entry["error"] == "RuntimeError: second"
    assert "RuntimeError: second" in entry["traceback"]
    assert site.raw.ttl(f"ferryman:{{0}}:job:{second.id}") == -1


def test_a_revived_dead_letter_runs_again(site: Site) -> None:
    site.worker()
    handle = site.enqueue("newcomer", {"succeed_at": 3}, max_attempts=1)
    assert handle.wait(20).state == "failed"
    assert site.store.revive(handle.id) is State.FAILED
    until(lambda: handle.job().attempt == 2)
    again = handle.wait(20)
    assert (again.state, again.failures, again.crashes) == ("failed", 1, 0)
    site.store.revive(handle.id)
    until(lambda: handle.job().attempt == 3)
    done = handle.wait(20)
    assert (done.state, done.result, done.error) == ("completed", "3", None)
    assert site.raw.llen("ferryman:{0}:dlq") == 0


def test_jobs_that_wait_for_their_retry_occupy_no_slot(site: Site) -> None:
    site.worker(NUM_WORKERS=5)
    waiting = [site.enqueue("fail", backoff={"base": 60, "cap": 60}) for _ in range(5)]
    until(lambda: all(job.job().state == "scheduled" for job in waiting))

    def act() -> float:
        job = site.enqueue("uppercase", {"input": "x"}).wait(20)
        assert job.state == "completed"
        return float(job.started_at - job.created_at)

    site.keeps(0.1, act)
    assert all(job.job().state == "scheduled" for job in waiting)


def test_a_due_job_starts_within_250_ms(site: Site) -> None:
    site.worker()

    def act() -> float:
        job = site.enqueue("uppercase", {"input": "x"}, delay=0.5).wait(20)
        assert job.started_at >= job.run_at
        return float(job.started_at - job.run_at)

    site.keeps(0.25, act)


def test_a_job_due_before_all_others_is_not_slept_over(site: Site) -> None:
    site.worker()
    site.enqueue("uppercase", {"input": "x"}, delay=600)
    site.await_listening(3)  # upkeep sleeps, too

    def act() -> float:
        job = site.enqueue("uppercase", {"input": "x"}, delay=0.3).wait(20)
        return float(job.started_at - job.run_at)

    site.keeps(0.25, act)


def test_an_unknown_type_is_retried_until_a_worker_knows_it(site: Site) -> None:
    old = site.worker(FERRYMAN_APP="ferryman_worker.jobs:ferry")
    gate = site.gate()
    job = site.hold(gate)
    until(lambda: job.job().failures == 1)
    assert job.job().error == "unknown job type: hold"
    assert old.stop() == 0
    site.worker()
    gate.touch()
    done = job.wait(20)
    assert (done.state, done.failures) == ("completed", 1)


def test_an_unknown_type_ends_in_the_dead_letters(site: Site) -> None:
    site.worker()
    job = site.enqueue("unheard-of", max_attempts=1).wait(20)
    assert (job.state, job.error) == ("failed", "unknown job type: unheard-of")


def test_a_payload_that_does_not_fit_is_not_retried(site: Site) -> None:
    site.worker()
    job = site.enqueue("uppercase", {"inptu": "x"}).wait(20)
    assert (job.state, job.attempt) == ("failed", 1)
    assert "input" in job.error


def test_a_hundred_failures_at_once_do_not_come_back_at_once(site: Site) -> None:
    site.worker()
    ids = [site.enqueue("fail", max_attempts=2).id for _ in range(100)]
    until(lambda: site.count("failed") == 100, within=60)
    waits = [job.started_at - job.errors[0]["failed_at"] for job in site.store.get_many(ids)]
    assert min(waits) >= 0.9
    assert max(waits) - min(waits) > 0.1
