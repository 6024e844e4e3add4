"""What a doctor asks a server: its own account, its configuration, its clock, what lies about."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ferryman.lifecycle import WAITING
from ferryman.store import records
from ferryman.store.audit import Audit, Roll

CONFIG = (
    "appendonly", "appendfsync", "save", "maxmemory-clients", "hash-max-listpack-value",
    "min-replicas-to-write", "disable-thp",
)  # fmt: skip

SAMPLES = 5
"""Readings of the clock; the one with the shortest way there and back counts."""


@dataclass(frozen=True)
class Facts:
    """A server and the data in it, as found."""

    info: Mapping[str, str]
    """INFO; empty where it may not be asked."""
    config: Mapping[str, str] | None
    """CONFIG GET; None where it may not be asked, as on most managed hosts."""
    skew: float = 0.0
    """Seconds by which the clock of Redis is ahead of this machine's..."""
    doubt: float = 0.0
    """...give or take."""
    roll: Roll = field(default_factory=Roll)
    ownerless: Sequence[str] = ()
    """Workers that have a list and are neither registered nor reaped."""
    left: int = 0
    """Ids in the lists of reaped workers."""
    waiting: int = 0
    """Jobs waiting for a worker, a time or other jobs."""
    wake: int = 0
    quarantine: int = 0
    dlq: int = 0
    oldest_dead: float | None = None
    """When the oldest dead letter was given up, by the clock of Redis."""
    audit: Mapping[str, str] = field(default_factory=dict)
    """The result of the last `ferryman check`: `at`, `violations`."""


def facts(store: Audit) -> Facts:
    """Ask a server everything. Raises StoreUnavailable."""
    store.ping()
    roll = store.roll()
    skew, doubt = _clock(store)
    stats = store.sums()[0]
    wake, quarantine, dlq = store.lengths(["wake", "quarantine", "dlq"])
    return Facts(
        info=_info(store),
        config=_config(store),
        skew=skew,
        doubt=doubt,
        roll=roll,
        ownerless=sorted(w for w in _holders(store) if not roll.knows(w)),
        left=sum(store.lengths([f"running:{w}" for w in sorted(roll.reaped)])),
        waiting=sum(stats.get(state, 0) for state in WAITING),
        wake=wake,
        quarantine=quarantine,
        dlq=dlq,
        oldest_dead=_oldest_dead(store),
        audit=records.pairs(store.answer("HGETALL", store.keys("audit")) or ()),
    )


def _info(store: Audit) -> dict[str, str]:
    text = store.answer("INFO")
    lines = text.decode("utf-8", "backslashreplace").splitlines() if text else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _config(store: Audit) -> dict[str, str] | None:
    flat = store.answer("CONFIG", "GET", *CONFIG)
    return records.pairs(flat) if flat else None


def _clock(store: Audit) -> tuple[float, float]:
    readings = []
    for _ in range(SAMPLES):
        before = time.time()
        seconds, micros = store.command("TIME")
        after = time.time()
        there = int(seconds) + int(micros) / 1_000_000
        readings.append(((after - before) / 2, there - (before + after) / 2))
    doubt, skew = min(readings)
    return skew, doubt


def _holders(store: Audit) -> Iterator[str]:
    """Workers that have a list; one may come twice."""
    for batch in store.names("running:"):
        yield from (records.decoded(name)[8:] for name in batch)


def _oldest_dead(store: Audit) -> float | None:
    last = store.answer("LINDEX", store.keys("dlq"), -1)
    if last is None:
        return None
    job = store.keys.job(records.decoded(last))
    try:
        return float(store.answer("HGET", job, "completed_at") or "")
    except ValueError:
        return None
