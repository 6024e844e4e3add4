"""Pages of jobs, newest first, found by place: how many there are up to this one, the oldest first.

A place stays while others come, so a cursor skips none, nor repeats one unless an older dead
letter is taken out meanwhile. A filter looks at the ids one by one, so a call looks at 10,000 at
most and says how many it did.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import NamedTuple

from ferryman.errors import InvalidJob
from ferryman.job import Job
from ferryman.lifecycle import State
from ferryman.store import Store

MOST_SCANNED = 10_000
CHUNK = 1_000
"""Ids looked at in one round trip."""

SMALL_CHUNK = 200
"""The same without a filter: about as many as the largest page holds."""

BATCH = 20
"""Records fetched in one round trip: with the largest bodies 20 MiB."""

ENOUGH_TEXT = 4 << 20
"""Characters of payloads and results after which a page ends early."""


class Filter(NamedTuple):
    """What a job must have to be listed; None: anything."""

    state: State | None = None
    type: str | None = None
    queue: str | None = None

    def fits(self, *facets: str | None) -> bool:
        """Whether (state, type, queue) are the ones wanted."""
        return all(want is None or want == has for want, has in zip(self, facets, strict=True))


class Page(NamedTuple):
    """What a call found, where the next one goes on (None: nowhere), ids looked at."""

    jobs: list[Job]
    next_place: int | None
    scanned: int


Placed = tuple[int, str]
"""A place and the id there."""


class Source(NamedTuple):
    """Where jobs are listed: gives up to so many places before one, newest first."""

    places: Callable[[int | None, int], list[Placed]]
    state: State | None = None
    """What all jobs there are; one that has just moved on is left out."""


def read(store: Store, source: Source, wanted: Filter, limit: int, before: int | None) -> Page:
    """Up to `limit` jobs placed before `before`."""
    exact = wanted._replace(state=wanted.state or source.state)
    jobs: list[Job] = []
    scanned = size = 0
    while scanned < MOST_SCANNED:
        placed = source.places(before, CHUNK if wanted != Filter() else SMALL_CHUNK)
        fitting = _fitting(store, wanted, placed)
        while fitting:
            width = min(BATCH, limit - len(jobs))
            batch, fitting = fitting[:width], fitting[width:]
            found = _records(store, exact, batch)
            jobs += found
            size += sum(len(job.payload) + len(job.result or "") for job in found)
            if len(jobs) == limit or size >= ENOUGH_TEXT:
                last = batch[-1][0]
                return Page(jobs, _after(last), scanned + sum(place >= last for place, _ in placed))
        scanned += len(placed)
        before = placed[-1][0] if placed else 1
        if before == 1:
            break
    return Page(jobs, _after(before), scanned)


def cursor_of(place: int) -> str:
    """A place as clients see it: a text that means nothing to them."""
    return base64.urlsafe_b64encode(str(place).encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> int | None:
    """The place in a cursor; InvalidJob when it is not one of ours."""
    if cursor is None:
        return None
    try:
        digits = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        digits = ""
    if not (digits.isdecimal() and len(digits) < 18):
        raise InvalidJob.at("/cursor", "expected the next_cursor of another page")
    return max(1, int(digits))


def _after(place: int | None) -> int | None:
    """Where the next page begins, when there can be one."""
    return place if place and place > 1 else None


def _fitting(store: Store, wanted: Filter, placed: list[Placed]) -> list[Placed]:
    if wanted == Filter():
        return placed
    facets = store.facets([job_id for _, job_id in placed])
    return [p for p, has in zip(placed, facets, strict=True) if wanted.fits(*has)]


def _records(store: Store, wanted: Filter, batch: list[Placed]) -> list[Job]:
    # A job may have moved on since its facets were read: look again, so that a page keeps its word.
    jobs = store.get_many([job_id for _, job_id in batch])
    return [job for job in jobs if wanted.fits(job.state, job.type, job.queue)]
