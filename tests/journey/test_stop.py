"""Stopping: what runs may end, the rest is given back; nothing is lost, nothing charged."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tests.journey.programs import pid_of, until
from tests.journey.sites import Site


def charged(site: Site, ids: list[str]) -> list[Any]:
    return [job for job in site.store.get_many(ids) if job.failures or job.crashes]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_nothing_and_charges_nothing(
    site: Site, number: signal.Signals
) -> None:
    worker = site.worker(FERRYMAN_PROCESSES=2)
    ids = site.enqueue_notes(300, seconds=0.05)
    until(lambda: site.count("completed") >= 20)
    started = time.monotonic()
    # Ctrl-C reaches the whole group, a SIGTERM of a service manager often does, too.
    worker.signal_all(number)
    assert worker.ended() == 0
    assert time.monotonic() - started < 10
    stats = site.stats()
    done = stats.states["completed"]
    assert stats.states["pending"] == 300 - done
    assert stats.states["running"] == 0
    assert len(site.notes()) == done, "what ran was let end, and counted"
    assert site.workers() == []
    assert site.faults() == []
    site.worker()
    site.await_completed(300)
    assert Counter(site.notes()) == Counter(str(n) for n in range(300))
    assert charged(site, ids) == []


def test_a_worker_that_drains_is_shown_as_stopping(site: Site) -> None:
    worker = site.worker()
    gate = site.gate()
    site.await_running(site.hold(gate))

    def shown() -> tuple[int, int]:
        hands = site.store.scrape().hands
        return hands.running, hands.stopping

    until(lambda: shown() == (1, 0))
    worker.signal(signal.SIGTERM)
    until(lambda: shown() == (0, 1))
    gate.touch()
    assert worker.ended() == 0
    until(lambda: shown() == (0, 0))


def test_running_jobs_may_end_within_the_drain(site: Site) -> None:
    worker = site.worker()
    gate = site.gate()
    jobs = [site.hold(gate), site.hold(gate, "hold_async")]
    site.await_running(*jobs)
    site.await_listening(3)
    worker.signal(signal.SIGTERM)
    site.await_listening(0)
    late = site.enqueue("uppercase", {"input": "x"})
    time.sleep(1)
    assert worker.process.poll() is None
    gate.touch()
    assert worker.ended() == 0
    for job in jobs:
        assert (job.job().state, job.job().attempt) == ("completed", 1)
    assert late.job().state == "pending"


@pytest.mark.parametrize("type", ["hold", "hold_async", "stuck", "stuck_async"])
def test_a_job_longer_than_the_drain_goes_back_to_the_head_uncharged(site: Site, type: str) -> None:
    worker = site.worker(FERRYMAN_DRAIN=1.5, NUM_WORKERS=1)
    gate = site.gate()
    job = site.enqueue(type) if type.startswith("stuck") else site.hold(gate, type)
    site.await_running(job)
    behind = site.enqueue_notes(2)
    started = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    assert time.monotonic() - started < 3.5
    back = job.job()
    assert (back.state, back.attempt, back.failures, back.crashes) == ("pending", 1, 0, 0)
    levels = ("alone", "normal")
    key = "ferryman:{0}:pending:default:"
    lists = [site.raw.lrange(key + level, 0, -1) for level in levels]
    assert [i for ids in lists for i in ids] == [job.id, *behind]
    assert not worker.group()


def test_a_job_given_back_runs_first_when_a_worker_comes(site: Site) -> None:
    worker = site.worker(FERRYMAN_DRAIN=0, NUM_WORKERS=1)
    gate = site.gate()
    job = site.hold(gate)
    site.await_running(job)
    site.enqueue_notes(3)
    assert worker.stop() == 0
    site.worker(NUM_WORKERS=1)
    site.await_running(job, attempt=2)
    assert site.notes() == []
    gate.touch()
    site.await_completed(4)
    assert (job.job().failures, job.job().crashes) == (0, 0)


def test_a_second_signal_stops_at_once(site: Site) -> None:
    worker = site.worker()
    gate = site.gate()
    jobs = [site.hold(gate), site.enqueue("stuck")]
    site.await_running(*jobs)
    worker.signal(signal.SIGTERM)
    worker.await_event("worker.stopping")
    time.sleep(0.7)  # sooner it would be the first one, passed on by `timeout` or make
    assert worker.process.poll() is None
    started = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    assert time.monotonic() - started < 2.5
    for job in jobs:
        back = job.job()
        assert (back.state, back.attempt, back.failures, back.crashes) == ("pending", 1, 0, 0)


def test_a_signal_passed_on_to_the_group_and_the_worker_counts_once(site: Site) -> None:
    worker = site.worker()
    gate = site.gate()
    job = site.hold(gate)
    site.await_running(job)
    site.await_listening(3)
    worker.signal_all(signal.SIGTERM)
    worker.await_event("worker.stopping")
    worker.signal(signal.SIGTERM)
    site.await_listening(0)
    gate.touch()
    assert worker.ended() == 0
    assert (job.job().state, job.job().attempt) == ("completed", 1)


def test_a_child_told_to_stop_ends_its_runs_and_is_replaced(site: Site) -> None:
    worker = site.worker()
    gate = site.gate()
    job = site.hold(gate)
    site.await_running(job)
    site.await_listening(3)  # else it may not have begun to, and be told too early
    old = job.job().worker
    os.kill(pid_of(old), signal.SIGTERM)
    site.await_listening(0)
    next_one = site.enqueue("uppercase", {"input": "x"})
    gate.touch()
    assert (job.wait(20).state, job.job().attempt) == ("completed", 1)
    done = next_one.wait(20)
    assert done.worker != old
    assert done.worker in worker.children
    assert (done.attempt, site.event("recovered_total")) == (1, 0)


def test_rolling_restarts_under_load_lose_nothing_and_repeat_nothing(site: Site) -> None:
    workers = [site.worker(), site.worker()]
    done = threading.Event()
    ids: list[str] = []

    def feed() -> None:
        while not done.wait(0.02):
            ids.extend(site.enqueue_notes(5, seconds=0.02))

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        for _ in range(5):
            workers.append(site.worker())
            assert workers.pop(0).stop() == 0
    finally:
        done.set()
        feeding.join()
    site.await_completed(len(ids))
    assert Counter(site.notes()) == Counter(str(n) for n in range(len(ids)))
    assert charged(site, ids) == []


def test_a_stop_while_it_is_still_starting_is_heeded_soon(site: Site) -> None:
    # A signal that comes while a child is being forked must reach that child, too.
    site.enqueue_notes(1000, seconds=0.01)
    rng = random.Random(5)
    for _ in range(6):
        worker = site.program("worker", NUM_WORKERS=4, FERRYMAN_PROCESSES=4)
        worker.await_event("worker.started") if rng.random() < 0.3 else time.sleep(
            rng.uniform(0.25, 0.5)
        )
        started = time.monotonic()
        worker.signal(signal.SIGTERM)
        assert worker.ended() in (0, -signal.SIGTERM)
        assert time.monotonic() - started < 3, worker.text
        assert not worker.group()


def test_a_stop_while_redis_is_away_ends_in_time_and_another_takes_over(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(persist=True)
    worker = site.worker(FERRYMAN_LEASE=3, FERRYMAN_DRAIN=1)
    job = site.enqueue("stuck")
    site.await_running(job)
    site.server.stop()
    started = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    assert time.monotonic() - started < 10
    site.server.start()
    site.worker(FERRYMAN_LEASE=3)
    site.await_running(job, attempt=2)
    assert job.job().failures == 0
