"""A claimed job becomes a run: its type, its limits, what its handler may know.

A job that cannot be run is admitted too, with its outcome: it is settled like any other.
"""

from __future__ import annotations

from typing import Any

from ferryman import tracing
from ferryman.config import Settings
from ferryman.context import Context, Services
from ferryman.errors import ConfigError
from ferryman.job import read_meta, read_tags
from ferryman.registry import JobType, Options, Registry
from ferryman.store import Claimed
from ferryman.traceparent import Trace, read
from ferryman_worker.decide import Policy, policy
from ferryman_worker.outcome import Failed
from ferryman_worker.run import Run

POLICIES = 1000
"""Policies kept at hand; making one costs 3 us, and jobs of a type mostly have the same."""


class Admission:
    """Makes the runs of one child."""

    def __init__(self, registry: Registry, settings: Settings, services: Services) -> None:
        self._registry, self._settings, self._services = registry, settings, services
        self._policies: dict[tuple[object, ...], Policy] = {}
        self._has_spans = tracing.spans() is not None

    def admit(self, job: Claimed) -> Run:
        """The run of this job; with an outcome when it is over before it began."""
        job_type = self._registry.get(job.type)
        try:
            run = self._run(job, job_type)
        except (ValueError, TypeError, ConfigError, RecursionError) as error:
            whole = job._replace(backoff=None, tags=None, meta=None, damage=str(error))
            run = self._run(whole, job_type)
        if run.job.damage is not None:
            run.outcome = Failed(f"the record is damaged: {run.job.damage}", final=True)
        elif job_type is None:
            run.outcome = Failed(f"unknown job type: {job.type}")
        return run

    def _run(self, job: Claimed, job_type: JobType[Any, Any] | None) -> Run:
        limits = self._policy(job, job_type)
        asked = job_type is not None and job_type.wants_context
        # Tags and meta are read in any case: a damaged record is told whoever would read it.
        trace = read(job.traceparent, job.tracestate) if job.traceparent else None
        context = self._context(job, limits, trace) if asked or job.tags or job.meta else None
        return Run(job, job_type, context, limits, trace, self._has_spans or trace is not None)

    def _policy(self, job: Claimed, job_type: JobType[Any, Any] | None) -> Policy:
        key = job.type, job.max_attempts, job.timeout, job.backoff
        known = self._policies.get(key)
        if known is None:
            known = policy(job, job_type.defaults if job_type else Options(), self._settings)
            if len(self._policies) >= POLICIES:
                self._policies.clear()
            self._policies[key] = known
        return known

    def _context(self, job: Claimed, limits: Policy, trace: Trace | None) -> Context:
        return Context(
            job_id=job.id,
            type=job.type,
            queue=job.queue,
            attempt=job.attempt,
            failures=job.failures,
            max_attempts=limits.max_attempts,
            timeout=limits.timeout,
            tags=read_tags(job.tags),
            meta=read_meta(job.meta),
            services=self._services,
            traceparent=trace.parent if trace else None,
        )
