"""docs/tracing.md: its example runs, and its attributes are those of the spans."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ferryman import Context
from ferryman.job import Draft
from ferryman.spans import Spans
from ferryman.store import Claimed
from ferryman.traceparent import Trace, under

PAGE = (Path(__file__).parents[2] / "docs" / "tracing.md").read_text("utf-8")
GIVEN = Trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


def test_the_attributes_of_the_page_are_those_of_the_spans() -> None:
    table = PAGE.split("| attribute | value |")[1].split("\n\n")[0]
    cells = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    told = {name for cell in cells for name in re.findall("`([^`]+)`", cell)}
    kept, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    spans = Spans(provider)
    for drafts in [[Draft("a", "t")], [Draft("a", "t"), Draft("b", "t")]]:
        spans.send(drafts, len, None)
    with spans.process(Claimed("a", 1, "t", "{}", "q"), GIVEN) as fail:
        fail("ValueError", "no", "")
    assert told == {name for span in kept.get_finished_spans() for name in span.attributes or {}}


def test_the_example_of_the_page_works(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall("```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  (our own page)
    monkeypatch.setitem(names["ferry"].__dict__, "store", store)
    context = Context("a", "fetch", "default", 1, 0, 3, 60.0, traceparent=GIVEN.parent)
    with under(GIVEN):
        result = names["fetch"].call({"url": "http://127.0.0.1/"}, context)
    assert result == {"trace_id": GIVEN.trace_id}
    [job_id] = store.command("LRANGE", store.keys.pending("default", "normal"), "0", "-1")
    assert store.get(job_id.decode()).trace_id == GIVEN.trace_id
