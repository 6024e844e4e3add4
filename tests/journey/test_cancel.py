"""A running job that somebody cancels: API, Redis, supervisor, child, handler, and back."""

from __future__ import annotations

import pytest
from tests.journey.programs import until
from tests.journey.sites import Site


@pytest.mark.parametrize("type", ["hold", "hold_async"])
def test_a_running_job_that_is_cancelled_ends_and_makes_room(site: Site, type: str) -> None:
    worker = site.worker(NUM_WORKERS=1)
    job = site.hold(site.gate(), type)
    site.await_running(job)
    site.store.cancel(job.id)
    until(lambda: job.job().state == "cancelled")
    assert (job.job().attempt, job.job().failures, job.job().crashes) == (1, 0, 0)
    assert worker.await_event("job.cancelled")["id"] == job.id
    assert site.enqueue("uppercase", {"input": "x"}).result(20) == "X"
    assert len(worker.children) == 1, "nothing had to be killed"
