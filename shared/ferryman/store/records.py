"""What the store hands back: replies of Redis as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ferryman.decision import Decision
from ferryman.job import number
from ferryman.lifecycle import WAITING, State

MICROS = 1e6
"""Sums of seconds lie in Redis as whole microseconds (lua/include/meter.lua)."""


class Accepted(NamedTuple):
    """A job the store holds: its id, and whether this call brought it."""

    id: str
    is_new: bool


class Claimed(NamedTuple):
    """A begun job, as much of it as a run needs. Optional texts are None at their default.

    A NamedTuple: a frozen dataclass of as many fields takes 0.7 us longer to make.
    """

    id: str
    attempt: int
    type: str
    payload: str
    queue: str
    priority: str = "normal"
    failures: int = 0
    crashes: int = 0
    max_attempts: int | None = None
    timeout: float | None = None
    backoff: str | None = None
    tags: str | None = None
    meta: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    damage: str | None = None
    """What is wrong with the record, when it cannot be read; it is not to be run then."""


def fenced(decisions: Sequence[Decision], reply: object) -> list[Decision]:
    """Those a settle refused: its script answers with a status, or one for each decision."""
    statuses = reply if isinstance(reply, list) else [reply]
    return [d for d, status in zip(decisions, statuses, strict=True) if not status]


def claimed(raw: Sequence[Any]) -> Claimed:
    """A `Claimed` from the row the claim script gives; a damaged one says so."""
    try:
        return _claimed(raw)
    except ValueError as error:
        whole = _claimed([*raw[:3], None, raw[4]])
        return whole._replace(damage=str(error))


def _claimed(raw: Sequence[Any]) -> Claimed:
    job_id, attempt, *fields = raw
    text: list[Any] = [None if v is None else v.decode("utf-8", "backslashreplace") for v in fields]
    job_type, payload, queue = text[:3]
    row = Claimed(
        decoded(job_id),
        attempt,
        job_type,
        "{}" if payload is None else payload,
        queue,
    )
    return _with_options(row, text[3:]) if len(text) > 3 else row


def _with_options(row: Claimed, text: Sequence[str | None]) -> Claimed:
    """The same with the fields that few jobs have; what is not set at the end is not there."""
    (
        priority, failures, crashes, most, timeout, backoff, tags, meta, traceparent, tracestate,
    ) = [*text, *[None] * 10][:10]  # fmt: skip
    return row._replace(
        priority=priority or "normal",
        failures=int(failures or 0),
        crashes=int(crashes or 0),
        max_attempts=int(most) if most else None,
        timeout=number(timeout) if timeout else None,
        backoff=backoff,
        tags=tags,
        meta=meta,
        traceparent=traceparent,
        tracestate=tracestate,
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


class Forgetting(NamedTuple):
    """One call of forget: whether the memory gate is closed, and how many jobs went."""

    closed: bool
    forgotten: int


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
    """Seconds, of all runs that ended well."""
    dlq_size: int
    workers: int
    queues: Mapping[str, Mapping[str, int]]
    claim_age: float = 0.0
    """Seconds since a worker heard Redis: the most of all on the roll."""
    memory_gate: bool = False
    """Closed: no new jobs, for Redis is nearly full."""
    violations: int | None = None
    """Found by the last `ferryman check`; None when there was none..."""
    check_age: float = 0.0
    """...and how many seconds ago that was."""

    @property
    def waiting(self) -> int:
        """pending + scheduled + blocked."""
        return sum(self.states[s] for s in WAITING)

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
        queues[name.decode("utf-8", "backslashreplace")] = {
            s.value: _count(own.get(s)) for s in State
        } | {"paused": int("paused" in own)}
    prefix = "duration_le_"
    return Stats(
        states={s: _count(raw.get(s)) for s in State},
        events={k: _count(v) for k, v in raw.items() if k.endswith("_total")},
        durations={k[len(prefix) :]: _count(v) for k, v in raw.items() if k.startswith(prefix)},
        duration_sum=_count(raw.get("duration_sum")) / MICROS,
        dlq_size=reply[1],
        workers=reply[2],
        queues=queues,
        claim_age=_seconds(reply[4].decode()),
        memory_gate=bool(reply[5]),
        violations=None if reply[6] < 0 else reply[6],
        check_age=_seconds(reply[7].decode()),
    )


def _count(text: str | None) -> int:
    """A counter; 0 for what is none: the next script that adds to it begins there too."""
    try:
        return int(text or 0)
    except ValueError:
        return 0


def _seconds(text: str) -> float:
    try:
        return number(text)
    except ValueError:
        return 0.0


def decoded(raw: bytes) -> str:
    """An id or a name; foreign bytes stay what they are, and go back as such."""
    return raw.decode("utf-8", "surrogateescape")


def pairs(flat: Sequence[bytes]) -> dict[str, str]:
    """A hash from the flat list Redis gives; bytes that are not UTF-8 are shown as escapes."""
    text = [v.decode("utf-8", "backslashreplace") for v in flat]
    return dict(zip(text[::2], text[1::2], strict=True))
