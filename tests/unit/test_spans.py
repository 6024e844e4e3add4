"""Spans by themselves: names, kinds, parents and attributes, as a provider of OpenTelemetry sees
them. With real processes and a receiver: tests/journey/test_spans.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from ferryman.job import Draft
from ferryman.spans import Spans
from ferryman.store import Claimed
from ferryman.traceparent import Trace

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = Trace(f"00-{TRACE}-{PARENT}-01", "a=1")
JOB = Claimed(id="j", attempt=3, type="t", payload="secret", queue="q")


class Desk:
    """Spans of a provider that keeps them."""

    def __init__(self, sampler: Sampler = ALWAYS_ON, as_parent: bool = False) -> None:
        self.kept = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.kept))
        self.spans = Spans(self.provider, as_parent)
        self.sent: list[Draft] = []

    def send(self, *drafts: Draft, given: Trace | None = None) -> Trace | None:
        def enqueue(drafts: Sequence[Draft]) -> int:
            self.sent = list(drafts)
            return len(drafts)

        number, trace = self.spans.send(drafts, enqueue, given)
        assert number == len(drafts)
        return trace

    @property
    def only(self) -> ReadableSpan:
        [span] = self.kept.get_finished_spans()
        return span

    @property
    def about(self) -> dict[str, Any]:
        """What the only span says of itself, beside what every one does."""
        found = dict(self.only.attributes or {})
        assert found.pop("messaging.system") == "ferryman"
        assert found.pop("messaging.operation.type") == found.pop("messaging.operation.name")
        return found


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Spans that are all kept."""
    desk = Desk()
    yield desk
    desk.provider.shutdown()


def place(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_a_job_that_is_sent_names_the_span_that_sent_it(desk: Desk) -> None:
    trace = desk.send(Draft("a", "t", queue="q"))
    assert (desk.only.name, desk.only.kind) == ("send q", SpanKind.PRODUCER)
    assert desk.only.parent is None
    assert [draft.trace for draft in desk.sent] == [trace] == [Trace(place(desk.only))]


def test_the_trace_of_a_request_goes_on_with_its_state(desk: Desk) -> None:
    trace = desk.send(Draft("a", "t"), given=GIVEN)
    parent = desk.only.parent
    assert parent is not None
    assert (parent.span_id, parent.is_remote) == (int(PARENT, 16), True)
    assert trace == Trace(place(desk.only), "a=1")
    assert trace.trace_id == TRACE


def test_the_current_span_comes_before_the_trace_given(desk: Desk) -> None:
    tracer = desk.provider.get_tracer("x")
    with tracer.start_as_current_span("outer") as outer:
        trace = desk.send(Draft("a", "t"), given=GIVEN)
    assert trace is not None
    assert trace.trace_id == f"{outer.get_span_context().trace_id:032x}"


def test_many_jobs_sent_at_once_share_one_span(desk: Desk) -> None:
    trace = desk.send(Draft("a", "t"), Draft("b", "t"), Draft("c", "u"))
    assert desk.only.name == "send default"
    assert desk.about == {
        "messaging.destination.name": "default",
        "messaging.batch.message_count": 3,
        "messaging.message.conversation_id": trace and trace.trace_id,
    }
    assert {draft.trace for draft in desk.sent} == {trace}


def test_jobs_of_several_queues_are_sent_to_none_in_particular(desk: Desk) -> None:
    desk.send(Draft("a", "t"), Draft("b", "t", queue="q"))
    assert desk.only.name == "send"
    assert desk.about.keys() == {
        "messaging.batch.message_count",
        "messaging.message.conversation_id",
        "ferryman.job.type",
    }


def test_a_span_that_is_not_sampled_is_named_all_the_same() -> None:
    desk = Desk(ALWAYS_OFF)
    trace = desk.send(Draft("a", "t"), given=GIVEN)
    assert trace is not None
    assert (trace.trace_id, trace.parent[-2:]) == (TRACE, "00")
    assert desk.sent[0].trace == trace
    assert desk.kept.get_finished_spans() == ()


def test_a_run_is_linked_to_what_sent_its_job(desk: Desk) -> None:
    with desk.spans.process(JOB, GIVEN):
        pass
    span = desk.only
    assert (span.name, span.kind, span.parent) == ("process q", SpanKind.CONSUMER, None)
    [link] = span.links
    assert (link.context.trace_id, link.context.span_id) == (int(TRACE, 16), int(PARENT, 16))
    assert link.context.trace_state.to_header() == "a=1"
    assert desk.about == {
        "messaging.destination.name": "q",
        "messaging.message.id": "j",
        "messaging.message.conversation_id": TRACE,
        "ferryman.job.type": "t",
        "ferryman.attempt": 3,
    }
    assert span.status.status_code is StatusCode.UNSET


def test_a_run_may_be_the_child_of_what_sent_its_job() -> None:
    desk = Desk(as_parent=True)
    with desk.spans.process(JOB, GIVEN):
        pass
    assert desk.only.parent is not None
    assert desk.only.parent.span_id == int(PARENT, 16)
    assert desk.only.links == ()


@pytest.mark.parametrize("as_parent", [False, True])
def test_a_run_begins_a_trace_of_its_own_whatever_is_current(as_parent: bool) -> None:
    desk = Desk(as_parent=as_parent)
    with desk.provider.get_tracer("x").start_as_current_span("outer"):
        with desk.spans.process(JOB, None):
            pass
        assert (desk.only.parent, desk.only.links) == (None, ())


def test_a_failed_run_is_an_error_with_its_kind_and_a_text_that_is_cut(desk: Desk) -> None:
    with desk.spans.process(JOB, None) as fail:
        fail("ValueError", "x" * 1000, "Traceback")
    status = desk.only.status
    assert (status.status_code, status.description) == (StatusCode.ERROR, "x" * 500)
    assert desk.about["error.type"] == "ValueError"
    [event] = desk.only.events
    assert event.attributes == {
        "exception.type": "ValueError",
        "exception.message": "x" * 1000,
        "exception.stacktrace": "Traceback",
    }


def test_texts_that_are_no_utf_8_are_escaped_for_they_would_cost_other_spans(desk: Desk) -> None:
    with desk.spans.process(JOB._replace(id="\udcff"), None) as fail:
        fail("K\udcff", "text \udcff", "trace \udcff")
    assert b"text \\udcff" in encode_spans([desk.only]).SerializeToString()


@pytest.mark.parametrize("step", ["on_start", "on_end"])
def test_a_processor_that_breaks_costs_a_span_and_no_job(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    broken = SpanProcessor()
    monkeypatch.setattr(broken, step, lambda *_, **__: 1 / 0)
    desk.provider.add_span_processor(broken)
    trace = desk.send(Draft("a", "t"), given=GIVEN)
    assert trace is not None
    assert (trace.trace_id, desk.sent[0].trace) == (TRACE, trace)
    done = []
    with desk.spans.process(JOB, GIVEN) as fail:
        fail("ValueError", "no", "")
        done.append(1)
    assert done


def test_no_span_tells_the_payload(desk: Desk) -> None:
    with desk.spans.process(JOB, GIVEN):
        pass
    desk.send(Draft("a", "t", payload="secret"))
    assert all("secret" not in span.to_json() for span in desk.kept.get_finished_spans())
