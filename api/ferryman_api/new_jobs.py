"""What the bodies of requests ask for: a new job, many, another payload.

Whatever is wrong with one is named at once. Next on the way of a job: `ferryman.draft`.
"""

from __future__ import annotations

import difflib
from typing import Any

from ferryman.batch import MOST_JOBS, gather, keyed
from ferryman.draft import MISSING, draft, idempotency_key
from ferryman.errors import FieldError, InvalidJob
from ferryman.job import Draft, encode
from ferryman_api.times import to_seconds

OPTIONS = "id queue priority delay run_at max_attempts timeout backoff tags meta".split()
"""What POST /jobs takes beside type and payload; everything else is refused, never ignored."""

_FIELDS = frozenset(["type", "payload", *OPTIONS])

_MOST_UNKNOWN = 20
"""Unknown fields named in one answer: a body full of them would come back larger than it came."""


def read_draft(body: Any, key: str | None) -> Draft:
    """The job a body asks for; InvalidJob names everything that is wrong with it."""
    fields = _object(body)
    errors = _unknown(fields, _FIELDS)
    options = {name: fields[name] for name in OPTIONS if fields.get(name) is not None}
    if isinstance(options.get("run_at"), str):
        try:
            options["run_at"] = to_seconds(options["run_at"])
        except ValueError as error:
            errors.append(FieldError("/run_at", str(error)))
            del options["run_at"]
    try:
        key = None if key is None else idempotency_key(key)
    except ValueError as error:
        errors.append(FieldError("", f"Idempotency-Key: {error}"))
        key = None
    try:
        new = draft(
            fields.get("type", MISSING), fields.get("payload", {}), idempotency_key=key, **options
        )
    except InvalidJob as error:
        raise InvalidJob(errors + error.errors) from None
    if errors:
        raise InvalidJob(errors)
    return new


def read_drafts(body: Any, key: str | None) -> list[Draft]:
    """The jobs that {"jobs": [...]} asks for; InvalidJob names what is wrong with any of them."""
    fields = _object(body)
    errors = _unknown(fields, frozenset(["jobs"]))
    jobs: Any = fields.get("jobs")
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= MOST_JOBS:
        errors.append(FieldError("/jobs", f"expected a list of 1 to {MOST_JOBS} jobs"))
    if errors:
        raise InvalidJob(errors)
    made = gather(jobs, lambda job: read_draft(job, None), "/jobs")
    return made if key is None else keyed(made, key, jobs, "/jobs")


def read_payload(body: Any) -> str | None:
    """The payload a retry brings, as JSON text; None when it brings none."""
    fields = _object(body)
    errors = _unknown(fields, frozenset(["payload"]))
    if errors:
        raise InvalidJob(errors)
    if "payload" not in fields:
        return None
    try:
        return encode(fields["payload"])
    except ValueError as error:
        raise InvalidJob.at("/payload", str(error)) from None


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidJob.at("", "expected an object")
    return body


def _unknown(fields: dict[str, Any], known: frozenset[str]) -> list[FieldError]:
    if known.issuperset(fields):
        return []
    names = [name for name in fields if name not in known][:_MOST_UNKNOWN]
    return [FieldError(_pointer(name), _unknown_field(name, known)) for name in names]


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _unknown_field(name: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(name[:40], known, 1)
    return f"unknown field; did you mean {near[0]}?" if near else "unknown field"
