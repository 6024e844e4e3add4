"""Who gets which job, and when: free hands first, high before low, oldest first; each once."""

from __future__ import annotations

from collections import Counter

from tests.journey.sites import Site


def test_a_high_job_starts_on_the_free_worker_within_100_ms(site: Site) -> None:
    site.worker(NUM_WORKERS=1)
    gate = site.gate()
    long = site.hold(gate)
    site.await_running(long)
    free = site.worker(NUM_WORKERS=1)
    site.enqueue("uppercase", {"input": "warm"}).wait(20)

    def act() -> float:
        job = site.enqueue("uppercase", {"input": "x"}, priority="high").wait(20)
        assert job.worker in free.children
        return float(job.started_at - job.created_at)

    site.keeps(0.1, act)
    gate.touch()
    assert long.wait(20).attempt == 1


def test_a_job_delivered_to_a_worker_just_become_full_starts_on_the_free_one(site: Site) -> None:
    workers = [site.worker(NUM_WORKERS=1) for _ in range(2)]
    for _ in range(4):
        site.enqueue("uppercase", {"input": "warm"}).wait(20)

    def act() -> float:
        # For up to two seconds more the busy one listens to the lists it was not called from.
        gate = site.gate()
        long = site.hold(gate)
        site.await_running(long)
        job = site.enqueue("uppercase", {"input": "x"}, priority="high").wait(20)
        gate.touch()
        done = long.wait(20)
        assert {done.worker, job.worker} == {name for w in workers for name in w.children}
        return float(job.started_at - job.created_at)

    site.keeps(0.1, act)


def test_one_slot_serves_high_before_normal_before_low_and_each_in_order(site: Site) -> None:
    site.worker(NUM_WORKERS=1)
    gate = site.gate()
    first = site.hold(gate)
    site.await_running(first)
    wanted = []
    for level in ("low", "normal", "high"):
        before = site.stats().events["created_total"]
        site.enqueue_notes(20, priority=level)
        wanted = [str(before + n) for n in range(20)] + wanted
    gate.touch()
    site.await_completed(61)
    assert site.notes() == wanted


def test_a_late_high_job_overtakes_a_backlog(site: Site) -> None:
    site.worker(NUM_WORKERS=1)
    site.enqueue_notes(1, seconds=0.3)
    site.enqueue_notes(100, seconds=0.02)
    job = site.enqueue("uppercase", {"input": "x"}, priority="high").wait(20)
    assert job.started_at - job.created_at < 1
    assert site.count("completed") < 50


def test_queues_are_served_in_their_order_within_a_level(site: Site) -> None:
    site.worker(NUM_WORKERS=1, FERRYMAN_QUEUES="first,second")
    gate = site.gate()
    site.await_running(site.hold(gate, queue="first"))
    site.enqueue_notes(5, queue="second")
    site.enqueue_notes(5, queue="first")
    site.enqueue_notes(5, queue="second", priority="high")
    gate.touch()
    site.await_completed(16)
    assert site.notes() == [str(n) for n in (11, 12, 13, 14, 15, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5)]


def test_three_workers_run_each_of_2000_jobs_exactly_once(site: Site) -> None:
    workers = [site.worker(FERRYMAN_PROCESSES=n) for n in (1, 2, 1)]
    site.enqueue_notes(2000)
    stats = site.await_completed(2000)
    assert Counter(site.notes()) == Counter(str(n) for n in range(2000))
    assert stats.events["processed_total"] == 2000
    assert stats.events.get("fenced_total", 0) == 0
    assert [w.stop() for w in workers] == [0, 0, 0]  # each has written its last line
    shares = [len(w.events("job.completed")) for w in workers]
    assert sum(shares) == 2000
    assert min(shares) > 0


def test_slow_jobs_among_brief_ones_hold_nobody_up(site: Site) -> None:
    worker = site.worker(NUM_WORKERS=4)
    gate = site.gate()
    site.enqueue_notes(1500)  # brief: they run in the thread of the child's loop
    slow = [site.hold(gate) for _ in range(3)]
    site.enqueue_notes(500)
    site.await_running(*slow)
    site.await_completed(2000)
    assert not any(job.job().state == "completed" for job in slow)
    gate.touch()
    for job in slow:
        done = job.wait(20)
        assert (done.state, done.attempt, done.crashes) == ("completed", 1, 0)
    assert len(worker.children) == 1
    assert sorted(site.notes(), key=int) == sorted(set(site.notes()), key=int)
    assert site.event("fenced_total") == 0
