"""Children that have done enough are replaced while the work goes on."""

from __future__ import annotations

from collections import Counter

from tests.journey.programs import is_alive, pid_of, until
from tests.journey.sites import Site


def test_children_are_replaced_after_so_many_jobs_and_nothing_is_lost_or_charged(
    site: Site,
) -> None:
    worker = site.worker(FERRYMAN_MAX_CHILD_JOBS=40, FERRYMAN_PROCESSES=2)
    ids = site.enqueue_notes(300, seconds=0.01)
    site.await_completed(300)
    assert Counter(site.notes()) == Counter(str(n) for n in range(300))
    assert all((j.attempt, j.crashes, j.failures) == (1, 0, 0) for j in site.store.get_many(ids))
    left = [e["worker"] for e in worker.events("child.leaving")]
    assert len(left) == len(set(left)) >= 2
    until(lambda: not any(is_alive(pid_of(name)) for name in left[:2]))
    assert not worker.events("child.died"), "each ended by itself"
    assert worker.stop() == 0
    assert site.workers() == []


def test_while_a_leaving_child_ends_its_runs_another_serves(site: Site) -> None:
    worker = site.worker(FERRYMAN_MAX_CHILD_JOBS=1)
    gate = site.gate()
    held = site.hold(gate)
    site.await_running(held)
    worker.await_event("child.started", number=2)
    until(lambda: site.enqueue("uppercase", {"input": "x"}).wait(20).worker != held.job().worker)
    assert held.job().state == "running"
    gate.touch()
    done = held.wait(20)
    assert (done.state, done.attempt, done.worker) == ("completed", 1, worker.children[0])
    until(lambda: not is_alive(pid_of(worker.children[0])))


def test_a_leaving_child_keeps_to_the_limits_of_its_runs(site: Site) -> None:
    worker = site.worker(FERRYMAN_MAX_CHILD_JOBS=1, FERRYMAN_GRACE=0.5)
    stuck = site.enqueue("stuck", timeout=1.5, max_attempts=1)
    worker.await_event("child.started", number=2)
    assert stuck.wait(20).error == "timeout: ran longer than 1.5 s and did not stop: killed"


def test_a_child_that_has_grown_is_replaced(site: Site) -> None:
    worker = site.worker(FERRYMAN_MAX_CHILD_MEMORY=300)
    first = site.enqueue("leak", {"mib": 400}).wait(20)
    leaving = worker.await_event("child.leaving")
    assert (leaving["worker"], leaving["reason"][:8]) == (first.worker, "it uses ")
    until(lambda: not is_alive(pid_of(first.worker)))
    assert site.enqueue("uppercase", {"input": "x"}).wait(20).worker == worker.children[1]
    assert len(worker.events("child.leaving")) == 1
