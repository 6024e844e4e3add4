"""From what a client says to a valid `Draft`: every wrong thing is named, with its place.

Next on the way of a job: `client`, which hands the draft to the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

from ferryman.backoff import Backoff
from ferryman.errors import ConfigError, FieldError, InvalidJob
from ferryman.ids import new_id
from ferryman.job import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    ID_PATTERN,
    QUEUE_PATTERN,
    Draft,
    backoff_fields,
    encode,
)
from ferryman.keys import LEVELS

T = TypeVar("T")

MISSING: Any = object()
"""Stands for a payload that was not given: None is a payload of its own, JSON's null."""

OPTIONS = frozenset(
    "id queue priority delay run_at max_attempts timeout backoff tags meta idempotency_key".split()
)
PRIORITIES: Mapping[object, str] = {level: level for level in LEVELS} | {
    3: "high",
    2: "normal",
    1: "low",
}


def draft(type: str, payload: Any = MISSING, **options: Any) -> Draft:
    """A valid `Draft`; InvalidJob names everything that is wrong with it.

    No payload stands for {}; None is JSON's null. An option that is None was not given.
    """
    payload = {} if payload is MISSING else payload
    said = {name: value for name, value in options.items() if value is not None}
    check = _Check(said)
    for name in sorted(set(said) - OPTIONS):
        check.add(f"/{name}", f"unknown option; expected one of {', '.join(sorted(OPTIONS))}")
    job_id = check.take("id", _id, None)
    check.build("/type", type, _type)
    made = Draft(
        id=job_id or new_id(),
        type=type,
        queue=check.take("queue", _queue, DEFAULT_QUEUE),
        priority=check.take("priority", _priority, DEFAULT_PRIORITY),
        delay=check.take("delay", _number(0, 315_360_000), None),
        run_at=check.take("run_at", _number(0, 253_402_300_799), None),
        max_attempts=check.take("max_attempts", _whole(1, 1000), None),
        timeout=check.take("timeout", _number(0.1, 604_800), None),
        backoff=check.take("backoff", _backoff, None),
        tags=check.take("tags", _tags, ()),
        meta=check.take("meta", _meta, {}),
        payload=check.build("/payload", payload, _json),
        idempotency_key=check.take("idempotency_key", _key, None),
    )
    if made.delay is not None and made.run_at is not None:
        check.add("/run_at", "expected delay or run_at, not both")
    check.done()
    if job_id or made.idempotency_key:
        return made.with_digest(_digest(type, payload, said))
    return made


class _Check:
    """Gathers everything that is wrong, so that one answer names it all."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said
        self._errors: list[FieldError] = []

    def add(self, pointer: str, detail: str) -> None:
        self._errors.append(FieldError(pointer, detail))

    def take(self, name: str, make: Callable[[Any], T], default: T) -> T:
        """The option `name` made right, or its default when it was not given."""
        if name not in self._said:
            return default
        return self.build(f"/{name}", self._said[name], make)

    def build(self, pointer: str, value: Any, make: Callable[[Any], T]) -> T:
        try:
            return make(value)
        except (ConfigError, ValueError, TypeError, RecursionError) as error:
            self.add(pointer, str(error) or "nested too deeply")
            return None  # type: ignore[return-value]  # done() raises before it is used

    def done(self) -> None:
        if self._errors:
            raise InvalidJob(self._errors)


def _id(value: Any) -> str | None:
    if not isinstance(value, str) or not ID_PATTERN.fullmatch(value):
        raise ValueError("expected 1 to 128 letters, digits, . _ : -")
    return value


def _type(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 128 or not value.isprintable():
        raise ValueError("expected 1 to 128 printable characters")
    return value


def _queue(value: Any) -> str:
    if not isinstance(value, str) or not QUEUE_PATTERN.fullmatch(value):
        raise ValueError("expected 1 to 64 letters, digits, . _ -")
    return value


def _priority(value: Any) -> str:
    known = isinstance(value, str | int) and not isinstance(value, bool)
    if not known or value not in PRIORITIES:
        raise ValueError('expected "high", "normal" or "low", or 3, 2 or 1')
    return PRIORITIES[value]


def _key(value: Any) -> str | None:
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or not _encodes(value):
        raise ValueError("expected 1 to 255 characters")
    return value


def _number(low: float, high: float) -> Callable[[Any], float | None]:
    def check(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise ValueError(f"expected a number, {low:g} to {high:.12g}")
        return float(value)

    return check


def _whole(low: int, high: int) -> Callable[[Any], int | None]:
    def check(value: Any) -> int:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or not low <= value <= high:
            raise ValueError(f"expected a whole number, {low} to {high}")
        return int(value)

    return check


def _backoff(value: Any) -> Backoff | None:
    if isinstance(value, Backoff):
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


def _digest(type: str, payload: Any, options: Mapping[str, Any]) -> str:
    """16 bytes over what the client said, so that the same request can be told from another.

    The order of an object's members says nothing.
    """
    said = {k: v for k, v in options.items() if k != "idempotency_key"}
    if isinstance(said.get("backoff"), Backoff):
        said["backoff"] = backoff_fields(said["backoff"])
    body = json.dumps([type, payload, said], sort_keys=True, default=str)
    return blake2b(body.encode(), digest_size=16).hexdigest()
