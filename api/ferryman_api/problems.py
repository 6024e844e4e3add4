"""Errors over HTTP: one table from error to status and name, one shape for all (RFC 9457)."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import structlog
from flask import request
from pydantic import ValidationError
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from ferryman import logs
from ferryman.errors import (
    FieldError,
    IdempotencyConflict,
    InvalidJob,
    JobNotFound,
    MemoryFull,
    QueueFull,
    StoreUnavailable,
    WrongState,
)
from ferryman_api.access import ERROR, REQUEST_ID
from ferryman_api.answers import Answer, as_json
from ferryman_api.parse import BadBody

BASE = "https://ferryman.dev/problems/"
MEDIA_TYPE = "application/problem+json"

LONGEST_LOGGED = 500
"""Characters of an error in the request's log line: clients can make it long."""

log = structlog.get_logger()


class Kind(NamedTuple):
    """How an error reads: HTTP status, last word of its `type`, title."""

    status: int
    slug: str
    title: str


TABLE: dict[type[Exception], Kind] = {
    BadBody: Kind(400, "malformed-body", "The body is not usable JSON"),
    NotFound: Kind(404, "not-found", "There is nothing here"),
    JobNotFound: Kind(404, "job-not-found", "There is no such job"),
    MethodNotAllowed: Kind(405, "method-not-allowed", "This path has no such method"),
    WrongState: Kind(409, "wrong-state", "The job is in another state"),
    RequestEntityTooLarge: Kind(413, "body-too-large", "The body is too large"),
    UnsupportedMediaType: Kind(415, "unsupported-media-type", "The body must be JSON"),
    InvalidJob: Kind(422, "invalid-fields", "Fields that are wrong"),
    IdempotencyConflict: Kind(422, "idempotency-conflict", "Used before with another body"),
    QueueFull: Kind(503, "queue-full", "The queue is full"),
    MemoryFull: Kind(503, "memory-full", "Redis has no room for more jobs"),
    StoreUnavailable: Kind(503, "storage-unavailable", "Redis is not available"),
}
PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
"""The shape of every error, as /openapi.json shows it."""

BUG = Kind(500, "internal-error", "A fault of this server")


def answer(error: Exception) -> Answer:
    """The answer to a request that raised `error`; a fault of ours is logged with its traceback."""
    kind = _kind(error)
    if kind is BUG:
        log.error(logs.BUG, request_id=request.environ[REQUEST_ID], exc_info=error)
    else:
        request.environ[ERROR] = _said(error)[:LONGEST_LOGGED]
    errors = error.errors if isinstance(error, InvalidJob) else []
    return as_json(
        body(kind, _detail(kind, error), errors), kind.status, _headers(error), MEDIA_TYPE
    )


def body(kind: Kind, detail: str, errors: Sequence[FieldError] = ()) -> dict[str, Any]:
    """A problem of this kind as JSON members."""
    members: dict[str, Any] = {
        "type": BASE + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
    }
    if errors:
        members["errors"] = [{"pointer": e.pointer, "detail": e.detail} for e in errors]
    return members


def bad_query(error: ValidationError) -> None:
    """Raise what pydantic found wrong with a query as InvalidJob, like any other bad field."""
    found = error.errors(include_url=False, include_context=False)
    raise InvalidJob([_bad_parameter(wrong["loc"], wrong["type"], wrong["msg"]) for wrong in found])


def _bad_parameter(place: tuple[int | str, ...], kind: str, said: str) -> FieldError:
    pointer = "/" + "/".join(str(part) for part in place)
    return FieldError(pointer, "unknown parameter" if kind == "extra_forbidden" else said)


def documented(*statuses: int) -> dict[str | int | HTTPStatus, Any]:
    """These answers as /openapi.json shows them, with the one any request may get."""
    return {
        str(status): {"description": HTTPStatus(status).phrase, "content": PROBLEM}
        for status in (*statuses, 500)
    }


def _kind(error: Exception) -> Kind:
    for base in type(error).__mro__:
        if base in TABLE:
            return TABLE[base]
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        status = HTTPStatus(error.code)
        return Kind(status, status.phrase.lower().replace(" ", "-"), status.phrase)
    return BUG


def _detail(kind: Kind, error: Exception) -> str:
    match error:
        case MemoryFull():
            return "the jobs already accepted go on; try again when some are done"
        case StoreUnavailable():
            # The cause is in the log: it names addresses that are nobody's business.
            return "Redis does not answer, or takes no writes; nothing is known to have changed"
        case MethodNotAllowed():
            return "allowed here: " + ", ".join(sorted(error.valid_methods or ()))
    if kind is BUG:
        return "it has been logged; X-Request-Id says where"
    return _said(error)


def _said(error: Exception) -> str:
    if isinstance(error, NotFound):
        return "no such path; /openapi.json lists those there are"
    if isinstance(error, HTTPException):
        return error.description or error.name
    return str(error)


def _headers(error: Exception) -> dict[str, str]:
    match error:
        case QueueFull() | StoreUnavailable():
            return {"Retry-After": str(error.retry_after)}
        case MethodNotAllowed():
            return {"Allow": ", ".join(sorted(error.valid_methods or ()))}
    return {}
