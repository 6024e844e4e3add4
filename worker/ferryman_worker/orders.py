"""What a child and its supervisor tell each other.

The supervisor says: stop; cancel this run; and by a closed link, that it is gone. The child says
that it had better be replaced (`recycle`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import structlog

from ferryman import logs
from ferryman.config import Settings
from ferryman.decision import Release
from ferryman.errors import StoreUnavailable
from ferryman.store import Port
from ferryman_worker.limits import Limits
from ferryman_worker.link import Link
from ferryman_worker.recycle import Recycle
from ferryman_worker.run import Run

log = structlog.get_logger()


class Orders:
    """What one child does at its supervisor's word. For the thread that has the loop."""

    def __init__(
        self, worker: str, settings: Settings, link: Link, port: Port, limits: Limits
    ) -> None:
        self.is_terminated = False
        """SIGTERM came: the same as a stop with the drain of the settings."""
        self._worker, self._drain = worker, settings.drain
        self._link, self._port, self._limits = link, port, limits
        self._recycle, self._is_leaving = Recycle(settings), False

    def is_stop_due(self) -> bool:
        """Whether `heed_signal` has something to do."""
        return self.is_terminated and self._limits.stop_at is None

    def heed_signal(self) -> None:
        """Stop after SIGTERM, unless told to already."""
        if self.is_stop_due():
            self._stop(self._drain)

    def obey(self, runs: Mapping[str, Run]) -> None:
        """Do what the messages say that have come; waits for the first."""
        for message in self._link.receive():
            if message["kind"] == "stop":
                self._stop(message["drain"])
            elif message["kind"] == "cancel" and message["id"] in runs:
                runs[message["id"]].interrupt("cancel")
        if self._link.closed:
            os._exit(0)  # the supervisor is gone; what runs here is recovered by another

    def consider_leaving(self, begun: int) -> None:
        """Ask to be replaced after so many runs, once; it works on until told to stop."""
        if self._is_leaving:
            return
        reason = self._recycle.due(begun)
        if reason:
            self._is_leaving = True
            log.info(logs.CHILD_LEAVING, worker=self._worker, reason=reason)
            self._link.send("leaving")

    def _stop(self, drain: float) -> None:
        self._limits.stop(drain)
        try:
            ids, jobs = self._port.withdraw()
            if ids or jobs:
                self._port.turn([Release(job.id, job.attempt) for job in jobs], 0, ids)
        except StoreUnavailable:
            self._port.reset()  # what arrived all the same is given back by the supervisor
