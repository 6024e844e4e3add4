"""Every error Ferryman raises, in one tree.

    FerrymanError
      ConfigError                 refuse to start; names the setting and what was expected
      InvalidJob                  a job that cannot be accepted; names each field
      JobNotFound                 no job has this id
      WrongState                  the verb is not allowed from the job's state
        ClaimLost                 the job is no longer this worker's
      IdempotencyConflict         an id or key used again with another body
      QueueFull                   the queue holds as many waiting jobs as it may
      StoreUnavailable            Redis did not answer in time, or refuses writes
        MemoryFull                Redis is full, or so nearly that it takes no new jobs
        StoreDamaged              a key holds what Ferryman did not put there

`Retry`, `Bury` and `Snooze` (handler signals) are not errors; they live in `context`.
How each error reads over HTTP is one table, in `ferryman_api.problems`.
"""

from __future__ import annotations

from dataclasses import dataclass


class FerrymanError(Exception):
    """Base of every error raised by this package."""


class ConfigError(FerrymanError):
    """A setting or a job definition is wrong; the message says which and what was expected."""


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with a job: a JSON pointer into the request and what was expected there."""

    pointer: str
    detail: str


class InvalidJob(FerrymanError):
    """The job cannot be accepted; `errors` says what is wrong and where."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{e.pointer or 'body'}: {e.detail}" for e in errors))

    @classmethod
    def at(cls, pointer: str, detail: str) -> InvalidJob:
        """One error at one place."""
        return cls([FieldError(pointer, detail)])


class JobNotFound(FerrymanError):
    """No job has this id (never accepted, deleted, or past its retention)."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"no job has the id {job_id!r}")


class WrongState(FerrymanError):
    """The verb is not allowed from the state the job is in."""

    def __init__(self, job_id: str, verb: str, state: str) -> None:
        self.job_id, self.verb, self.state = job_id, verb, state
        super().__init__(f"cannot {verb} job {job_id}: it is {state}")


class ClaimLost(WrongState):
    """The attempt is no longer this worker's: it was recovered, or already settled otherwise."""

    def __init__(self, job_id: str, attempt: int) -> None:
        self.attempt = attempt
        super().__init__(job_id, "settle", f"not running as attempt {attempt} of this worker")


class IdempotencyConflict(FerrymanError):
    """The same id or Idempotency-Key came again with a different body."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} was already used with a different body")


class QueueFull(FerrymanError):
    """The queue holds as many waiting jobs as it may; `retry_after` is in seconds."""

    def __init__(self, queue: str, limit: int, retry_after: int = 5) -> None:
        self.queue, self.limit, self.retry_after = queue, limit, retry_after
        super().__init__(f"queue {queue!r} is full: at most {limit} jobs may wait")


class StoreUnavailable(FerrymanError):
    """Redis did not answer in time or refuses writes; nothing is known to have changed."""

    def __init__(self, reason: str, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(reason)


class MemoryFull(StoreUnavailable):
    """Redis is full, or so nearly that room is kept for the jobs it has; none was accepted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, retry_after=5)


class StoreDamaged(StoreUnavailable):
    """A key holds another type than Ferryman put there; upkeep sets it aside within 10 s."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, retry_after=10)
