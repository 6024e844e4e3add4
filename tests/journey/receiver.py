"""A receiver of spans: OTLP over HTTP, as a collector takes them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tests.journey.programs import PATIENCE


@dataclass(frozen=True)
class Seen:
    """A span that arrived."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty: none."""
    links: list[tuple[str, str]]
    """(trace id, span id) of each."""
    attributes: dict[str, Any]
    error: str | None
    """The status' description, when it is ERROR."""
    events: list[dict[str, Any]]
    service: str

    @property
    def place(self) -> tuple[str, str]:
        return self.trace_id, self.span_id


class Receiver:
    """Listens on a port of its own; with `gate` it answers only once that is set."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self._news = threading.Condition()
        self._spans: list[Seen] = []
        self.asked = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.asked.set()
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if gate is not None:
                    gate.wait(60)
                assert self.path == "/v1/traces"
                receiver.take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        found = [
            _seen(span, _values(group.resource.attributes)["service.name"])
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]
        with self._news:
            self._spans += found
            self._news.notify_all()

    def spans(self, name: str | None = None) -> list[Seen]:
        """Those of this name, in the order they began to arrive; without a name all."""
        with self._news:
            return [span for span in self._spans if name in {None, span.name}]

    def await_spans(self, name: str, number: int = 1, within: float = PATIENCE) -> list[Seen]:
        """The spans of this name, once there are so many."""
        with self._news:
            came = self._news.wait_for(lambda: len(self.spans(name)) >= number, within)
        assert came, f"{number} of {name!r}: only {self.spans()}"
        return self.spans(name)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _seen(span: Span, service: str) -> Seen:
    events = [{"name": e.name} | _values(e.attributes) for e in span.events]
    is_error = span.status.code == Status.STATUS_CODE_ERROR
    return Seen(
        span.name,
        Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        _values(span.attributes),
        span.status.message if is_error else None,
        events,
        service,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}
