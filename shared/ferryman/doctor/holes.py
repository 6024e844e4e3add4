"""Known security holes that a job service has to do with, and the releases that close them.

From the release notes of Redis and Valkey up to August 2026. In a line of releases that is not
named nothing closes the hole; a distributor may have closed it under the same number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Version = tuple[int, ...]
Line = tuple[int, int]


@dataclass(frozen=True)
class Hole:
    """A hole and, per server, the first releases without it."""

    name: str
    means: str
    """With what whoever may log in can run any code on the server."""
    first: Version
    """The first release that has it."""
    closed: Mapping[str, Mapping[Line, int]]
    """Server -> line of releases -> patch number."""
    never: Mapping[str, Line]
    """Server -> the first line that never had it."""
    needs_eviction: bool = False
    """Whether it is open only where maxmemory-clients is set."""

    def is_open(self, server: str, version: Version) -> bool:
        """Whether this release has the hole."""
        line = (version[0], version[1])
        if version < self.first or line >= self.never[server]:
            return False
        patch = self.closed[server].get(line)
        return patch is None or version < (*line, patch)

    def is_closed_in_line(self, server: str, version: Version) -> bool:
        """Whether a later release of the same line closes it."""
        return (version[0], version[1]) in self.closed[server]

    def upgrade(self, server: str, version: Version) -> str:
        """The nearest release that closes it."""
        lines = self.closed[server]
        line = min((own for own in lines if own >= version[:2]), default=None)
        if line is None:
            return ".".join(map(str, self.never[server]))
        return f"{line[0]}.{line[1]}.{lines[line]}"


HOLES = (
    Hole(
        "CVE-2025-49844",
        "a Lua script",
        (0,),
        {
            "redis": {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
            "valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
        },
        {"redis": (8, 4), "valkey": (9, 0)},
    ),
    Hole(
        "CVE-2026-23479",
        "a blocked client that is evicted while it wakes",
        (7, 2, 0),
        {
            "redis": {(7, 2): 14, (7, 4): 9, (8, 2): 6, (8, 4): 3, (8, 6): 3},
            "valkey": {(7, 2): 13, (8, 0): 9, (8, 1): 7, (9, 0): 4},
        },
        {"redis": (8, 8), "valkey": (9, 1)},
        needs_eviction=True,
    ),
    Hole(
        "CVE-2026-63639 (in Redis without a number, closed on 2026-07-23)",
        "a crafted stream given to RESTORE",
        (5, 0, 0),
        {
            "redis": {(6, 2): 23, (7, 2): 15, (7, 4): 10, (8, 2): 8, (8, 4): 5, (8, 6): 5},
            "valkey": {(7, 2): 14, (8, 0): 10, (8, 1): 9, (9, 0): 5, (9, 1): 1},
        },
        {"redis": (8, 8), "valkey": (9, 2)},
    ),
)
