"""traceparent and tracestate of a request: kept with its job, shown, and in the request's line."""

import pytest
from structlog.testing import capture_logs

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def post_with(client):
    """Posts a job with these headers; gives its id."""

    def post_with(**headers):
        answer = client.post("/jobs", json={"type": "a"}, headers=headers)
        assert answer.status_code == 201
        return answer.json["job_id"]

    return post_with


def test_a_job_is_posted_with_its_trace_and_shows_its_id(client, hand, post_with):
    job_id = post_with(traceparent=PARENT, tracestate="a=1")
    assert client.get(f"/jobs/{job_id}").json["trace_id"] == TRACE
    assert client.get("/jobs").json["items"][0]["trace_id"] == TRACE
    [job] = hand.begin()
    assert (job.traceparent, job.tracestate) == (PARENT, "a=1")


def test_without_a_trace_nothing_is_shown(client, post_with):
    assert "trace_id" not in client.get(f"/jobs/{post_with()}").json


@pytest.mark.parametrize("given", ["", "x", PARENT.upper(), PARENT + "-x", PARENT[:40], "é" * 55])
def test_a_traceparent_that_is_not_valid_is_ignored_and_its_tracestate_too(
    client, hand, post_with, given
):
    headers = {"traceparent": given.encode().decode("latin-1"), "tracestate": "a=1"}
    job_id = post_with(**headers)
    assert "trace_id" not in client.get(f"/jobs/{job_id}").json
    [job] = hand.begin()
    assert (job.traceparent, job.tracestate) == (None, None)


def test_at_most_512_bytes_of_tracestate_are_kept(hand, post_with):
    post_with(traceparent=PARENT, tracestate=",".join(f"k{n}={'x' * 100}" for n in range(20)))
    [job] = hand.begin()
    assert job.tracestate == ",".join(f"k{n}={'x' * 100}" for n in range(4))


def test_the_same_body_with_another_trace_is_a_repeat(client, hand):
    body = {"type": "a", "id": "x"}
    first = client.post("/jobs", json=body, headers={"traceparent": PARENT})
    again = client.post("/jobs", json=body, headers={"traceparent": PARENT.replace("4", "5")})
    assert (first.status_code, again.status_code) == (201, 200)
    assert [job.traceparent for job in hand.begin(2)] == [PARENT]


def test_the_line_of_a_request_names_its_trace(client):
    with capture_logs() as lines:
        client.get("/stats", headers={"traceparent": PARENT})
        client.post("/jobs", json={"type": "a"}, headers={"traceparent": PARENT})
        client.post("/jobs", json={"type": "a"}, headers={"traceparent": "x"})
        client.get("/stats")
    assert [line.get("trace_id") for line in lines] == [TRACE, TRACE, None, None]
    assert ["trace_id" in line for line in lines] == [True, True, False, False]


def test_the_description_names_both_headers(client):
    operation = client.get("/openapi.json").json["paths"]["/jobs"]["post"]
    headers = {p["name"] for p in operation["parameters"] if p["in"] == "header"}
    assert headers == {"Idempotency-Key", "traceparent", "tracestate"}
