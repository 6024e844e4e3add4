"""A type's own backoff formula, watched: what is wrong with it is said once, not swallowed."""

from __future__ import annotations

import math

import structlog

from ferryman import logs
from ferryman.backoff import DelayFormula

log = structlog.get_logger()
_told: set[str] = set()


def watched(name: str, formula: DelayFormula) -> DelayFormula:
    """The formula of type `name`; `decide` falls back where it raises or gives no number."""

    def delay(failures: int, roll: float) -> float:
        try:
            seconds = formula(failures, roll)
        except Exception as error:
            _tell(name, repr(error))
            raise
        if not isinstance(seconds, int | float) or math.isnan(seconds):
            _tell(name, f"it gave {seconds!r}, expected seconds")
        return seconds

    return delay


def _tell(name: str, error: str) -> None:
    """Once a process and type: a storm of failures would say it as often."""
    if name not in _told:
        _told.add(name)
        log.error(logs.BACKOFF_BROKEN, type=name, error=error[:500])
