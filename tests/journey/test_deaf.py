"""A worker that lives but hears nothing, or whose upkeep hangs, is replaced in its parts."""

from __future__ import annotations

import os
import signal

from tests.journey.programs import is_alive, pid_of, until
from tests.journey.sites import Site


def deafen(site: Site) -> None:
    """Its child can open no connection any more, and loses those it has."""
    site.await_listening(3)  # before that it could not even tell that the job is done
    site.enqueue("exhaust").wait(20)
    site.raw.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")


def test_a_deaf_child_is_replaced_and_ends_when_its_runs_have(site: Site) -> None:
    worker = site.worker({"kept.DEAF": 4.0})
    gate = site.gate()
    held = site.hold(gate)
    site.await_running(held)
    deafen(site)
    job = site.enqueue("uppercase", {"input": "x"})
    assert job.wait(40).worker in worker.children[1:]
    worker.await_event("child.leaving", worker=worker.children[0])
    assert held.job().state == "running"
    gate.touch()
    # Its result cannot be told: the run is given back, and nobody is to blame.
    done = held.wait(40)
    assert (done.state, done.attempt, done.crashes, done.failures) == ("completed", 2, 0, 0)
    killed = worker.await_event("child.killed", worker=worker.children[0])
    assert killed["reason"].startswith("it has heard nothing of Redis for ")
    assert not is_alive(pid_of(worker.children[0]))


def test_how_long_ago_a_worker_heard_redis_is_told_with_its_beats(site: Site) -> None:
    worker = site.worker()
    until(lambda: site.raw.hget(f"ferryman:{{0}}:worker:{worker.children[0]}", "claim_age"))
    os.kill(pid_of(worker.children[0]), signal.SIGSTOP)
    until(lambda: site.stats().claim_age > 3)
    os.kill(pid_of(worker.children[0]), signal.SIGCONT)
    until(lambda: site.stats().claim_age < 2.5)


def test_a_child_whose_loop_stands_still_is_replaced(site: Site) -> None:
    worker = site.worker({"kept.SILENCE": 3.0})
    site.await_listening(3)
    os.kill(pid_of(worker.children[0]), signal.SIGSTOP)
    worker.await_event("child.killed", reason="its loop stopped")
    assert site.enqueue("uppercase", {"input": "x"}).wait(20).state == "completed"


def test_an_upkeep_that_hangs_is_replaced_before_the_leases_end(site: Site) -> None:
    worker = site.worker({"hearing.SILENT": 3.0})
    roll = site.workers()
    hung = worker.upkeep_pid
    os.kill(hung, signal.SIGSTOP)
    worker.await_event("upkeep.killed")
    until(lambda: not is_alive(hung))
    worker.await_event("child.died", cause="upkeep: killed by SIGKILL")
    beats = f"ferryman:{{0}}:worker:{roll[0]}"
    seen = int(site.raw.hget(beats, "beat") or 0)
    until(lambda: int(site.raw.hget(beats, "beat") or 0) > seen)
    assert site.workers() == roll, "nobody was given up meanwhile"
    assert worker.children == roll
