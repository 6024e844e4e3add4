"""Processes that die: their jobs run again soon, and nobody else pays for it."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from tests.journey.programs import is_alive, pid_of, until
from tests.journey.sites import Site


def test_jobs_of_a_killed_child_run_again_within_a_second(site: Site) -> None:
    worker = site.worker()

    def act() -> float:
        gate = site.gate()
        jobs = [site.hold(gate) for _ in range(5)]
        site.await_running(*jobs)
        [child] = {job.job().worker for job in jobs}
        os.kill(pid_of(child), signal.SIGKILL)
        taken = site.await_running(*jobs, attempt=2)
        seen = [job.job() for job in jobs]
        assert len({job.worker for job in seen}) == 5, "after a crash each runs alone"
        gate.touch()
        for job in jobs:
            done = job.wait(20)
            assert (done.state, done.crashes, done.failures) == ("completed", 1, 0)
            assert re.fullmatch(
                r"its process died: killed by SIGKILL; it had used \d+ MiB",
                done.errors[0]["error"],
            )
        return float(taken)

    site.keeps(1.0, act)
    assert worker.process.poll() is None


def test_jobs_of_a_killed_worker_run_on_another_within_17_seconds(site: Site) -> None:
    doomed = site.worker()
    gate = site.gate()
    jobs = [site.hold(gate) for _ in range(3)]
    site.await_running(*jobs)
    other = site.worker()
    site.await_beat(doomed.children[0])
    doomed.signal(signal.SIGKILL)
    assert site.await_running(*jobs, attempt=2, within=30) <= 17
    assert all(job.job().worker in other.children for job in jobs)
    gate.touch()
    for job in jobs:
        done = job.wait(20)
        assert (done.state, done.crashes, done.failures) == ("completed", 1, 0)
    assert other.events("worker.recovered", worker=doomed.children[0], recovered=3)


def test_jobs_whose_worker_is_killed_as_they_begin_are_recovered_too(site: Site) -> None:
    """Before the next beat nobody can tell whether it heard of them: charged or not, they run."""
    doomed = site.worker()
    site.await_listening(3)
    gate = site.gate()
    job = site.hold(gate)
    site.await_running(job)
    doomed.signal(signal.SIGKILL)
    site.worker()
    assert site.await_running(job, attempt=2, within=30) <= 17
    assert site.event("recovered_total") == 1
    gate.touch()
    done = job.wait(20)
    assert (done.state, done.failures) == ("completed", 0)


@pytest.mark.parametrize("type", ["stuck", "hog"])
def test_nothing_of_a_killed_worker_is_left_after_a_second(site: Site, type: str) -> None:
    def act() -> float:
        worker = site.worker()
        site.await_running(site.enqueue(type))
        assert len(worker.group()) == 3  # supervisor, upkeep, child
        worker.signal(signal.SIGKILL)
        return float(until(lambda: not worker.group()))

    site.keeps(1.0, act)


def test_poison_among_innocents_is_buried_at_three_crashes_and_they_complete(site: Site) -> None:
    site.worker()
    notes = site.folder / "notes"
    innocent = {"path": str(notes), "text": "x", "seconds": 0.5}
    jobs = [site.enqueue("note", innocent) for _ in range(3)]
    poison = [site.enqueue("exit"), site.enqueue("segfault")]
    jobs += [site.enqueue("note", innocent) for _ in range(4)]
    for job in jobs:
        done = job.wait(30)
        assert (done.state, done.failures) == ("completed", 0), done.errors
        assert done.crashes <= 2, "only crashes of one process with the poison"
    causes = {"exit": "exit status 9", "segfault": "killed by SIGSEGV"}
    for job in poison:
        dead = job.wait(30)
        assert (dead.state, dead.crashes, dead.attempt, dead.failures) == ("failed", 3, 3, 0)
        assert [e["attempt"] for e in dead.errors] == [1, 2, 3]
        _first, second, third = (e["failed_at"] for e in dead.errors)
        assert third - second >= 5, "again at once, and then only after five seconds"
        assert dead.errors[-1]["error"].startswith(f"its process died: {causes[dead.type]}; it had")
    assert {job_id for _, job_id in site.store.dead(None, 10)} == {job.id for job in poison}
    assert site.stats().events["dlq_total"] == 2


def test_a_job_that_crashed_once_takes_no_innocent_with_it_again(site: Site) -> None:
    site.worker()
    poison = site.enqueue("exit", {"after": 0.05}, max_attempts=1)
    until(lambda: poison.job().crashes)
    gate = site.gate()
    innocents = [site.hold(gate) for _ in range(4)]
    assert poison.wait(30).crashes == 3
    gate.touch()
    for job in innocents:
        done = job.wait(20)
        assert (done.state, done.attempt, done.crashes) == ("completed", 1, 0)


def test_the_error_of_a_crash_names_the_signal_and_the_memory_used(site: Site) -> None:
    site.worker()
    job = site.enqueue("gorge", {"mib": 300})
    until(lambda: job.job().crashes)
    [told] = re.findall(r"^its process died: (.*); it had used (\d+) MiB$", job.job().error or "")
    assert told[0] == "killed by SIGKILL"
    assert 300 <= int(told[1]) < 1000


def test_a_killed_upkeep_is_replaced_and_recovers_what_crashes_next(site: Site) -> None:
    worker = site.worker(FERRYMAN_LEASE=60)
    gate = site.gate()
    job = site.hold(gate)
    site.await_running(job)
    # It cannot hear of the child's death any more; without being told again the next one
    # would find out by the end of the lease.
    upkeep = worker.upkeep_pid
    os.kill(upkeep, signal.SIGSTOP)
    os.kill(pid_of(job.job().worker), signal.SIGKILL)
    worker.await_event("child.died", cause="killed by SIGKILL")
    os.kill(upkeep, signal.SIGKILL)
    worker.await_event("child.died", cause="upkeep: killed by SIGKILL")
    site.await_running(job, attempt=2, within=40)
    gate.touch()
    assert job.wait(20).crashes == 1


def test_what_redis_gives_to_a_worker_that_is_dead_is_found_and_runs_uncharged(site: Site) -> None:
    site.worker()
    gate = site.gate()
    job = site.hold(gate)
    site.await_running(job)
    dead = job.job().worker
    os.kill(pid_of(dead), signal.SIGKILL)
    site.await_running(job, attempt=2)
    stray = site.enqueue("uppercase", {"input": "x"}, queue="elsewhere")
    source, target = (
        f"ferryman:{{0}}:{n}" for n in ("pending:elsewhere:normal", f"running:{dead}")
    )
    assert site.raw.lmove(source, target) == stray.id
    until(lambda: site.raw.llen(target) == 0, within=25)
    found = stray.job()
    assert (found.state, found.attempt, found.crashes) == ("pending", 0, 0)
    assert site.raw.lrange(source, 0, -1) == [stray.id]


def test_a_process_a_handler_left_behind_dies_with_its_child(site: Site, tmp_path: Path) -> None:
    worker = site.worker(FERRYMAN_GRACE=0.5)
    left = tmp_path / "left"
    littering = site.enqueue("litter", {"path": str(left)}, timeout=0.5, max_attempts=1)
    dead = littering.wait(20)
    assert "did not stop: killed" in (dead.error or "")
    # It would hold the dead child's connections: what Redis gives those would wait for the sweep.
    until(lambda: not is_alive(int(left.read_text())))
    assert site.enqueue("uppercase", {"input": "x"}).wait(20).state == "completed"
    assert len(worker.events("child.started", alone=False)) == 2
