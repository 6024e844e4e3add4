"""What every act needs: a folder, a history, a fleet that is closed again, and a verdict."""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet import Fleet
from history import History, read
from judge import Final, Report, judge
from progress import Progress
from waiting import wait_for

from ferryman.errors import FerrymanError

DRAIN = 240.0
"""Seconds everything accepted may take to finish once the faults are over."""

COUNTED = (
    "created_total",
    "processed_total",
    "failed_total",
    "retried_total",
    "dlq_total",
    "recovered_total",
    "fenced_total",
)
BATCH = 500


@dataclass
class Stage:
    """Where an act plays."""

    folder: Path
    seed: int
    short: bool
    progress: Progress

    @property
    def random(self) -> random.Random:
        return random.Random(self.seed)

    @contextlib.contextmanager
    def scene(self, name: str, **settings: Any) -> Iterator[tuple[Fleet, History]]:
        """A fleet without workers yet, and the harness' own history of it."""
        folder = self.folder / name
        history = History(folder / "history", "harness")
        fleet = Fleet(folder, **settings)
        try:
            yield fleet, history
        except BaseException:
            self._tell(fleet)
            raise
        finally:
            fleet.close()

    def _tell(self, fleet: Fleet) -> None:
        """What can be known of a run that broke off."""
        with contextlib.suppress(FerrymanError):
            stats = fleet.store.stats()
            states = {state.value: n for state, n in stats.states.items() if n}
            print(f"chaos: then: {states}, {stats.workers} workers", file=sys.stderr)


@contextlib.contextmanager
def kept_on_failure(folder: Path | None) -> Iterator[tuple[Path, list[bool]]]:
    """A folder that goes away when the list says [True] in the end; else its logs are shown."""
    path = folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    path.mkdir(parents=True, exist_ok=True)
    good: list[bool] = []
    try:
        yield path, good
    finally:
        if good != [True]:
            _show_logs(path)
        elif folder is None:
            shutil.rmtree(path, ignore_errors=True)


def _show_logs(folder: Path) -> None:
    for log in sorted(folder.rglob("worker-*.log")):
        tail = log.read_text(errors="replace").splitlines()[-15:]
        print(f"--- the end of {log.relative_to(folder)}", *tail, sep="\n", file=sys.stderr)
    print(f"chaos: logs, history and data are kept in {folder}", file=sys.stderr)


def await_drained(fleet: Fleet, seconds: float = DRAIN) -> float:
    """Seconds until nothing waits and nothing runs."""

    def drained() -> bool:
        with contextlib.suppress(FerrymanError):
            stats = fleet.store.stats()
            return stats.waiting + stats.states["running"] == 0  # type: ignore[index]
        return False

    return wait_for("everything accepted to finish", drained, seconds)


def judged(
    fleet: Fleet, planned: Mapping[str, int] | None = None
) -> tuple[Report, dict[str, Final]]:
    """The report on a drained fleet, its workers alive, and the final records."""
    findings = fleet.check()
    events = list(read(fleet.folder / "history"))
    found = finals(fleet, sorted({e["id"] for e in events if e["event"] == "attempt"}))
    stats = fleet.store.stats()
    counts = {state.value: n for state, n in stats.states.items()}
    counts |= dict.fromkeys(COUNTED, 0) | dict(stats.events)
    return judge(events, found, counts, findings, planned), found


def finals(fleet: Fleet, ids: list[str]) -> dict[str, Final]:
    """The records of these jobs as Redis has them."""
    out = {}
    for first in range(0, len(ids), BATCH):
        batch = ids[first : first + BATCH]
        jobs = {job.id: job for job in fleet.store.get_many(batch)}
        settled = _settled(fleet, batch)
        for job_id in batch:
            job = jobs.get(job_id)
            if job is None:
                out[job_id] = Final(None)
                continue
            counts = (job.attempt, settled[job_id], job.failures, job.crashes)
            out[job_id] = Final(job.state.value, *counts, str(job.result))
    return out


def _settled(fleet: Fleet, ids: list[str]) -> dict[str, int]:
    script = (
        "local out = {} for i, id in ipairs(ARGV) do "
        "out[i] = redis.call('HGET', KEYS[1] .. id, 'settled') or '0' end return out"
    )
    reply = fleet.raw("EVAL", script, 1, "ferryman:{0}:job:", *ids)
    return {job_id: int(n) for job_id, n in zip(ids, reply, strict=True)}
