"""From what a client says to a valid `Draft`: every wrong thing is named, with its place.

Next on the way of a job: `origin`, which hands the draft to the store.
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
    ID_PATTERN,
    LONGEST_TYPE,
    QUEUE_PATTERN,
    Draft,
    backoff_fields,
    encode,
    is_type_name,
)
from ferryman.keys import LEVELS

T = TypeVar("T")

LONGEST_KEY = 255
"""Characters of an Idempotency-Key."""

MISSING: Any = object()
"""Stands for a type or payload not given: None is a payload of its own, JSON's null."""

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
    check = _Check()
    check.build("/type", type, _type)
    for name in sorted(said.keys() - OPTIONS.keys()):
        check.add(f"/{name}", f"unknown option; expected one of {', '.join(sorted(OPTIONS))}")
    made = {
        name: check.build(f"/{name}", value, OPTIONS[name])
        for name, value in said.items()
        if name in OPTIONS
    }
    text = check.build("/payload", payload, _json)
    if "delay" in made and "run_at" in made:
        check.add("/run_at", "expected delay or run_at, not both")
    check.done()
    job_id = made.pop("id", None)
    if job_id or "idempotency_key" in made:
        made["digest"] = digest(type, payload, said)
    return Draft(job_id or new_id(), type, text, **made)


class _Check:
    """Gathers everything that is wrong, so that one answer names it all."""

    def __init__(self) -> None:
        self._errors: list[FieldError] = []

    def add(self, pointer: str, detail: str) -> None:
        self._errors.append(FieldError(pointer, detail))

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
    if not is_type_name(value):
        expected = f"expected 1 to {LONGEST_TYPE} printable characters"
        raise ValueError(f"missing; {expected}" if value is MISSING else expected)
    return str(value)


def _queue(value: Any) -> str:
    if not isinstance(value, str) or not QUEUE_PATTERN.fullmatch(value):
        raise ValueError("expected 1 to 64 letters, digits, . _ -")
    return value


def _priority(value: Any) -> str:
    known = isinstance(value, str | int) and not isinstance(value, bool)
    if not known or value not in PRIORITIES:
        raise ValueError('expected "high", "normal" or "low", or 3, 2 or 1')
    return PRIORITIES[value]


def idempotency_key(value: Any) -> str:
    """The key as it is; ValueError says what was expected."""
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_KEY or not _encodes(value):
        raise ValueError(f"expected 1 to {LONGEST_KEY} characters")
    return value


def _number(low: float, high: float, kind: str = "a number") -> Callable[[Any], float | None]:
    def check(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise ValueError(f"expected {kind}, {low:g} to {high:.12g}")
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


OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "id": _id,
    "queue": _queue,
    "priority": _priority,
    "delay": _number(0, 315_360_000),
    "run_at": _number(0, 253_402_300_799, "epoch seconds"),
    "max_attempts": _whole(1, 1000),
    "timeout": _number(0.1, 604_800),
    "backoff": _backoff,
    "tags": _tags,
    "meta": _meta,
    "idempotency_key": idempotency_key,
}
"""What each option is made right by; a ValueError says what was expected."""


def digest(type: str, payload: Any, options: Mapping[str, Any]) -> str:
    """16 bytes over what the client said, so that the same request can be told from another.

    The order of an object's members says nothing.
    """
    said = {k: v for k, v in options.items() if k != "idempotency_key"}
    if isinstance(said.get("backoff"), Backoff):
        said["backoff"] = backoff_fields(said["backoff"])
    body = json.dumps([type, payload, said], sort_keys=True, default=str)
    return blake2b(body.encode(), digest_size=16).hexdigest()
