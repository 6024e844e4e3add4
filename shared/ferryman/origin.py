"""Where a job comes from: which trace it is part of when it is sent, and when it runs.

Whether spans are made of it says `tracing`. Next on the way of a job: `store`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from ferryman import tracing
from ferryman.job import Draft
from ferryman.traceparent import Trace, ambient, under

if TYPE_CHECKING:
    from ferryman.spans import Begun, Fail

T = TypeVar("T")


def send(
    drafts: Sequence[Draft],
    enqueue: Callable[[Sequence[Draft]], T],
    given: Trace | None = None,
) -> tuple[T, Trace | None]:
    """Enqueue these jobs as part of the ambient trace, or else of the one `given`.

    Gives what `enqueue` gave, and the trace.
    """
    made = tracing.spans()
    if made is not None:
        return made.send(drafts, enqueue, ambient() or given)
    trace = _current() or ambient() or given
    if trace is not None:
        drafts = [draft._replace(trace=trace) for draft in drafts]
    return enqueue(drafts), trace


@contextmanager
def process(job: Begun, trace: Trace | None) -> Iterator[Fail]:
    """Around a run: what its handler does belongs to the job's trace.

    Gives what to call when the run failed.
    """
    made = tracing.spans()
    if made is not None:
        with made.process(job, trace) as fail:
            yield fail
    else:
        with under(trace):
            yield _say_nothing


def _say_nothing(kind: str, text: str, traceback: str) -> None:
    pass


def _current() -> Trace | None:
    # An application that makes spans of its own has imported it, and redis-py does where it is
    # installed; nobody else pays for it.
    api = sys.modules.get("opentelemetry.trace")
    if api is None or not api.get_current_span().get_span_context().is_valid:
        return None
    from ferryman.spans import current

    return current()
