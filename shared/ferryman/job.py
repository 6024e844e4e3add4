"""A job: what a client asks for (`Draft`) and the record Redis keeps (`Job`).

Times are float seconds since the epoch by the clock of Redis; durations are float seconds.
A payload travels as JSON text and is decoded only where a handler or a person reads it.
Next on the way of a job: `lifecycle`, then `client`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from ferryman.backoff import Backoff
from ferryman.keys import LEVELS
from ferryman.lifecycle import State
from ferryman.traceparent import Trace, id_of

ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""What an id chosen by the client may look like."""

QUEUE_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Queue names: no colon, so that a key can be read back into its parts."""

LONGEST_TYPE = 128
"""Characters of a job type's name."""

END_OF_TIME = 253_402_300_800.0
"""The year 10000, which no date can name."""

DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = "normal"


# json.dumps with these options builds an encoder a call: 1 us on the way of every job.
_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(value: Any) -> str:
    """A JSON value as compact text; raises ValueError or TypeError when it is not JSON."""
    return _encoder.encode(value)


class Draft(NamedTuple):
    """A job as asked for, valid but not yet accepted. None means: not said, the default holds.

    A NamedTuple: a frozen dataclass of as many fields takes 2 us longer to make.
    """

    id: str
    type: str
    payload: str = "{}"
    queue: str = DEFAULT_QUEUE
    priority: str = DEFAULT_PRIORITY
    delay: float | None = None
    run_at: float | None = None
    max_attempts: int | None = None
    timeout: float | None = None
    backoff: Backoff | None = None
    expires_at: float | None = None
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = MappingProxyType({})
    idempotency_key: str | None = None
    digest: str | None = None
    """Of the body, kept only where the same id or key may come again: by the client's choice."""
    trace: Trace | None = None
    """Which request asked for it; not of the body, so a repeat may bring another."""

    def fields(self) -> dict[str, str]:
        """The hash fields of this job; one at its default is not stored."""
        out = {"type": self.type, "payload": self.payload}
        if self.queue != DEFAULT_QUEUE:
            out["queue"] = self.queue
        if self.priority != DEFAULT_PRIORITY:
            out["priority"] = self.priority
        if self.max_attempts is not None:
            out["max_attempts"] = str(self.max_attempts)
        if self.timeout is not None:
            out["timeout"] = repr(self.timeout)
        if self.backoff is not None:
            out["backoff"] = encode(backoff_fields(self.backoff))
        if self.expires_at is not None:
            out["expires_at"] = repr(self.expires_at)
        if self.tags:
            out["tags"] = encode(list(self.tags))
        if self.meta:
            out["meta"] = encode(dict(self.meta))
        if self.idempotency_key is not None:
            out["idempotency_key"] = self.idempotency_key
        if self.digest is not None:
            out["digest"] = self.digest
        if self.trace is not None:
            out["traceparent"] = self.trace.parent
            if self.trace.state:
                out["tracestate"] = self.trace.state
        return out


def is_type_name(value: Any) -> bool:
    """Whether a job type may be called that: 1 to 128 printable characters."""
    return isinstance(value, str) and 1 <= len(value) <= LONGEST_TYPE and value.isprintable()


def backoff_fields(backoff: Backoff) -> dict[str, Any]:
    """A backoff as the JSON object that is stored and sent."""
    return {
        "base": backoff.base,
        "factor": backoff.factor,
        "cap": backoff.cap,
        "jitter": backoff.jitter,
    }


@dataclass(slots=True)
class Job:
    """The record of a job as it stands in Redis."""

    id: str
    type: str
    state: State
    payload: str = "{}"
    queue: str = DEFAULT_QUEUE
    priority: str = DEFAULT_PRIORITY
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    max_attempts: int | None = None
    timeout: float | None = None
    backoff: Backoff | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    started_at: float | None = None
    completed_at: float | None = None
    run_at: float | None = None
    expires_at: float | None = None
    error: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    result: str | None = None
    progress: float | None = None
    progress_note: str | None = None
    worker: str | None = None
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    cancel_requested: bool = False
    trace_id: str | None = None
    """32 hexadecimal digits, of the trace that asked for it."""

    @classmethod
    def from_fields(cls, job_id: str, raw: Mapping[str, str]) -> Job:
        """A record from its hash fields; ValueError or KeyError when they are not a job's."""
        job = cls(
            id=job_id,
            type=raw["type"],
            state=State(raw["state"]),
            payload=raw.get("payload", "{}"),
            queue=raw.get("queue", DEFAULT_QUEUE),
            priority=_level(raw.get("priority")),
            attempt=int(raw.get("attempt", 0)),
            failures=int(raw.get("failures", 0)),
            crashes=int(raw.get("crashes", 0)),
            max_attempts=_int(raw.get("max_attempts")),
            timeout=_float(raw.get("timeout")),
            backoff=_backoff(raw.get("backoff")),
            created_at=moment(raw.get("created_at", "0")),
            started_at=_moment(raw.get("started_at")),
            completed_at=_moment(raw.get("completed_at")),
            run_at=_moment(raw.get("run_at")),
            expires_at=_moment(raw.get("expires_at")),
            error=raw.get("error"),
            errors=[_failed_run(line) for line in raw.get("errors", "").split("\n") if line],
            result=raw.get("result"),
            progress=_fraction(raw.get("progress")),
            progress_note=raw.get("progress_note"),
            worker=raw.get("worker"),
            tags=read_tags(raw.get("tags")),
            meta=read_meta(raw.get("meta")),
            cancel_requested="cancel_requested" in raw,
            trace_id=id_of(raw.get("traceparent")),
        )
        job.updated_at = _latest(job, _moment(raw.get("updated_at")))
        return job


def _latest(job: Job, stored: float | None) -> float:
    # Most verbs leave a time of their own; only those that do not store `updated_at`.
    failed = [moment(e["failed_at"]) for e in job.errors[-1:] if "failed_at" in e]
    times: tuple[float | None, ...] = (
        stored,
        job.created_at,
        job.started_at,
        job.completed_at,
        *failed,
    )
    return max((t for t in times if t is not None), default=0.0)


def number(text: str | float) -> float:
    """A finite number; ValueError for anything else, "nan" and "inf" too."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"not a number: {text!r}")
    return value


def moment(text: str | float) -> float:
    """A time before the year 10000; ValueError for anything else."""
    value = number(text)
    if not 0 <= value < END_OF_TIME:
        raise ValueError(f"not a time: {text!r}")
    return value


def read_tags(text: str | None) -> tuple[str, ...]:
    """The tags in a job's field; ValueError when they are not a list of texts."""
    tags = json.loads(text) if text else []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError("tags are not a list of texts")
    return tuple(tags)


def read_meta(text: str | None) -> dict[str, Any]:
    """The object in a job's field `meta`; ValueError when it is none."""
    return _object(text) if text else {}


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"not an object: {text[:40]!r}")
    return value


def _failed_run(line: str) -> dict[str, Any]:
    entry = _object(line)
    if not isinstance(entry.get("attempt"), int) or not isinstance(entry.get("error"), str):
        raise ValueError(f"not a failed run: {line[:40]!r}")
    return entry


def _level(text: str | None) -> str:
    # A level there is not is served as the usual one (lua/include/push.lua).
    return text if text in LEVELS else DEFAULT_PRIORITY


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)


def _float(text: str | None) -> float | None:
    return None if text is None else number(text)


def _fraction(text: str | None) -> float | None:
    value = _float(text)
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"not a fraction: {text!r}")
    return value


def _moment(text: str | None) -> float | None:
    return None if text is None else moment(text)


def _backoff(text: str | None) -> Backoff | None:
    return None if text is None else Backoff(**json.loads(text))
