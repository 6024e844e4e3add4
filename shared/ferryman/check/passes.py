"""An audit of a live system: what is read when, and when a suspicion becomes a finding.

1. One pass over all keys notes where every live job should lie.
2. One walk over all places crosses off what lies right. What is left on either side, and every
   record that is odd by itself, is suspect: on a busy system mostly jobs that moved in between.
3. Suspects are looked at again: record, places, record. One whose record changed has moved and is
   no finding. What is wrong still, and in the same way after some seconds, is compared once more in
   a single script (lua/mend.lua), where nothing can move: that is a finding.

The first two are `seen`. Nothing here holds Redis up: see `ferryman.store.audit`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ferryman.check import counters, keyspace
from ferryman.check.findings import Finding, Mend
from ferryman.check.jobs import Sight, judge
from ferryman.check.seen import BATCH, Seen, Tick, walk
from ferryman.store.audit import FIELDS, Audit, Raw

_DOUBTFUL = frozenset(
    "lost misplaced extra leftover miscounted orphan corrupt wrong_type ownerless unknown_queue "
    "number".split()
)
"""Findings until whose repair it is not known what a counter should be."""


@dataclass
class Report:
    """What an audit found."""

    at: float = 0.0
    """By the clock of Redis, seconds since the epoch."""
    seconds: float = 0.0
    jobs: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be compared, and why."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    guards: Mapping[str, int] = field(default_factory=dict)


def inspect(store: Audit, settle: float = 2.0, tick: Tick = lambda _: None) -> Report:
    """Check every invariant. Raises StoreUnavailable.

    `settle`: seconds between the two sightings of whatever looks wrong.
    """
    started = time.monotonic()
    seen = Seen(store, tick)
    seen.scan()
    seen.compare()
    report = Report(seen.started_at, jobs=seen.jobs)
    if seen.forgetful:
        report.notes.append("idempotency keys may outlive their jobs: the retention is under a day")
    report.findings = twice(settle, lambda: [*_keys(store, seen), *_jobs(store, seen)])
    report.findings = [f for f in report.findings if _holds(store, f)]
    if any(f.kind in _DOUBTFUL and f.repair for f in report.findings):
        report.notes.append("counters were not compared: what they count is in doubt (above)")
    else:
        _compare_counters(store, seen, report, settle)
    report.dropped, report.guards = seen.dropped_by_queue(), seen.guards()
    report.seconds = time.monotonic() - started
    return report


def twice(settle: float, look: Callable[[], Sequence[Finding]]) -> list[Finding]:
    """What two looks, some seconds apart, find the same."""
    first = {_same(f) for f in look()}
    if not first:
        return []
    time.sleep(settle)
    return [f for f in look() if _same(f) in first]


def _same(finding: Finding) -> object:
    return finding.kind, finding.subject, finding.repair


def _holds(store: Audit, finding: Finding) -> bool:
    """The last word on a job has a script, in which nothing can move."""
    match finding.repair:
        case Mend(job_id, evidence, _):
            return store.mend(job_id, evidence, ())
    return True


# Looking again.


def sights(store: Audit, names: Iterable[str], ids: Sequence[bytes]) -> list[Sight]:
    """These jobs with every place they lie in, without those whose record changed meanwhile."""
    if not ids:
        return []
    before = _survey(store, ids)
    lists: dict[bytes, Counter[str]] = {job_id: Counter() for job_id in ids}
    scheduled: set[bytes] = set()
    for name, found in walk(store, names):
        for job_id in found:
            if job_id in lists and name == "scheduled":
                scheduled.add(job_id)
            elif job_id in lists:
                lists[job_id][name] += 1
    after = _survey(store, ids)
    out = []
    for job_id in ids:
        raw = after[job_id]
        if raw[1:] == before[job_id][1:]:
            dead = lists[job_id].pop("dlq", 0)
            fields = {n: _text(v) for n, v in zip(FIELDS, raw[1:], strict=False) if v is not None}
            out.append(
                Sight(_text(job_id), raw[0], fields, lists[job_id], job_id in scheduled, dead)
            )
    return out


def _survey(store: Audit, ids: Sequence[bytes]) -> dict[bytes, Raw]:
    found: dict[bytes, Raw] = {}
    for start in range(0, len(ids), BATCH):
        part = ids[start : start + BATCH]
        found.update(zip(part, store.survey(part), strict=True))
    return found


def _jobs(store: Audit, seen: Seen) -> list[Finding]:
    """Everything wrong with suspects; those that prove right are suspects no longer."""
    findings: list[Finding] = []
    wrong: set[bytes] = set()
    for sight in sights(store, seen.names, sorted(seen.suspects)):
        found = judge(sight)
        findings += found
        if found:
            wrong.add(sight.id.encode("utf-8", "surrogateescape"))
    seen.suspects = wrong
    return findings


def _keys(store: Audit, seen: Seen) -> list[Finding]:
    """Everything wrong with what is not a job."""
    roll, odd = store.roll(), sorted(seen.odd)
    there = _there(store, seen.names)
    findings = [*keyspace.schema(roll.meta), *keyspace.leases(roll, store.settings.lease)]
    for name, kind in zip(odd, store.types(odd), strict=True):
        findings += keyspace.wrong_type(_text(name), kind)
    findings += keyspace.ownerless(roll, _workers(there, "running"))
    findings += keyspace.stray(roll, {*_workers(there, "worker"), *_workers(there, "cancel")})
    used = keyspace.queues_used(there) | {_text(queue) for queue in seen.queues}
    findings += keyspace.unknown_queues(roll, used)
    findings += keyspace.garbled(store.garbled())
    for queue, paused, lists in store.shelves(sorted(roll.queues)):
        findings += keyspace.stranded(queue, paused, lists)
    capped = list(keyspace.CAPS)
    findings += keyspace.overlong(dict(zip(capped, store.lengths(capped), strict=True)))
    return findings + _idem(store, sorted(seen.idem))


def _there(store: Audit, names: Iterable[str]) -> list[str]:
    """Those that exist now, for lists come and go."""
    asked = sorted(names)
    raw = [name.encode("utf-8", "surrogateescape") for name in asked]
    return [name for name, kind in zip(asked, store.types(raw), strict=True) if kind != "none"]


def _workers(names: Iterable[str], family: str) -> set[str]:
    return {rest for f, _, rest in (n.partition(":") for n in names) if f == family and rest}


def _idem(store: Audit, names: Sequence[bytes]) -> list[Finding]:
    findings: list[Finding] = []
    for name, (job_id, ttl, exists) in zip(names, store.idem(names), strict=True):
        where = None if job_id is None else _text(job_id)
        findings += keyspace.idempotency(_text(name[5:]), where, ttl, exists)
    return findings


def _compare_counters(store: Audit, seen: Seen, report: Report, settle: float) -> None:
    missing: set[str] = set()

    def look() -> list[counters.Drift]:
        census = store.census(sorted(store.roll().queues))
        room = counters.slack(seen.events, census.events, seen.stubs)
        if any(q.entries is None for q in census.queues):
            missing.add("pending and running were not compared: too much is claimed at a time")
        return [
            *counters.places(census, seen.dropped_by_queue(), room),
            *counters.sums(*store.sums()),
        ]

    first = look()
    if first:
        time.sleep(settle)
        report.findings += counters.confirmed(first, look())
    report.notes += missing


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
