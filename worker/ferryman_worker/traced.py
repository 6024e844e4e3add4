"""Runs that are part of a trace: what their handlers enqueue is too, and each may have a span."""

from __future__ import annotations

from ferryman import origin
from ferryman_worker import run as plain
from ferryman_worker.outcome import Failed
from ferryman_worker.run import Run


def call(run: Run) -> None:
    """`run.call` as part of the job's trace."""
    with origin.process(run.job, run.trace) as fail:
        plain.call(run)
        if isinstance(run.outcome, Failed):
            fail(run.outcome.kind, run.outcome.error, run.outcome.traceback)


async def await_(run: Run) -> None:
    """`run.await_` as part of the job's trace."""
    with origin.process(run.job, run.trace) as fail:
        await plain.await_(run)
        if isinstance(run.outcome, Failed):
            fail(run.outcome.kind, run.outcome.error, run.outcome.traceback)
