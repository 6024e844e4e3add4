"""Redis is away or refuses: when to ask it again, and when to look for another.

The pauses are random and grow, so that many workers do not come back in one instant.
"""

from __future__ import annotations

import random
import time

import structlog

from ferryman import logs
from ferryman.errors import StoreUnavailable
from ferryman_worker.board import Board

LONGEST = 5.0
"""Seconds a pause after an error may last."""

POLL = 0.2
"""Seconds until Redis is asked again after a refusal, as when it is out of memory."""

SUSPECT = 10.0
"""Seconds of refusals until the address is asked for again.

After a failover it may lead to another server."""

log = structlog.get_logger()


class Trouble:
    """Errors and refusals of Redis, as one child sees them; its answers are noted on the board."""

    def __init__(self, worker: str, board: Board) -> None:
        self.count = 0
        """Errors since it last did what it was asked."""
        self.retry_at = 0.0
        """Nothing is asked before."""
        self.is_refused = False
        """Its last answer was a refusal."""
        self._worker, self._board = worker, board

    def lost(self, error: StoreUnavailable) -> None:
        """There was no answer: ask again after a pause."""
        if not self.count:
            log.warning(logs.REDIS_LOST, worker=self._worker, error=str(error))
        self.count += 1
        # Full jitter.
        pause = random.uniform(0.02, min(LONGEST, 0.1 * 2**self.count))
        self.retry_at = time.monotonic() + pause

    def heard(self, refusal: str | None) -> None:
        """An answer; None: Redis did what it was asked.

        Raises StoreUnavailable when it has refused for long: drop the connections.
        """
        self.is_refused = refusal is not None
        if refusal is None:
            self._board.hear()
            if self.count:
                log.info(logs.REDIS_BACK, worker=self._worker)
                self.count = 0
            return
        self.retry_at = time.monotonic() + POLL
        if self._board.claim_age() > SUSPECT:
            raise StoreUnavailable(refusal)

    def has_read(self) -> None:
        """Redis answered a question that changes nothing."""
        if not self.is_refused:  # a server that only lets itself be read is of no use
            self._board.hear()
