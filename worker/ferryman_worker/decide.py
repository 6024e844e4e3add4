"""What happens to a job after a run. Pure: the same arguments, the same answer.

Next on the way of a job: `ferryman.store.port`, lua/<verb>.lua.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from ferryman.backoff import Backoff, DelayFormula
from ferryman.config import Settings
from ferryman.decision import Bury, Cancel, Decision, Finish, Release, Retry, Snooze
from ferryman.job import encode
from ferryman.registry import Options
from ferryman.store import Claimed
from ferryman_worker.formula import watched
from ferryman_worker.outcome import Cancelled, Failed, Outcome, Returned, Snoozed, Stopped

ERROR_LIMIT = 8192
"""Bytes kept of an error's text, and of its traceback."""

LONGEST = 315_360_000.0
"""Seconds a job may be told to wait: ten years, as for a client's `delay`."""


@dataclass(frozen=True)
class Policy:
    """The limits in force for one job: its own, else its type's, else the settings'."""

    max_attempts: int
    delay: DelayFormula
    timeout: float
    noted_attempts: int | None = None
    """max_attempts when neither job nor settings name it: kept on the job for readers."""


def policy(job: Claimed, options: Options, settings: Settings) -> Policy:
    """The policy of a job; one word of precedence for every limit."""
    most = job.max_attempts or options.max_attempts or settings.max_attempts
    wait: Backoff | DelayFormula = options.backoff or settings.backoff
    if job.backoff:
        wait = Backoff(**json.loads(job.backoff))
    return Policy(
        max_attempts=most,
        delay=wait.delay if isinstance(wait, Backoff) else watched(job.type, wait),
        timeout=job.timeout or options.timeout or settings.timeout,
        noted_attempts=options.max_attempts if job.max_attempts is None else None,
    )


def decide(
    job: Claimed, outcome: Outcome, limits: Policy, worker: str, duration: float, roll: float
) -> Decision:
    """The decision about a job; `roll` in [0, 1) is the chance the retry's jitter takes."""
    match outcome:
        case Returned(result):
            return Finish(job.id, job.attempt, result, duration)
        case Snoozed(delay):
            return Snooze(job.id, job.attempt, _seconds(delay, Backoff().delay(1, roll)))
        case Stopped():
            return Release(job.id, job.attempt)
        case Cancelled():
            return Cancel(job.id, job.attempt)
        case Failed():
            return _failed(job, outcome, limits, worker, roll)


def _failed(job: Claimed, run: Failed, limits: Policy, worker: str, roll: float) -> Decision:
    error, entry = cut(run.error), history(job.attempt, worker, run.error, run.traceback)
    failures = job.failures + 1
    if run.final or failures >= limits.max_attempts:
        return Bury(job.id, job.attempt, error, entry, limits.noted_attempts)
    wait = _backoff(limits, failures, roll)
    delay = wait if run.delay is None else _seconds(run.delay, wait)
    return Retry(job.id, job.attempt, delay, error, entry, limits.noted_attempts)


def _backoff(limits: Policy, failures: int, roll: float) -> float:
    # A formula may be the application's own: what it raises must not end the child.
    usual = Backoff().delay(failures, roll)
    try:
        return _seconds(limits.delay(failures, roll), usual)
    except Exception:
        return usual


def _seconds(value: object, otherwise: float) -> float:
    """A wait that Redis can keep. NaN would stop a script half way, and Lua has no rollback."""
    if not isinstance(value, int | float):
        return otherwise
    capped = float(min(max(value, 0), LONGEST))
    return otherwise if math.isnan(capped) else capped


def history(attempt: int | None, worker: str, error: str, traceback: str = "") -> str:
    """One entry of a job's `errors`, a JSON object; Redis adds the time, recover the attempt."""
    entry: dict[str, object] = {} if attempt is None else {"attempt": attempt}
    entry |= {"worker": worker, "error": cut(error)}
    if traceback:
        entry["traceback"] = cut(traceback, tail=True)
    return encode(entry)


def cut(text: str, tail: bool = False) -> str:
    """At most 8 KiB of valid UTF-8; the beginning, or the end of a traceback."""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) > ERROR_LIMIT:
        raw = b"..." + raw[3 - ERROR_LIMIT :] if tail else raw[: ERROR_LIMIT - 3] + b"..."
    return raw.decode("utf-8", "ignore")
