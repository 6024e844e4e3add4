"""A worker with nothing to do waits; it does not ask."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter

import pytest
from tests.journey.sites import Site

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
    assert len(clients) / WATCHED <= 0.5 * lists + 2, words
    waits = [line for line in clients if '"BLMOVE"' in line]
    assert len(waits) >= 2 * lists - 1, words
    wait = r'"BLMOVE" "ferryman:\{0\}:pending:\w+:(high|normal|low)" "ferryman:\{0\}:running:[^"]+"'
    assert all(re.search(rf'{wait} "LEFT" "RIGHT" "2', line) for line in waits)


def test_an_idle_worker_uses_less_than_two_percent_of_a_processor(site: Site) -> None:
    worker = site.worker()
    site.enqueue("uppercase", {"input": "x"}).wait(20)

    def act() -> float:
        before = worker.cpu_seconds()
        threading.Event().wait(WATCHED)
        return float((worker.cpu_seconds() - before) / WATCHED)

    site.keeps(0.02, act)
