"""Where spans go: a provider and its exporters, as the variables of OpenTelemetry name them.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/. Threads are
started here, so call it after a fork, never before.
"""

from __future__ import annotations

import os
import threading
from importlib.metadata import entry_points
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from ferryman.errors import ConfigError

_EXPORTERS = "opentelemetry_traces_exporter"
"""The group of entry points under which packages offer exporters."""


def provider(is_ours: bool) -> trace.TracerProvider:
    """The provider the application has set up, or one made by the environment.

    Where the process `is_ours`, handlers find the new one as the global one. Raises ConfigError
    when an exporter is not installed or does not start.
    """
    present = trace.get_tracer_provider()
    if not isinstance(present, trace.ProxyTracerProvider):
        return present
    exporters = [_exporter(name) for name in _names()]
    made = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    for exporter in exporters:
        made.add_span_processor(BatchSpanProcessor(exporter))
    if is_ours:
        trace.set_tracer_provider(made)
    return made


def _names() -> list[str]:
    given = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    return [name for part in given.split(",") if (name := part.strip().lower())]


def _exporter(name: str) -> SpanExporter:
    full = f"otlp_proto_{_protocol()}" if name == "otlp" else name
    found = list(entry_points(group=_EXPORTERS, name=full))
    if not found:
        raise ConfigError(f"OTEL_TRACES_EXPORTER: {name}: the exporter {full} is not installed")
    try:
        exporter: SpanExporter = found[0].load()()
    except Exception as error:  # a package's own, with what the environment says
        raise ConfigError(f"OTEL_TRACES_EXPORTER: {name}: {error}") from error
    return exporter


def _protocol() -> str:
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if os.environ.get(variable):
            return os.environ[variable].partition("/")[0]
    return "http"


def _resource() -> Resource:
    found = Resource.create()
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: "ferryman"}))
    return found


class Flush:
    """Sends what has not been sent, in at most so many seconds.

    A thread of its own waits for it: flushing cannot be told how long it may take, and at the end
    of a process no thread can be started.
    """

    def __init__(self, provider: Any) -> None:
        self._flush = getattr(provider, "force_flush", None)
        self._wanted, self._done = threading.Event(), threading.Event()
        threading.Thread(target=self._wait, name="flush-spans", daemon=True).start()

    def within(self, seconds: float) -> bool:
        """Whether everything was sent, or given up, in time. Call it once."""
        self._wanted.set()
        return self._done.wait(seconds)

    def _wait(self) -> None:
        self._wanted.wait()
        if self._flush is not None:
            self._flush()
        self._done.set()
