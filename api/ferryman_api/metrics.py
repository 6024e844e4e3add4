"""Prometheus metrics out of Redis: right with any number of processes, and after kill -9.

The counters were changed in the same scripts as the jobs; one read gives them all.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate

from ferryman.errors import StoreUnavailable
from ferryman.lifecycle import State
from ferryman.store import Reading, Stats, Store
from ferryman.store.meters import RUN, Histogram
from ferryman_api import labelled
from ferryman_api.exposition import Family, counter, gauge, histogram, labels
from ferryman_api.marks import Marks

COUNTERS = {
    "created": "Jobs accepted",
    "processed": "Runs that ended well",
    "failed": "Runs that failed",
    "retried": "Failed runs that will be run again",
    "dlq": "Jobs given up",
}
"""`jobs_<name>_total`; failed = retried + dlq."""

EVENTS = {
    "recovered": "Runs ended by the death of their worker, given to another",
    "fenced": "Late results that were refused",
    "released": "Runs given back by a stopping worker, nothing charged",
    "returned": "Ids claimed beyond the free slots and put back",
    "snoozed": "Runs that asked to be run again later",
    "promoted": "Scheduled jobs that became due",
    "revived": "Finished jobs run again by hand",
    "expired": "Jobs that waited past their time",
    "deleted": "Jobs deleted",
    "dropped": "Ids of cancelled or deleted jobs skipped at a claim",
    "quarantined": "Foreign or corrupt list elements set aside",
    "forgotten": "Finished jobs forgotten before their time to free memory",
}
"""`ferryman_jobs_<name>_total`."""


class Scrape:
    """One read of every counter, as metric families."""

    def __init__(self, store: Store, marks: Marks) -> None:
        began = time.perf_counter()
        self.reading: Reading | None = None
        """None when Redis did not answer."""
        with contextlib.suppress(StoreUnavailable):
            self.reading = store.scrape(marks.hold)
        self._max_pending = store.settings.max_pending
        self._took = time.perf_counter() - began

    def families(self) -> Iterator[Family]:
        """Everything there is to show."""
        if self.reading is not None:
            yield from _jobs(self.reading.stats)
            yield _durations(self.reading.stats)
            yield from _gauges(self.reading.stats)
            yield from labelled.families(self.reading, self._max_pending)
        up = int(self.reading is not None)
        yield gauge("ferryman_redis_up", "Whether Redis answered", up)
        yield gauge("ferryman_scrape_duration_seconds", "Time this read of Redis took", self._took)
        build = labels({"version": installed_version()})
        yield gauge("ferryman_build_info", "The version", [(build, 1)])


@cache
def installed_version() -> str:
    """The version of the installed distribution; "0" for a bare checkout."""
    try:
        return version("ferryman")
    except PackageNotFoundError:
        return "0"


def _jobs(stats: Stats) -> Iterator[Family]:
    for name, about in COUNTERS.items():
        yield counter(f"jobs_{name}", about, stats.events.get(f"{name}_total", 0))
    for name, about in EVENTS.items():
        yield counter(f"ferryman_jobs_{name}", about, stats.events.get(f"{name}_total", 0))
    total, memory = (stats.events.get(f"refused_{name}", 0) for name in ("total", "memory_total"))
    yield counter(
        "ferryman_jobs_refused",
        "Jobs refused for want of room",
        [('reason="memory"', memory), ('reason="queue"', total - memory)],
    )


def _durations(stats: Stats) -> Family:
    counts = accumulate(stats.durations.get(f"{float(bound):g}", 0) for bound in RUN)
    return histogram(
        "job_processing_duration_seconds",
        "How long the runs took that ended well",
        RUN,
        [("", Histogram(tuple(counts), stats.duration_sum))],
    )


def _gauges(stats: Stats) -> Iterator[Family]:
    size = {"pending": stats.waiting, "dlq": stats.dlq_size} | {
        state.value: stats.states[state]
        for state in (State.RUNNING, State.COMPLETED, State.FAILED, State.SCHEDULED)
    }
    yield gauge(
        "queue_size",
        "Jobs by state; pending is all that wait",
        [(labels({"state": state}), n) for state, n in size.items()],
    )
    yield gauge(
        "ferryman_worker_claim_age_seconds",
        "Time since a worker heard Redis last: the longest of all; 10 and less is well",
        stats.claim_age,
    )
    yield counter(
        "ferryman_data_replaced",
        "Workers that found other data behind the address they work on",
        stats.events.get("replaced_total", 0),
    )
    yield gauge(
        "ferryman_memory_gate", "1: Redis is nearly full, no new jobs", int(stats.memory_gate)
    )
    if stats.violations is not None:
        yield gauge("ferryman_invariant_violations", "Found by the last check", stats.violations)
        yield gauge("ferryman_check_age_seconds", "Time since the last check", stats.check_age)
