"""A worker with nothing to do waits; it does not ask."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections import Counter

import pytest
from tests.journey.programs import Worker
from tests.journey.sites import Site

from ferryman.store.scripts import scripts

WATCHED = 5.0
"""Seconds of idleness that are looked at."""


def monitored(port: int, seconds: float) -> list[str]:
    """Every command Redis carries out in this time, as MONITOR shows it."""
    data, end = b"", time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"MONITOR\r\n")
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                data += sock.recv(65_536)
            except TimeoutError:
                break
    return data.decode().splitlines()[1:]


@pytest.mark.parametrize("queues", ["default", "default,images,mail"])
def test_an_idle_child_waits_in_blmove_and_polls_nothing(site: Site, queues: str) -> None:
    site.worker(FERRYMAN_QUEUES=queues)
    lists = 3 * len(queues.split(","))
    site.await_listening(lists)
    lines = monitored(site.server.port, WATCHED)
    clients = [line for line in lines if " lua]" not in line]
    words = Counter(re.findall(r'\] "(\w+)"', "\n".join(clients)))
    waits = [line for line in clients if '"BLMOVE"' in line]
    claims = [line for line in clients if scripts()["claim"].sha in line]
    assert 2 * lists - 1 <= len(waits) <= 3 * lists, words
    assert len(claims) <= len(waits) + lists, words  # one goes along behind each wait
    assert (len(clients) - len(waits) - len(claims)) / WATCHED <= 2, words
    wait = r'"BLMOVE" "ferryman:\{0\}:pending:\w+:(high|normal|low)" "ferryman:\{0\}:running:[^"]+"'
    assert all(re.search(rf'{wait} "LEFT" "RIGHT" "2', line) for line in waits)


def test_an_idle_worker_uses_less_than_two_percent_of_a_processor(site: Site) -> None:
    worker = site.worker()
    site.enqueue("uppercase", {"input": "x"}).wait(20)

    site.keeps(0.02, lambda: cpu_share(worker, WATCHED))


def cpu_share(worker: Worker, seconds: float) -> float:
    """The share of one processor that a worker uses in this time."""
    before = worker.cpu_seconds()
    time.sleep(seconds)
    return (worker.cpu_seconds() - before) / seconds


def test_a_worker_without_redis_waits_and_does_not_spin(site: Site) -> None:
    worker = site.worker()
    site.server.stop()
    worker.await_event("redis.lost")
    site.keeps(0.1, lambda: cpu_share(worker, 2))
    site.server.start()


def test_a_full_worker_does_not_spin_after_its_connections_were_cut(site: Site) -> None:
    worker = site.worker(NUM_WORKERS=1)
    site.await_listening(3)
    gate = site.gate()
    job = site.hold(gate)
    site.await_running(job)
    # Two of its three listeners are still open.
    site.raw.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
    worker.await_event("redis.lost")
    site.keeps(0.1, lambda: cpu_share(worker, 2))
    gate.touch()
    assert job.wait(20).attempt == 1


def test_a_worker_told_to_stop_does_not_spin_while_it_drains(site: Site) -> None:
    worker = site.worker()
    gate = site.gate()
    jobs = [site.hold(gate) for _ in range(4)]
    site.await_running(*jobs)
    site.enqueue_notes(200)
    worker.signal(signal.SIGTERM)
    site.await_listening(0)
    site.keeps(0.1, lambda: cpu_share(worker, 1.5))
    gate.touch()
    assert worker.ended() == 0
