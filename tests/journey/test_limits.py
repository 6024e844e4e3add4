"""Time limits: what can be interrupted stops at its limit, the rest dies with its child."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from tests.journey.programs import until
from tests.journey.sites import Site


@pytest.mark.parametrize(
    ("type", "payload"), [("spin", {}), ("sleep", {"seconds": 60}), ("hold_async", {"gate": "/"})]
)
def test_a_handler_that_can_be_interrupted_stops_at_its_limit(
    site: Site, type: str, payload: dict[str, Any]
) -> None:
    worker = site.worker()
    if type == "hold_async":
        payload = {"gate": str(site.gate())}
    job = site.enqueue(type, payload, timeout=1.5, max_attempts=1).wait(20)
    assert job.state == "failed"
    assert job.error == "timeout: ran longer than 1.5 s"
    assert 1.5 <= job.completed_at - job.started_at <= 2.5
    assert len(worker.children) == 1, "nothing had to be killed"


@pytest.mark.parametrize("type", ["stuck", "stuck_async", "stubborn"])
def test_one_that_cannot_is_killed_at_limit_and_grace_and_its_neighbour_runs_again_uncharged(
    site: Site, type: str
) -> None:
    worker = site.worker(FERRYMAN_GRACE=1)
    gate = site.gate()
    neighbour = site.hold(gate)
    site.await_running(neighbour)
    job = site.enqueue(type, timeout=1, max_attempts=1).wait(20)
    assert job.state == "failed"
    assert job.error == "timeout: ran longer than 1 s and did not stop: killed"
    assert (job.failures, job.crashes) == (1, 0)
    assert 2 <= job.completed_at - job.started_at <= 3
    site.await_running(neighbour, attempt=2)
    again = neighbour.job()
    assert (again.failures, again.crashes) == (0, 0)
    assert worker.await_event("child.started", alone=True)["worker"] == again.worker
    gate.touch()
    assert neighbour.wait(20).state == "completed"


def test_a_run_that_was_killed_is_retried_like_any_failure(site: Site) -> None:
    site.worker(FERRYMAN_GRACE=0.3)
    job = site.enqueue("stuck", timeout=0.3, max_attempts=2, backoff={"base": 0.1}).wait(20)
    assert (job.state, job.attempt, job.failures, job.crashes) == ("failed", 2, 2, 0)
    assert [e["attempt"] for e in job.errors] == [1, 2]


def test_the_limit_and_the_grace_are_60_and_5_seconds_unless_said_otherwise(site: Site) -> None:
    site.worker()
    gate = site.gate()
    job = site.hold(gate)
    site.await_running(job)
    now = time.time()
    deadline = float(site.raw.hget(f"ferryman:{{0}}:job:{job.id}", "deadline"))
    assert deadline - now == pytest.approx(65, abs=2)
    gate.touch()
    job.wait(20)


def test_a_limit_is_kept_while_redis_stands_still(site: Site) -> None:
    site.worker()
    stopped = site.folder / "stopped"
    job = site.enqueue("spin", {"path": str(stopped)}, timeout=2, max_attempts=1)
    # Its neighbour ends first, so that the child waits for Redis when the limit comes.
    ends = site.enqueue_notes(1, seconds=0.5)
    site.await_running(job)
    until(lambda: site.store.get(ends[0]).state == "running")
    site.server_signal(signal.SIGSTOP)
    try:
        assert until(stopped.exists) < 3
    finally:
        site.server_signal(signal.SIGCONT)
    assert job.wait(20).error == "timeout: ran longer than 2 s"
    until(lambda: site.store.get(ends[0]).state == "completed")
