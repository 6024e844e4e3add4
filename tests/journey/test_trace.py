"""A trace all the way: request, job, handler, what the handler enqueues, and every log line."""

from __future__ import annotations

import json
from urllib.request import Request, urlopen

import pytest
from tests.journey.programs import Program, until
from tests.journey.sites import Site

from ferryman.embedded import free_port

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def start_api(site: Site, **settings: object) -> tuple[Program, str]:
    """The API, ready, and the address of its jobs."""
    port = free_port()
    api = site.program("api", PORT=port, **settings)
    api.await_event("api.started")
    return api, f"http://127.0.0.1:{port}/jobs"


def post(url: str, type: str, **headers: str) -> str:
    """The id of a new job."""
    body = json.dumps({"type": type}).encode()
    headers["content-type"] = "application/json"
    request = Request(url, body, headers)  # noqa: S310  (our own address)
    with urlopen(request, timeout=10) as answer:  # noqa: S310  (our own address)
        return str(json.load(answer)["job_id"])


def result_of(site: Site, job_id: str) -> dict[str, str]:
    until(lambda: site.store.get(job_id).state == "completed")
    result: dict[str, str] = json.loads(site.store.get(job_id).result or "{}")
    return result


@pytest.mark.parametrize("type", ["relay", "relay_async"])
def test_the_trace_of_a_request_reaches_the_handler_and_what_it_enqueues(
    site: Site, type: str
) -> None:
    worker = site.worker(FERRYMAN_LOG_LEVEL="debug")
    api, url = start_api(site)
    job_id = post(url, type, traceparent=PARENT, tracestate="a=1")
    result = result_of(site, job_id)
    assert (result["trace_id"], result["traceparent"]) == (TRACE, PARENT)
    assert site.store.get(result["sent"]).trace_id == TRACE
    assert site.raw.hget(f"ferryman:{{0}}:job:{result['sent']}", "tracestate") == "a=1"
    plain = post(url, type)
    result = result_of(site, plain)
    assert (result["trace_id"], site.store.get(result["sent"]).trace_id) == (None, None)

    attempts = site.store.get(job_id).attempt
    assert attempts == (2 if type == "relay" else 1)
    for name in ["started"] * attempts + ["retried"] * (attempts - 1) + ["completed"]:
        line = worker.await_event(f"job.{name}", id=job_id)
        assert line["trace_id"] == TRACE, "of a later attempt too"
    assert "trace_id" not in worker.await_event("job.completed", id=plain)
    assert len(api.events("request", trace_id=TRACE)) == 1
    assert TRACE in site.command("job", "show", job_id).stdout
