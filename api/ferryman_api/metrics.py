"""Prometheus metrics out of Redis: right with any number of processes, and after kill -9.

The counters were changed in the same scripts as the jobs; one read gives them all.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from ferryman.errors import StoreUnavailable
from ferryman.lifecycle import State
from ferryman.store import Stats, Store

BUCKETS = (".005 .01 .025 .05 .1 .25 .5 1 2.5 5 10 30 60 120 300 600 1800").split()
"""Upper bounds of job_processing_duration_seconds in seconds; lua/finish.lua has the same list."""

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

    def __init__(self, store: Store) -> None:
        began = time.perf_counter()
        self.stats: Stats | None = None
        """None when Redis did not answer."""
        with contextlib.suppress(StoreUnavailable):
            self.stats = store.stats()
        self._took = time.perf_counter() - began

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks a collector for."""
        if self.stats is not None:
            yield from _jobs(self.stats)
            yield _durations(self.stats)
            yield from _gauges(self.stats)
        up = int(self.stats is not None)
        yield GaugeMetricFamily("ferryman_redis_up", "Whether Redis answered", up)
        yield GaugeMetricFamily(
            "ferryman_scrape_duration_seconds", "Time this read of Redis took", self._took
        )
        build = GaugeMetricFamily("ferryman_build_info", "The version", labels=["version"])
        build.add_metric([installed_version()], 1)
        yield build


@cache
def installed_version() -> str:
    """The version of the installed distribution; "0" for a bare checkout."""
    try:
        return version("ferryman")
    except PackageNotFoundError:
        return "0"


def _jobs(stats: Stats) -> Iterator[Metric]:
    for name, about in COUNTERS.items():
        total = stats.events.get(f"{name}_total", 0)
        yield CounterMetricFamily(f"jobs_{name}_total", about, total)
    for name, about in EVENTS.items():
        total = stats.events.get(f"{name}_total", 0)
        yield CounterMetricFamily(f"ferryman_jobs_{name}_total", about, total)
    refused = CounterMetricFamily(
        "ferryman_jobs_refused_total", "Jobs refused for want of room", labels=["reason"]
    )
    total, memory = (stats.events.get(f"refused_{name}", 0) for name in ("total", "memory_total"))
    refused.add_metric(["memory"], memory)
    refused.add_metric(["queue"], total - memory)
    yield refused


def _durations(stats: Stats) -> Metric:
    buckets, below = [], 0
    for bound in BUCKETS:
        below += stats.durations.get(f"{float(bound):g}", 0)
        buckets.append((repr(float(bound)), float(below)))  # as OpenMetrics writes it: 1.0
    buckets.append(("+Inf", float(below + stats.durations.get("inf", 0))))
    return HistogramMetricFamily(
        "job_processing_duration_seconds",
        "How long the runs took that ended well",
        buckets,
        stats.duration_sum,
    )


def _gauges(stats: Stats) -> Iterator[Metric]:
    size = GaugeMetricFamily(
        "queue_size", "Jobs by state; pending is all that wait", labels=["state"]
    )
    size.add_metric(["pending"], stats.waiting)
    size.add_metric(["dlq"], stats.dlq_size)
    for state in (State.RUNNING, State.COMPLETED, State.FAILED, State.SCHEDULED):
        size.add_metric([state], stats.states[state])
    yield size
    jobs = GaugeMetricFamily(
        "ferryman_queue_jobs", "Jobs by queue and state", labels=["queue", "state"]
    )
    paused = GaugeMetricFamily("ferryman_queue_paused", "1: nothing is started", labels=["queue"])
    for queue, counts in stats.queues.items():
        paused.add_metric([queue], counts["paused"])
        for state in State:
            jobs.add_metric([queue, state], counts[state])
    yield jobs
    yield paused
    yield GaugeMetricFamily("ferryman_workers", "Worker processes on the roll", stats.workers)
    yield GaugeMetricFamily(
        "ferryman_worker_claim_age_seconds",
        "Time since a worker heard Redis last: the longest of all; 10 and less is well",
        stats.claim_age,
    )
    yield CounterMetricFamily(
        "ferryman_data_replaced",
        "Workers that found other data behind the address they work on",
        stats.events.get("replaced_total", 0),
    )
    yield GaugeMetricFamily(
        "ferryman_memory_gate", "1: Redis is nearly full, no new jobs", int(stats.memory_gate)
    )
    if stats.violations is not None:
        yield GaugeMetricFamily(
            "ferryman_invariant_violations", "Found by the last check", stats.violations
        )
        yield GaugeMetricFamily(
            "ferryman_check_age_seconds", "Time since the last check", stats.check_age
        )
