"""GET /jobs/{id}: field by field, from the first state to the last."""

import re
import time

import pytest

from ferryman import Backoff, Settings
from ferryman.cli.common import job_view as cli_view
from ferryman.job import Job
from ferryman.lifecycle import State
from ferryman_api.answers import job_view as api_view
from ferryman_api.bodies import JobAnswer

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
FIRST = {
    "id", "type", "queue", "priority", "status", "payload", "attempt", "failures", "max_attempts",
    "created_at", "updated_at",
}  # fmt: skip


def show(client, job_id):
    answer = client.get(f"/jobs/{job_id}")
    assert answer.status_code == 200
    return answer.json


def test_a_pending_job_shows_what_is_set_and_nothing_else(client, post):
    job_id = post(payload={"n": 1})
    job = show(client, job_id)
    assert TIME.fullmatch(job.pop("created_at"))
    assert TIME.fullmatch(job.pop("updated_at"))
    assert job == {
        "id": job_id,
        "type": "a",
        "queue": "default",
        "priority": "normal",
        "status": "pending",
        "payload": {"n": 1},
        "attempt": 0,
        "failures": 0,
        "max_attempts": 3,
    }


def test_a_running_job_shows_since_when_and_where(client, post, hand):
    job_id = post()
    hand.begin()
    job = show(client, job_id)
    assert set(job) == FIRST | {"started_at", "worker"}
    assert (job["status"], job["attempt"], job["worker"]) == ("running", 1, "host:1:abc")
    assert job["created_at"] <= job["started_at"] <= job["updated_at"]


def test_a_running_job_shows_its_progress(client, post, hand):
    job_id = post()
    hand.begin()
    assert hand.store.progress("host:1:abc", job_id, 1, 0.5, "half way")
    job = show(client, job_id)
    assert (job["progress"], job["progress_note"]) == (0.5, "half way")


def test_a_completed_job_shows_its_end_and_result(client, post, hand):
    job_id = post()
    (claimed,) = hand.begin()
    hand.finish(claimed, {"text": "HELLO", "big": 2**70})
    job = show(client, job_id)
    assert set(job) == FIRST | {"started_at", "completed_at", "worker", "result"}
    assert (job["status"], job["attempt"], job["failures"]) == ("completed", 1, 0)
    assert job["result"] == {"text": "HELLO", "big": 2**70}
    assert TIME.fullmatch(job["completed_at"])
    assert job["updated_at"] == job["completed_at"]


@pytest.mark.parametrize("result", [0, False, "", [], {}, 1.5])
def test_a_result_that_is_empty_is_shown(client, post, hand, result):
    job_id = post()
    (claimed,) = hand.begin()
    hand.finish(claimed, result)
    assert show(client, job_id)["result"] == result


def test_a_retry_shows_when_it_is_due_and_why(client, post, hand):
    job_id = post()
    (claimed,) = hand.begin()
    hand.retry(claimed, "ValueError: boom", delay=60)
    job = show(client, job_id)
    assert (job["status"], job["attempt"], job["failures"]) == ("scheduled", 1, 1)
    assert job["error"] == "ValueError: boom"
    (run,) = job["errors"]
    assert TIME.fullmatch(run["failed_at"])
    assert (run["attempt"], run["error"], run["worker"]) == (1, "ValueError: boom", "host:1:abc")
    assert TIME.fullmatch(job["run_at"])


def test_a_dead_letter_shows_every_failed_run(client, post, hand):
    job_id = post(max_attempts=2)
    (claimed,) = hand.begin()
    hand.retry(claimed, "first", delay=0)
    hand.store.promote()
    (claimed,) = hand.begin()
    hand.bury(claimed, "second")
    job = show(client, job_id)
    assert (job["status"], job["failures"], job["max_attempts"]) == ("failed", 2, 2)
    assert [run["error"] for run in job["errors"]] == ["first", "second"]
    assert job["error"] == "second"
    assert job["completed_at"] >= job["errors"][1]["failed_at"] >= job["errors"][0]["failed_at"]


def test_a_delayed_job_shows_when_it_is_due(client, post):
    job = show(client, post(delay=60))
    assert set(job) == FIRST | {"run_at"}
    assert job["status"] == "scheduled"


def test_tags_and_meta_are_shown_when_there_are_any(client, post):
    job = show(client, post(tags=["a"], meta={"k": [1]}))
    assert (job["tags"], job["meta"]) == (["a"], {"k": [1]})


def test_max_attempts_is_the_one_in_force(make_client, post):
    job_id = post()
    assert show(make_client(max_attempts=9), job_id)["max_attempts"] == 9


def test_limits_are_shown_when_the_job_says_them(client, post):
    waits = {"base": 2, "jitter": "full"}
    job = show(client, post(timeout=5, backoff=waits))
    assert set(job) == FIRST | {"timeout", "backoff"}
    assert (job["timeout"], job["backoff"]) == (5, {"factor": 2, "cap": 30} | waits)


def test_a_run_that_died_with_its_process_is_counted(client, post, hand):
    job_id = post()
    hand.begin()
    hand.store.recover("host:1:abc", '{"error":"gone"}', "gone")
    job = show(client, job_id)
    assert (job["status"], job["attempt"], job["crashes"]) == ("pending", 1, 1)
    assert job["failures"] == 0


@pytest.mark.parametrize("view", [lambda job: api_view(job, Settings()), cli_view])
def test_a_view_has_the_fields_that_are_described_and_no_other(view):
    whole = Job(
        "a", "t", State.RUNNING, attempt=3, failures=1, crashes=1, max_attempts=5, timeout=9.0,
        backoff=Backoff(), started_at=1.0, completed_at=2.0, run_at=3.0, error="boom",
        errors=[{"attempt": 1, "error": "boom", "failed_at": 1.0}], result="1", progress=0.5,
        progress_note="half", worker="w", tags=("x",), meta={"k": 1}, trace_id="1" * 32,
    )  # fmt: skip
    assert view(whole).keys() == JobAnswer.model_fields.keys()


def test_the_command_shows_a_payload_and_a_result_that_are_empty():
    shown = cli_view(Job("a", "t", State.COMPLETED, payload="{}", result="null"))
    assert (shown["payload"], shown["result"]) == ({}, None)
    assert "error" not in shown


def test_times_are_utc(client, post):
    before = time.time()
    created = show(client, post())["created_at"]
    now = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(before))
    later = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(before + 60))
    assert created[:16] in {now, later}


def test_a_payload_edited_by_hand_is_shown_as_it_is(client, post, store, raw):
    job_id = post()
    raw.hset(store.keys.job(job_id), "payload", "{oops")
    assert show(client, job_id)["payload"] == "{oops"


def test_an_unknown_job_is_404(client):
    answer = client.get("/jobs/01a2041c-8fe2-706b-be5b-27b1bfa20600")
    assert answer.status_code == 404
    assert answer.json["type"] == "https://ferryman.dev/problems/job-not-found"


@pytest.mark.parametrize("job_id", ["a%20b", "x" * 129, "%00", "*", "a%0Ab", "%E2%9B%B4"])
@pytest.mark.parametrize(("method", "tail"), [("GET", ""), ("DELETE", ""), ("POST", "/retry")])
def test_an_id_no_job_can_have_is_404_and_redis_is_not_asked(deaf, method, tail, job_id):
    assert deaf.open(f"/jobs/{job_id}{tail}", method=method).status_code == 404


def test_redis_away_is_503(deaf):
    answer = deaf.get("/jobs/a")
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize("text", ["1e400", "NaN", "[" * 5000])
def test_a_result_that_is_no_json_is_shown_as_the_text_it_is(client, store, post, text):
    job_id = post()
    store.command("HSET", store.keys.job(job_id), "result", text)
    answer = client.get(f"/jobs/{job_id}")
    assert (answer.status_code, answer.json["result"]) == (200, text)


def test_a_priority_there_is_not_is_shown_as_the_one_it_is_served_at(client, store, post):
    job_id = post()
    store.command("HSET", store.keys.job(job_id), "priority", "urgent")
    assert client.get(f"/jobs/{job_id}").json["priority"] == "normal"


@pytest.mark.parametrize(
    ("name", "text"),
    [("meta", "true"), ("tags", "[1]"), ("errors", "1"), ("errors", "{}"), ("progress", "2")],
)
def test_a_damaged_record_is_no_job_to_be_shown(client, store, post, name, text):
    job_id = post()
    store.command("HSET", store.keys.job(job_id), name, text)
    assert client.get(f"/jobs/{job_id}").status_code == 404
    assert client.get("/jobs").json["items"] == []
