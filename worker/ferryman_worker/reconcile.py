"""What lies in a child's list without its knowing: claimed, and the reply was lost.

At times, and after every error, the list is compared with what the child runs. What it does not
know it asks for again: it adopts what has begun, and begins the rest.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from ferryman.store import Claimed, Port

RECONCILE = 10.0
"""Seconds between two comparisons of `running:<itself>` with memory; also after every error."""

MANY = 1000
"""Adopted attempts remembered, at least until the listeners that may bring them too were read."""


class Reconcile:
    """The comparisons of one child."""

    def __init__(self, port: Port) -> None:
        self.at = time.monotonic() + RECONCILE
        """When the next one is due."""
        self.owed: list[str] = []
        """In its list when last compared, and not run for want of a slot."""
        self._port = port
        self._adopted: set[tuple[str, int]] = set()  # a listener may still bring one of these

    def soon(self) -> None:
        """Compare before anything else."""
        self.at = 0.0

    def compare(self, runs: Collection[str]) -> list[str]:
        """The ids that lie in the list and are not among `runs`. Raises StoreUnavailable."""
        self.at = time.monotonic() + RECONCILE
        self.owed = self._port.running()
        self.heard(runs)
        return self.owed

    def heard(self, runs: Collection[str]) -> None:
        """Redis did what it was asked: what runs now is owed no more."""
        if self.owed:
            self.owed = [i for i in self.owed if i not in runs]

    def adopt(self, jobs: Sequence[Claimed]) -> None:
        """Remember the jobs that came of a comparison."""
        # No attempt comes twice, so an old entry does no harm; it only takes room.
        if len(self._adopted) > MANY:
            self._adopted.clear()
        self._adopted.update((job.id, job.attempt) for job in jobs)

    def new(self, jobs: Sequence[Claimed]) -> list[Claimed]:
        """The jobs a wait brought, less those that were adopted before its answer was read."""
        return [job for job in jobs if (job.id, job.attempt) not in self._adopted]
