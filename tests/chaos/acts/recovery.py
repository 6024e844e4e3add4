"""Recovery: how long a job waits after the death of who ran it, with the default lease."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from faults import Faults, by_job, by_kind
from history import History, read
from nemesis import Nemesis
from producer import Producer
from result import Result, percentile, verdict
from stage import Stage, await_drained, judged
from waiting import Overrun

EXPECTED = 6 * 60.0

CHILD, WORKER = "child-kill", "worker-kill"
JOBS = {CHILD: 500, WORKER: 100}
SHORT_JOBS = {CHILD: 20, WORKER: 10}
LIMITS = {CHILD: 1.0, WORKER: 17.0}
"""Seconds that the 99th percentile may take."""

PAUSES = {CHILD: 0.6, WORKER: 3.0}
"""Seconds between two kills; four workers, so each one has time to fill its slots again."""

BATCHES = {CHILD: 20, WORKER: 6}
SETTLE = {CHILD: 3.0, WORKER: 20.0}
"""Seconds after a batch until everything it struck runs again."""

MOST_BATCHES = 20
WORKERS = 4


def draw(chance: random.Random) -> dict[str, Any]:
    """Jobs of about a second: every slot is at work when a kill comes."""
    return {"payload": {"seconds": round(chance.uniform(0.6, 1.6), 3)}}


def play(stage: Stage) -> Result:
    """The act."""
    wanted = SHORT_JOBS if stage.short else JOBS
    with stage.scene("recovery") as (fleet, history):
        fleet.add(WORKERS)
        fleet.await_ready()
        with Producer(fleet, history, stage.seed, draw, rate=30.0, backlog=60):
            time.sleep(2.0)
            nemesis = Nemesis(fleet, history, {}, stage.seed)
            for place, kind in enumerate((CHILD, WORKER)):
                stage.progress.show(place / 2, kind)
                _kill(stage, nemesis, history, kind, wanted[kind], place)
        await_drained(fleet)
        report, _ = judged(fleet)
        result = Result("recovery", servers=[fleet.version()])
    for kind, number in wanted.items():
        _rows(result, kind, report.recovery.get(kind, []), number, report.hits.get(kind, 0))
    verdict(result, report)
    result.add("lease", "12 s (default)")
    result.add("workers", f"{WORKERS} with 5 slots each")
    return result


def _kill(
    stage: Stage, nemesis: Nemesis, history: History, kind: str, wanted: int, place: int
) -> None:
    """Kill until so many jobs were cut short by it and run again."""
    for _ in range(MOST_BATCHES):
        nemesis.plan({kind: BATCHES[kind]})
        while nemesis.left:
            nemesis.strike()
            time.sleep(PAUSES[kind])
        time.sleep(SETTLE[kind])
        measured = len(_measured(history, kind))
        done = min(1.0, measured / wanted)
        stage.progress.show((place + done) / 2, f"{kind}: {measured} jobs run again")
        if measured >= wanted:
            return
    raise Overrun(f"{MOST_BATCHES} batches of {kind} cut only {measured} of {wanted} jobs short")


def _measured(history: History, kind: str) -> list[float]:
    kinds = by_kind(read(history.folder))
    return Faults(kinds["fault"], kinds).recoveries(by_job(kinds["start"])).get(kind, [])


def _rows(result: Result, kind: str, times: list[float], wanted: int, kills: int) -> None:
    words = {CHILD: "kill -9 of a child", WORKER: "kill -9 of a worker"}[kind]
    result.add(f"{words}: kills", kills)
    result.least(f"{words}: jobs cut short for the first time", len(times), wanted)
    if not times:
        return
    shown: Callable[[float], str] = "{:.2f} s".format
    p99, limit = percentile(times, 0.99), LIMITS[kind]
    result.add(f"{words}: until the job runs again, p50", shown(percentile(times, 0.5)))
    result.add(f"{words}: p99", shown(p99), f"at most {limit:g} s", p99 <= limit)
    result.add(f"{words}: longest", shown(max(times)))
