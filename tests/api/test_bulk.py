"""POST /jobs/bulk: a thousand jobs at most, all or none, each wrong one named by its place."""

import json

import pytest

LINES = {"content_type": "application/x-ndjson"}


def as_list(jobs):
    return {"json": {"jobs": jobs}}


def as_lines(jobs):
    return {"data": "\n".join(json.dumps(job) for job in jobs), **LINES}


WAYS = pytest.mark.parametrize("way", [as_list, as_lines])


def pointers(answer):
    assert answer.status_code == 422, answer.text
    return [error["pointer"] for error in answer.json["errors"]]


@WAYS
def test_many_jobs_are_created_in_their_order(client, store, way):
    jobs = [
        {"type": "a", "payload": {"n": 1}, "queue": "q", "priority": 3},
        {"type": "b", "run_at": "2100-01-01T00:00:00Z", "tags": ["x"]},
        {"type": "c", "id": "mine"},
    ]
    answer = client.post("/jobs/bulk", **way(jobs))
    assert answer.status_code == 201
    made = [store.get(job_id) for job_id in answer.json["job_ids"]]
    assert [job.type for job in made] == ["a", "b", "c"]
    assert (made[0].queue, made[0].priority, made[0].payload) == ("q", "high", '{"n":1}')
    assert (made[1].run_at, made[1].tags) == (4102444800.0, ("x",))
    assert made[2].id == "mine"


@WAYS
def test_a_thousand_are_taken_and_one_more_is_422(client, store, way):
    assert client.post("/jobs/bulk", **way([{"type": "a"}] * 1000)).status_code == 201
    assert pointers(client.post("/jobs/bulk", **way([{"type": "a"}] * 1001))) == ["/jobs"]
    assert pointers(client.post("/jobs/bulk", **way([]))) == ["/jobs"]
    assert store.stats().total == 1000


@WAYS
def test_one_that_is_wrong_means_none_is_created_and_all_that_is_wrong_is_named(client, store, way):
    jobs = [{"type": "a"}, {"type": "", "queue": "a b"}, {"type": "a"}, {"typ": "a"}, "a"]
    named = pointers(client.post("/jobs/bulk", **way(jobs)))
    assert set(named) == {"/jobs/1/type", "/jobs/1/queue", "/jobs/3/typ", "/jobs/3/type", "/jobs/4"}
    assert store.stats().total == 0


@WAYS
def test_an_answer_names_a_hundred_errors_at_most(client, way):
    assert len(pointers(client.post("/jobs/bulk", **way([{}] * 1000)))) == 100


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/jobs"),
        ({"jobs": None}, "/jobs"),
        ({"jobs": {"type": "a"}}, "/jobs"),
        ({"jobs": [{"type": "a"}], "queue": "q"}, "/queue"),
        ([{"type": "a"}], ""),
        ({"type": "a"}, "/type"),
    ],
)
def test_a_body_of_another_shape_is_422(client, store, body, pointer):
    assert pointer in pointers(client.post("/jobs/bulk", json=body))
    assert store.stats().total == 0


@WAYS
def test_the_same_id_twice_is_one_job_when_the_jobs_are_the_same(client, store, way):
    job = {"type": "a", "id": "x"}
    answer = client.post("/jobs/bulk", **way([job, job, {"type": "a"}]))
    assert answer.status_code == 201
    assert answer.json["job_ids"][:2] == ["x", "x"]
    assert store.stats().total == 2


@WAYS
def test_the_same_id_for_two_jobs_creates_none(client, store, way):
    answer = client.post("/jobs/bulk", **way([{"type": "a", "id": "x"}, {"type": "b", "id": "x"}]))
    assert answer.status_code == 422
    assert answer.json["type"] == "https://ferryman.dev/problems/idempotency-conflict"
    assert store.stats().total == 0


@WAYS
def test_the_same_key_again_is_the_first_answer(client, store, way):
    headers = {"Idempotency-Key": "nightly"}
    first = client.post("/jobs/bulk", **way([{"type": "a"}] * 3), headers=headers)
    second = client.post("/jobs/bulk", **way([{"type": "a"}] * 3), headers=headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json == first.json
    assert len(set(first.json["job_ids"])) == 3
    assert second.headers["Idempotency-Replayed"] == "true"
    assert store.stats().total == 3


@WAYS
@pytest.mark.parametrize(
    "others",
    [
        [{"type": "a"}, {"type": "b"}],
        [{"type": "a"}, {"type": "a"}, {"type": "a"}],
        [{"type": "a"}],
        [{"type": "a"}, {"type": "a", "payload": None}],
    ],
)
def test_the_same_key_with_other_jobs_is_422(client, store, way, others):
    headers = {"Idempotency-Key": "nightly"}
    client.post("/jobs/bulk", **way([{"type": "a"}, {"type": "a"}]), headers=headers)
    answer = client.post("/jobs/bulk", **way(others), headers=headers)
    assert answer.status_code == 422
    assert answer.json["type"] == "https://ferryman.dev/problems/idempotency-conflict"
    assert store.stats().total == 2


def test_a_key_for_one_job_and_a_key_for_many_are_two(client, store):
    headers = {"Idempotency-Key": "k"}
    assert client.post("/jobs", json={"type": "a"}, headers=headers).status_code == 201
    answer = client.post("/jobs/bulk", **as_list([{"type": "a"}]), headers=headers)
    assert answer.status_code == 201
    assert store.stats().total == 2


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_of_no_use_is_422(client, store, key):
    answer = client.post("/jobs/bulk", **as_list([{"type": "a"}]), headers={"Idempotency-Key": key})
    assert pointers(answer) == [""]
    assert "Idempotency-Key" in answer.json["errors"][0]["detail"]
    assert store.stats().total == 0


def test_an_id_under_a_key_is_422(client, store):
    jobs = [{"type": "a"}, {"type": "a", "id": "x"}]
    answer = client.post("/jobs/bulk", **as_list(jobs), headers={"Idempotency-Key": "k"})
    assert pointers(answer) == ["/jobs/1"]
    assert store.stats().total == 0


@WAYS
def test_too_many_for_the_queue_are_503_and_none_is_created(make_client, store, way):
    client = make_client(max_pending=4)
    jobs = [{"type": "a"}] * 3
    assert client.post("/jobs/bulk", **way(jobs)).status_code == 201
    answer = client.post("/jobs/bulk", **way(jobs))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert store.stats().total == 3


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (b'{"type":"a"}\n{"type":', "line 2 column 9"),
        (b'{"type":"a"}\n\n\n{"type":"a"} x', "line 4 column 14"),
        (b'[{"type":"a"},\n{"type":"a"}]', "line 1"),
        (b'{"type":"a"}\n\xff', "byte 13"),
        (b'{"type":"a","payload":' + b"[" * 65 + b"]" * 65 + b"}", "65 deep"),
        (b'{"type":"a","payload":"\\ud800"}', "surrogate"),
        (b'{"type":"a"}\x0c\n{"type":"a"}', "line 1 column 13"),
    ],
)
def test_a_line_that_is_not_json_is_400_and_named(client, store, lines, said):
    answer = client.post("/jobs/bulk", data=lines, **LINES)
    assert answer.status_code == 400
    assert said in answer.json["detail"]
    assert store.stats().total == 0


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n \t\r\n"])
def test_lines_may_end_as_they_like(client, end):
    answer = client.post("/jobs/bulk", data=end.join(['{"type":"a"}'] * 3) + end, **LINES)
    assert (answer.status_code, len(answer.json["job_ids"])) == (201, 3)


@WAYS
def test_a_payload_may_be_as_deep_as_that_of_one_job(client, store, way):
    jobs = [{"type": "a"}]
    for depth, status in ((64, 201), (65, 400)):
        payload = json.loads("[" * depth + "]" * depth)
        answer = client.post("/jobs/bulk", **way([*jobs, {"type": "a", "payload": payload}]))
        assert answer.status_code == status
    assert store.stats().total == 2


@pytest.mark.parametrize("kind", ["text/plain", "application/jsonl", "", "application/json+x"])
def test_another_media_type_is_415_and_the_right_ones_are_named(client, kind):
    answer = client.post("/jobs/bulk", data=b'{"type":"a"}', content_type=kind)
    assert answer.status_code == 415
    assert "application/x-ndjson" in answer.json["detail"]


def test_one_job_is_not_taken_as_lines(client):
    assert client.post("/jobs", data=b'{"type":"a"}', **LINES).status_code == 415


def test_a_job_may_be_called_bulk(client):
    assert client.post("/jobs", json={"type": "a", "id": "bulk"}).status_code == 201
    assert client.get("/jobs/bulk").json["id"] == "bulk"
    assert client.delete("/jobs/bulk").status_code == 204
    assert set(client.put("/jobs/bulk").headers["Allow"].split(", ")) >= {"POST", "GET", "DELETE"}


def test_redis_away_is_503(deaf):
    assert deaf.post("/jobs/bulk", **as_list([{"type": "a"}])).status_code == 503


def test_all_of_them_belong_to_the_trace_of_the_request(client):
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = client.post(
        "/jobs/bulk",
        **as_list([{"type": "a"}] * 2),
        headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
    )
    jobs = [client.get(f"/jobs/{job_id}").json for job_id in answer.json["job_ids"]]
    assert [job["trace_id"] for job in jobs] == [trace, trace]
