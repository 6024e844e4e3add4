"""The recorded faults: which run each excuses, which struck something, how soon it was mended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

Event = Mapping[str, Any]

KILLS = ("child-kill", "worker-kill")
SILENCES = ("freeze", "black-hole")
STOP = "stop"
"""The faults that may make a job run twice, each only the jobs of the very process it struck: one
that died, was silent for longer than its lease, or was stopped and overran the drain. Nothing else
is an excuse: no lost reply, cut connection, restart of Redis, outage however long, full or paused
or stalled Redis, nor a clock that jumped."""

DRAIN = 7.0
"""Seconds after which a stop asks the handlers to end: the default drain of 8 s, less one."""

SLACK = {**dict.fromkeys(KILLS, 1.0), **dict.fromkeys(SILENCES, 6.0), STOP: 2.0}
"""Seconds a fault goes on after its end: a signal on its way, a reconnect after a silence."""

SETTLED = 15.0
"""Seconds with a Redis that serves, after its end, within which a run is settled, the way back from
an outage included: what strikes its process later is no excuse."""

STANDSTILLS = ("redis-kill", "outage", "pause", "full", "stall")
"""While Redis stands still nothing can be recovered: no measure of how fast it is."""


class Faults:
    """The faults of a history, against its runs."""

    def __init__(self, faults: Sequence[Event], by_kind: Mapping[str, Sequence[Event]]) -> None:
        self._faults = sorted(faults, key=lambda f: f["at"])
        self.raised = {run_of(e): e["at"] for e in by_kind.get("raise", ())}
        self.again = self.raised | {run_of(e): e["at"] for e in by_kind.get("snooze", ())}
        """Runs that ended in asking for another one."""
        self._ended = {run_of(e): e["at"] for e in by_kind.get("end", ())} | self.again
        self._of_pid: dict[int, list[Event]] = defaultdict(list)
        for fault in self._faults:
            for pid in fault["pids"]:
                self._of_pid[pid].append(fault)
        self._spans: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for start in by_kind.get("start", ()):
            self._spans[start["pid"]].append((start["at"], self._over(start)))
        self.counts, self.hits = self._count()

    def _end(self, run: Event) -> float:
        return self._ended.get(run_of(run), float("inf"))

    def _over(self, run: Event) -> float:
        """When it ended, or its process was killed."""
        kills = [f["at"] for f in self._of_pid.get(run["pid"], ()) if f["kind"] in KILLS]
        return min([self._end(run), *(at for at in kills if at >= run["at"])])

    def _count(self) -> tuple[dict[str, int], dict[str, int]]:
        counts: dict[str, int] = defaultdict(int)
        hits: dict[str, int] = defaultdict(int)
        for fault in self._faults:
            counts[fault["kind"]] += 1
            hits[fault["kind"]] += self._struck(fault)
        return dict(counts), dict(hits)

    def _struck(self, fault: Event) -> bool:
        """Whether it met an open connection, or a run under way in a process it struck.

        A freeze or an outage counts only if it did outlast the lease.
        """
        if fault["kind"] in ("freeze", "outage") and fault["seconds"] <= fault["lease"]:
            return False
        return fault["connections"] > 0 or any(
            begun <= fault["at"] <= end
            for pid in fault["pids"]
            for begun, end in self._spans.get(pid, ())
        )

    def explains(self, run: Event, following: Event) -> bool:
        """Whether a fault on the run's own process, between its start and the next, excuses it.

        One attempt started twice is never excused.
        """
        if run["attempt"] == following["attempt"]:
            return False
        of_worker = [f for f in self._of_pid.get(run["parent"], ()) if f["kind"] != "child-kill"]
        return any(
            self._excuses(fault, run)
            and fault["at"] <= following["at"]
            and self._served(self._end(run), fault["at"]) <= SETTLED
            and run["at"] <= fault["at"] + fault["seconds"] + SLACK[fault["kind"]]
            for fault in [*self._of_pid.get(run["pid"], ()), *of_worker]
        )

    def _served(self, since: float, until: float) -> float:
        """Seconds between two moments, without those in which Redis stood still."""
        still = (
            min(until, fault["at"] + fault["seconds"]) - max(since, fault["at"])
            for fault in self._faults
            if fault["kind"] in STANDSTILLS
        )
        return until - since - sum(seconds for seconds in still if seconds > 0)

    def _excuses(self, fault: Event, run: Event) -> bool:
        kind, seconds = fault["kind"], fault["seconds"]
        if kind in KILLS:
            return True
        if kind in SILENCES:
            return bool(seconds >= fault["lease"])
        return kind == STOP and seconds >= DRAIN and self._end(run) == float("inf")

    def silenced(self, run: Event) -> bool:
        """Whether its process was ever silent: it may do late what it claimed before."""
        return any(
            fault["kind"] in SILENCES
            for pid in (run["pid"], run["parent"])
            for fault in self._of_pid.get(pid, ())
        )

    def recoveries(self, starts: Mapping[str, Sequence[Event]]) -> dict[str, list[float]]:
        """Seconds from the death of a process to the next run of what it was running.

        A job's first death only: after the second one it waits 5 s on purpose.
        """
        out: dict[str, list[float]] = defaultdict(list)
        for runs in starts.values():
            for run, following in pairwise(runs):
                death = self._death(run, following)
                if death and run["attempt"] == 1 and not self._stood_still(death, following):
                    out[death["kind"]].append(following["at"] - death["at"])
        return dict(out)

    def _death(self, run: Event, following: Event) -> Event | None:
        """What killed this run's process while it ran. A pid may come again: by time, too."""
        for fault in self._of_pid.get(run["pid"], ()):
            within = run["at"] <= fault["at"] <= min(self._end(run), following["at"])
            if fault["kind"] in KILLS and within:
                return fault
        return None

    def _stood_still(self, death: Event, following: Event) -> bool:
        return any(
            f["kind"] in STANDSTILLS and death["at"] - 10 <= f["at"] <= following["at"]
            for f in self._faults
        )


def run_of(event: Event) -> tuple[int, str, int]:
    """What tells one run from all others: pid, id, attempt."""
    return event["pid"], event["id"], event["attempt"]


def by_kind(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Events by what they tell."""
    kinds: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        kinds[event["event"]].append(event)
    return kinds


def by_job(starts: Iterable[Event]) -> dict[str, list[Event]]:
    """The runs of each job by attempt: a thawed process may start the first after the second."""
    runs: dict[str, list[Event]] = defaultdict(list)
    for start in sorted(starts, key=lambda e: (e["attempt"], e["at"])):
        runs[start["id"]].append(start)
    return runs
