"""How a run ended, before anything is decided about the job."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Returned:
    """The handler gave back a value; `result` is its JSON text, None for no result."""

    result: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The run ended in an error. `final`: no retry would help. `delay` replaces the backoff."""

    error: str
    traceback: str = ""
    final: bool = False
    delay: float | None = None
    kind: str = field(default="_OTHER", compare=False)
    """The exception's class, or one of few words: what OpenTelemetry calls `error.type`. Nothing is
    decided by it."""


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The handler asked to run again after `delay` seconds; None: it named no number."""

    delay: float | None


@dataclass(frozen=True, slots=True)
class Stopped:
    """The worker is stopping and the run was cut short."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run stopped because it was asked to."""


Outcome = Returned | Failed | Snoozed | Stopped | Cancelled
