"""What a child shows its supervisor without a word: shared memory, one row a slot.

A pipe would cost the hot path a system call a job; two writes here cost half a microsecond.
Clocks: time.monotonic(), which all processes of a machine share.
"""

from __future__ import annotations

import mmap
import struct
import time

_TICK = struct.Struct("d")
_HEARD = struct.Struct("d")
_ROWS = _TICK.size + _HEARD.size
_DEADLINE = struct.Struct("d")
_JOB = struct.Struct("QH128s")  # an attempt may have 15 digits (lua/claim.lua)
_ROW = _DEADLINE.size + 144


class Board:
    """Per slot: the job, its attempt and when it must be over at the latest; a tick; and when
    Redis last answered the child."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.begun = 0
        """Runs begun so far; for the child itself."""
        self._map = mmap.mmap(-1, _ROWS + _ROW * slots)
        self.tick()
        self.hear()

    def tick(self) -> None:
        """The child's loop is alive."""
        _TICK.pack_into(self._map, 0, time.monotonic())

    def silence(self) -> float:
        """Seconds since the last tick."""
        (last,) = _TICK.unpack_from(self._map, 0)
        return time.monotonic() - float(last)

    def hear(self) -> None:
        """Redis answered a claim, or said what this child holds."""
        _HEARD.pack_into(self._map, _TICK.size, time.monotonic())

    def claim_age(self) -> float:
        """Seconds since it last did; a healthy child hears it every ten at least."""
        (last,) = _HEARD.unpack_from(self._map, _TICK.size)
        return time.monotonic() - float(last)

    def begin(self, slot: int, job_id: str, attempt: int, deadline: float) -> None:
        """A run starts; past `deadline` the child is killed."""
        self.begun += 1
        at = _ROWS + slot * _ROW
        raw = job_id.encode("utf-8", "surrogateescape")
        _JOB.pack_into(self._map, at + _DEADLINE.size, attempt, len(raw), raw)
        # Last, and in one aligned write: a row counts only while it has a deadline.
        _DEADLINE.pack_into(self._map, at, deadline)

    def end(self, slot: int) -> None:
        """The run is over. A tick too: one that kept the interpreter's lock kept the loop from its
        own, and the 30 s without one begin only now."""
        self.tick()
        _DEADLINE.pack_into(self._map, _ROWS + slot * _ROW, 0.0)

    def busy(self) -> int:
        """Slots with a run."""
        return sum(1 for slot in range(self.slots) if self._deadline(slot))

    def overran(self) -> list[tuple[str, int]]:
        """(id, attempt) of runs past their deadline."""
        now = time.monotonic()
        return [self._job(s) for s in range(self.slots) if 0 < self._deadline(s) < now]

    def _deadline(self, slot: int) -> float:
        (deadline,) = _DEADLINE.unpack_from(self._map, _ROWS + slot * _ROW)
        return float(deadline)

    def _job(self, slot: int) -> tuple[str, int]:
        at = _ROWS + slot * _ROW + _DEADLINE.size
        attempt, length, raw = _JOB.unpack_from(self._map, at)
        return raw[:length].decode("utf-8", "surrogateescape"), attempt
