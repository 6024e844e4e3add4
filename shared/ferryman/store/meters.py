"""What `/metrics` shows, from the replies of Redis: pure, no connection.

A meter is what happened to the jobs of one queue and type. Its histograms lie in Redis by bucket
and are added up here. What is no number counts as 0: the next script that adds to it begins there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from math import isfinite
from operator import add
from typing import Any, NamedTuple

from ferryman.store import records
from ferryman.store.records import Stats

EVENTS = (
    "created", "started", "completed", "failed", "retried", "dead", "cancelled", "expired",
    "snoozed", "deduplicated", "recovered", "released",
)  # fmt: skip
"""What can happen to a job; the fields of a meter that are whole numbers."""

OUTCOMES = ("completed", "failed", "snoozed", "released", "cancelled", "crashed")
"""How a run can end."""

LEASE_EXPIRED = b"lease_expired"
"""A field like an event: runs taken from a worker whose lease was over."""

RUN = (".005 .01 .025 .05 .1 .25 .5 1 2.5 5 10 30 60 120 300 600 1800 inf").split()
WAIT = (".01 .05 .1 .25 .5 1 2.5 5 10 30 60 300 900 1800 3600 inf").split()
"""Upper bounds in seconds, of run times and of waits; lua/include/observe.lua has the same."""


class Histogram(NamedTuple):
    """Observations in seconds: how many up to each bound, and their sum."""

    counts: tuple[int, ...]
    sum: float

    def __add__(self, other: object) -> Histogram:
        if not isinstance(other, Histogram):
            return NotImplemented
        return Histogram(tuple(map(add, self.counts, other.counts)), self.sum + other.sum)


class Meter(NamedTuple):
    """What happened to the jobs of one queue and type since the beginning."""

    queue: str
    type: str
    events: Mapping[str, int]
    leases_expired: int
    wait: Histogram
    total: Histogram
    durations: Mapping[str, Histogram]
    """By outcome; only those that occurred."""


class Hands(NamedTuple):
    """Workers by what they do, and the slots of those that live, by queue."""

    running: int
    stopping: int
    lost: int
    """Their lease is over, and nobody has taken them off the roll yet."""
    busy: Mapping[str, int]
    idle: Mapping[str, int]


@dataclass(frozen=True)
class Reading:
    """Everything there is to show."""

    stats: Stats
    meters: Sequence[Meter]
    latency: Mapping[str, float]
    """Seconds the oldest ready job of a queue has waited; 0 when none is ready."""
    oldest_dead: Mapping[str, float]
    """Seconds since the oldest dead letter of a queue died; 0 when it has none. A queue whose
    oldest is not among the 1,000 oldest of all is left out."""
    limits: Mapping[str, int]
    """Jobs that may wait in a queue, where it has a limit of its own."""
    hands: Hands
    memory: tuple[int, int] | None
    """Bytes used, and at most (0: no limit); None where the server may not be asked."""


LONGEST = 20
"""Digits; no counter of Redis has more."""

PAIRS = 200
"""Queues and types that have a meter, at most; lua/include/meter.lua has the same."""


def pairs(reply: Sequence[Any]) -> list[bytes]:
    """The meters named in the reply of the scrape script, in order."""
    return sorted(pair for pair in reply[1] if b":" in pair)[:PAIRS]


Hashes = Mapping[bytes, Sequence[bytes]]
"""Counters as Redis gives them: by hash, a flat list of fields and values."""

Hold = Callable[[bytes, Hashes], Hashes]
"""Gives the counters of these data (their instance) as they are to be shown."""

STATS = b""
"""Stands for the counters of all jobs among the names of pairs."""


def as_it_is(_: bytes, hashes: Hashes) -> Hashes:
    """The counters as they are."""
    return hashes


def reading(reply: Sequence[Any], meters: Hashes, hold: Hold = as_it_is) -> Reading:
    """The `Reading` in the reply of the scrape script and the hash of each pair."""
    counters, _, latency, dead, workers, memory, instance = reply
    rising, others = _rising(counters[0])
    held = dict(hold(instance, {STATS: rising, **meters}))
    counters = [[*others, *held.pop(STATS)], *counters[1:]]
    known = {_text(name) for name in counters[3][::2]}
    return Reading(
        stats=records.stats(counters),
        meters=[_meter(_text(pair), flat) for pair, flat in held.items()],
        latency=_seconds(latency),
        oldest_dead=_seconds(dead),
        limits=_limits(counters[3]),
        hands=_hands(workers, known),
        memory=(int(memory[0]), int(memory[1])) if memory else None,
    )


def _rising(flat: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The fields of `stats` that only rise, and the others."""
    rising: list[bytes] = []
    others: list[bytes] = []
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        only_rises = name.endswith(b"_total") or name.startswith(b"duration_")
        (rising if only_rises else others).extend((name, value))
    return rising, others


def _names(kind: str, bounds: Iterable[str]) -> tuple[bytes, ...]:
    """The fields of a histogram: its buckets, and last its sum."""
    return (*(f"{kind}:{float(bound):g}".encode() for bound in bounds), f"{kind}:sum".encode())


_EVENTS = {event: event.encode() for event in EVENTS}
_WAIT, _TOTAL = _names("wait", WAIT), _names("total", WAIT)
_DURATIONS = {outcome: _names(f"duration:{outcome}", RUN) for outcome in OUTCOMES}


def _meter(pair: str, flat: Sequence[bytes]) -> Meter:
    raw = dict(zip(flat[::2], flat[1::2], strict=True))
    counts = {name: int(n) for name, n in raw.items() if n.isdigit() and len(n) < LONGEST}
    queue, _, job_type = pair.partition(":")
    return Meter(
        queue,
        job_type,
        {event: counts.get(name, 0) for event, name in _EVENTS.items()},
        counts.get(LEASE_EXPIRED, 0),
        _histogram(raw, counts, _WAIT),
        _histogram(raw, counts, _TOTAL),
        {o: _histogram(raw, counts, f) for o, f in _DURATIONS.items() if f[-1] in raw},
    )


def _histogram(
    raw: Mapping[bytes, bytes], counts: Mapping[bytes, int], names: Sequence[bytes]
) -> Histogram:
    up_to = accumulate(map(counts.get, names[:-1], repeat(0)))
    return Histogram(tuple(up_to), max(0.0, _number(raw.get(names[-1], b"0"))) / records.MICROS)


def _hands(workers: Sequence[Any], known: set[str]) -> Hands:
    running = stopping = lost = 0
    busy, idle = dict.fromkeys(known, 0), dict.fromkeys(known, 0)
    for is_lost, is_stopping, slots, taken, queues in workers:
        if is_lost:
            lost += 1
            continue
        stopping, running = stopping + bool(is_stopping), running + (not is_stopping)
        for queue in {*_text(queues).split(",")} & known:
            busy[queue] += min(taken, slots)
            idle[queue] += max(slots - taken, 0)
    return Hands(running, stopping, lost, busy, idle)


def _limits(queues: Sequence[Any]) -> dict[str, int]:
    named = {_text(q): records.pairs(own) for q, own in zip(queues[::2], queues[1::2], strict=True)}
    limits = {queue: own.get("max_pending", "") for queue, own in named.items()}
    return {queue: int(text) for queue, text in limits.items() if text.isdecimal()}


def _seconds(flat: Sequence[bytes]) -> dict[str, float]:
    named = zip(flat[::2], flat[1::2], strict=True)
    return {_text(queue): _number(text) for queue, text in sorted(named)}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _number(raw: bytes) -> float:
    try:
        value = float(raw)
    except ValueError:
        return 0.0
    return value if isfinite(value) else 0.0
