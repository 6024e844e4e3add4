"""When a worker past its lease counts as dead. Pure but for the clock it is given.

A lease alone is not enough: after Redis stood still for longer than a lease every one is past it,
though all workers live. So a worker is dead only when its beat has not moved in 3 s of looks that
followed each other without a gap, and never within a lease of a time we ourselves lost sight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

SERIES = 3.0
"""Seconds a worker past its lease is watched."""

GAP = 2.5
"""Seconds between two looks after which the series starts anew: we were the one that stalled."""


class Watch:
    """The looks of one supervisor at the workers past their lease."""

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease, self._clock = lease, clock
        self._first: dict[str, tuple[str, float]] = {}
        self._last_look = clock()
        self._grace_until = 0.0

    def lost_sight(self) -> None:
        """Redis could not be asked: whoever lives needs a lease of time to say so."""
        self._first.clear()
        self._grace_until = self._clock() + self._lease

    def dead(self, late: Mapping[str, str]) -> list[str]:
        """A look: workers past their lease with their beat; those that are dead."""
        now = self._clock()
        if now - self._last_look > GAP:
            self.lost_sight()
        self._last_look = now
        if now < self._grace_until:
            return []
        seen = {w: (beat, self._since(w, beat, now)) for w, beat in late.items()}
        dead = [w for w, (_, since) in seen.items() if now - since >= SERIES]
        self._first = {w: first for w, first in seen.items() if w not in dead}
        return dead

    def _since(self, worker: str, beat: str, now: float) -> float:
        known = self._first.get(worker)
        return known[1] if known is not None and known[0] == beat else now
