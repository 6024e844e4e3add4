"""Where the trace of a job comes from when it is sent, and goes to when it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ferryman.job import Draft
from ferryman.traceparent import Trace, ambient

T = TypeVar("T")


def send(
    drafts: Sequence[Draft],
    enqueue: Callable[[Sequence[Draft]], T],
    given: Trace | None = None,
) -> tuple[T, Trace | None]:
    """Enqueue these jobs as part of the ambient trace, or else of the one `given`.

    Gives what `enqueue` gave, and the trace.
    """
    trace = ambient() or given
    if trace is not None:
        drafts = [draft._replace(trace=trace) for draft in drafts]
    return enqueue(drafts), trace
