"""A worker that slept past its lease: what it brings too late is refused, and it begins anew."""

from __future__ import annotations

import os
import signal

import pytest
from tests.journey.programs import is_alive, pid_of, until
from tests.journey.sites import Site


@pytest.mark.parametrize("ended_elsewhere", [False, True])
def test_the_late_result_of_a_worker_that_was_given_up_is_refused(
    site: Site, ended_elsewhere: bool
) -> None:
    sleeper = site.worker(FERRYMAN_LEASE=3, NUM_WORKERS=1)
    first, again = site.gate(), site.gate()
    job = site.enqueue("hold", {"gate": str(first), "again": str(again)})
    site.await_running(job)
    [owner] = sleeper.children
    other = site.worker(FERRYMAN_LEASE=3, NUM_WORKERS=1)
    sleeper.signal_all(signal.SIGSTOP)
    site.await_running(job, attempt=2, within=15)
    assert owner not in site.workers()
    if ended_elsewhere:
        again.touch()
        job.wait(20)
    # The child wakes before the others, so that it is not killed before it brings its result.
    first.touch()
    os.kill(pid_of(owner), signal.SIGCONT)
    until(lambda: site.event("fenced_total") == 1)
    sleeper.await_event("job.fenced", id=job.id, attempt=1)
    if not ended_elsewhere:
        assert (job.job().state, job.job().attempt) == ("running", 2)
        again.touch()
    done = job.wait(20)
    assert (done.result, done.attempt, done.crashes, done.failures) == ("2", 2, 1, 0)
    assert done.worker in other.children
    assert site.event("processed_total") == 1
    sleeper.signal_all(signal.SIGCONT)
    sleeper.await_event("lease.lost")
    # A new incarnation takes its place: names are never used again.
    sleeper.await_event("child.started", number=2)
    assert other.stop() == 0
    last = site.enqueue("uppercase", {"input": "x"}).wait(20)
    assert last.worker in sleeper.children[1:]


def test_a_worker_that_wakes_after_it_was_given_up_ends_what_it_runs(site: Site) -> None:
    sleeper = site.worker(FERRYMAN_LEASE=3, NUM_WORKERS=2)  # full: it asks Redis nothing itself
    gate = site.gate()
    jobs = [site.hold(gate), site.hold(gate, "hold_async")]
    site.await_running(*jobs)
    [owner] = sleeper.children
    site.worker(FERRYMAN_LEASE=3)
    sleeper.signal_all(signal.SIGSTOP)
    site.await_running(*jobs, attempt=2, within=15)
    sleeper.signal_all(signal.SIGCONT)
    until(lambda: not is_alive(pid_of(owner)))
    sleeper.await_event("child.started", number=2)
    gate.touch()
    for job in jobs:
        done = job.wait(20)
        assert (done.state, done.attempt, done.crashes) == ("completed", 2, 1)
    assert site.event("fenced_total") == 0


def test_a_claim_made_for_a_frozen_worker_is_not_lost(site: Site) -> None:
    # Redis serves the BLMOVE of a process that cannot read the reply.
    frozen = site.worker(FERRYMAN_LEASE=3)
    site.await_listening(3)
    frozen.signal_all(signal.SIGSTOP)
    job = site.enqueue("uppercase", {"input": "x"})
    assert site.store.running(frozen.children[0]) == [job.id]
    site.worker(FERRYMAN_LEASE=3)
    done = job.wait(20)
    # Begun for the frozen one, which cannot have heard of it: an attempt, but no crash.
    assert (done.state, done.attempt, done.crashes) == ("completed", 2, 0)


def test_a_worker_frozen_for_less_than_its_lease_keeps_its_jobs(site: Site) -> None:
    worker = site.worker()
    site.worker()
    gate = site.gate()
    jobs = [site.hold(gate) for _ in range(8)]
    site.await_running(*jobs)
    worker.signal_all(signal.SIGSTOP)
    gate.touch()
    until(lambda: site.count("completed") > 0)
    worker.signal_all(signal.SIGCONT)
    for job in jobs:
        assert job.wait(20).attempt == 1
    assert site.event("recovered_total") == 0
    assert site.event("fenced_total") == 0
