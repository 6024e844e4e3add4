"""Spans of OpenTelemetry: one where a job is sent, one around each of its runs.

Imported only where OpenTelemetry is there; names and attributes are those of its
conventions for messaging. Next: `exporting`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ferryman.job import Draft
from ferryman.traceparent import Trace, read

T = TypeVar("T")

Fail = Callable[[str, str, str], None]
"""Says that a run failed: kind of error, its text, its traceback or ''."""

_DESCRIPTION = 500
"""Characters of an error in a span's status, as in log lines."""

_theirs = logging.getLogger("opentelemetry.ferryman")
"""Beside what OpenTelemetry itself has to say: see `tracing`."""

_headers = TraceContextTextMapPropagator()


class Begun(Protocol):
    """As much of a job that runs as its span tells."""

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def attempt(self) -> int: ...


def current() -> Trace | None:
    """The place of the span that is current here; None when there is none."""
    return _place(trace.get_current_span())


class Spans:
    """Makes spans of one provider."""

    def __init__(self, provider: TracerProvider, as_parent: bool = False) -> None:
        self._tracer = provider.get_tracer("ferryman")
        self._as_parent = as_parent

    def send(
        self, drafts: Sequence[Draft], enqueue: Callable[[Sequence[Draft]], T], given: Trace | None
    ) -> tuple[T, Trace | None]:
        """Enqueue these jobs in a span, which becomes the origin of each of them.

        It goes on with the current span, or else with the trace `given`.
        """
        queue = _same(draft.queue for draft in drafts)
        with self._span(
            name=f"send {queue}" if queue else "send",
            kind=SpanKind.PRODUCER,
            context=None if current() else _context(given),
            attributes=_sent(drafts, queue),
        ) as span:
            origin = _place(span) or given
            if origin is not None:
                drafts = [draft._replace(trace=origin) for draft in drafts]
                span.set_attribute("messaging.message.conversation_id", origin.trace_id)
            try:
                return enqueue(drafts), origin
            except Exception as error:
                _failed(span, type(error).__name__, str(error))
                raise

    @contextmanager
    def process(self, job: Begun, origin: Trace | None) -> Iterator[Fail]:
        """A span around a run; it is linked to the job's origin, or with `as_parent` its child."""
        sender = _context(origin)
        linked = origin is not None and not self._as_parent
        with self._span(
            name=f"process {job.queue}",
            kind=SpanKind.CONSUMER,
            context=sender if self._as_parent else Context(),
            attributes=_processed(job, origin),
            links=[Link(trace.get_current_span(sender).get_span_context())] if linked else None,
        ) as span:

            def fail(kind: str, text: str, traceback: str) -> None:
                _failed(span, kind, text)
                said = {"type": kind, "message": text, "stacktrace": traceback}
                found = {f"exception.{name}": _utf8(v) for name, v in said.items() if v}
                span.add_event("exception", found)

            yield fail

    @contextmanager
    def _span(self, **about: Any) -> Iterator[Span]:
        """A span that is current in the block. What an application's own sampler or processor
        raises costs the span, not the job."""
        span: Span = trace.INVALID_SPAN
        with _excused():
            span = self._tracer.start_span(**about)
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield span
        finally:
            with _excused():
                span.end()


@contextmanager
def _excused() -> Iterator[None]:
    try:
        yield
    except Exception:
        _theirs.exception("a span was lost")


def _sent(drafts: Sequence[Draft], queue: str | None) -> dict[str, Any]:
    job_type = _same(draft.type for draft in drafts)
    one = drafts[0].id if len(drafts) == 1 else None
    number = None if one else len(drafts)
    return _attributes("send", queue, one, job_type) | (
        {"messaging.batch.message_count": number} if number else {}
    )


def _processed(job: Begun, origin: Trace | None) -> dict[str, Any]:
    found = _attributes("process", job.queue, job.id, job.type) | {"ferryman.attempt": job.attempt}
    if origin is not None:
        found["messaging.message.conversation_id"] = origin.trace_id
    return found


def _attributes(
    operation: str, queue: str | None, job_id: str | None, job_type: str | None
) -> dict[str, Any]:
    found = {
        "messaging.system": "ferryman",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "messaging.message.id": job_id,
        "ferryman.job.type": job_type,
    }
    return {name: _utf8(value) for name, value in found.items() if value is not None}


def _same(values: Iterator[str]) -> str | None:
    """The value they all have."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _failed(span: Span, kind: str, text: str) -> None:
    span.set_attribute("error.type", _utf8(kind))
    span.set_status(StatusCode.ERROR, _utf8(text[:_DESCRIPTION]))


def _utf8(text: str) -> str:
    # One text that cannot be encoded would cost all spans that are sent with it.
    return text.encode("utf-8", "backslashreplace").decode()


def _place(span: Span) -> Trace | None:
    carrier: dict[str, str] = {}
    _headers.inject(carrier, trace.set_span_in_context(span))
    return read(carrier.get("traceparent"), carrier.get("tracestate"))


def _context(place: Trace | None) -> Context:
    if place is None:
        return Context()
    return _headers.extract({"traceparent": place.parent, "tracestate": place.state}, Context())
