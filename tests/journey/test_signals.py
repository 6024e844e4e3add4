"""Stops at the worst moments, and logs that nobody can take: faults 12, 13, 17 and 18."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest
from tests.journey.programs import Worker, is_alive, pid_of, until
from tests.journey.sites import Site

STOPS = 40
"""SIGTERMs at offsets drawn by chance, to children; and a few to whole workers."""


def test_a_sigterm_at_any_moment_charges_no_job_and_repeats_none(site: Site) -> None:
    rng = random.Random(13)
    workers = [site.worker(FERRYMAN_PROCESSES=3, NUM_WORKERS=6) for _ in range(2)]
    ids = site.enqueue_notes(6000, seconds=0.002)
    for n in range(STOPS):
        worker = workers[n % 2]
        until(lambda: len(alive(worker)) == 3)  # noqa: B023
        # Some stops meet the first claim of a child, some a full one, some a settle.
        time.sleep(rng.uniform(0, 0.05))
        if n % 10 == 9:
            assert worker.stop() == 0
            workers[n % 2] = site.worker(FERRYMAN_PROCESSES=3, NUM_WORKERS=6)
            continue
        with suppress(ProcessLookupError):
            os.kill(rng.choice(alive(worker)), signal.SIGTERM)
    for worker in workers:
        assert worker.stop() == 0
    done = site.count("completed")
    assert site.count("running") == 0
    assert len(site.notes()) == len(set(site.notes())) == done
    assert not [j for j in site.store.get_many(ids) if j.crashes or j.failures or j.attempt > 1]
    assert site.event("recovered_total") == site.event("fenced_total") == 0


def alive(worker: Worker) -> list[int]:
    """The children of a worker that live and are ready."""
    return [pid for pid in map(pid_of, worker.children) if is_alive(pid)]


def test_children_share_no_connection_with_each_other_or_their_parent(site: Site) -> None:
    worker = site.worker(FERRYMAN_PROCESSES=3, NUM_WORKERS=6)
    assert not sockets(worker.pid), "the supervisor has none to leave behind"
    path = str(site.folder / "notes")
    spawning = [site.enqueue("spawn", {"number": 50, "path": path}) for _ in range(12)]
    for job in spawning:
        assert job.wait(30).attempt == 1
    site.await_completed(12 * 51)
    assert len(set(site.notes())) == len(site.notes()) == 12 * 50
    owners = [sockets(pid_of(child)) for child in worker.children]
    assert all(owners)
    assert len(set.union(*owners)) == sum(len(own) for own in owners)
    assert not worker.events("redis.lost"), "no reply went to the wrong one"


def sockets(pid: int) -> set[str]:
    """The TCP connections a process holds open."""
    tcp = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            name = str(entry.readlink())
            if name.startswith("socket:[") and name[8:-1] in tcp:
                found.add(name)
    return found


def test_a_worker_whose_application_does_not_load_claims_nothing_and_ends(site: Site) -> None:
    job = site.enqueue("uppercase", {"input": "x"})
    worker = site.program("worker", FERRYMAN_APP="no_such_module:ferry")
    assert worker.ended() == 2
    assert worker.events("app.broken")
    assert (job.job().state, job.job().attempt, site.workers()) == ("pending", 0, [])


def full_disk() -> IO[bytes]:
    return Path("/dev/full").open("wb")


def full_pipe() -> IO[bytes]:
    """A pipe nobody reads, with no room left; its reading end stays open on purpose."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    _readers.append(os.fdopen(reader, "rb"))
    return os.fdopen(writer, "wb")


_readers: list[IO[bytes]] = []


@pytest.mark.parametrize("where", [full_disk, full_pipe])
def test_a_log_that_nobody_can_take_stops_nobody(site: Site, where: object) -> None:
    assert callable(where)
    with where() as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", "ferryman", "worker"],
            env=site.environ(), cwd=site.folder, stdout=out, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    try:
        jobs = [site.enqueue("uppercase", {"input": "x"}) for _ in range(50)]
        assert {job.wait(30).state for job in jobs} == {"completed"}
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        until(lambda: site.workers() == [])
    finally:
        worker.kill()
        worker.wait()
