"""The verdict, in the manner of Jepsen's total-queue: what was acknowledged against what ran.

Pure: events and final records in, a report out. lost = acknowledged and not finished;
unexpected = ran and never attempted, or after its cancellation; duplicated = ran more often than
it asked for itself, each time explained by a recorded fault or a violation; stale = a result
accepted from a superseded attempt; charged = a failure no handler raised. Next: `faults`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise

from faults import Event, Faults, by_job, by_kind, run_of

MOST_CRASHES, MOST_FAILURES = 3, 3
"""After so many a job is given up; the failures by default."""

VIOLATIONS = ("lost", "unexpected", "unexplained", "stale", "charged", "accounts", "check", "short")


@dataclass
class Report:
    """What the judge found; valid when every list of VIOLATIONS is empty."""

    attempted: int = 0
    acknowledged: int = 0
    unknown: int = 0
    """Attempted, outcome unknown to the client; `recovered` of them ran all the same."""
    recovered: int = 0
    runs: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    duplicated: int = 0
    fenced: int = 0
    """Results refused because their attempt was superseded."""
    recoveries: int = 0
    """Runs the service took from a worker it held for dead."""
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    charged: list[str] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)
    """What `ferryman check` found in the end."""
    short: list[str] = field(default_factory=list)
    """Faults that struck less often than planned."""
    faults: dict[str, int] = field(default_factory=dict)
    hits: dict[str, int] = field(default_factory=dict)
    recovery: dict[str, list[float]] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        return not self.violations()

    def violations(self) -> list[str]:
        """Every violation, its kind first."""
        return [f"{kind}: {found}" for kind in VIOLATIONS for found in getattr(self, kind)]


@dataclass(frozen=True)
class Final:
    """A job as Redis has it when everything is drained; None where there is no record."""

    state: str | None
    attempt: int = 0
    settled: int = 0
    failures: int = 0
    crashes: int = 0
    result: str = ""
    """`work` returns its attempt."""


def judge(
    events: Iterable[Event],
    finals: Mapping[str, Final],
    stats: Mapping[str, int],
    findings: Sequence[str] = (),
    planned: Mapping[str, int] | None = None,
) -> Report:
    """The report on a run that has drained fully; `findings` are those of `ferryman check`."""
    kinds = by_kind(events)
    starts = by_job(kinds["start"])
    attempted = {e["id"] for e in kinds["attempt"]}
    acknowledged = {e["id"] for e in kinds["ack"]}
    effects = {e["id"] for e in kinds["effect"]}
    cancels = {e["id"] for e in kinds["cancel"]}
    faults = Faults(kinds["fault"], kinds)
    report = Report(
        attempted=len(attempted),
        acknowledged=len(acknowledged),
        unknown=len(attempted - acknowledged),
        recovered=len((attempted - acknowledged) & set(starts)),
        runs=len(kinds["start"]),
        fenced=stats.get("fenced_total", 0),
        recoveries=stats.get("recovered_total", 0),
        unexpected=sorted(set(starts) - attempted),
        check=list(findings),
        short=missing(planned or {}, faults.hits),
        faults=faults.counts,
        hits=faults.hits,
        recovery=faults.recoveries(starts),
    )
    for job_id in attempted:
        final = finals.get(job_id, Final(None))
        asked = job_id in cancels
        _judge_end(report, job_id, job_id in acknowledged, final, job_id in effects, asked)
        _judge_failures(report, job_id, final, starts.get(job_id, ()), faults)
    for event in kinds["cancelled"]:
        _judge_cancelled(report, event, starts.get(event["id"], ()), faults)
    for job_id, runs in starts.items():
        _judge_duplicates(report, job_id, runs, faults)
    _judge_accounts(report, stats)
    return report


def missing(planned: Mapping[str, int], hits: Mapping[str, int]) -> list[str]:
    """Kinds of faults that struck a running job or an open connection less often than planned."""
    return [
        f"{kind}: {hits.get(kind, 0)} of {number} struck anything"
        for kind, number in planned.items()
        if hits.get(kind, 0) < number
    ]


def nothing_charged(finals: Mapping[str, Final]) -> list[str]:
    """Jobs with a failure or a crash, where there must be none."""
    return [
        f"{job_id}: {final.failures} failures, {final.crashes} crashes"
        for job_id, final in finals.items()
        if final.failures or final.crashes
    ]


def added(reports: Sequence[Report]) -> Report:
    """Several runs as one."""
    total = Report()
    for report in reports:
        for spec in fields(Report):
            mine, more = getattr(total, spec.name), getattr(report, spec.name)
            setattr(total, spec.name, _merged(mine, more) if spec.name in _MAPS else mine + more)
    return total


_MAPS = ("faults", "hits", "recovery")


def _merged(one: dict[str, object], other: dict[str, object]) -> dict[str, object]:
    return one | {k: one[k] + v if k in one else v for k, v in other.items()}  # type: ignore[operator]


def _judge_end(
    report: Report, job_id: str, acked: bool, final: Final, effect: bool, asked_to_stop: bool
) -> None:
    if final.state == "completed":
        report.completed += 1
        if not effect:
            report.lost.append(f"{job_id}: completed without ever taking effect")
        if final.settled != final.attempt:
            report.stale.append(f"{job_id}: attempt {final.attempt}, settled {final.settled}")
        elif final.result != str(final.attempt):
            report.stale.append(f"{job_id}: attempt {final.attempt}, result of {final.result}")
    elif final.state == "failed":
        report.failed += 1
        if final.crashes < MOST_CRASHES and final.failures < MOST_FAILURES:
            spent = f"{final.crashes} crashes and {final.failures} failures"
            report.lost.append(f"{job_id}: given up after {spent}")
    elif final.state == "cancelled" and asked_to_stop:
        report.cancelled += 1
    elif acked or final.state is not None:
        report.lost.append(f"{job_id}: {final.state or 'no record'}")


def _judge_cancelled(
    report: Report, cancelled: Event, runs: Sequence[Event], faults: Faults
) -> None:
    """A job cancelled while it waited never starts any more."""
    if cancelled["was"] == "running":
        return
    for run in runs:
        if run["at"] > cancelled["at"] and not faults.silenced(run):
            report.unexpected.append(
                f"{cancelled['id']}: cancelled while {cancelled['was']}, then attempt "
                f"{run['attempt']} in pid {run['pid']} {run['at'] - cancelled['at']:.3f} s later"
            )


def _judge_failures(
    report: Report, job_id: str, final: Final, runs: Sequence[Event], faults: Faults
) -> None:
    raised = sum(run_of(run) in faults.raised for run in runs)
    if final.failures > raised:
        report.charged.append(f"{job_id}: {final.failures} failures, its handler raised {raised}")


def _judge_duplicates(report: Report, job_id: str, runs: Sequence[Event], faults: Faults) -> None:
    for run, following in pairwise(runs):
        if run_of(run) in faults.again and run["attempt"] != following["attempt"]:
            continue  # it failed or snoozed as planned
        report.duplicated += 1
        if not faults.explains(run, following):
            report.unexplained.append(
                f"{job_id}: attempt {run['attempt']} in pid {run['pid']} at {run['at']:.3f}, then "
                f"{following['attempt']} in {following['pid']} at {following['at']:.3f}"
            )


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
    finished = report.completed + report.failed + report.cancelled
    if stats["created_total"] != finished:
        report.accounts.append(f"created {stats['created_total']}, finished {finished}")
