"""A child as its supervisor knows it, and when its supervisor ends it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ferryman_worker.board import Board
from ferryman_worker.hearing import Hearing
from ferryman_worker.link import Link

SILENCE = 30.0
"""Seconds without a tick after which a child with nothing to run counts as hung."""

DEAF = 30.0
"""Seconds without an answer to a child after which it counts as deaf, when upkeep had them all."""


@dataclass(frozen=True)
class Verdict:
    """Why a child is to be killed, and how its jobs are treated then."""

    how: str
    reason: str
    overran: Sequence[tuple[str, int]] = ()


@dataclass(eq=False)
class ChildProcess:
    """One child, from its fork to its end."""

    pid: int
    worker: str
    board: Board
    link: Link
    slots: int
    alone: bool
    started: float = field(default_factory=time.monotonic)
    ready: bool = False
    leaving: bool = False
    """Another takes its place; `dismissed` when that one is there, and this one stops claiming."""
    dismissed: bool = False
    how: str = "crashed"
    reason: str = ""

    def verdict(self) -> Verdict | None:
        """Whether it has a run past its hard limit, or hangs with none."""
        overran = self.board.overran()
        if overran:
            return Verdict("killed", "a run outlasted its time limit", overran)
        if self.ready and not self.board.busy() and self.board.silence() > SILENCE:
            return Verdict("killed", "its loop stopped")
        return None

    def deaf(self, hearing: Hearing) -> Verdict | None:
        """Whether Redis has not answered it for long, though it has answered upkeep all along."""
        age = self.board.claim_age()
        if not self.worker or age <= DEAF or hearing.steady() <= DEAF:
            return None
        return Verdict("released", f"it has heard nothing of Redis for {age:.0f} s; others have")

    def kill(self, how: str, reason: str) -> None:
        """Kill it with all that its handlers forked."""
        self.how, self.reason = how, reason
        kill_group(self.pid)


def kill_group(leader: int) -> None:
    """SIGKILL a child of ours, living or just reaped, and all that it left in its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
