"""The invariants of the counters, as pure functions over one census.

How they stay sound while jobs move: of each queue, counters and places are read in one script, so
traffic moves both or neither. An entry in a list is a pending job, a begun one, or one of a job
that was cancelled or deleted (`dropped`), so

    pending = entries - begun - dropped

where only the sum of `dropped` comes from the walk over all jobs, which takes time. By how much it
may have changed since is known too: every such change counts an event. Within that a difference is
no finding; it is nought unless waiting jobs are cancelled, deleted or revived during the check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferryman.check.findings import Finding, Recount
from ferryman.lifecycle import State
from ferryman.store.audit import Census

MOST_QUEUES = 1_000
"""Queues the sums are made over (lua/stats.lua)."""


@dataclass(frozen=True)
class Drift:
    """A counter and what it should be, give or take `slack`."""

    subject: str
    counter: int
    counted: int
    slack: int = 0

    @property
    def off(self) -> int:
        """How much too high the counter is for certain; negative: too low."""
        difference = self.counter - self.counted
        if abs(difference) <= self.slack:
            return 0
        return difference - self.slack if difference > 0 else difference + self.slack


def places(census: Census, dropped: Mapping[str, int], slack: int) -> list[Drift]:
    """Each queue's counters of live jobs against what lies in its places."""
    drifts = [Drift("stats scheduled", census.scheduled, census.due)]
    for q in census.queues:
        name = f"queue:{q.queue}"
        if q.entries is not None and q.begun is not None:
            waiting = q.entries - q.begun - dropped.get(q.queue, 0)
            drifts.append(Drift(f"{name} running", q.running, q.begun))
            drifts.append(Drift(f"{name} pending", q.pending, waiting, slack))
        if q.due is not None:
            drifts.append(Drift(f"{name} scheduled", q.scheduled, q.due))
    return [d for d in drifts if d.off]


def sums(stats: Mapping[str, int], queues: Mapping[str, Mapping[str, int]]) -> list[Drift]:
    """Totals against their parts; all of them were read at one moment."""

    def n(name: str) -> int:
        return stats.get(name, 0)

    total = sum(n(s) for s in State if s is not State.CANCELLED)
    drifts = [
        Drift("stats created_total - cancelled", n("created_total") - n("cancelled"), total),
        Drift("stats failed_total", n("failed_total"), n("retried_total") + n("dlq_total")),
    ]
    if len(queues) < MOST_QUEUES:
        drifts += [
            Drift(f"stats {s}", n(s), sum(q.get(s, 0) for q in queues.values())) for s in State
        ]
    return [d for d in drifts if d.off]


def slack(before: Mapping[str, int], after: Mapping[str, int], stubs: int) -> int:
    """How far the sum of `dropped` may have moved between two readings of `stats`.

    It moves by one when a pending job is cancelled or deleted, when a claim clears an entry away
    and when such a job is revived; cancelled falls by one with a revive. A new job may take the
    place of a deleted one (`stubs` of them) whose id it has.
    """

    def more(name: str) -> int:
        return after.get(name, 0) - before.get(name, 0)

    revived = more("revived_total")
    moved = more("cancelled") + 2 * revived + more("deleted_total") + more("dropped_total")
    return max(0, moved) + (stubs if more("created_total") else 0)


def confirmed(first: Sequence[Drift], second: Sequence[Drift]) -> list[Finding]:
    """Counters that were off in the same direction twice."""
    before = {d.subject: d.off for d in first}
    return [
        Finding("counter", d.subject, _told(d), Recount())
        for d in second
        if before.get(d.subject, 0) * d.off > 0
    ]


def _told(drift: Drift) -> str:
    give_or_take = f" (within {drift.slack})" if drift.slack else ""
    return f"it is {drift.counter}, counted {drift.counted}{give_or_take}"
