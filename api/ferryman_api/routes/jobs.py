"""Jobs: a new one, one, many, gone, again. Next on the way of a job: `ferryman.client`."""

from __future__ import annotations

import difflib
from typing import Any

from flask import request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from ferryman.draft import draft
from ferryman.errors import FieldError, InvalidJob, JobNotFound
from ferryman.job import ID_PATTERN, Draft, encode
from ferryman.lifecycle import State
from ferryman.origin import send
from ferryman_api import listing
from ferryman_api.access import TRACE
from ferryman_api.answers import Answer, as_json, job_view
from ferryman_api.bodies import Created, JobAnswer, JobPage, JobPath, JobQuery
from ferryman_api.context import api
from ferryman_api.parse import json_body
from ferryman_api.problems import documented
from ferryman_api.times import to_seconds

OPTIONS = "id queue priority delay run_at max_attempts timeout backoff tags meta".split()
"""What POST /jobs takes beside type and payload; everything else is refused, never ignored."""

_FIELDS = frozenset(["type", "payload", *OPTIONS])
LONGEST_KEY = 255

_MOST_UNKNOWN = 20
"""Unknown fields named in one answer: a body full of them would come back larger than it came."""

TRACE_HEADERS = [
    {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
    for name, text in (
        ("traceparent", "W3C Trace Context; what is not valid is ignored"),
        ("tracestate", "goes with traceparent; 512 bytes of it are kept"),
    )
]
"""Kept with the job, for its handler, its log lines and its spans."""

routes = APIBlueprint("jobs", __name__, abp_tags=[Tag(name="jobs")])


@routes.post(
    "/jobs",
    request_body={
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewJob"}}},
    },
    openapi_extensions={
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
            },
            *TRACE_HEADERS,
        ]
    },
    responses={201: Created, 200: Created, **documented(400, 413, 415, 422, 503)},
)
def create() -> Answer:
    """Accept a job; the same id or key with the same body again: 200, the first answer."""
    new = read_draft(given(), request.headers.get("Idempotency-Key"))
    [accepted], trace = send([new], api().store.enqueue, request.environ.get(TRACE))
    request.environ[TRACE] = trace
    headers = {"Location": f"/jobs/{accepted.id}"}
    if accepted.is_new:
        return as_json({"job_id": accepted.id}, 201, headers)
    return as_json({"job_id": accepted.id}, 200, headers | {"Idempotency-Replayed": "true"})


@routes.get("/jobs", responses={200: JobPage, **documented(422, 503)})
def list_jobs(query: JobQuery) -> Answer:
    """List jobs, newest first."""
    wanted = listing.Filter(query.status, query.type, query.queue)
    page = listing.read(api().store, wanted, query.limit, listing.place_of(query.cursor))
    answer: dict[str, Any] = {
        "items": [job_view(job, api().settings) for job in page.jobs],
        "scanned": page.scanned,
    }
    if page.next_place is not None:
        answer["next_cursor"] = listing.cursor_of(page.next_place)
    return as_json(answer)


@routes.get("/jobs/<job_id>", responses={200: JobAnswer, **documented(404, 503)})
def show(path: JobPath) -> Answer:
    """Show a job."""
    return as_json(job_view(api().store.get(known(path)), api().settings))


@routes.delete("/jobs/<job_id>", responses={204: None, 202: Created, **documented(404, 409, 503)})
def delete(path: JobPath) -> Answer:
    """Delete a waiting or finished job; ask a running one to stop (202)."""
    if api().store.delete(known(path)) is State.RUNNING:
        return as_json({"job_id": path.job_id}, 202)
    return Answer(status=204)


@routes.post(
    "/jobs/<job_id>/retry",
    request_body={
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewPayload"}}}
    },
    responses={200: JobAnswer, **documented(400, 404, 409, 413, 415, 422, 503)},
)
def retry(path: JobPath) -> Answer:
    """Run a finished job again, with another payload if the body brings one."""
    job_id, store = known(path), api().store
    store.revive(job_id, read_payload(given()) if has_body() else None)
    return as_json(job_view(store.get(job_id), api().settings))


def known(path: JobPath) -> str:
    """The id in the path; JobNotFound when no job can have it."""
    if not ID_PATTERN.fullmatch(path.job_id):
        raise JobNotFound(path.job_id)
    return path.job_id


def has_body() -> bool:
    """Whether the request brings a body: a chunked one says so only when it is read."""
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def given() -> Any:
    """The JSON value of the request's body."""
    return json_body(request.environ, api().settings.max_body)


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
    if key is not None and not 1 <= len(key) <= LONGEST_KEY:
        errors.append(FieldError("", f"Idempotency-Key: expected 1 to {LONGEST_KEY} characters"))
        key = None
    try:
        new = draft(
            fields.get("type", ""), fields.get("payload", {}), idempotency_key=key, **options
        )
    except InvalidJob as error:
        raise InvalidJob(errors + error.errors) from None
    if errors:
        raise InvalidJob(errors)
    return new


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
