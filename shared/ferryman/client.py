"""The client: validates a job, builds its `Draft` and hands it to the store.

    ferry = Ferryman()                        # settings from the environment; connects on first use
    handle = ferry.enqueue("uppercase", {"input": "hello"})
    handle.wait(timeout=10).result

Next on the way of a job: `store`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, TypeVar, overload

from ferryman import config
from ferryman.backoff import Backoff
from ferryman.errors import ConfigError, FieldError, InvalidJob
from ferryman.ids import new_id
from ferryman.job import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    ID_PATTERN,
    QUEUE_PATTERN,
    Draft,
    Job,
    backoff_fields,
    encode,
)
from ferryman.keys import LEVELS
from ferryman.lifecycle import FINISHED
from ferryman.registry import JobType, P, R, Registry, make_options
from ferryman.store import Store

T = TypeVar("T")

MISSING: Any = object()
"""Stands for a payload that was not given: None is a payload of its own, JSON's null."""

_OPTIONS = frozenset(
    "id queue priority delay run_at max_attempts timeout backoff tags meta idempotency_key".split()
)
_PRIORITIES: Mapping[object, str] = {level: level for level in LEVELS} | {
    3: "high",
    2: "normal",
    1: "low",
}


class Ferryman:
    """An application: its settings, its job types, and the way to the store."""

    def __init__(self, settings: config.Settings | None = None, store: Store | None = None) -> None:
        self._given = settings
        self.registry = Registry()
        if store is not None:
            self.__dict__["store"] = store

    @cached_property
    def settings(self) -> config.Settings:
        """The settings given, or those of the environment when first asked for."""
        return self._given or config.load()

    def configure(self, settings: config.Settings) -> None:
        """Settings for an application that was given none: those of the worker that serves it."""
        if self._given is None:
            self._given = settings

    @cached_property
    def store(self) -> Store:
        """The store; it connects when first used."""
        return Store(self.settings)

    @overload
    def job(self, name: Callable[P, R]) -> JobType[P, R]: ...
    @overload
    def job(
        self, name: str | None = None, **options: Any
    ) -> Callable[[Callable[P, R]], JobType[P, R]]: ...
    def job(self, name: Any = None, **options: Any) -> Any:
        """Register a function as a job type, under `name` or its own.

        Options: queue, max_attempts, timeout (seconds), backoff (a `Backoff` or a tenacity
        wait). A wrong one is a ConfigError here and now.
        """

        def register(function: Callable[P, R]) -> JobType[P, R]:
            job_name = name if isinstance(name, str) else function.__name__
            job_type = JobType(job_name, function, make_options(job_name, options), self.enqueue)
            self.registry.add(job_type)
            return job_type

        return register(name) if callable(name) else register

    def enqueue(self, type: str, payload: Any = MISSING, **options: Any) -> Handle:
        """Accept a job; give back its handle.

        Options: id, queue, priority ("high", "normal", "low" or 3, 2, 1), delay (seconds) or
        run_at (epoch seconds), max_attempts, timeout (seconds), backoff, tags, meta,
        idempotency_key. The same id or key with the same body again gives the first job.
        Raises InvalidJob, IdempotencyConflict, QueueFull or StoreUnavailable; then nothing
        was accepted, or (StoreUnavailable only) it is unknown and may be asked again by id.
        """
        accepted = self.store.enqueue([draft(type, payload, **options)])[0]
        return Handle(self, accepted.id, accepted.is_new)

    def get(self, job_id: str) -> Job:
        """The record of a job; JobNotFound when there is none."""
        return self.store.get(job_id)


@dataclass(frozen=True)
class Handle:
    """A job that was accepted: its id, and ways to look at it."""

    ferry: Ferryman
    id: str
    is_new: bool = True
    """False when the same id or Idempotency-Key had been accepted before."""

    def job(self) -> Job:
        """The record as it stands now."""
        return self.ferry.get(self.id)

    def wait(self, timeout: float = 60.0) -> Job:
        """The record once it is completed, failed or cancelled.

        TimeoutError after `timeout` seconds. Asks Redis again after 5 ms, then less and less
        often, down to four times a second.
        """
        end, pause = time.monotonic() + timeout, 0.005
        while (job := self.job()).state not in FINISHED:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"job {self.id} is still {job.state} after {timeout:g} s")
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.25)
        return job

    def result(self, timeout: float = 60.0) -> Any:
        """Wait, then the decoded result; None unless the job completed with one."""
        text = self.wait(timeout).result
        return None if text is None else json.loads(text)


def draft(type: str, payload: Any = MISSING, **options: Any) -> Draft:
    """A valid `Draft`; InvalidJob names everything that is wrong with it.

    No payload stands for {}; None is JSON's null.
    """
    if payload is MISSING:
        payload = {}
    check = _Check()
    unknown = set(options) - _OPTIONS
    for name in sorted(unknown):
        check.add(f"/{name}", f"unknown option; expected one of {', '.join(sorted(_OPTIONS))}")
    get = options.get
    job_id = get("id")
    if job_id is not None and not (isinstance(job_id, str) and ID_PATTERN.fullmatch(job_id)):
        check.add("/id", "expected 1 to 128 letters, digits, . _ : -")
    if not isinstance(type, str) or not 1 <= len(type) <= 128 or not type.isprintable():
        check.add("/type", "expected 1 to 128 printable characters")
    queue: Any = get("queue")
    queue = DEFAULT_QUEUE if queue is None else queue
    if not (isinstance(queue, str) and QUEUE_PATTERN.fullmatch(queue)):
        check.add("/queue", "expected 1 to 64 letters, digits, . _ -")
    priority: Any = get("priority")
    priority = DEFAULT_PRIORITY if priority is None else priority
    if (
        not isinstance(priority, str | int)
        or isinstance(priority, bool)
        or priority not in _PRIORITIES
    ):
        check.add("/priority", 'expected "high", "normal" or "low", or 3, 2 or 1')
    if get("delay") is not None and get("run_at") is not None:
        check.add("/run_at", "expected delay or run_at, not both")
    key = get("idempotency_key")
    if key is not None and not (isinstance(key, str) and 1 <= len(key) <= 255):
        check.add("/idempotency_key", "expected 1 to 255 characters")
    numbers = {
        "delay": check.number("/delay", get("delay"), 0, 315_360_000),
        "run_at": check.number("/run_at", get("run_at"), 0, 253_402_300_799),
        "timeout": check.number("/timeout", get("timeout"), 0.1, 604_800),
    }
    max_attempts = check.number("/max_attempts", get("max_attempts"), 1, 1000, whole=True)
    backoff = check.build("/backoff", get("backoff"), _backoff)
    tags = check.build("/tags", () if get("tags") is None else get("tags"), _tags)
    meta = check.build("/meta", {} if get("meta") is None else get("meta"), _meta)
    text = check.build("/payload", payload, _json)
    check.done()
    return Draft(
        id=job_id or new_id(),
        type=type,
        payload=text,
        queue=queue,
        priority=_PRIORITIES[priority],
        **numbers,
        max_attempts=None if max_attempts is None else int(max_attempts),
        backoff=backoff,
        tags=tags,
        meta=meta,
        idempotency_key=key,
        digest=_digest(type, text, options) if job_id or key else None,
    )


class _Check:
    """Gathers everything that is wrong, so that one answer names it all."""

    def __init__(self) -> None:
        self._errors: list[FieldError] = []

    def add(self, pointer: str, detail: str) -> None:
        self._errors.append(FieldError(pointer, detail))

    def number(
        self, pointer: str, value: Any, low: float, high: float, whole: bool = False
    ) -> float | None:
        if value is None:
            return None
        kind = int if whole else int | float
        if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
            self.add(pointer, f"expected a{' whole' if whole else ''} number, {low:g} to {high:g}")
            return None
        return float(value)

    def build(self, pointer: str, value: Any, make: Callable[[Any], T]) -> T:
        try:
            return make(value)
        except (ConfigError, ValueError, TypeError, RecursionError) as error:
            self.add(pointer, str(error) or "nested too deeply")
            return None  # type: ignore[return-value]  # done() raises before it is used

    def done(self) -> None:
        if self._errors:
            raise InvalidJob(self._errors)


def _backoff(value: Any) -> Backoff | None:
    if value is None or isinstance(value, Backoff):
        return value
    if not isinstance(value, Mapping) or not set(value) <= {"base", "factor", "cap", "jitter"}:
        raise ValueError("expected an object with base, factor, cap, jitter")
    for name, number in value.items():
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number and (name, number) != ("jitter", "full"):
            raise ValueError(f"{name}: expected a number")
    return Backoff(**value)


def _tags(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > 20:
        raise ValueError("expected a list of at most 20 texts")
    if not all(isinstance(t, str) and 1 <= len(t) <= 64 and _encodes(t) for t in value):
        raise ValueError("expected texts of 1 to 64 characters")
    return tuple(value)


def _meta(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("expected an object")
    if len(_json(value)) > 4096:
        raise ValueError("expected at most 4096 bytes of JSON")
    return dict(value)


def _json(value: Any) -> str:
    text = encode(value)
    if not _encodes(text):
        raise ValueError("holds a lone surrogate, which is not valid UTF-8")
    return text


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _digest(type: str, payload: str, options: Mapping[str, Any]) -> str:
    """16 bytes over what the client said, so that the same request can be told from another."""
    said = {
        k: v for k, v in options.items() if v is not None and k not in ("id", "idempotency_key")
    }
    if isinstance(said.get("backoff"), Backoff):
        said["backoff"] = backoff_fields(said["backoff"])
    body = json.dumps([type, payload, said], sort_keys=True, default=str)
    return blake2b(body.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
