"""Redis dies, freezes, forgets its scripts or drops its clients: workers wait and go on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
import redis
from tests.journey.programs import Worker, until
from tests.journey.sites import Site

from ferryman.errors import StoreUnavailable


def test_workers_go_on_after_redis_was_killed_and_nothing_is_lost(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(persist=True)
    worker = site.worker()
    ids = site.enqueue_notes(600, seconds=0.02)
    for _ in range(2):
        before = site.count("completed")
        until(lambda: site.count("completed") > before + 50)  # noqa: B023
        site.server_signal(signal.SIGKILL)
        until(lambda: site.server.exit_code() is not None)
        time.sleep(0.5)
        site.server.start()
        until(lambda: answers(site))
    site.await_completed(600)
    assert worker.process.poll() is None
    assert len(worker.children) == 1
    assert worker.events("redis.lost")
    assert worker.events("redis.back")
    # A run whose end could not be told is told later, not repeated.
    assert sorted(site.notes(), key=int) == [str(n) for n in range(600)]
    assert all(job.attempt == 1 for job in site.store.get_many(ids))


def answers(site: Site) -> bool:
    with suppress(StoreUnavailable):
        site.store.ping()
        return True
    return False


def freeze(site: Site, seconds: float) -> None:
    site.server_signal(signal.SIGSTOP)
    time.sleep(seconds)
    site.server_signal(signal.SIGCONT)


def restart(site: Site, seconds: float) -> None:
    site.server_signal(signal.SIGKILL)
    time.sleep(seconds)
    site.server.start()


@pytest.mark.parametrize("harm", [freeze, restart])
def test_a_redis_away_for_longer_than_a_lease_kills_nobody(
    make_site: Callable[..., Site], harm: Callable[[Site, float], None]
) -> None:
    site = make_site(persist=True)
    workers = [site.worker(FERRYMAN_LEASE=3) for _ in range(2)]
    roll = sorted(site.workers())
    gate = site.gate()
    jobs = [site.hold(gate) for _ in range(6)]
    site.await_running(*jobs)
    harm(site, 6)
    until(lambda: all(w.events("redis.lost") for w in workers))
    time.sleep(4.5)  # as long as a false recovery would take
    assert sorted(site.workers()) == roll
    gate.touch()
    for job in jobs:
        done = job.wait(30)
        assert (done.state, done.attempt, done.crashes) == ("completed", 1, 0)
    assert site.event("recovered_total") == 0
    assert site.event("fenced_total") == 0
    assert not any(w.events("worker.recovered") for w in workers)


def flush_scripts(raw: redis.Redis) -> None:
    raw.script_flush()


def drop_clients(raw: redis.Redis) -> None:
    raw.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")


@pytest.mark.parametrize("harm", [flush_scripts, drop_clients])
def test_work_goes_on_through_repeated_harm(
    site: Site, harm: Callable[[redis.Redis], None]
) -> None:
    workers = [site.worker() for _ in range(2)]
    site.store.close()
    ids = site.enqueue_notes(1000, seconds=0.01)
    done = threading.Event()
    times = 0

    def keep_harming() -> None:
        nonlocal times
        while not done.wait(0.25):
            harm(site.raw)
            times += 1

    harming = threading.Thread(target=keep_harming)
    harming.start()
    try:
        until(lambda: completed(site) == 1000, within=60)
    finally:
        done.set()
        harming.join()
    assert times >= 4
    twice = [j for j in site.store.get_many(ids) if j.attempt > 1]
    assert not twice, [(j.id, j.attempt, j.crashes, j.errors) for j in twice]
    assert sorted(site.notes(), key=int) == [str(n) for n in range(1000)]
    assert all(job.attempt == 1 for job in site.store.get_many(ids))
    assert all(len(w.children) == 1 for w in workers)
    assert site.event("fenced_total") == 0
    # Nothing is stuck with anybody: an idle worker's list is empty.
    until(lambda: not any(site.store.running(name) for name in site.workers()))


def completed(site: Site) -> int:
    with suppress(StoreUnavailable):
        return int(site.count("completed"))
    return 0


def flush(site: Site) -> None:
    site.raw.flushall()


def empty_server(site: Site) -> None:
    site.server.stop()
    site.server.start()


@pytest.mark.parametrize("harm", [flush, empty_server])
def test_other_data_behind_the_address_are_noticed_and_worked_on(
    site: Site, harm: Callable[[Site], None]
) -> None:
    workers = [site.worker() for _ in range(2)]
    was = site.raw.hget("ferryman:{0}:meta", "instance")
    site.enqueue("uppercase", {"input": "x"}).wait(20)
    for worker in workers:
        until(lambda: beats(site, worker) > 1)  # noqa: B023  (they have heard its name)
    harm(site)
    for worker in workers:
        noticed = worker.await_event("data.replaced")
        assert (noticed["was"], noticed["level"]) == (was, "error")
        worker.await_event("child.started", number=2)
    now = site.raw.hget("ferryman:{0}:meta", "instance")
    assert now not in (None, was)
    assert site.enqueue("uppercase", {"input": "x"}).wait(20).state == "completed"
    assert site.event("replaced_total") == 2
    assert not any(worker.events("data.replaced")[1:] for worker in workers)


def beats(site: Site, worker: Worker) -> int:
    """How often the first child of a worker was kept alive."""
    return int(site.raw.hget(f"ferryman:{{0}}:worker:{worker.children[0]}", "beat") or 0)


def test_a_worker_that_redis_has_forgotten_registers_anew(site: Site) -> None:
    worker = site.worker()
    site.await_listening(3)
    os.kill(worker.upkeep_pid, signal.SIGSTOP)  # the child is the first to find out
    site.raw.flushall()
    job = site.enqueue("uppercase", {"input": "x"})
    worker.await_event("child.died", cause="exit status 75")
    os.kill(worker.upkeep_pid, signal.SIGCONT)
    assert job.wait(20).state == "completed"
    assert len(worker.children) == 2
    assert worker.process.poll() is None
