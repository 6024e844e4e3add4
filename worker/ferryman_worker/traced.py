"""Runs that belong to a trace: what their handlers enqueue belongs to it too."""

from __future__ import annotations

from ferryman import traceparent
from ferryman_worker import run as plain
from ferryman_worker.run import Run


def call(run: Run) -> None:
    """`run.call` as part of the job's trace."""
    with traceparent.under(run.trace):
        plain.call(run)


async def await_(run: Run) -> None:
    """`run.await_` as part of the job's trace."""
    with traceparent.under(run.trace):
        await plain.await_(run)
