"""The time that runs have: each its limit, and all of them until the end of a drain.

What does not heed its limit is killed with the whole child, by what the board says.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from ferryman_worker.board import Board
from ferryman_worker.run import Run

LOOK = 0.25
"""Seconds between two looks at time limits, and at most between two turns of a busy loop."""


class Limits:
    """The time limits of one child.

    `begin` and `end` are called in a run's own thread, `look` in that of the watch.
    """

    def __init__(self, board: Board, grace: float) -> None:
        self.stop_at: float | None = None
        """When the drain of a stop ends; None: it has not been told to stop."""
        self._board, self._grace = board, grace
        self._looked = 0.0

    def begin(self, run: Run) -> None:
        """A run gets its slot."""
        run.limit_at = time.monotonic() + run.limits.timeout
        self._board.begin(run.slot, run.job.id, run.job.attempt, run.limit_at + self._grace)

    def end(self, run: Run) -> None:
        """A run has left its slot."""
        self._board.end(run.slot)

    def stop(self, drain: float) -> None:
        """Begin to drain: the supervisor kills what has not ended in so many seconds."""
        # A second before that, handlers are asked, so that they can clean up.
        self.stop_at = time.monotonic() + max(0.0, drain - 1.0)

    def time_left(self, most: float) -> float:
        """Seconds, at most so many, until the supervisor kills what has not ended."""
        if self.stop_at is None:
            return most
        return min(most, self.stop_at + 1.0 - LOOK - time.monotonic())

    def look(self, runs: Mapping[str, Run]) -> None:
        """Interrupt runs past their limit, and at the end of a drain all of them; every LOOK."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        is_over = self.stop_at is not None and now >= self.stop_at
        for run in list(runs.values()):
            if run.limit_at and now >= run.limit_at:
                run.interrupt("timeout")
            elif is_over:
                run.interrupt("stop")
