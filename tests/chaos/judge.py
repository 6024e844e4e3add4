"""The verdict, in the manner of Jepsen's total-queue: what was acknowledged against what ran.

Pure: events and final records in, a report out. lost = acknowledged and not finished;
unexpected = ran and never attempted; duplicated = ran more often than its failures ask for, each
explained by a recorded fault or a violation; stale = a result accepted from a superseded attempt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

EXCUSES = {"child-kill": 1.0, "worker-kill": 1.0, "freeze": 12.0, "black-hole": 12.0}
"""The faults that may make a job run twice, with the seconds they go on: a process died, or one was
silent for longer than its lease. No other fault is an excuse: not a lost reply, a cut connection, a
restart of Redis, an outage of it longer than every lease, nor a Redis that is full or paused."""

STANDSTILLS = ("redis-kill", "outage", "pause", "full")
"""While Redis stands still nothing can be recovered: no measure of how fast it is."""


@dataclass
class Report:
    """What the judge found; valid when every list is empty."""

    attempted: int = 0
    acknowledged: int = 0
    unknown: int = 0
    """Attempted, outcome unknown to the client; `recovered` of them ran all the same."""
    recovered: int = 0
    runs: int = 0
    completed: int = 0
    failed: int = 0
    duplicated: int = 0
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    hits: dict[str, int] = field(default_factory=dict)
    recovery: dict[str, list[float]] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        return not (self.lost or self.unexpected or self.unexplained or self.stale or self.accounts)


@dataclass(frozen=True)
class Final:
    """A job as Redis has it when everything is drained; None where there is no record."""

    state: str | None
    attempt: int = 0
    settled: int = 0
    failures: int = 0
    crashes: int = 0


def judge(
    events: Iterable[Mapping[str, Any]], finals: Mapping[str, Final], stats: Mapping[str, int]
) -> Report:
    """The report on a run that has drained fully."""
    by_kind: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        by_kind[event["event"]].append(event)
    report = Report()
    attempted = {e["id"] for e in by_kind["attempt"]}
    acknowledged = {e["id"] for e in by_kind["ack"]}
    starts: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for start in sorted(by_kind["start"], key=lambda e: e["at"]):
        starts[start["id"]].append(start)
    effects = {e["id"] for e in by_kind["effect"]}
    report.attempted, report.acknowledged = len(attempted), len(acknowledged)
    report.unknown = len(attempted - acknowledged)
    report.recovered = len((attempted - acknowledged) & set(starts))
    report.runs = sum(map(len, starts.values()))
    report.unexpected = sorted(set(starts) - attempted)
    for job_id in attempted:
        _judge_job(report, job_id, job_id in acknowledged, finals, effects)
    faults = Faults(by_kind["fault"], by_kind)
    for job_id, runs in starts.items():
        _judge_duplicates(report, job_id, runs, finals.get(job_id), faults)
    report.faults, report.hits = faults.counts, faults.hits
    report.recovery = faults.recoveries(starts)
    _judge_accounts(report, stats)
    return report


def _judge_job(
    report: Report, job_id: str, acked: bool, finals: Mapping[str, Final], effects: set[str]
) -> None:
    final = finals.get(job_id)
    state = final.state if final else None
    if state == "completed":
        report.completed += 1
        if job_id not in effects:
            report.lost.append(f"{job_id}: completed without ever taking effect")
        if final and final.settled != final.attempt:
            report.stale.append(f"{job_id}: attempt {final.attempt}, settled {final.settled}")
    elif state == "failed":
        report.failed += 1
        if final and final.crashes < 3:
            report.lost.append(f"{job_id}: given up after {final.crashes} crashes")
    elif acked or state is not None:
        report.lost.append(f"{job_id}: {state or 'no record'}")


def _judge_duplicates(
    report: Report,
    job_id: str,
    runs: list[Mapping[str, Any]],
    final: Final | None,
    faults: Faults,
) -> None:
    planned = 1 + (final.failures if final else 0)
    if len(runs) <= planned:
        return
    report.duplicated += len(runs) - planned
    for run, following in pairwise(runs):
        if (run["pid"], job_id, run["attempt"]) in faults.raised:
            continue  # it failed as planned, and was retried
        if not faults.explains(run, following):
            report.unexplained.append(f"{job_id}: attempt {run['attempt']} in pid {run['pid']}")


def _judge_accounts(report: Report, stats: Mapping[str, int]) -> None:
    """The service's own counters against what was seen from outside."""
    if stats["processed_total"] != report.completed:
        report.stale.append(
            f"{stats['processed_total']} results accepted for {report.completed} completed jobs"
        )
    total = sum(stats[s] for s in ("pending", "scheduled", "running", "completed", "failed"))
    if total != stats["created_total"] - stats["cancelled"]:
        report.accounts.append(f"total {total} is not created {stats['created_total']} - cancelled")
    if stats["failed_total"] != stats["retried_total"] + stats["dlq_total"]:
        report.accounts.append("failed is not retried + dlq")
    if stats["created_total"] != report.completed + report.failed:
        report.accounts.append(
            f"created {stats['created_total']}, finished {report.completed + report.failed}"
        )


class Faults:
    """The recorded faults: which run each explains, and which struck something."""

    def __init__(
        self, faults: list[Mapping[str, Any]], by_kind: Mapping[str, list[Mapping[str, Any]]]
    ) -> None:
        self._faults = sorted(faults, key=lambda f: f["at"])
        self.raised = {(e["pid"], e["id"], e["attempt"]) for e in by_kind["raise"]}
        over = {(e["pid"], e["id"], e["attempt"]): e["at"] for e in by_kind["end"]}
        over |= {(e["pid"], e["id"], e["attempt"]): e["at"] for e in by_kind["raise"]}
        self._spans: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for start in by_kind["start"]:
            end = over.get((start["pid"], start["id"], start["attempt"]), float("inf"))
            self._spans[start["pid"]].append((start["at"], end))
        self._of_pid: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        self._still = [f["at"] for f in self._faults if f["kind"] in STANDSTILLS]
        for fault in self._faults:
            for pid in fault.get("pids", ()):
                self._of_pid[pid].append(fault)
        self.counts, self.hits = self._count()

    def _count(self) -> tuple[dict[str, int], dict[str, int]]:
        counts: dict[str, int] = defaultdict(int)
        hits: dict[str, int] = defaultdict(int)
        for fault in self._faults:
            counts[fault["kind"]] += 1
            hits[fault["kind"]] += fault.get("connections", 0) > 0 or any(
                begun <= fault["at"] <= end
                for pid in fault.get("pids", ())
                for begun, end in self._spans.get(pid, ())
            )
        return dict(counts), dict(hits)

    def explains(self, run: Mapping[str, Any], following: Mapping[str, Any]) -> bool:
        """Whether a fault on the run's own process, between its start and the next, excuses it."""
        return any(
            fault["kind"] in EXCUSES
            and fault["at"] <= following["at"]
            and run["at"] <= fault["at"] + EXCUSES[fault["kind"]]
            for fault in [*self._of_pid.get(run["pid"], ()), *self._of_worker(run)]
        )

    def _of_worker(self, run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Faults of the run's whole worker: it may have forked the child as the fault struck."""
        faults = self._of_pid.get(run.get("parent", 0), ())
        return [f for f in faults if f["kind"] != "child-kill"]

    def recoveries(self, starts: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, list[float]]:
        """Seconds from the death of a process to the next run of what it was running.

        A job's first death only: after the second one it waits 5 s on purpose.
        """
        deaths = {
            pid: fault
            for fault in self._faults
            if fault["kind"] in ("child-kill", "worker-kill")
            for pid in fault["pids"]
        }
        out: dict[str, list[float]] = defaultdict(list)
        for runs in starts.values():
            for run, following in pairwise(runs):
                fault = deaths.get(run["pid"])
                if (
                    fault
                    and run["attempt"] == 1
                    and self._cut_short(run, fault)
                    and not self._stood_still(fault, following)
                ):
                    out[fault["kind"]].append(following["at"] - fault["at"])
        return dict(out)

    def _cut_short(self, run: Mapping[str, Any], fault: Mapping[str, Any]) -> bool:
        return any(
            begun == run["at"] <= fault["at"] <= end for begun, end in self._spans[run["pid"]]
        )

    def _stood_still(self, fault: Mapping[str, Any], following: Mapping[str, Any]) -> bool:
        return any(fault["at"] - 10 <= at <= following["at"] for at in self._still)
