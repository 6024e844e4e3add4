"""Jobs: a new one, one, many, gone, again. Next on the way of a job: `new_jobs`."""

from __future__ import annotations

from typing import Any

from flask import request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from ferryman.batch import MOST_JOBS
from ferryman.draft import LONGEST_KEY
from ferryman.errors import JobNotFound
from ferryman.job import ID_PATTERN, Draft
from ferryman.lifecycle import State
from ferryman.origin import send
from ferryman.store import Accepted
from ferryman_api import listing
from ferryman_api.access import TRACE
from ferryman_api.answers import Answer, as_json, job_view
from ferryman_api.bodies import (
    Created,
    CreatedMany,
    DeadQuery,
    JobAnswer,
    JobPage,
    JobPath,
    JobQuery,
)
from ferryman_api.context import api
from ferryman_api.new_jobs import read_draft, read_drafts, read_payload
from ferryman_api.parse import JSON, NDJSON, json_body, json_jobs
from ferryman_api.problems import documented

HEADERS = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
        },
        {
            "name": "traceparent",
            "in": "header",
            "description": "W3C Trace Context, kept with the job; what is not valid is ignored",
            "schema": {"type": "string"},
        },
        {
            "name": "tracestate",
            "in": "header",
            "description": "goes with traceparent; 512 bytes of it are kept",
            "schema": {"type": "string"},
        },
    ]
}
REPLAYED = {"Idempotency-Replayed": "true"}

routes = APIBlueprint("jobs", __name__, abp_tags=[Tag(name="jobs")])


@routes.post(
    "/jobs",
    request_body={
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewJob"}}},
    },
    openapi_extensions=HEADERS,
    responses={201: Created, 200: Created, **documented(400, 413, 415, 422, 503)},
)
def create() -> Answer:
    """Accept a job; the same id or key with the same body again: 200, the first answer."""
    new = read_draft(given(), request.headers.get("Idempotency-Key"))
    [accepted] = sent([new])
    headers = {"Location": f"/jobs/{accepted.id}"}
    if accepted.is_new:
        return as_json({"job_id": accepted.id}, 201, headers)
    return as_json({"job_id": accepted.id}, 200, headers | REPLAYED)


@routes.post(
    "/jobs/bulk",
    request_body={
        "required": True,
        "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/NewJobs"}},
            NDJSON: {"schema": {"$ref": "#/components/schemas/NewJob"}},
        },
    },
    openapi_extensions=HEADERS,
    responses={201: CreatedMany, 200: CreatedMany, **documented(400, 413, 415, 422, 503)},
)
def create_many() -> Answer:
    """Accept up to 1,000 jobs, all or none; all of them repeats: 200, the first answer."""
    body = json_jobs(request.environ, api().settings.max_body, MOST_JOBS)
    accepted = sent(read_drafts(body, request.headers.get("Idempotency-Key")))
    ids = {"job_ids": [job.id for job in accepted]}
    if any(job.is_new for job in accepted):
        return as_json(ids, 201)
    return as_json(ids, 200, REPLAYED)


@routes.get("/jobs", responses={200: JobPage, **documented(422, 503)})
def list_jobs(query: JobQuery) -> Answer:
    """List jobs, newest first."""
    return listed(
        listing.Source(api().store.recent),
        listing.Filter(query.status, query.type, query.queue),
        query,
    )


@routes.get("/dlq", responses={200: JobPage, **documented(422, 503)})
def list_dead(query: DeadQuery) -> Answer:
    """List dead letters, newest first."""
    dead = listing.Source(api().store.dead, State.FAILED)
    return listed(dead, listing.Filter(None, query.type, query.queue), query)


def listed(source: listing.Source, wanted: listing.Filter, query: DeadQuery) -> Answer:
    """The page of these jobs that a query asks for."""
    before = listing.place_of(query.cursor)
    page = listing.read(api().store, source, wanted, query.limit, before)
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


def sent(drafts: list[Draft]) -> list[Accepted]:
    """These jobs, accepted; they and the request's line belong to the trace it came with."""
    accepted, trace = send(drafts, api().store.enqueue, request.environ.get(TRACE))
    request.environ[TRACE] = trace
    return accepted


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
