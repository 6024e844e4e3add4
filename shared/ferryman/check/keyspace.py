"""The invariants of everything that is not a job: keys, lists, workers, queues. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ferryman.check.findings import Finding, Recover, Tidy
from ferryman.keys import ALONE, LEVELS
from ferryman.store.audit import Roll
from ferryman.store.calls import FINISHED_CAP, KEY_TTL, RECENT_CAP

SCHEMA = 1
"""The version of the data this program knows (lua/register.lua)."""

CAPS = {"recent": RECENT_CAP, "finished": FINISHED_CAP, "quarantine": 10_000, "wake": 1}
ROOM = 1_000
"""Elements over a cap that are no finding: several verbs push, only some trim."""

TYPES = {
    "stats": "hash", "meta": "hash", "audit": "hash", "scheduled": "zset", "workers": "zset",
    "reaped": "zset", "queues": "set", "labels": "set", "dlq": "list", "finished": "list",
    "recent": "list", "quarantine": "list", "wake": "list", "events": "stream", "upkeep": "string",
}  # fmt: skip
FAMILIES = {
    "job": "hash", "queue": "hash", "worker": "hash", "stats": "hash", "pending": "list",
    "held": "list", "running": "list", "cancel": "list", "idem": "string", "analytics": "hash",
    "tallied": "string", "metrics": "hash",
}  # fmt: skip
"""Types of keys by their whole name, and by the word before the first colon."""


def expected_type(name: str) -> str | None:
    """The type a key must have; None for one this version does not know."""
    family, colon, _ = name.partition(":")
    return FAMILIES.get(family) if colon else TYPES.get(name)


def wrong_type(name: str, kind: str) -> list[Finding]:
    """A key of another type than the scripts use stops every verb that touches it."""
    wanted = expected_type(name)
    if wanted is None or kind in (wanted, "none"):
        return []
    what = f"it is a {kind}, expected a {wanted}"
    return [Finding("wrong_type", name, what, Tidy("aside", (name, kind)))]


def ownerless(roll: Roll, workers: Iterable[str]) -> list[Finding]:
    """Lists of workers that are neither registered nor reaped: nobody would ever look at them."""
    return [
        Finding("ownerless", f"running:{w}", "its worker was never registered", Recover(w))
        for w in sorted(workers)
        if not roll.knows(w)
    ]


def stray(roll: Roll, workers: Iterable[str]) -> list[Finding]:
    """What a recovered worker leaves behind by itself or when Redis lost part of its data."""
    return [
        Finding(
            "stray", w, "a record or stop requests of no registered worker", Tidy("stray", (w,))
        )
        for w in sorted(workers)
        if w not in roll.leases
    ]


def leases(roll: Roll, lease: float) -> list[Finding]:
    """A lease far in the future hides a death for as long: the clock of Redis was set back."""
    return [
        Finding(
            "lease",
            worker,
            f"its lease ends in {until - roll.now:.0f} s, one lease is {lease:g} s",
            Tidy("lease", (worker, f"{lease:g}")),
        )
        for worker, until in sorted(roll.leases.items())
        if until > roll.now + 10 * lease
    ]


def unknown_queues(roll: Roll, used: Iterable[str]) -> list[Finding]:
    """Queues that hold something and that no listing and no total shows."""
    return [
        Finding("unknown_queue", q, "it has a list or counters", Tidy("known", (q,)))
        for q in sorted(set(used) - roll.queues)
    ]


def garbled(counters: Iterable[tuple[str, str]]) -> list[Finding]:
    """Counters that stop every script that would add to them."""
    return [
        Finding("number", f"{key} {name}", "it is no whole number", Tidy("zero", (key, name)))
        for key, name in sorted(counters)
    ]


def stranded(queue: str, paused: bool, lists: Iterable[str]) -> list[Finding]:
    """Held lists of a queue that runs are served by nobody; pending ones of a paused queue are."""
    wrong, state = ("pending", "paused") if paused else ("held", "not paused")
    return [
        Finding(
            "stranded",
            f"{wrong}:{queue}:{level}",
            f"the queue is {state}",
            Tidy("shelve", (queue, level)),
        )
        for level in (*LEVELS, ALONE)
        if f"{wrong}:{queue}:{level}" in set(lists)
    ]


def overlong(lengths: Mapping[str, int]) -> list[Finding]:
    """Lists with a cap stay near it."""
    return [
        Finding("overlong", name, f"{n} elements, its cap is {cap}", Tidy("trim", (name, str(cap))))
        for name, cap in CAPS.items()
        if (n := lengths.get(name, 0)) > cap + ROOM
    ]


def schema(meta: Mapping[str, str]) -> list[Finding]:
    """Data of a newer version must not be judged, and not be worked on, by this one."""
    found = meta.get("schema", str(SCHEMA))
    if found.isascii() and found.isdigit() and int(found) <= SCHEMA:
        return []
    what = f"schema is {found!r}, this version knows {SCHEMA}"
    return [Finding("schema", "meta", what, None, "use the version that wrote it")]


def idempotency(key: str, job_id: str | None, ttl: int, exists: bool) -> list[Finding]:
    """A key leads to a job and ends after a day."""
    if ttl == -2 or job_id is None:
        return []
    if exists and ttl >= 0:
        return []
    what = f"it leads to {job_id}, which does not exist" if not exists else "it never ends"
    return [Finding("idempotency", key, what, Tidy("idem", (key, str(KEY_TTL))))]


def queues_used(names: Sequence[str]) -> set[str]:
    """The queues whose lists or counters are among these keys."""
    found = set()
    for name in names:
        family, _, rest = name.partition(":")
        if family == "queue":
            found.add(rest)
        elif family in ("pending", "held"):
            found.add(rest.rpartition(":")[0])
    return found - {""}
