"""What a handler may know, say and raise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ferryman.traceparent import id_of


class Signal(Exception):
    """What a handler raises to steer its job; not an error."""


class Retry(Signal):
    """Run again later; counts as a failure. `delay` in seconds replaces the backoff."""

    def __init__(self, reason: str = "asked to be retried", delay: float | None = None) -> None:
        self.reason, self.delay = reason, delay
        super().__init__(reason)


class Snooze(Signal):
    """Run again after `delay` seconds; nothing is charged."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        super().__init__(f"snoozed for {delay:g} s")


class Bury(Signal):
    """Give up at once: to the dead letters, whatever attempts are left."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Interrupt(BaseException):
    """Raised inside a handler that must stop; `reason` is "timeout", "cancel" or "stop".

    A BaseException, so that `except Exception` in a handler does not swallow it. Clean up and
    let it pass.
    """

    reason = "stop"


class BadPayload(Exception):
    """The payload does not fit the handler's parameters: the job fails without retries."""


class Services(Protocol):
    """What a running job may say; fenced by its attempt."""

    def progress(self, job_id: str, attempt: int, fraction: float, note: str) -> None: ...


@dataclass(frozen=True)
class Context:
    """What a handler may know of its run; asked for by a parameter annotated `Context`."""

    job_id: str
    type: str
    queue: str
    attempt: int
    failures: int
    max_attempts: int
    timeout: float
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    services: Services | None = field(default=None, repr=False)
    traceparent: str | None = None
    """The W3C header of the request that asked for the job, to be passed on; None: it had none."""

    @property
    def trace_id(self) -> str | None:
        """32 hexadecimal digits, of the trace that asked for the job."""
        return id_of(self.traceparent)

    def progress(self, fraction: float, note: str = "") -> None:
        """Say how far the run is: 0 to 1, with a few words. Kept on the job for readers."""
        if self.services is not None:
            self.services.progress(self.job_id, self.attempt, min(max(fraction, 0.0), 1.0), note)
