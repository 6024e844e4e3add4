"""GET /metrics: the exact names, the sums between them, and two ways to ask."""

import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from ferryman.draft import draft
from ferryman.store import Store
from ferryman_api.metrics import COUNTERS

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BOUNDS = (
    "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 30.0 60.0 120.0 300.0 600.0 1800.0 +Inf"
).split()


def samples(client):
    """{name{label=value,...}: value} of a scrape."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    found = {}
    for family in plain(answer.text):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_every_name_is_there_and_zero_before_anything_ran(client):
    found = samples(client)
    for name in ("created", "processed", "failed", "retried", "dlq"):
        assert found[f"jobs_{name}_total"] == 0
    for bound in BOUNDS:
        assert found[f"job_processing_duration_seconds_bucket{{le={bound}}}"] == 0
    assert found["job_processing_duration_seconds_count"] == 0
    assert found["job_processing_duration_seconds_sum"] == 0
    for state in ("pending", "running", "completed", "failed", "dlq", "scheduled"):
        assert found[f"queue_size{{state={state}}}"] == 0
    for name in ("recovered", "fenced", "released", "snoozed", "revived", "deleted"):
        assert found[f"ferryman_jobs_{name}_total"] == 0
    for state in ("running", "stopping", "lost"):
        assert found[f"ferryman_workers{{state={state}}}"] == 0
    assert found["ferryman_worker_claim_age_seconds"] == 0
    assert found["ferryman_data_replaced_total"] == 0
    assert found["ferryman_redis_up"] == 1
    assert 0 < found["ferryman_scrape_duration_seconds"] < 5
    assert [name for name in found if name.startswith("ferryman_build_info{version=")]


def test_the_five_counters_are_counters_without_labels(client):
    kinds = {family.name: family.type for family in plain(client.get("/metrics").text)}
    assert {kinds[f"jobs_{name}"] for name in COUNTERS} == {"counter"}
    assert kinds["job_processing_duration_seconds"] == "histogram"
    assert kinds["queue_size"] == "gauge"


def test_the_life_of_jobs_in_numbers(client, post, hand):
    for _ in range(4):
        post()
    well, badly, again, _running = hand.begin(4)
    hand.finish(well, seconds=0.3)
    hand.bury(badly)
    hand.retry(again)
    post()
    post(queue="other", delay=60)
    found = samples(client)
    assert {name: found[f"jobs_{name}_total"] for name in COUNTERS} == {
        "created": 6,
        "processed": 1,
        "failed": 2,
        "retried": 1,
        "dlq": 1,
    }
    size = {"pending": 3, "running": 1, "completed": 1, "failed": 1, "dlq": 1, "scheduled": 2}
    assert {state: found[f"queue_size{{state={state}}}"] for state in size} == size
    assert found["ferryman_queue_jobs{queue=other,state=scheduled}"] == 1
    assert found["ferryman_workers{state=running}"] == 1


def test_the_worker_that_heard_redis_longest_ago_is_shown(client, store):
    for name in ("deaf", "well"):
        store.register(name, ["default"], {"host": "h"})
    store.beat("sup", {"deaf": 0, "well": 0}, (), {"deaf": 31.5, "well": 0.5})
    assert samples(client)["ferryman_worker_claim_age_seconds"] == 31.5


def test_durations_fall_into_their_buckets(client, post, hand):
    seconds = [0.001, 0.005, 0.3, 1.0, 2.5, 7.0, 1800.0, 5000.0]
    for duration in seconds:
        post()
        (job,) = hand.begin()
        hand.finish(job, seconds=duration)
    found = samples(client)
    for bound in BOUNDS:
        below = sum(duration <= float(bound) for duration in seconds)
        assert found[f"job_processing_duration_seconds_bucket{{le={bound}}}"] == below
    assert found["job_processing_duration_seconds_count"] == len(seconds)
    assert found["job_processing_duration_seconds_sum"] == pytest.approx(sum(seconds))


def test_the_sums_hold_while_jobs_come_and_go(client, hand, settings, store):
    stop = threading.Event()
    other = Store(settings, store.keys)

    def come():
        while not stop.is_set():
            made = other.enqueue([draft("a", delay=60 * (n < 2)) for n in range(10)])
            other.cancel(made[0].id)
            other.delete(made[1].id)

    def go():
        while not stop.is_set():
            for number, job in enumerate(hand.begin(5)):
                (hand.finish, hand.bury, hand.retry)[number % 3](job)

    threads = [threading.Thread(target=run) for run in (come, go)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            m = samples(client)
            assert m["jobs_failed_total"] == m["jobs_retried_total"] + m["jobs_dlq_total"]
            assert m["job_processing_duration_seconds_count"] == m["jobs_processed_total"]
            assert m["queue_size{state=completed}"] == m["jobs_processed_total"]
            in_all = sum(m[f"queue_size{{state={s}}}"] for s in ("pending", "running"))
            in_all += sum(m[f"queue_size{{state={s}}}"] for s in ("completed", "failed"))
            cancelled = sum(v for k, v in m.items() if k.endswith("state=cancelled}"))
            assert in_all == m["jobs_created_total"] - cancelled
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert m["jobs_processed_total"] > 0 < m["jobs_dlq_total"]


def test_prometheus_itself_gets_openmetrics(client, finished):
    finished()
    answer = client.get("/metrics", headers={"Accept": PROMETHEUS})
    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in open_metrics(answer.text)}
    assert {"jobs_created", "job_processing_duration_seconds", "queue_size"} <= names


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/plain", "text/html,*/*;q=0.8", "text/*", PROMETHEUS]
)
def test_who_does_not_name_json_gets_text(client, accept):
    answer = client.get("/metrics", headers={"Accept": accept})
    assert "jobs_created_total" in answer.text


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "application/json, text/plain, */*",
        "application/json;q=0.9,text/plain;q=0.5",
    ],
)
def test_who_asks_for_json_gets_three_counters(client, finished, post, hand, accept):
    finished("completed")
    finished("failed")
    post()
    hand.retry(hand.begin()[0])
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.json == {"Processed": 1, "Failed": 2, "Recovered": 0}


def test_json_wanted_less_than_text_is_text(client):
    accept = "application/json;q=0.1,text/plain"
    assert client.get("/metrics", headers={"Accept": accept}).content_type.startswith("text/plain")


def test_redis_away_is_said_in_text_so_that_prometheus_takes_it(deaf):
    answer = deaf.get("/metrics")
    assert answer.status_code == 200
    found = {s.name: s.value for family in plain(answer.text) for s in family.samples}
    assert found["ferryman_redis_up"] == 0
    assert "jobs_created_total" not in found, "a zero would look like a reset"


def test_redis_away_is_a_problem_for_who_asks_for_json(deaf):
    answer = deaf.get("/metrics", headers={"Accept": "application/json"})
    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"


def test_what_is_refused_for_want_of_room_is_counted_by_its_reason(
    client, make_client, post, store
):
    post()
    full = make_client(max_pending=1)
    assert full.post("/jobs", json={"type": "a"}).status_code == 503
    seconds, _ = store.command("TIME")
    gate = ("memory_gate", seconds.decode(), "memory_seen", seconds.decode())
    assert samples(client)["ferryman_memory_gate"] == 0
    store.command("HSET", store.keys("meta"), *gate)
    for _ in range(2):
        answer = client.post("/jobs", json={"type": "a"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json["type"] == "https://ferryman.dev/problems/memory-full"
    found = samples(client)
    assert found["ferryman_memory_gate"] == 1
    assert found["ferryman_jobs_refused_total{reason=memory}"] == 2
    assert found["ferryman_jobs_refused_total{reason=queue}"] == 1


def test_the_last_check_and_its_age_are_told(client, store):
    found = samples(client)
    assert "ferryman_invariant_violations" not in found, "a zero would look like a check"
    seconds, _ = store.command("TIME")
    audit = ("at", str(int(seconds) - 60), "violations", "3")
    store.command("HSET", store.keys("audit"), *audit)
    found = samples(client)
    assert found["ferryman_invariant_violations"] == 3
    assert 60 <= found["ferryman_check_age_seconds"] < 120
