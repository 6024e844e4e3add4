"""DELETE /jobs/{id}: waiting and finished jobs are gone at once, a running one is asked to stop."""

import pytest


@pytest.mark.parametrize("fields", [{}, {"delay": 60}])
def test_a_waiting_job_is_gone_at_once_and_never_runs(client, post, hand, fields):
    job_id = post(**fields)
    answer = client.delete(f"/jobs/{job_id}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert client.get(f"/jobs/{job_id}").status_code == 404
    assert client.delete(f"/jobs/{job_id}").status_code == 404
    assert hand.begin() == []


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_a_finished_job_is_gone_at_once(client, finished, state):
    job_id = finished(state)
    assert client.delete(f"/jobs/{job_id}").status_code == 204
    assert client.get(f"/jobs/{job_id}").status_code == 404
    assert client.get("/stats").json["dlq_size"] == 0


def test_a_running_job_is_asked_to_stop(client, post, hand):
    job_id = post()
    (job,) = hand.begin()
    answer = client.delete(f"/jobs/{job_id}")
    assert (answer.status_code, answer.json) == (202, {"job_id": job_id})
    assert client.get(f"/jobs/{job_id}").json["status"] == "running"
    assert hand.store.get(job.id).cancel_requested


def test_an_unknown_job_is_404(client):
    assert client.delete("/jobs/unknown").status_code == 404


def test_redis_away_is_503(deaf):
    assert deaf.delete("/jobs/a").status_code == 503
