"""GET /stats: every number, and the sums that hold between them."""

import threading

from ferryman.draft import draft
from ferryman.store import Store

NAMES = {
    "total_jobs", "pending_jobs", "running_jobs", "completed_jobs", "failed_jobs", "dlq_size",
    "scheduled_jobs", "blocked_jobs", "cancelled_jobs", "recovered_jobs", "total_processed",
    "successful", "failed", "queue_length", "workers", "queues",
}  # fmt: skip


def test_everything_is_there_and_zero_before_anything_ran(client):
    stats = client.get("/stats").json
    assert stats == dict.fromkeys(NAMES, 0) | {"queues": {}}


def test_every_state_is_counted_where_it_belongs(client, post, finished, hand):
    for state in ("completed", "completed", "failed", "cancelled"):
        finished(state)
    post(delay=60)
    post()
    (job,) = hand.begin()
    post(queue="other")
    stats = client.get("/stats").json
    queues = stats.pop("queues")
    assert stats == {
        "total_jobs": 6,
        "pending_jobs": 2,
        "running_jobs": 1,
        "completed_jobs": 2,
        "failed_jobs": 1,
        "dlq_size": 1,
        "scheduled_jobs": 1,
        "blocked_jobs": 0,
        "cancelled_jobs": 1,
        "recovered_jobs": 0,
        "total_processed": 3,
        "successful": 2,
        "failed": 1,
        "queue_length": 1,
        "workers": 1,
    }
    assert queues["other"]["pending"] == 1
    assert queues["default"] == {
        "pending": 0,
        "scheduled": 1,
        "blocked": 0,
        "running": 1,
        "completed": 2,
        "failed": 1,
        "cancelled": 1,
        "paused": 0,
    }
    hand.retry(job)
    assert client.get("/stats").json["pending_jobs"] == 3, "a job that waits for a retry waits"


def test_a_paused_queue_says_so(client, post, store):
    post()
    store.pause("default")
    assert client.get("/stats").json["queues"]["default"]["paused"] == 1


def test_completed_and_failed_are_lifetime_and_the_dlq_is_now(client, finished):
    for state in ("completed", "failed"):
        client.delete(f"/jobs/{finished(state)}")
    stats = client.get("/stats").json
    assert (stats["completed_jobs"], stats["failed_jobs"], stats["dlq_size"]) == (1, 1, 0)


def test_one_read_and_neither_keys_nor_scan(client, post, redis_url, raw):
    post()
    client.get("/stats")
    with raw.monitor() as monitor:
        client.get("/stats")
        raw.ping()
        seen = []
        for line in monitor.listen():
            if line["command"] == "PING":
                break
            seen.append(line)
    ours = [line["command"].split()[0] for line in seen if line["client_type"] != "lua"]
    assert [word for word in ours if word not in {"HELLO", "CLIENT"}] == ["EVALSHA"]
    assert not [line for line in seen if line["command"].startswith(("KEYS", "SCAN"))]


def test_the_sums_hold_while_jobs_come_and_go(client, hand, settings, store):
    stop = threading.Event()
    other = Store(settings, store.keys)

    def come():
        while not stop.is_set():
            accepted = other.enqueue([draft("a", delay=60 * (n % 2)) for n in range(10)])
            other.delete(accepted[1].id)  # delayed: a dead letter would leave the dlq

    def go():
        while not stop.is_set():
            for number, job in enumerate(hand.begin(5)):
                (hand.finish, hand.bury, hand.retry)[number % 3](job)

    threads = [threading.Thread(target=run) for run in (come, go)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            s = client.get("/stats").json
            sums = s["pending_jobs"] + s["running_jobs"] + s["completed_jobs"] + s["failed_jobs"]
            assert s["total_jobs"] == sums
            assert s["pending_jobs"] == s["queue_length"] + s["scheduled_jobs"] + s["blocked_jobs"]
            assert s["total_processed"] == s["successful"] + s["failed"]
            assert s["dlq_size"] == s["failed_jobs"]
            for name in ("pending", "scheduled", "running", "completed", "failed", "cancelled"):
                total = sum(queue[name] for queue in s["queues"].values())
                mine = {"pending": "queue_length"}.get(name, f"{name}_jobs")
                assert s[mine] == total
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert s["completed_jobs"] > 0 < s["failed_jobs"]


def test_redis_away_is_503(deaf):
    assert deaf.get("/stats").status_code == 503
