"""What became of an attempt: the five ways to settle it, and the stop that was asked for.

The worker's `decide` makes these; the store writes them, one Lua script each.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finish:
    """It ended well. `result` is JSON text, `duration` seconds."""

    id: str
    attempt: int
    result: str | None
    duration: float


@dataclass(frozen=True, slots=True)
class Retry:
    """It failed and runs again after `delay` seconds.

    `entry` is the JSON object kept in the job's history; `max_attempts` is what was in force
    when the job itself names none, kept on the job so that readers see it.
    """

    id: str
    attempt: int
    delay: float
    error: str
    entry: str
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Bury:
    """It is given up: to the dead letters."""

    id: str
    attempt: int
    error: str
    entry: str
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Snooze:
    """It asked to run again after `delay` seconds; nothing is charged."""

    id: str
    attempt: int
    delay: float


@dataclass(frozen=True, slots=True)
class Release:
    """It was cut short through no fault of its own: back to the head, nothing is charged."""

    id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """It stopped as asked."""

    id: str
    attempt: int


Decision = Finish | Retry | Bury | Snooze | Release | Cancel
