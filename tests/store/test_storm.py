"""A retry storm: thousands of jobs due at once hold nobody up, and do not come back as one."""

import random
import statistics
import threading
import time

from ferryman.config import Settings
from ferryman.job import Draft
from ferryman.registry import Options
from ferryman.store import Store
from ferryman.store.scripts import scripts
from ferryman_worker.decide import decide, policy
from ferryman_worker.outcome import Failed

JOBS = 20_000


def test_a_storm_is_promoted_in_small_steps_while_others_are_served(world, settings):
    store, sha = world.store, scripts()["promote"].sha
    store.settings = settings
    for first in range(0, JOBS, 1000):
        ids = [f"s{n}" for n in range(first, first + 1000)]
        store.enqueue([Draft(id=i, type="noop", delay=60.0) for i in ids])
        due = [word for i in ids for word in ("1", i)]
        store.command("ZADD", store.keys("scheduled"), *due)
    world.enqueue("other", queue="other")
    store.command("CONFIG", "SET", "slowlog-log-slower-than", "5000")
    store.command("SLOWLOG", "RESET")
    steps, waits = [], []
    storm = Store(settings, store.keys)

    def promote():
        while not steps or steps[-1]:
            steps.append(storm.promote().promoted)

    thread = threading.Thread(target=promote)
    thread.start()
    while thread.is_alive():
        began = time.perf_counter()
        store.get("other")
        waits.append(time.perf_counter() - began)
    thread.join()
    storm.close()
    assert (max(steps), sum(steps)) == (200, JOBS)
    slow = [e for e in store.command("SLOWLOG", "GET", "1000") if e[3][1:2] == [sha.encode()]]
    assert len(slow) < len(steps) / 2, "a step takes 1 to 2 ms; some may meet a busy machine"
    assert statistics.median(waits) < 0.1
    assert store.stats().states["pending"] == JOBS + 1


def test_jitter_spreads_jobs_that_failed_at_once(world):
    """100 jobs at about 1 s: over 150 ms and more, so that they do not meet again."""
    hand, ids = world.worker(), [f"j{n}" for n in range(100)]
    world.enqueue(*ids)
    limits = Settings()
    chance = random.Random(1)
    decisions = [
        decide(job, Failed("down"), policy(job, Options(), limits), "w", 0.1, chance.random())
        for job in hand.claim(100)
    ]
    assert hand.settle(*decisions)
    due = sorted(world.snapshot().value("scheduled", {}).values())
    assert len(due) == 100
    assert due[-1] - due[0] >= 0.15
    fullest = max(sum(1 for d in due if at <= d < at + 0.05) for at in due)
    assert fullest < 50
