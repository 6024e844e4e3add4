"""When a child has done enough: so many jobs, or so much memory in use, both off by default.

Each child takes a little off its limits by chance, so that children born together do not all
leave together.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from pathlib import Path

from ferryman.config import Settings

SPREAD = 0.2
"""The most that chance takes off a limit, as a share of it."""

LOOK = 1.0
"""Seconds between two looks at the memory."""

MIB = 1 << 20


class Recycle:
    """The limits of one child."""

    def __init__(self, settings: Settings, roll: float | None = None) -> None:
        left = 1 - SPREAD * (random.random() if roll is None else roll)
        self.jobs = max(1, round(settings.max_child_jobs * left)) if settings.max_child_jobs else 0
        self.memory = settings.max_child_memory * MIB * left
        self._look_at = time.monotonic() + LOOK

    def due(self, begun: int) -> str:
        """Why the child should leave after so many jobs; empty while it should not."""
        if self.jobs and begun >= self.jobs:
            return f"it has begun {begun} jobs"
        # One that is too large before its first job would only be followed by another as large.
        if self.memory and begun and self._is_time():
            used = memory()
            if used >= self.memory:
                return f"it uses {used // MIB} MiB"
        return ""

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK
        return True


def memory() -> int:
    """Bytes this process holds in memory; off Linux the most it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak(resource.getrusage(resource.RUSAGE_SELF))
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak(usage: resource.struct_rusage) -> int:
    """The most bytes a process held in memory, by the account the kernel keeps of it."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
