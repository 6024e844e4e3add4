"""Statistics of samples: pure functions on lists of numbers."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median with its extremes."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 0) -> str:
        """As the result page shows it: `12,300 (11,800-12,900)`, the extremes where they differ."""
        middle, low, high = (f"{v:,.{digits}f}" for v in (self.median, self.low, self.high))
        return middle if low == high else f"{middle} ({low}-{high})"


def spread(values: Iterable[float]) -> Spread | None:
    """Median, least and greatest; None of nothing."""
    known = list(values)
    if not known:
        return None
    return Spread(statistics.median(known), min(known), max(known))


def ratios(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Spread | None:
    """Ours by theirs, round by round: what ran side by side is divided, then the median taken."""
    both = [n for n in ours if theirs.get(n)]
    return spread(ours[n] / theirs[n] for n in both)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    rank = max(1, -(-len(ranked) * share // 1))
    return ranked[min(len(ranked), int(rank)) - 1]


def drain_rate(lanes: Mapping[int, Sequence[float]], processes: int) -> float:
    """Jobs per second from the moment every process had run one until the last job.

    With one process that is from the first job to the last.
    """
    times = sorted(when for lane in lanes.values() for when in lane)
    if processes > 1 and len(lanes) == processes:
        begun = max(min(lane) for lane in lanes.values())
    else:
        begun = times[0]
    later = [when for when in times if when > begun]
    if not later:
        return 0.0
    return len(later) / (later[-1] - begun)


def medians(batches: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The median of each name's values."""
    by_name: dict[str, list[float]] = {}
    for name, value in batches:
        by_name.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in by_name.items()}
