"""Metric families as text. prometheus_client makes an object of every sample, which takes 100 ms
for 200 pairs of queue and type with their histograms; texts filled in at one go take 5 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ferryman.store.meters import Histogram


class Family(NamedTuple):
    """One metric: `name` without `_total`, `kind` as Prometheus calls it, a line per sample (or
    several in one text)."""

    name: str
    kind: str
    about: str
    lines: Sequence[str]

    def text(self, is_open: bool) -> Iterator[str]:
        """Its lines. OpenMetrics (`is_open`) names a counter without `_total` at the head."""
        name = self.name if is_open or self.kind != "counter" else f"{self.name}_total"
        yield f"# HELP {name} {self.about}"
        yield f"# TYPE {name} {self.kind}"
        yield from self.lines


def text(families: Iterable[Family], is_open: bool) -> bytes:
    """The answer to a scrape, in the format of OpenMetrics or in that of Prometheus before it."""
    lines = [line for family in families for line in family.text(is_open)]
    end = "# EOF\n" if is_open else ""
    return ("\n".join(lines) + "\n" + end).encode()


Rows = Iterable[tuple[str, float]]
"""(labels, value) each."""


def gauge(name: str, about: str, value: float | Rows) -> Family:
    """One value without labels, or rows."""
    return Family(name, "gauge", about, _lines(name, value))


def counter(name: str, about: str, value: float | Rows) -> Family:
    """One value without labels, or rows; `name` without `_total`."""
    return Family(name, "counter", about, _lines(f"{name}_total", value))


def _lines(name: str, value: float | Rows) -> list[str]:
    if isinstance(value, int | float):
        return [f"{name} {value}"]
    return [f"{name}{{{labels}}} {n}" for labels, n in value]


def histogram(
    name: str, about: str, bounds: Sequence[str], rows: Iterable[tuple[str, Histogram]]
) -> Family:
    """Rows of (labels, histogram); no labels: "". `bounds` in seconds, the last one "inf"."""
    # Filled in at one go, the labels last: line by line it would take three times as long.
    form = [f'{name}_bucket{{\0,le="{le(bound)}"}} %d' for bound in bounds]
    text = "\n".join([*form, f"{name}_count{{\0}} %d", f"{name}_sum{{\0}} %r"])
    plain = text.replace("{\0,", "{").replace("{\0}", "")
    lines = [
        ((text if labels else plain) % (*counts, counts[-1], total)).replace("\0", labels)
        for labels, (counts, total) in rows
    ]
    return Family(name, "histogram", about, lines)


def le(bound: str) -> str:
    """An upper bound as OpenMetrics writes it: 1.0, +Inf."""
    return "+Inf" if bound == "inf" else repr(float(bound))


def labels(pairs: Mapping[str, str]) -> str:
    """`queue="a",type="b"`, with what must be escaped."""
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs.items())


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
