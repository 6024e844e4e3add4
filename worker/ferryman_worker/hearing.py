"""What the supervisor hears of its upkeep, and through it of Redis. Pure but for its clock."""

from __future__ import annotations

import time
from collections.abc import Callable

SILENT = 10.0
"""Seconds without a word after which an upkeep counts as hung; it speaks every second."""

LAPSE = 5.0
"""Seconds between two words after which nothing is known of the time between them."""

GAP = 2.5
"""Seconds between two looks after which all is counted anew: we were the one that stalled."""


class Hearing:
    """The words of one upkeep after the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._look = clock()
        self.begin()

    def begin(self) -> None:
        """A new upkeep speaks from now on."""
        self._word = self._since = self._clock()

    def look(self) -> None:
        """The supervisor is awake."""
        now = self._clock()
        if now - self._look > GAP:
            self.begin()
        self._look = now

    def word(self, redis: bool) -> None:
        """Upkeep said that it lives, and whether Redis answers it."""
        now = self._clock()
        if not redis or now - self._word > LAPSE:
            self._since = now
        self._word = now

    def is_silent(self) -> bool:
        """Upkeep has said nothing for too long."""
        return self._clock() - self._word > SILENT

    def steady(self) -> float:
        """Seconds for which Redis has answered upkeep all along."""
        now = self._clock()
        return 0.0 if now - self._word > LAPSE else now - self._since
