"""Who is alive is not a question of what a job does; and who cannot work at all says so."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import psutil
import pytest
from tests.journey.programs import pid_of
from tests.journey.sites import Site


def test_a_job_that_holds_the_interpreter_longer_than_a_lease_is_not_taken_for_dead(
    site: Site,
) -> None:
    for _ in range(2):
        site.worker(FERRYMAN_LEASE=3, FERRYMAN_GRACE=1)
    job = site.enqueue("hog", timeout=8, max_attempts=1).wait(40)
    assert (job.state, job.attempt, job.failures, job.crashes) == ("failed", 1, 1, 0)
    assert job.completed_at is not None
    assert job.started_at is not None
    assert job.completed_at - job.started_at > 8
    assert site.stats().events.get("recovered_total", 0) == 0


def test_the_supervisor_has_no_connection_its_children_could_share(site: Site) -> None:
    worker = site.worker()
    assert site.enqueue("uppercase", {"input": "x"}).result(20) == "X"
    assert psutil.Process(worker.pid).net_connections("inet") == []
    others = [
        psutil.Process(worker.upkeep_pid),
        *(psutil.Process(pid_of(c)) for c in worker.children),
    ]
    ports = [c.laddr.port for other in others for c in other.net_connections("inet")]
    assert len(ports) == len(set(ports)) > len(others), "no connection is held by two processes"


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_no_process_holds_an_end_of_anothers_link(site: Site) -> None:
    """Or a link would stay open when the process at its end is gone."""
    worker = site.worker(FERRYMAN_PROCESSES=3)
    own = sockets(worker.pid)
    family = [worker.upkeep_pid, *(pid_of(child) for child in worker.children)]
    shared = [own & sockets(pid) for pid in family]
    assert len(family) == 4
    assert len(own) > 2 + len(family) - 1
    assert all(s == shared[0] for s in shared)
    assert len(shared[0]) == 2, "the pair that signals are noted by, and nothing else"


def sockets(pid: int) -> set[str]:
    found = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(fd.readlink()))
    return {link for link in found if link.startswith("socket:")}


def test_an_application_that_does_not_load_ends_the_worker_and_takes_no_job(site: Site) -> None:
    job = site.enqueue("uppercase", {"input": "x"})
    worker = site.program("worker", FERRYMAN_APP="handlers:nothing")
    assert worker.process.wait(20) == 2
    assert "handlers:nothing" in worker.await_event("app.broken")["error"]
    assert (job.job().state, job.job().attempt) == ("pending", 0)
