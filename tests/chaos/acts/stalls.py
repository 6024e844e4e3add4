"""Stalls: Redis stands still for longer than a lease, CPUs are taken; nobody is held for dead."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from fleet import Fleet
from history import History, read
from judge import nothing_charged
from producer import Producer
from result import Result, verdict
from stage import Stage, await_drained, judged

from ferryman import logs
from ferryman.lifecycle import State
from ferryman.processes import kill_session, spawn
from ferryman.store import Store

EXPECTED = 11 * 60.0

STALLS, SHORT_STALLS = 20, 3
SECONDS = 20.0
"""How long Redis stands still; the default lease is 12 s."""

LEASE = 12.0
"""Seconds; the default."""

GAPS = (4.0, 16.0)
"""Seconds between two stalls, in turn: within the grace that follows a stall, and past it."""

HOGS = "hogs"
HOGS_PER_CORE = 2
LONGEST = 600.0
"""Seconds for the last jobs to end: up to eight hogs share one lock, each for up to 40 s on a
machine with other work (a run of 300 s ended with five of them left and nothing else wrong)."""


def long_job(chance: random.Random) -> dict[str, Any]:
    """30 s: longer than a stall and a lease."""
    return {"payload": {"seconds": 30.0}}


def hog_job(chance: random.Random) -> dict[str, Any]:
    """By turns a job that keeps the GIL in one call of C and one that shares its child."""
    if chance.random() < 0.5:
        return {"type": "hog", "payload": {"seconds": 20.0}}
    return {"payload": {"seconds": 20.0}}


def play(stage: Stage) -> Result:
    """The act."""
    number, running = SHORT_STALLS if stage.short else STALLS, []
    with stage.scene("stalls") as (fleet, history):
        fleet.add(2)
        fleet.add(FERRYMAN_QUEUES=HOGS, NUM_WORKERS=2)
        fleet.await_ready()
        with (
            _busy_cores(),
            Producer(fleet, history, stage.seed, long_job, rate=20.0, backlog=2),
            Producer(fleet, history, stage.seed, hog_job, rate=2.0, backlog=1, queue=HOGS),
        ):
            time.sleep(5.0)
            for n in range(number):
                stage.progress.show(n / number, f"{n} of {number} stalls")
                running.append(fleet.store.stats().states[State.RUNNING])
                _stall(fleet, history, n)
                time.sleep(GAPS[n % len(GAPS)])
        await_drained(fleet, LONGEST)
        names = {name.decode() for name in fleet.raw("ZRANGE", "ferryman:{0}:reaped", 0, -1)}
        left = _left(fleet)
        reaped = sorted(names - left)
        report, finals = judged(fleet, {"stall": number})
        result = Result("stalls", servers=[fleet.version()])
        held = [e["held"] for e in read(history.folder) if "held" in e]
    result.least("stalls of 20 s", report.hits.get("stall", 0), number)
    result.least("jobs under way as one began, fewest", min(running), 3)
    long = sum(seconds > LEASE for seconds in held)
    result.least("calls of C that kept the GIL for longer than a lease", long, number // 3)
    result.none("workers held for dead", len(reaped))
    result.none("jobs taken from a worker", report.recoveries)
    charged = nothing_charged(finals)
    result.none("jobs charged a failure or a crash", len(charged))
    result.violations += [f"held for dead: {name}" for name in reaped]
    result.violations += [f"charged: {job}" for job in charged]
    verdict(result, report)
    result.none("jobs run twice", report.duplicated)
    result.add("children replaced, their runs ended by themselves", len(names & left))
    result.add("lease", "12 s (default)")
    result.add("ways to stall", "SIGSTOP of the server, CLIENT PAUSE, DEBUG SLEEP, in turn")
    result.add("processes that spin", _hogs())
    return result


def _left(fleet: Fleet) -> set[str]:
    """Children that made room for others and ended by themselves, by the log of their workers.

    One that the hogs kept from Redis for 30 s is replaced like that; its name is listed with the
    dead, so that what Redis still gives to it is found, but it was not held for dead.
    """
    said: dict[str, set[str]] = {}
    for file in fleet.folder.glob("worker-*.log"):
        for line in map(json.loads, file.read_text().splitlines()):
            said.setdefault(line.get("worker", ""), set()).add(line["event"])
    ended = {logs.CHILD_KILLED, logs.CHILD_DIED, logs.LEASE_LOST}
    return {n for n, events in said.items() if logs.CHILD_LEAVING in events and not events & ended}


def _stall(fleet: Fleet, history: History, n: int) -> None:
    ways = (_stop_server, _pause_clients, _sleep_inside)
    clients = fleet.clients()
    history.note("fault", kind="stall", pids=[], seconds=SECONDS, lease=LEASE, connections=clients)
    ways[n % len(ways)](fleet)


def _stop_server(fleet: Fleet) -> None:
    os.kill(fleet.server.pid, signal.SIGSTOP)
    time.sleep(SECONDS)
    os.kill(fleet.server.pid, signal.SIGCONT)


def _pause_clients(fleet: Fleet) -> None:
    fleet.raw("CLIENT", "PAUSE", int(SECONDS * 1000), "ALL")
    time.sleep(SECONDS)


def _sleep_inside(fleet: Fleet) -> None:
    Store(fleet.settings, timeout=SECONDS + 30, tries=1).command("DEBUG", "SLEEP", str(SECONDS))


def _hogs() -> int:
    return HOGS_PER_CORE * (os.cpu_count() or 1)


@contextlib.contextmanager
def _busy_cores() -> Iterator[None]:
    spin = [sys.executable, "-c", "while True: pass"]
    hogs: list[subprocess.Popen[bytes]] = [spawn(spin) for _ in range(_hogs())]
    try:
        yield
    finally:
        for hog in hogs:
            kill_session(hog)
