"""GET /metrics by queue, type, event, outcome and state; GET /metrics/process; docs/metrics.md."""

import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from ferryman.store.meters import EVENTS

OPEN = "application/openmetrics-text;version=1.0.0"
PAGE = (Path(__file__).parents[2] / "docs/metrics.md").read_text()


def samples(client, path="/metrics", accept="", parse=plain):
    """{(name, label, value...): value} of a scrape; a sample that comes twice fails."""
    answer = client.get(path, headers={"Accept": accept})
    assert answer.status_code == 200
    found = {}
    for family in parse(answer.text):
        for sample in family.samples:
            key = (sample.name, *(part for pair in sorted(sample.labels.items()) for part in pair))
            assert key not in found
            found[key] = sample.value
    return found


def value(found, name, **labels):
    """One sample's value."""
    return found[(name, *(part for pair in sorted(labels.items()) for part in pair))]


def test_events_are_told_by_queue_and_type(client, post, hand):
    post()
    post(type="b")
    post(type="b", queue="other")
    hand.finish(hand.begin()[0])
    hand.bury(hand.begin()[0])
    found = samples(client)

    def event(name, queue, type):
        return value(found, "ferryman_jobs_total", event=name, queue=queue, type=type)

    assert [event(n, "default", "a") for n in ("created", "completed", "dead")] == [1, 1, 0]
    assert [event(n, "default", "b") for n in ("created", "failed", "dead")] == [1, 1, 1]
    assert [event(n, "other", "b") for n in ("created", "started")] == [1, 0]
    assert {k[2] for k in found if k[0] == "ferryman_jobs_total"} == set(EVENTS)
    assert sum(n for k, n in found.items() if k[0] == "ferryman_jobs_total") == 8


def test_runs_waits_and_lives_are_histograms_that_agree_with_the_events(client, post, hand):
    for seconds in (0.3, 7.0):
        post()
        hand.finish(hand.begin()[0], seconds=seconds)
    post(queue="q")
    post(type="b")
    hand.retry(hand.begin()[0])
    found = samples(client)
    run = {"queue": "default", "type": "a", "outcome": "completed"}
    assert value(found, "ferryman_job_duration_seconds_count", **run) == 2
    assert value(found, "ferryman_job_duration_seconds_sum", **run) == pytest.approx(7.3)
    for le, n in (("0.25", 0), ("0.5", 1), ("5.0", 1), ("10.0", 2), ("+Inf", 2)):
        assert value(found, "ferryman_job_duration_seconds_bucket", le=le, **run) == n
    failed = {"queue": "default", "type": "b", "outcome": "failed"}
    assert value(found, "ferryman_job_duration_seconds_count", **failed) == 1
    assert value(found, "ferryman_job_wait_seconds_count", queue="default") == 3
    assert value(found, "ferryman_job_wait_seconds_count", queue="q") == 0
    assert value(found, "ferryman_job_total_seconds_count", type="a") == 2
    assert value(found, "ferryman_job_total_seconds_count", type="b") == 0


def test_buckets_only_grow_with_their_bound(client, finished):
    finished()
    families = {f.name: f for f in plain(client.get("/metrics").text)}
    for name in ("job_wait", "job_total", "job_duration"):
        rows = [s for s in families[f"ferryman_{name}_seconds"].samples if "le" in s.labels]
        values = [s.value for s in rows]
        assert values == sorted(values)
        assert (rows[-1].labels["le"], rows[-1].value) == ("+Inf", 1)


def test_queues_have_latency_limit_and_dead_letters(client, make_client, post, finished, store):
    job_id = post(queue="slow")
    now = int(store.command("TIME")[0])
    store.command("HSET", store.keys.job(job_id), "created_at", str(now - 90))
    dead = finished("failed")
    store.command("HSET", store.keys.job(dead), "completed_at", str(now - 900))
    store.command("HSET", store.keys.queue("slow"), "max_pending", "7")
    found = samples(make_client(max_pending=55))
    expected = {
        "queue_latency_seconds": {"slow": 90, "default": 0},
        "queue_limit": {"slow": 7, "default": 55},
        "dlq_jobs": {"slow": 0, "default": 1},
        "dlq_oldest_seconds": {"slow": 0, "default": 900},
        "leases_expired_total": {"slow": 0, "default": 0},
        "queue_paused": {"slow": 0, "default": 0},
    }
    for name, by_queue in expected.items():
        for queue, n in by_queue.items():
            got = value(found, f"ferryman_{name}", queue=queue)
            assert got == pytest.approx(n, abs=3), (name, queue)


def test_workers_are_told_by_what_they_do_and_slots_by_queue(client, store):
    store.register("one", ["default"], {"host": "h", "slots": 5, "queues": "default"})
    store.register("two", ["default"], {"host": "h", "slots": 3, "queues": "default"})
    store.beat("sup", {"one": 2}, ["default"])
    store.beat("sup", {"two": 3}, ["default"], stopping=True)
    store.register("three", ["default"], {"host": "h", "slots": 9, "queues": "default"})
    store.command("ZADD", store.keys("workers"), "1", "three")
    found = samples(client)
    states = {s: value(found, "ferryman_workers", state=s) for s in ("running", "stopping", "lost")}
    assert states == {"running": 1, "stopping": 1, "lost": 1}
    assert value(found, "ferryman_worker_slots", queue="default", state="busy") == 5
    assert value(found, "ferryman_worker_slots", queue="default", state="idle") == 3


def test_runs_of_a_silent_worker_are_told_by_queue(client, post, hand, store):
    post()
    hand.begin()
    store.command("ZADD", store.keys("workers"), "1", "host:1:abc")
    store.recover("host:1:abc", '{"error":"gone"}', "gone")
    assert value(samples(client), "ferryman_leases_expired_total", queue="default") == 1


def test_memory_of_redis_in_bytes(client):
    found = samples(client)
    assert value(found, "ferryman_redis_used_memory_bytes") > 100_000
    assert value(found, "ferryman_redis_max_memory_bytes") == 0


def test_both_formats_say_the_same(client, post, finished):
    finished()
    finished("failed")
    post(queue="q", type="b")
    one = samples(client)
    other = samples(client, accept=OPEN, parse=open_metrics)
    moves = {
        "ferryman_scrape_duration_seconds",
        "ferryman_queue_latency_seconds",
        "ferryman_dlq_oldest_seconds",
        "ferryman_redis_used_memory_bytes",
    }
    assert {k: v for k, v in one.items() if k[0] not in moves} == {
        k: v for k, v in other.items() if k[0] not in moves
    }
    assert set(one) == set(other)


def test_a_label_put_there_by_hand_cannot_break_the_text(client, store):
    store.command("SADD", store.keys("labels"), 'q"x:a\\b\nc')
    found = samples(client)
    assert value(found, "ferryman_jobs_total", event="created", queue='q"x', type="a\\b\nc") == 0


def test_more_than_200_pairs_do_not_make_more_series(client, post):
    for n in range(230):
        post(type=f"t{n}")
    made = [k for k in samples(client) if k[:3] == ("ferryman_jobs_total", "event", "created")]
    assert len(made) == 200


# This process.


def test_requests_are_counted_by_method_route_and_status_never_by_path(client, post):
    job_id = post()
    for _ in range(2):
        client.get(f"/jobs/{job_id}")
    client.get("/jobs/nobody")
    client.get("/wp-admin/secret")
    client.delete("/health")
    client.open("/jobs", method="BREW")
    found = samples(client, "/metrics/process")

    def asked(method, route, status):
        name = "ferryman_http_requests_total"
        return value(found, name, method=method, route=route, status=str(status))

    assert asked("POST", "/jobs", 201) == 1
    assert asked("GET", "/jobs/<job_id>", 200) == 2
    assert asked("GET", "/jobs/<job_id>", 404) == 1
    assert asked("GET", "other", 404) == 1
    assert asked("DELETE", "other", 405) == 1
    assert asked("other", "other", 405) == 1
    assert not [k for k in found if job_id in k or "/wp-admin/secret" in k or "BREW" in k]
    seconds = "ferryman_http_request_duration_seconds_count"
    assert value(found, seconds, method="GET", route="/jobs/<job_id>") == 3


def test_two_applications_in_one_process_count_apart(client, make_client):
    client.get("/livez")
    found = samples(make_client(), "/metrics/process")
    assert not [k for k in found if "/livez" in k]


def test_redis_away_is_no_matter_for_this_process(deaf):
    deaf.get("/metrics")
    found = samples(deaf, "/metrics/process", OPEN, open_metrics)
    name = "ferryman_http_requests_total"
    assert value(found, name, method="GET", route="/metrics", status="200") == 1


@pytest.mark.parametrize(("accept", "parse"), [("", plain), (OPEN, open_metrics)])
def test_no_series_says_when_another_was_made(client, accept, parse):
    client.get("/livez")
    names = {key[0] for key in samples(client, "/metrics/process", accept, parse)}
    assert {name.removeprefix("ferryman_http_") for name in names} == {
        "requests_total",
        *(f"request_duration_seconds_{part}" for part in ("bucket", "count", "sum")),
    }


# The page.


def test_the_page_lists_every_metric_with_its_type_and_labels(client, finished, store):
    store.command("HSET", store.keys("audit"), "at", "1", "violations", "0")
    store.register("w", ["default"], {"host": "h", "slots": 1, "queues": "default"})
    finished()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    told = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    there = {}
    for path in ("/metrics", "/metrics/process"):
        for family in plain(client.get(path).text):
            labels = {n for s in family.samples for n in s.labels} - {"le"}
            name = f"{family.name}_total" if family.type == "counter" else family.name
            there[name] = (family.type, labels)
    assert told == there
