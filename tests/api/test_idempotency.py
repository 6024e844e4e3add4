"""The same id or Idempotency-Key again: the first answer, or a refusal; never a second job."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

JOB = {"type": "a", "payload": {"n": 1}, "delay": 0, "tags": ["x"]}


def again(by):
    """(body, headers) of a request that may be repeated."""
    if by == "id":
        return JOB | {"id": "mine"}, {}
    return JOB, {"Idempotency-Key": "k 1"}


@pytest.mark.parametrize("by", ["id", "key"])
def test_the_same_again_is_the_first_answer(client, store, by):
    body, headers = again(by)
    first = client.post("/jobs", json=body, headers=headers)
    second = client.post("/jobs", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json == first.json
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert store.stats().total == 1


@pytest.mark.parametrize("by", ["id", "key"])
@pytest.mark.parametrize(
    "change",
    [{"type": "b"}, {"payload": {"n": 2}}, {"payload": None}, {"queue": "q"}, {"tags": ["y"]}],
)
def test_another_body_is_422(client, store, by, change):
    body, headers = again(by)
    assert client.post("/jobs", json=body, headers=headers).status_code == 201
    answer = client.post("/jobs", json=body | change, headers=headers)
    assert answer.status_code == 422
    assert answer.json["type"] == "https://ferryman.dev/problems/idempotency-conflict"
    assert store.stats().total == 1


@pytest.mark.parametrize("by", ["id", "key"])
def test_null_is_another_payload_than_none_at_all(client, by):
    body, headers = again(by)
    body = {name: value for name, value in body.items() if name != "payload"}
    assert client.post("/jobs", json=body, headers=headers).status_code == 201
    again_with_null = client.post("/jobs", json=body | {"payload": None}, headers=headers)
    assert again_with_null.status_code == 422


def test_a_repeat_is_answered_also_when_the_queue_is_full(make_client):
    client = make_client(max_pending=1)
    body, headers = again("key")
    assert client.post("/jobs", json=body, headers=headers).status_code == 201
    assert client.post("/jobs", json=body, headers=headers).status_code == 200


@pytest.mark.parametrize("by", ["id", "key"])
def test_a_repeat_is_answered_also_after_the_job_has_run(client, hand, by):
    body, headers = again(by)
    first = client.post("/jobs", json=body, headers=headers)
    (job,) = hand.begin()
    hand.finish(job)
    second = client.post("/jobs", json=body, headers=headers)
    assert (second.status_code, second.json) == (200, first.json)


@pytest.mark.parametrize("by", ["id", "key"])
def test_a_deleted_job_may_be_posted_again(client, by):
    body, headers = again(by)
    first = client.post("/jobs", json=body, headers=headers)
    client.delete(first.headers["Location"])
    assert client.post("/jobs", json=body, headers=headers).status_code == 201


def test_another_key_is_another_job(client, store):
    for key in ("a", "A", "b", "x" * 255, "ключ"):
        answer = client.post(
            "/jobs", json=JOB, headers={"Idempotency-Key": key.encode().decode("latin-1")}
        )
        assert answer.status_code == 201
    assert store.stats().total == 5


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_of_no_use_is_422(client, store, key):
    answer = client.post("/jobs", json=JOB, headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json["errors"][0]["detail"]
    assert store.stats().total == 0


@pytest.mark.parametrize("by", ["id", "key"])
def test_200_threads_with_one_key_make_one_job(app, store, by):
    body, headers = again(by)

    def post(_):
        answer = app.test_client().post("/jobs", json=body, headers=headers)
        return answer.status_code, answer.json["job_id"]

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(post, range(200)))
    assert Counter(status for status, _ in answers) == {201: 1, 200: 199}
    assert len({job_id for _, job_id in answers}) == 1
    assert store.stats().total == 1


def test_a_thousand_parallel_posts_are_a_thousand_jobs(app, store):
    def post(_):
        return app.test_client().post("/jobs", json={"type": "a"}).json["job_id"]

    with ThreadPoolExecutor(32) as pool:
        ids = list(pool.map(post, range(1000)))
    assert len(set(ids)) == 1000
    assert store.stats().total == 1000
