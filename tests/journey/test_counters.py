"""The sums of the counters hold in every reading, whatever happens to jobs meanwhile."""

from __future__ import annotations

import os
import random
import signal
import threading
from contextlib import suppress

from tests.journey.programs import pid_of, until
from tests.journey.sites import Site, unbalanced

from ferryman.errors import WrongState


def test_the_sums_hold_in_every_reading_during_load(site: Site) -> None:
    workers = [site.worker(NUM_WORKERS=3), site.worker(NUM_WORKERS=3)]
    wrong: list[str] = []
    readings = 0
    done = threading.Event()

    def read() -> None:
        nonlocal readings
        while not done.is_set():
            wrong.extend(unbalanced(site.stats()))
            readings += 1

    reading = threading.Thread(target=read)
    reading.start()
    rng = random.Random(3)
    ids = []
    quick = {"base": 0.1, "cap": 0.2}
    for n in range(400):
        match rng.randrange(8):
            case 0 | 1 | 2:
                ids += site.enqueue_notes(1, seconds=0.01)
            case 3:
                ids.append(site.enqueue("fail", max_attempts=rng.randint(1, 3), backoff=quick).id)
            case 4:
                later = {"succeed_at": rng.randint(1, 3)}
                ids.append(site.enqueue("newcomer", later, backoff=quick).id)
            case 5:
                ids.append(site.enqueue("sleep", {"seconds": 5}, timeout=0.5, max_attempts=1).id)
            case 6:
                with suppress(WrongState):
                    site.store.cancel(rng.choice(ids or site.enqueue_notes(1)))
            case 7:
                with suppress(WrongState):
                    site.store.revive(rng.choice(ids or site.enqueue_notes(1)))
        if n % 100 == 50:
            # All jobs of one process crash at once, and run again each alone.
            child = rng.choice(workers).children[0]
            with suppress(ProcessLookupError):
                os.kill(pid_of(child), signal.SIGKILL)
    until(lambda: not (site.stats().waiting or site.count("running")), within=60)
    done.set()
    reading.join()
    assert wrong == []
    assert readings > 100
    events = site.stats().events
    for event in ("processed_total", "retried_total", "dlq_total", "recovered_total"):
        assert events[event] > 0, event
    assert site.count("cancelled") > 0
