"""Chaos: real processes, seeded faults, a verdict. `make chaos`; exit 1 on any violation.

python tests/chaos/run.py --jobs 2000 --fault child-kill=10 --fault redis-kill=1 --seed 7
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from fleet import LEASE, Fleet
from history import History, read
from judge import Final, Report, judge
from nemesis import Nemesis

from ferryman.draft import draft
from ferryman.errors import FerrymanError, QueueFull, StoreUnavailable
from ferryman.store import Store

SHORT = {"child-kill": 8, "worker-kill": 2, "freeze": 1, "client-kill": 4, "pause": 1,
         "black-hole": 1, "drop-replies": 2, "delay": 1, "half-close": 1, "redis-kill": 1,
         "outage": 1, "full": 1, "flush-scripts": 1}  # fmt: skip
LONG = {"child-kill": 520, "worker-kill": 105, "freeze": 52, "client-kill": 210, "pause": 5,
        "black-hole": 52, "drop-replies": 20, "delay": 5, "half-close": 20, "redis-kill": 21,
        "outage": 21, "full": 10, "flush-scripts": 20, "clock-jump": 11}  # fmt: skip
BACKLOG = 3000
"""Waiting jobs the producers stay below, so that every fault finds work under way."""

DRAIN = 240.0
"""Seconds everything accepted may take to finish once the faults are over."""

COUNTED = ("created_total", "processed_total", "failed_total", "retried_total", "dlq_total")
SUMS = "attempted acknowledged unknown recovered runs completed failed duplicated".split()
VIOLATIONS = ("lost", "unexpected", "unexplained", "stale", "accounts")


class Producer:
    """Enqueues jobs with ids of its own, and again by the same id while the outcome is unknown."""

    def __init__(self, fleet: Fleet, history: History, seed: int) -> None:
        self._store = Store(fleet.settings, timeout=2.0, tries=1)
        self._history, self._random, self._seed = history, random.Random(seed), seed
        self._stop = threading.Event()
        self.sent = 0
        self._threads = [threading.Thread(target=self._produce, args=(n,)) for n in range(3)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask no more; wait for what is under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _produce(self, thread: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            if number % 50 == 0:
                self._hold_back()
            self._send(f"c{self._seed}-{thread}-{number}")

    def _hold_back(self) -> None:
        with contextlib.suppress(FerrymanError):
            while self._store.stats().waiting > BACKLOG and not self._stop.is_set():
                time.sleep(0.05)

    def _send(self, job_id: str) -> None:
        kind = self._random.random()
        seconds = 0.0 if kind < 0.5 else self._random.uniform(0, 0.1 if kind < 0.97 else 2.0)
        fail = 1 if self._random.random() < 0.02 else 0
        delay = {"delay": self._random.uniform(0, 2)} if self._random.random() < 0.05 else {}
        priority = self._random.choice(["high", "normal", "low"])
        payload = {"seconds": round(seconds, 4), "fail": fail}
        job = draft("work", payload, id=job_id, priority=priority, **delay)
        self._history.note("attempt", id=job_id)
        self.sent += 1
        for _ in range(400):  # by the same id: whether it was accepted is not known
            try:
                self._store.enqueue([job])
            except (StoreUnavailable, QueueFull):
                time.sleep(self._random.uniform(0.05, 0.2))
                continue
            self._history.note("ack", id=job_id)
            return


def run(folder: Path, jobs: int, plan: dict[str, int], seed: int, workers: int) -> Report:
    """One run, drained and judged."""
    history = History(folder / "history", "harness")
    fleet = Fleet(folder, workers, clock_jumps="clock-jump" in plan)
    try:
        _await("the workers", fleet.ready, 30)
        producer = Producer(fleet, history, seed)
        producer.start()
        nemesis = Nemesis(fleet, history, plan, seed)
        planned = len(nemesis.left)
        with _Progress(planned, jobs) as progress:
            while nemesis.left:
                kind = nemesis.strike()
                progress.show(planned - len(nemesis.left), producer.sent, kind)
            while producer.sent < jobs:
                time.sleep(0.1)
                progress.show(planned, producer.sent, "")
        producer.stop()
        _await("everything to finish", lambda: _drained(fleet), DRAIN)
        return _judge(fleet, folder)
    finally:
        fleet.close()


def _drained(fleet: Fleet) -> bool:
    with contextlib.suppress(FerrymanError):
        stats = fleet.store.stats()
        return stats.waiting + stats.states["running"] == 0  # type: ignore[index]
    return False


def _judge(fleet: Fleet, folder: Path) -> Report:
    events = list(read(folder / "history"))
    ids = sorted({e["id"] for e in events if e["event"] == "attempt"})
    stats = fleet.store.stats()
    counts = {state.value: n for state, n in stats.states.items()}
    events_of_service = dict.fromkeys(COUNTED, 0) | dict(stats.events)
    return judge(events, _finals(fleet, ids), counts | events_of_service)


def _finals(fleet: Fleet, ids: list[str]) -> dict[str, Final]:
    finals = {}
    names = ("state", "attempt", "settled", "failures", "crashes")
    for job_id in ids:
        row = fleet.raw("HMGET", f"ferryman:{{0}}:job:{job_id}", *names)
        state = None if row[0] is None else row[0].decode()
        finals[job_id] = Final(state, *(int(v or 0) for v in row[1:]))
    return finals


def _await(what: str, ready: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise SystemExit(f"chaos: waited {seconds:g} s for {what} in vain")
        time.sleep(0.1)


class _Progress:
    """A line on a terminal, a line every half minute elsewhere."""

    def __init__(self, faults: int, jobs: int) -> None:
        self._faults, self._jobs, self._shown = max(faults, 1), jobs, 0.0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if sys.stderr.isatty():
            print(file=sys.stderr)

    def show(self, faults: int, sent: int, kind: str) -> None:
        tty = sys.stderr.isatty()
        if time.monotonic() - self._shown < (0.2 if tty else 30):
            return
        self._shown = time.monotonic()
        done = min(faults / self._faults, sent / self._jobs if self._jobs else 1.0)
        bar = "#" * int(30 * done)
        text = f"[{bar:<30}] {faults}/{self._faults} faults, {sent} jobs  {kind:<14}"
        print("\r" + text if tty else text, end="" if tty else "\n", file=sys.stderr, flush=True)


def table(reports: list[Report], seconds: float) -> str:
    """The report as Markdown, several runs added up."""
    faults: dict[str, int] = {}
    hits: dict[str, int] = {}
    for report in reports:
        for kind, number in report.faults.items():
            faults[kind] = faults.get(kind, 0) + number
            hits[kind] = hits.get(kind, 0) + report.hits.get(kind, 0)

    def total(name: str) -> int:
        values = [getattr(r, name) for r in reports]
        return sum(v if isinstance(v, int) else len(v) for v in values)

    lines = ["| | |", "|---|---|"]
    lines += [f"| {name} | {total(name):,} |" for name in SUMS]
    lines += [f"| **{name}** | **{total(name)}** |" for name in VIOLATIONS]
    lines += [
        f"| fault: {kind} | {number}, of which {hits[kind]} struck work or connections |"
        for kind, number in sorted(faults.items())
    ]
    for kind in ("child-kill", "worker-kill"):
        times = sorted(t for r in reports for t in r.recovery.get(kind, ()))
        if times:
            p50, p99 = times[len(times) // 2], times[min(len(times) - 1, int(len(times) * 0.99))]
            lines.append(f"| run again after {kind} | p50 {p50:.2f} s, p99 {p99:.2f} s, "
                         f"max {times[-1]:.2f} s ({len(times)} runs) |")  # fmt: skip
    lines.append(f"| lease | {LEASE} s |")
    lines.append(f"| time | {seconds / 60:.1f} min |")
    lines.append(f"| machine | {os.cpu_count()} cores, {platform.platform()} |")
    lines.append(f"| date | {time.strftime('%Y-%m-%d', time.gmtime())} |")
    return "\n".join(lines)


def main() -> int:
    """Parse, run, judge; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1500, help="at least so many jobs a run")
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=N")
    parser.add_argument("--long", action="store_true", help="the faults of docs/reliability.md")
    parser.add_argument("--rounds", type=int, default=1, help="runs the faults are spread over")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--keep", type=Path, help="folder for data and history, kept")
    parser.add_argument("--json", type=Path, help="write the reports here")
    args = parser.parse_args()
    plan = {k: int(n) for k, n in (f.split("=") for f in args.fault)}
    plan = plan or (LONG if args.long else SHORT)
    started, reports = time.monotonic(), []
    print(f"chaos: seed {args.seed}", file=sys.stderr)
    for number in range(args.rounds):
        share = _share(plan, number, args.rounds)
        with contextlib.ExitStack() as stack:
            folder = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder = folder / f"round-{number}"
            folder.mkdir(parents=True)
            reports.append(run(folder, args.jobs, share, args.seed + number, args.workers))
    print(table(reports, time.monotonic() - started))
    if args.json:
        args.json.write_text(json.dumps([asdict(r) for r in reports]))
    return _verdict(reports)


def _share(plan: Mapping[str, int], number: int, rounds: int) -> dict[str, int]:
    return {k: n // rounds + (1 if number < n % rounds else 0) for k, n in plan.items()}


def _verdict(reports: list[Report]) -> int:
    for report in reports:
        for name in VIOLATIONS:
            for finding in getattr(report, name)[:20]:
                print(f"{name}: {finding}", file=sys.stderr)
    return 0 if all(report.valid for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
