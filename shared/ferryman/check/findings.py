"""A finding as a value: what is wrong, and the repair as evidence and acts.

lua/mend.lua compares the evidence once more and acts in the same moment, so what is no longer true
is never repaired.
"""

from __future__ import annotations

from dataclasses import dataclass

from ferryman.store.audit import Words

KINDS = {
    "lost": "a live job lies in no place",
    "misplaced": "a live job lies in another place than its state says",
    "extra": "an id has more entries than it may have",
    "leftover": "a finished job lies in a place of live ones",
    "miscounted": "`dropped` says more entries than there are",
    "unlisted": "a failed job is not in the dead-letter list",
    "orphan": "an entry has no job",
    "expiring": "a job that is not finished, or still lies in a list, expires",
    "immortal": "a finished job never expires",
    "number": "a number is none, or out of its range",
    "corrupt": "a job has no state, no type, no proper queue or priority, or a wrong `deleted`",
    "wrong_type": "a key holds another type than it should",
    "ownerless": "a list belongs to no worker that is registered or was reaped",
    "stranded": "a list is not where the pause of its queue says",
    "unknown_queue": "a queue in use is missing in `queues`",
    "stray": "something is left of a worker that is not registered",
    "lease": "a lease ends more than ten leases from now",
    "overlong": "a list is longer than its cap",
    "idempotency": "an idempotency key leads to no job, or never ends",
    "schema": "the data was written by a newer version",
    "counter": "a counter differs from what it counts",
}
"""Every kind of finding, and what it says."""


@dataclass(frozen=True)
class Mend:
    """A repair of one job: `acts` happen if `evidence` still holds."""

    job_id: str
    evidence: tuple[Words, ...]
    acts: tuple[Words, ...]


@dataclass(frozen=True)
class Tidy:
    """A repair of one key, by lua/tidy.lua."""

    what: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Recover:
    """The list of a worker nobody knows is recovered like that of a dead one."""

    worker: str


@dataclass(frozen=True)
class Recount:
    """The counters are set to what lies in the places."""


Repair = Mend | Tidy | Recover | Recount


@dataclass(frozen=True)
class Finding:
    """One violation. `repair` is None when only a person can know what is right."""

    kind: str
    subject: str
    what: str
    repair: Repair | None = None
    advice: str = ""
    """What a person can do where there is no repair."""

    @property
    def remedy(self) -> str:
        """The repair in words."""
        match self.repair:
            case Mend(_, _, acts):
                return "; ".join(_ACTS[act].format(where, value) for act, where, value in acts)
            case Tidy(what, words):
                return _TIDY[what].format(*words)
            case Recover(worker):
                return f"recover the list of {worker}"
            case Recount():
                return "count again and set the counters"
        return self.advice


_ACTS = {
    "remove": "take it out of {0}",
    "unschedule": "take it out of scheduled",
    "push": "push it to the head of its list",
    "schedule": "put it into scheduled",
    "bury": "put it into dlq",
    "state": "its state becomes {1}",
    "field": "set {0} to {1!r}",
    "persist": "let it not expire",
    "expire": "let it expire after the retention",
    "finished": "note it in finished",
    "erase": "delete what is left of it",
    "quarantine": "keep it in quarantine",
}
_TIDY = {
    "aside": "rename it to aside:{0}:<time>",
    "shelve": "move it to where the pause says",
    "known": "add it to queues",
    "lease": "let the lease end in {1} s",
    "trim": "cut it to {1}",
    "idem": "delete it, or let it end in {1} s",
    "stray": "delete it",
    "zero": "set it to 0, then count",
}
