"""Restarts: every worker is stopped and started, one after the other, under load."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from typing import Any

from fleet import Fleet, Worker
from history import History
from judge import nothing_charged
from producer import Producer
from result import Result, verdict
from stage import Stage, await_drained, judged

EXPECTED = 5 * 60.0

RESTARTS, SHORT_RESTARTS = 20, 4
WORKERS = 3
LONGEST = 10.0
"""Seconds within which a worker that is asked to stop has ended."""

LONG_EVERY, LONG_JOBS, LONG_SECONDS = 4, 6, 20.0
"""In every fourth round so many jobs outlast the drain of 8 s, and are given back."""


def draw(chance: random.Random) -> dict[str, Any]:
    """Short jobs, up to 0.3 s."""
    return {"payload": {"seconds": round(chance.uniform(0, 0.3), 3)}}


def play(stage: Stage) -> Result:
    """The act."""
    number = SHORT_RESTARTS if stage.short else RESTARTS
    stops: list[float] = []
    codes: list[int] = []
    with stage.scene("restarts") as (fleet, history):
        fleet.add(WORKERS)
        fleet.await_ready()
        with Producer(fleet, history, stage.seed, draw, rate=60.0, backlog=300) as producer:
            for n in range(number):
                stage.progress.show(n / number, f"{n} of {number} rolling restarts")
                if n % LONG_EVERY == LONG_EVERY - 1:
                    _send_long(producer)
                for worker in fleet.workers:
                    seconds, code = _restart(fleet, history, worker)
                    stops.append(seconds)
                    codes.append(code)
        await_drained(fleet)
        report, finals = judged(fleet, {"stop": number * WORKERS // 2})
        result = Result("restarts", servers=[fleet.version()])
    longest = max(stops)
    result.least("rolling restarts", len(stops) // WORKERS, number)
    result.add("workers stopped", len(stops))
    result.add("longest stop", f"{longest:.1f} s", f"under {LONGEST:g} s", longest < LONGEST)
    result.none("stops that did not end with 0", sum(code != 0 for code in codes))
    charged = nothing_charged(finals)
    result.none("jobs charged a failure or a crash", len(charged))
    result.none("jobs recovered as from a dead worker", report.recoveries)
    result.violations += [f"charged: {job}" for job in charged]
    verdict(result, report)
    result.add("workers", f"{WORKERS}, drain 8 s (default)")
    return result


def _send_long(producer: Producer) -> None:
    """Half of them can be interrupted when the drain is nearly over, half are killed after it."""
    for n in range(LONG_JOBS):
        step = 0.2 if n % 2 else 120.0
        producer.send(payload={"seconds": LONG_SECONDS, "step": step}, priority="high")
    time.sleep(1.0)


def _restart(fleet: Fleet, history: History, worker: Worker) -> tuple[float, int]:
    """Stop one worker as an init system does, and start it; seconds it took to end, exit code."""
    pids, started = worker.tree(), time.monotonic()
    worker.wanted = False
    worker.process.send_signal(signal.SIGTERM)
    try:
        code = worker.process.wait(2 * LONGEST)
    except subprocess.TimeoutExpired:
        code = -1
        worker.process.kill()
        worker.process.wait(LONGEST)
    seconds = time.monotonic() - started
    history.note("fault", at=started, kind="stop", pids=pids, seconds=seconds, lease=12,
                 connections=0)  # fmt: skip
    worker.start()
    worker.wanted = True
    fleet.await_ready()
    time.sleep(0.5)  # some work for the next one to be interrupted at
    return seconds, code
