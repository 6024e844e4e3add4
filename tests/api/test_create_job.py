"""POST /jobs: what is taken, what it becomes, and what is refused with its place named."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from ferryman.backoff import Backoff
from ferryman.lifecycle import State


def test_a_job_is_created_and_can_be_read_where_location_says(client):
    answer = client.post("/jobs", json={"type": "uppercase", "payload": {"input": "hello world"}})
    assert answer.status_code == 201
    assert answer.content_type == "application/json"
    assert set(answer.json) == {"job_id"}
    assert answer.headers["Location"] == f"/jobs/{answer.json['job_id']}"
    job = client.get(answer.headers["Location"]).json
    assert (job["id"], job["status"]) == (answer.json["job_id"], "pending")


@pytest.mark.parametrize(
    "payload",
    [
        {},
        [],
        None,
        "a text that is not JSON",
        '{"n": 1}',
        0,
        False,
        1.5,
        -0.0,
        2**53 + 1,
        10**400,
        "\0 and \x1f",
        "\N{FERRY} \u2028",
        {"": [None, {"a/b": "~"}]},
        [[[]]],
    ],
)
def test_any_json_value_is_a_payload_and_comes_back_exactly(client, post, payload):
    job = client.get(f"/jobs/{post(payload=payload)}").json
    assert job["payload"] == payload
    assert type(job["payload"]) is type(payload)


def test_no_payload_stands_for_an_empty_object(client, post):
    assert client.get(f"/jobs/{post()}").json["payload"] == {}


def test_every_option_reaches_the_store(store, post):
    job_id = post(
        id="mine:1",
        queue="images",
        priority="high",
        delay=60,
        max_attempts=5,
        timeout=30,
        backoff={"base": 2, "factor": 3, "cap": 60, "jitter": "full"},
        tags=["a", "b"],
        meta={"user": 7},
    )
    job = store.get(job_id)
    assert job.id == "mine:1"
    assert (job.queue, job.priority, job.state) == ("images", "high", State.SCHEDULED)
    assert job.run_at == pytest.approx(job.created_at + 60)
    assert (job.max_attempts, job.timeout) == (5, 30.0)
    assert job.backoff == Backoff(2, 3, 60, "full")
    assert (job.tags, job.meta) == (("a", "b"), {"user": 7})


@pytest.mark.parametrize(("number", "level"), [(3, "high"), (2, "normal"), (1, "low")])
def test_a_priority_may_be_a_number(store, post, number, level):
    assert store.get(post(priority=number)).priority == level


def test_run_at_may_be_seconds_or_rfc_3339_text(store, post):
    due = datetime.now(UTC).replace(microsecond=123456) + timedelta(hours=1)
    texts = [
        due.isoformat(),
        due.isoformat()[:-6] + "Z",
        due.isoformat()[:-6].replace("T", " ") + "z",
    ]
    texts.append((due + timedelta(hours=2)).isoformat()[:-6] + "+02:00")
    for run_at in [due.timestamp(), *texts]:
        job = store.get(post(run_at=run_at))
        assert job.state is State.SCHEDULED
        assert job.run_at == pytest.approx(due.timestamp(), abs=1e-5)


def test_a_run_at_that_has_passed_means_now(store, post):
    assert store.get(post(run_at=time.time() - 60)).state is State.PENDING


def test_an_option_that_is_null_was_not_given(store, post):
    names = "id queue priority delay run_at max_attempts timeout backoff tags meta".split()
    job = store.get(post(**dict.fromkeys(names)))
    assert (job.queue, job.priority, job.state) == ("default", "normal", State.PENDING)


WRONG = [
    ("type", None),
    ("type", ""),
    ("type", 7),
    ("type", "x" * 129),
    ("type", "line\nbreak"),
    ("id", "a b"),
    ("id", ""),
    ("id", "x" * 129),
    ("id", 7),
    ("queue", ""),
    ("queue", "a:b"),
    ("queue", []),
    ("queue", False),
    ("priority", "urgent"),
    ("priority", 0),
    ("priority", 4),
    ("priority", True),
    ("priority", []),
    ("priority", {}),
    ("delay", -1),
    ("delay", "soon"),
    ("delay", True),
    ("delay", 1e300),
    ("run_at", -1),
    ("run_at", "tomorrow"),
    ("run_at", "2026-01-31"),
    ("run_at", "2026-01-31T12:00:00"),
    ("run_at", "2026-02-30T12:00:00Z"),
    ("run_at", "2026-01-31T12:00:00+24:00"),
    ("run_at", "١٢٣٤-01-31T12:00:00Z"),
    ("run_at", []),
    ("max_attempts", 0),
    ("max_attempts", 1001),
    ("max_attempts", 1.5),
    ("max_attempts", "3"),
    ("timeout", 0),
    ("timeout", "long"),
    ("timeout", 604_801),
    ("backoff", 5),
    ("backoff", []),
    ("backoff", {"unknown": 1}),
    ("backoff", {"base": "1"}),
    ("backoff", {"base": -1}),
    ("backoff", {"factor": 0.5}),
    ("backoff", {"cap": 1e9}),
    ("backoff", {"jitter": 2}),
    ("backoff", {"jitter": "half"}),
    ("tags", "a"),
    ("tags", {}),
    ("tags", 0),
    ("tags", [""]),
    ("tags", [7]),
    ("tags", ["x" * 65]),
    ("tags", ["x"] * 21),
    ("meta", []),
    ("meta", ""),
    ("meta", {"x": "y" * 4096}),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_field_is_422_and_named(client, store, field, value):
    answer = client.post("/jobs", json={"type": "a", field: value})
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert [e["pointer"] for e in answer.json["errors"]] == [f"/{field}"]
    assert answer.json["type"] == "https://ferryman.dev/problems/invalid-fields"
    assert store.stats().total == 0


def test_a_missing_type_is_422_and_named(client):
    answer = client.post("/jobs", json={"payload": {}})
    assert answer.status_code == 422
    [wrong] = answer.json["errors"]
    assert wrong["pointer"] == "/type"
    assert wrong["detail"].startswith("missing; expected 1 to 128")


@pytest.mark.parametrize(
    "field",
    [
        "expires_at",
        "unique_key",
        "unique_for",
        "on_conflict",
        "after",
        "callback_url",
        "idempotency_key",
        "Payload",
        "status",
        "",
        "x" * 1000,
    ],
)
def test_a_field_that_does_not_work_yet_is_refused_not_ignored(client, store, field):
    answer = client.post("/jobs", json={"type": "a", field: None})
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json["errors"]] == [f"/{field}"]
    assert answer.json["errors"][0]["detail"].startswith("unknown field")
    assert store.stats().total == 0


def test_a_slip_of_the_pen_is_told_the_right_word(client):
    answer = client.post("/jobs", json={"type": "a", "priorty": "high"})
    assert answer.json["errors"][0]["detail"] == "unknown field; did you mean priority?"


def test_a_pointer_is_escaped(client):
    answer = client.post("/jobs", json={"type": "a", "~/": 1})
    assert [e["pointer"] for e in answer.json["errors"]] == ["/~0~1"]


def test_everything_wrong_is_named_in_one_answer(client):
    body = {"queue": "a b", "delay": -1, "run_at": "soon", "callback_url": "x"}
    pointers = {e["pointer"] for e in client.post("/jobs", json=body).json["errors"]}
    assert pointers == {"/type", "/queue", "/delay", "/run_at", "/callback_url"}


def test_a_thousand_unknown_fields_do_not_come_back(client):
    answer = client.post("/jobs", json={"type": "a"} | {f"x{n}": n for n in range(1000)})
    assert answer.status_code == 422
    assert len(answer.json["errors"]) == 20


def test_delay_and_run_at_exclude_each_other(client):
    answer = client.post("/jobs", json={"type": "a", "delay": 1, "run_at": time.time() + 9})
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json["errors"]] == ["/run_at"]


def test_a_payload_with_a_number_no_float_holds_is_422(client):
    answer = client.post(
        "/jobs", data=b'{"type":"a","payload":1e999}', content_type="application/json"
    )
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json["errors"]] == ["/payload"]


def test_a_full_queue_is_503_with_retry_after(make_client, store):
    client = make_client(max_pending=2)
    for _ in range(2):
        assert client.post("/jobs", json={"type": "a"}).status_code == 201
    answer = client.post("/jobs", json={"type": "a"})
    assert answer.status_code == 503
    assert answer.json["type"] == "https://ferryman.dev/problems/queue-full"
    assert int(answer.headers["Retry-After"]) > 0
    assert client.post("/jobs", json={"type": "a", "queue": "other"}).status_code == 201
    assert store.stats().total == 3


def test_redis_away_is_503_with_retry_after(deaf):
    answer = deaf.post("/jobs", json={"type": "a"})
    assert answer.status_code == 503
    assert answer.json["type"] == "https://ferryman.dev/problems/storage-unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    assert "127.0.0.1" not in answer.text, "addresses are nobody's business"
