"""How far an act is, and when it and all that follow it will be over: on stderr."""

from __future__ import annotations

import sys
import time


class Progress:
    """A line on a terminal, a line every half minute elsewhere."""

    def __init__(self, act: str, expected: float, after: float = 0.0) -> None:
        self._act, self._expected, self._after = act, expected, after
        self._started, self._shown = time.monotonic(), 0.0
        self._tty = sys.stderr.isatty()

    def show(self, done: float, text: str = "") -> None:
        """The share that is done, 0 to 1, and what is going on."""
        now = time.monotonic()
        if now - self._shown < (0.2 if self._tty else 30):
            return
        self._shown = now
        self._print(done, text, self._left(done, now - self._started))

    def end(self, seconds: float) -> None:
        """The act is over."""
        self._print(1.0, f"in {seconds / 60:.1f} min", self._after)
        if self._tty:
            print(file=sys.stderr)

    def _left(self, done: float, spent: float) -> float:
        # The plan's estimate first, the pace so far the more it counts.
        by_pace = spent * (1 - done) / done if done > 0 else self._expected
        return done * by_pace + (1 - done) * self._expected * (1 - done) + self._after

    def _print(self, done: float, text: str, left: float) -> None:
        bar = "#" * int(30 * min(done, 1.0))
        line = f"{self._act:<9} [{bar:<30}] {left / 60:4.0f} min left  {text:<46}"
        start, end = ("\r", "") if self._tty else ("", "\n")
        print(start + line, end=end, file=sys.stderr, flush=True)
