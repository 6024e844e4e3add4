"""A worker that slept past its lease: what it brings too late is refused, and it begins anew."""

from __future__ import annotations

import signal

import pytest
from tests.journey.programs import until
from tests.journey.sites import Site


@pytest.mark.parametrize("ended_while_frozen", [True, False])
def test_the_result_of_a_worker_that_was_given_up_is_refused(
    site: Site, ended_while_frozen: bool
) -> None:
    sleeper = site.worker(FERRYMAN_LEASE=3, NUM_WORKERS=1)
    gate = site.gate()
    job = site.hold(gate)
    site.await_running(job)
    [owner] = sleeper.children
    other = site.worker(FERRYMAN_LEASE=3, NUM_WORKERS=1)
    sleeper.signal_all(signal.SIGSTOP)
    site.await_running(job, attempt=2, within=15)
    assert owner not in site.workers()
    if ended_while_frozen:
        gate.touch()
        assert job.wait(20).worker in other.children
    sleeper.signal_all(signal.SIGCONT)
    # Awake again it is told so: by its claim, its settle or its beat, whichever comes first.
    until(lambda: sleeper.events("lease.lost") or sleeper.events("child.died"))
    gate.touch()
    done = job.wait(20)
    assert (done.state, done.attempt, done.crashes, done.failures) == ("completed", 2, 1, 0)
    assert done.worker in other.children
    assert site.event("processed_total") == 1
    assert len(sleeper.events("job.completed")) == 0
    assert len(sleeper.events("job.fenced")) <= site.event("fenced_total") <= 1
    # A new incarnation takes its place: names are never used again.
    sleeper.await_event("child.started", number=2)
    assert other.stop() == 0
    last = site.enqueue("uppercase", {"input": "x"}).wait(20)
    assert last.worker in sleeper.children[1:]


def test_a_claim_made_for_a_frozen_worker_is_not_lost(site: Site) -> None:
    # Redis serves the BLMOVE of a process that cannot read the reply.
    frozen = site.worker(FERRYMAN_LEASE=3)
    site.await_listening(3)
    frozen.signal_all(signal.SIGSTOP)
    job = site.enqueue("uppercase", {"input": "x"})
    assert site.store.running(frozen.children[0]) == [job.id]
    site.worker(FERRYMAN_LEASE=3)
    done = job.wait(20)
    assert (done.state, done.attempt, done.crashes) == ("completed", 1, 0)


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
