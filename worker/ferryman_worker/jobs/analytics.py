"""`analytics`: events in, counters by name and day in Redis, the new totals out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from annotated_types import Ge, Le, MaxLen

from ferryman import Context, Ferryman
from ferryman_worker.jobs.payloads import misfit

MAX_EVENTS = 10_000
MAX_NAME_BYTES = 64
MAX_COUNTERS = 300
"""Different pairs of name and day in one job: the totals of all stay under the 64 KiB of a result,
and one job's script under 5 ms in Redis."""

Counts = dict[str, dict[str, int]]
"""{day as YYYY-MM-DD: {name: how many}}."""


@dataclass(frozen=True)
class Event:
    """What happened, when (RFC 3339 text or epoch seconds; None: now) and how many times."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    at: float | str | None = None
    count: Annotated[int, Ge(1), Le(1_000_000)] = 1


Events = Annotated[list[Event], MaxLen(MAX_EVENTS)]


def register(ferry: Ferryman) -> None:
    @ferry.job("analytics")
    def analytics(events: Events, *, ctx: Context) -> dict[str, int | Counts]:
        counts = tally(events, datetime.now(UTC))
        # Redis keeps, per job, that it has been counted: a second run reads the totals only.
        totals = ferry.store.tally(ctx.job_id, counts) if counts else {}
        return {"counted": sum(event.count for event in events), "totals": totals}


def tally(events: Iterable[Event], now: datetime) -> Counts:
    """Add events up by day and name; an event that has no time counts on the day of `now`.

    Raises BadPayload, naming the event, for a bad name or time, or for too many counters.
    """
    counts: Counts = {}
    for index, event in enumerate(events):
        _check_name(index, event.name)
        names = counts.setdefault(_day(index, event.at, now), {})
        names[event.name] = names.get(event.name, 0) + event.count
    if sum(map(len, counts.values())) > MAX_COUNTERS:
        raise misfit("events", f"expected at most {MAX_COUNTERS} different pairs of name and day")
    return counts


def _check_name(index: int, name: str) -> None:
    if not name or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        expected = f"expected 1 to {MAX_NAME_BYTES} bytes of printable text"
        raise misfit(f"events/{index}/name", expected)


def _day(index: int, at: float | str | None, now: datetime) -> str:
    """The UTC day of an event's time."""
    try:
        return _moment(at, now).astimezone(UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        expected = "expected a time such as 2026-01-31T12:00:00Z, or seconds since 1970"
        raise misfit(f"events/{index}/at", expected) from None


def _moment(at: float | str | None, now: datetime) -> datetime:
    if at is None:
        return now
    if isinstance(at, str):
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("no offset: it could mean two days")
        return moment
    return datetime.fromtimestamp(at, UTC)
