"""What the store hands back: replies of Redis as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ferryman.decision import Decision
from ferryman.lifecycle import State


class Accepted(NamedTuple):
    """A job the store holds: its id, and whether this call brought it."""

    id: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """A begun job, as much of it as a run needs. Optional texts are None at their default."""

    id: str
    attempt: int
    type: str
    payload: str
    queue: str
    priority: str
    failures: int
    crashes: int
    max_attempts: int | None
    timeout: float | None
    backoff: str | None
    created_at: float
    tags: str | None
    meta: str | None
    damage: str | None = None
    """What is wrong with the record, when it cannot be read; it is not to be run then."""


def claimed(raw: Sequence[Any]) -> Claimed:
    """A `Claimed` from the row the claim script gives; a damaged one says so."""
    try:
        return _claimed(raw)
    except ValueError as error:
        whole = [*raw[:3], None, raw[4], *[None] * 9]
        return replace(_claimed(whole), damage=str(error))


def _claimed(raw: Sequence[Any]) -> Claimed:
    text = [v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else v for v in raw]
    return Claimed(
        raw[0].decode("utf-8", "surrogateescape"),
        int(text[1]),
        text[2],
        text[3] if text[3] is not None else "{}",
        text[4],
        text[5] or "normal",
        int(text[6] or 0),
        int(text[7] or 0),
        int(text[8]) if text[8] else None,
        float(text[9]) if text[9] else None,
        text[10],
        float(text[11] or 0),
        text[12],
        text[13],
    )


@dataclass(slots=True)
class Turn:
    """What one round trip of a child brought."""

    jobs: list[Claimed] = field(default_factory=list)
    more: bool = False
    """The claim stopped at its bound: there may be more in the lists."""
    lease_lost: bool = False
    fenced: list[Decision] = field(default_factory=list)
    unsettled: list[Decision] = field(default_factory=list)
    """Redis refused these for now; they must be asked again."""
    refusal: str | None = None


class Recovery(NamedTuple):
    """One call of recover: ids left in the list, and what became of the others."""

    left: int
    recovered: int
    buried: int
    alone: int


class Promotion(NamedTuple):
    """One call of promote; `next_in` is in seconds, None when nothing is scheduled."""

    promoted: int
    alone: int
    next_in: float | None


class Beat(NamedTuple):
    """What a supervisor learns with its beat."""

    leads: bool
    lost: list[str]
    cancels: list[tuple[str, str]]
    """(worker, id) of jobs asked to stop."""
    late: dict[str, str]
    """Workers past their lease, with the beat they stopped at."""
    alone: int
    instance: str
    """The id of these data; empty when no worker has registered yet."""


@dataclass(frozen=True)
class Stats:
    """Every counter at one moment. `events` are lifetime sums, `states` are jobs now."""

    states: Mapping[State, int]
    events: Mapping[str, int]
    durations: Mapping[str, int]
    """Jobs per upper bound of the duration histogram (not summed up), "inf" for the rest."""
    duration_sum: float
    dlq_size: int
    workers: int
    queues: Mapping[str, Mapping[str, int]]
    claim_age: float = 0.0
    """Seconds since a worker heard Redis: the most of all on the roll."""

    @property
    def waiting(self) -> int:
        """pending + scheduled + blocked."""
        return sum(self.states[s] for s in (State.PENDING, State.SCHEDULED, State.BLOCKED))

    @property
    def total(self) -> int:
        """Every job not cancelled: waiting + running + completed + failed."""
        return self.waiting + sum(
            self.states[s] for s in (State.RUNNING, State.COMPLETED, State.FAILED)
        )


def stats(reply: Sequence[Any]) -> Stats:
    """The `Stats` in the reply of the stats script."""
    raw = pairs(reply[0])
    queues = {}
    for name, fields in zip(reply[3][::2], reply[3][1::2], strict=True):
        own = pairs(fields)
        queues[name.decode()] = {s.value: int(own.get(s, 0)) for s in State} | {
            "paused": int("paused" in own)
        }
    prefix = "duration_le_"
    return Stats(
        states={s: int(raw.get(s, 0)) for s in State},
        events={k: int(v) for k, v in raw.items() if k.endswith("_total")},
        durations={k[len(prefix) :]: int(v) for k, v in raw.items() if k.startswith(prefix)},
        duration_sum=float(raw.get("duration_sum", 0)),
        dlq_size=reply[1],
        workers=reply[2],
        queues=queues,
        claim_age=float(reply[4]),
    )


def pairs(flat: Sequence[bytes]) -> dict[str, str]:
    """A hash from the flat list Redis gives; bytes that are not UTF-8 are shown as escapes."""
    text = [v.decode("utf-8", "backslashreplace") for v in flat]
    return dict(zip(text[::2], text[1::2], strict=True))
