"""POST /jobs/{id}/retry: a finished job runs again, with another payload if one is given."""

import pytest


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_a_finished_job_waits_again(client, finished, hand, state):
    job_id = finished(state, payload={"n": 1})
    answer = client.post(f"/jobs/{job_id}/retry")
    assert answer.status_code == 200
    assert (answer.json["id"], answer.json["status"]) == (job_id, "pending")
    assert (answer.json["payload"], answer.json["failures"]) == ({"n": 1}, 0)
    assert {"error", "result", "completed_at", "started_at"}.isdisjoint(answer.json)
    assert client.get(f"/jobs/{job_id}").json == answer.json
    (job,) = hand.begin()
    assert (job.id, job.payload) == (job_id, '{"n":1}')


@pytest.mark.parametrize("payload", [{"n": 2}, [], "text", None, 0, 2**70])
def test_a_payload_in_the_body_replaces_the_old_one(client, finished, hand, payload):
    job_id = finished("failed", payload={"n": 1})
    answer = client.post(f"/jobs/{job_id}/retry", json={"payload": payload})
    assert (answer.status_code, answer.json["payload"]) == (200, payload)


@pytest.mark.parametrize("options", [{}, {"data": b""}, {"json": {}}])
def test_a_body_without_a_payload_keeps_the_old_one(client, finished, options):
    job_id = finished("failed", payload={"n": 1})
    answer = client.post(f"/jobs/{job_id}/retry", **options)
    assert (answer.status_code, answer.json["payload"]) == (200, {"n": 1})


def test_a_waiting_or_running_job_is_409(client, post, hand):
    job_id, delayed = post(), post(delay=60)
    for waiting in (job_id, delayed):
        answer = client.post(f"/jobs/{waiting}/retry")
        assert answer.status_code == 409
        assert answer.json["type"] == "https://ferryman.dev/problems/wrong-state"
    hand.begin()
    answer = client.post(f"/jobs/{job_id}/retry")
    assert answer.status_code == 409
    assert "running" in answer.json["detail"]


def test_an_unknown_job_is_404(client):
    assert client.post("/jobs/unknown/retry").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b"{", 400, None),
        (b"[]", 422, ""),
        (b'{"payload":1,"type":"b"}', 422, "/type"),
        (b'{"payload":1e999}', 422, "/payload"),
    ],
)
def test_a_wrong_body_changes_nothing(client, finished, body, status, pointer):
    job_id = finished("failed")
    answer = client.post(f"/jobs/{job_id}/retry", data=body, content_type="application/json")
    assert answer.status_code == status
    if pointer is not None:
        assert [e["pointer"] for e in answer.json["errors"]] == [pointer]
    assert client.get(f"/jobs/{job_id}").json["status"] == "failed"


def test_a_body_that_is_not_json_is_415(client, finished):
    job_id = finished("failed")
    assert client.post(f"/jobs/{job_id}/retry", data=b"x=1").status_code == 415


def test_a_body_over_the_limit_is_413(make_client, finished):
    job_id = finished("failed")
    body = {"payload": "x" * 2048}
    assert make_client(max_body=2048).post(f"/jobs/{job_id}/retry", json=body).status_code == 413


def test_redis_away_is_503(deaf):
    assert deaf.post("/jobs/a/retry").status_code == 503
