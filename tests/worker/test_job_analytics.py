"""`analytics`: what is counted under which day, and once per job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ferryman import Context, Ferryman, Settings
from ferryman.context import BadPayload
from ferryman.store import Store
from ferryman_worker.jobs import register
from ferryman_worker.jobs.analytics import MAX_COUNTERS, MAX_EVENTS, Event, tally

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def call(ferry: Ferryman, events: Any, job_id: str = "job-1") -> Any:
    job_type = ferry.registry.get("analytics")
    assert job_type is not None
    context = Context(job_id, "analytics", "default", 1, 0, 3, 60.0)
    return job_type.call({"events": events}, context)


@pytest.fixture
def ferry(store: Store, settings: Settings) -> Ferryman:
    ferry = Ferryman(settings, store)
    register(ferry)
    return ferry


@pytest.fixture
def loose() -> Ferryman:
    """An application that has no server: for what is refused before one is asked."""
    ferry = Ferryman(Settings(redis_url="redis://127.0.0.1:1/0"))
    register(ferry)
    return ferry


def test_events_add_up_by_day_and_name() -> None:
    events = [
        Event("login", "2026-01-31T23:00:00Z"),
        Event("login", "2026-01-31T23:30:00.5Z", count=4),
        Event("logout", "2026-01-31T01:00:00Z"),
        Event("login", "2026-02-01T00:00:00Z"),
    ]
    assert tally(events, NOON) == {
        "2026-01-31": {"login": 5, "logout": 1},
        "2026-02-01": {"login": 1},
    }


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (None, "2026-03-01"),
        ("2026-01-31T23:30:00-01:00", "2026-02-01"),
        ("2026-02-01T00:30:00+01:00", "2026-01-31"),
        (0, "1970-01-01"),
        (1_769_900_399.9, "2026-01-31"),
    ],
)
def test_an_event_counts_on_its_day_in_utc(at: Any, day: str) -> None:
    assert tally([Event("login", at)], NOON) == {day: {"login": 1}}


def test_an_event_without_a_time_counts_on_the_day_of_the_run_in_utc() -> None:
    late = datetime(2026, 3, 1, 23, 30, tzinfo=UTC).astimezone(tz=None)
    assert tally([Event("login")], late) == {"2026-03-01": {"login": 1}}


@pytest.mark.parametrize(
    ("event", "where"),
    [
        ({"name": ""}, "events/1/name"),
        ({"name": "x" * 65}, "events/1/name"),
        ({"name": "ü" * 33}, "events/1/name"),
        ({"name": "a\nb"}, "events/1/name"),
        ({"name": "a", "at": "yesterday"}, "events/1/at"),
        ({"name": "a", "at": "2026-01-31T12:00:00"}, "events/1/at"),
        ({"name": "a", "at": "0001-01-01T00:00:00+01:00"}, "events/1/at"),
        ({"name": "a", "at": 1e300}, "events/1/at"),
        ({"name": "a", "count": 0}, "events/1/count"),
        ({"name": "a", "count": 1_000_001}, "events/1/count"),
        ({"name": "a", "nmae": "b"}, "events/1/nmae"),
        ({}, "events/1/name"),
        ("login", "events/1"),
    ],
)
def test_an_event_that_cannot_be_counted_is_named(loose: Ferryman, event: Any, where: str) -> None:
    with pytest.raises(BadPayload, match=f"payload does not fit: {where}"):
        call(loose, [{"name": "fine"}, event])


def test_too_many_events_or_counters_are_refused(loose: Ferryman) -> None:
    with pytest.raises(BadPayload, match="payload does not fit: events"):
        call(loose, [{"name": "a"}] * (MAX_EVENTS + 1))
    with pytest.raises(BadPayload, match=f"at most {MAX_COUNTERS} different"):
        call(loose, [{"name": f"n{n}"} for n in range(MAX_COUNTERS + 1)])


def test_no_events_need_no_server(loose: Ferryman) -> None:
    assert call(loose, []) == {"counted": 0, "totals": {}}


def test_totals_grow_from_job_to_job(ferry: Ferryman) -> None:
    day = {"at": "2026-01-31T12:00:00Z"}
    first = call(ferry, [{"name": "login", **day}, {"name": "logout", **day}], "job-1")
    assert first == {"counted": 2, "totals": {"2026-01-31": {"login": 1, "logout": 1}}}
    second = call(ferry, [{"name": "login", "count": 3, **day}], "job-2")
    assert second == {"counted": 3, "totals": {"2026-01-31": {"login": 4}}}


def test_a_second_run_of_the_job_does_not_count_twice(ferry: Ferryman) -> None:
    events = [{"name": "login", "at": "2026-01-31T12:00:00Z"}]
    assert call(ferry, events) == call(ferry, events)
    assert call(ferry, events, "job-2")["totals"] == {"2026-01-31": {"login": 2}}


def test_as_many_counters_as_allowed_fit_one_result(ferry: Ferryman) -> None:
    from ferryman.job import encode

    days = [(NOON + timedelta(days=n)).isoformat() for n in range(MAX_COUNTERS)]
    events = [{"name": '"' * 64, "at": day, "count": 1_000_000} for day in days]
    assert len(encode(call(ferry, events)).encode()) <= 65_536
