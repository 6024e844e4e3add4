"""The one line about a run that is over."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from ferryman import logs
from ferryman.decision import Bury, Cancel, Decision, Finish, Release, Retry, Snooze
from ferryman.outlet import together
from ferryman_worker.run import Run

_EVENTS = {
    Finish: (logs.JOB_COMPLETED, "completed"),
    Retry: (logs.JOB_RETRIED, "scheduled"),
    Bury: (logs.JOB_FAILED, "failed"),
    Snooze: (logs.JOB_SNOOZED, "scheduled"),
    Release: (logs.JOB_RELEASED, "pending"),
    Cancel: (logs.JOB_CANCELLED, "cancelled"),
}


def report(tell: logs.Tell, ended: Iterable[tuple[Run, Decision]], fenced: Collection[int]) -> None:
    """Log each of these runs; `fenced`: id() of the decisions that were refused.

    Several lines go out in one write: a system call each would cost 2 us a job.
    """
    with together():
        for run, decision in ended:
            _tell(tell, run, decision, id(decision) in fenced)


def _tell(tell: logs.Tell, run: Run, decision: Decision, is_fenced: bool) -> None:
    job = run.job
    event, state = (logs.JOB_FENCED, "unknown") if is_fenced else _EVENTS[type(decision)]
    extra = {} if type(decision) is Finish else _extra(decision)
    if run.trace is not None:
        extra["trace_id"] = run.trace.trace_id
    tell(
        event,
        id=job.id,
        type=job.type,
        queue=job.queue,
        priority=job.priority,
        attempt=job.attempt,
        state=state,
        duration=round(run.duration, 6),
        **extra,
    )


def _extra(decision: Decision) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if isinstance(decision, Retry | Bury):
        extra["error"] = decision.error[:500]
    if isinstance(decision, Retry | Snooze):
        extra["delay"] = round(decision.delay, 3)
    return extra
