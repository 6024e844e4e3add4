"""Storm: every fault at once and over again; nothing is lost, nothing is silent."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

from clock import Clock, NoCompiler
from faults import Faults, by_kind
from fleet import Fleet
from history import History, read
from judge import Report, added, missing
from nemesis import Nemesis
from producer import Producer
from result import Result, verdict
from stage import Stage, await_drained, judged
from waiting import Overrun, wait_for

EXPECTED = 20 * 60.0

JOBS = 100_000
PLAN = {"child-kill": 500, "worker-kill": 100, "freeze": 50, "client-kill": 200, "black-hole": 50,
        "redis-kill": 20, "outage": 20, "clock-jump": 10, "pause": 5, "drop-replies": 20,
        "delay": 5, "half-close": 20, "full": 10, "flush-scripts": 20}  # fmt: skip
ROUNDS = 5

SHORT_JOBS = 800
SHORT = {"child-kill": 3, "worker-kill": 1, "freeze": 1, "client-kill": 2, "black-hole": 1,
         "redis-kill": 1, "outage": 1, "pause": 1, "drop-replies": 1, "delay": 1, "half-close": 1,
         "full": 1, "flush-scripts": 1}  # fmt: skip
"""One of each, no clock jump: those need a C compiler."""

LEASE = 3.0
"""Seconds; the shortest allowed, so that many lapses fit in an hour."""

SHORT_LEASE = 4.0
"""The short run is part of the test suite: on a busy machine a worker may be silent for a while."""

WORKERS, PROXIED = 4, 2
RATE, BACKLOG = 150.0, 1500
WORDS = {
    "child-kill": "kill -9 of a child",
    "worker-kill": "kill -9 of a worker",
    "freeze": "SIGSTOP of a worker, longer than its lease",
    "client-kill": "CLIENT KILL of every connection",
    "black-hole": "black hole before a worker",
    "redis-kill": "kill -9 of the server",
    "outage": "outage of the server, longer than a lease",
    "clock-jump": "clock jump of a worker",
    "pause": "CLIENT PAUSE, longer than a lease",
    "drop-replies": "replies dropped",
    "delay": "every packet late",
    "half-close": "connections half closed",
    "full": "maxmemory reached",
    "flush-scripts": "SCRIPT FLUSH",
}


def play(stage: Stage, plan: Mapping[str, int] | None = None, jobs: int = 0) -> Result:
    """The act; `plan` and `jobs` stand in for its own."""
    plan = plan or (SHORT if stage.short else PLAN)
    rounds = 1 if stage.short else ROUNDS
    jobs = jobs or (SHORT_JOBS if stage.short else JOBS)
    result = Result("storm")
    reports = []
    for number in range(rounds):
        share = {k: n // rounds + (number < n % rounds) for k, n in plan.items()}
        reports.append(_round(stage, result, number, rounds, share, -(-jobs // rounds)))
    _rows(result, added(reports), plan, jobs, _lease(stage))
    return result


def _lease(stage: Stage) -> float:
    return SHORT_LEASE if stage.short else LEASE


def draw(chance: random.Random) -> dict[str, Any]:
    """Half the jobs take no time, most others up to 0.1 s, some up to 2 s; what else is rare."""

    def rarely(share: float) -> bool:
        return chance.random() < share

    kind = chance.random()
    seconds = 0.0 if kind < 0.5 else chance.uniform(0, 0.1 if kind < 0.92 else 2.0)
    failures = 3 if rarely(0.003) else int(rarely(0.02))  # three: given up
    payload = {"seconds": round(seconds, 4), "fail": failures, "snooze": int(rarely(0.02))}
    job: dict[str, Any] = {"priority": chance.choice(["high", "normal", "low"])}
    if rarely(0.05):
        job["delay"] = chance.uniform(0, 2)
    if rarely(0.1):
        job["type"] = "await"
    asking = {"once": rarely(0.1), "again": rarely(0.02), "cancel": rarely(0.01)}
    return job | asking | {"payload": payload}


def _round(
    stage: Stage, result: Result, number: int, rounds: int, plan: Mapping[str, int], jobs: int
) -> Report:
    folder, seed = stage.folder / f"storm-{number}", stage.seed + number
    folder.mkdir(parents=True)
    try:
        clock = Clock(folder) if plan.get("clock-jump") else None
    except NoCompiler as error:
        raise Overrun(str(error)) from error
    settings = {"lease": _lease(stage), "proxied": PROXIED, "clock": clock}
    with stage.scene(folder.name, **settings) as (fleet, history):
        fleet.add(1, FERRYMAN_PROCESSES=2)
        fleet.add(WORKERS - 1 - (clock is not None))
        if clock is not None:
            fleet.add_jumping()
        fleet.await_ready()
        result.servers = [fleet.version()]
        with Producer(fleet, history, seed, draw, rate=RATE, backlog=BACKLOG) as producer:
            _rage(stage, fleet, history, producer, number / rounds, 1 / rounds, plan, jobs, seed)
        await_drained(fleet)
        return judged(fleet, plan)[0]


def _rage(
    stage: Stage,
    fleet: Fleet,
    history: History,
    producer: Producer,
    before: float,
    share: float,
    plan: Mapping[str, int],
    jobs: int,
    seed: int,
) -> None:
    """Strike until every fault has struck something as often as planned, and the jobs are sent."""
    nemesis, total = Nemesis(fleet, history, plan, seed), sum(plan.values())

    def show(text: str) -> None:
        done = min((total - nemesis.left) / max(total, 1), producer.sent / jobs)
        faults = f"{total - nemesis.left}/{total} faults, {producer.sent} jobs"
        stage.progress.show(before + share * max(0.0, done), f"{faults}  {text}")

    for _ in range(10):
        while nemesis.left:
            show(nemesis.strike())
        nemesis.calm()
        short = _still_to_strike(history, plan)
        if not short:
            break
        nemesis.plan(short)

    def sent() -> bool:
        show("")
        return producer.sent >= jobs

    wait_for(f"{jobs} jobs to be sent", sent, jobs / RATE * 4 + 120)


def _still_to_strike(history: History, plan: Mapping[str, int]) -> dict[str, int]:
    time.sleep(0.2)  # what is under way is being written down
    kinds = by_kind(read(history.folder))
    hits = Faults(kinds["fault"], kinds).hits
    return {kind: n - hits.get(kind, 0) for kind, n in plan.items() if hits.get(kind, 0) < n}


def _rows(result: Result, report: Report, plan: Mapping[str, int], jobs: int, lease: float) -> None:
    result.least("jobs", report.attempted, jobs)
    for kind, number in plan.items():
        hit = report.hits.get(kind, 0)
        asked = f"at least {number:,} that struck"
        found = f"{hit:,} of {report.faults.get(kind, 0):,} struck"
        result.add(WORDS[kind], found, asked, not missing({kind: number}, report.hits))
    verdict(result, report)
    result.add("given up, as planned or after three crashes", report.failed)
    result.add("cancelled", report.cancelled)
    result.add("lease", f"{lease:g} s")
    result.add("workers", f"{WORKERS}, {PROXIED} of them behind a proxy")
