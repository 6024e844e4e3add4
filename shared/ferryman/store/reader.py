"""The reading half of a store: jobs, lists and counters as they are. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from ferryman.errors import ConfigError, JobNotFound
from ferryman.job import Job
from ferryman.store import meters, records
from ferryman.store.caller import Caller
from ferryman.store.meters import Reading
from ferryman.store.records import Stats, decoded


class Reader(Caller):
    """What there is to see of one shard."""

    def get(self, job_id: str) -> Job:
        """The record of a job; JobNotFound when there is none."""
        jobs = self.get_many([job_id])
        if not jobs:
            raise JobNotFound(job_id)
        return jobs[0]

    def get_many(self, ids: Sequence[str]) -> list[Job]:
        """The records of these jobs in their order; those gone or damaged are left out.

        A damaged one is no job any more: `ferryman check` names it.
        """
        if not ids:
            return []
        flats = self._pipeline([("HGETALL", self.keys.job(i)) for i in ids])
        jobs = (_record(i, flat) for i, flat in zip(ids, flats, strict=True))
        return [job for job in jobs if job is not None]

    def recent(self, before: int | None, number: int) -> list[tuple[int, str]]:
        """Up to `number` (place, id) of all jobs, newest first, placed before `before`.

        A job's place is how many were created up to it, so it stays while others come.
        """
        total, first, *ids = self._run(self.calls.recent(before, number))
        top = total - first
        return [(top - i, decoded(raw)) for i, raw in enumerate(ids[: max(top, 0)])]

    def facets(self, ids: Sequence[str]) -> list[tuple[str | None, ...]]:
        """(state, type, queue) of each id, None where it is gone: enough to filter by."""
        names = ("state", "type", "queue", "deleted")
        rows = self._pipeline([("HMGET", self.keys.job(i), *names) for i in ids])
        out: list[tuple[str | None, ...]] = []
        for row in rows:
            if isinstance(row, RedisError) or row[0] is None or row[3] is not None:
                out.append((None, None, None))
            else:
                out.append((_text(row[0]), _text(row[1]), _text(row[2]) or "default"))
        return out

    def dead(self, before: int | None, number: int) -> list[tuple[int, str]]:
        """Up to `number` (place, id) of dead letters, newest first, placed before `before`.

        The oldest has place 1. Places are counted from there, so new letters move none; one taken
        out moves those that came after it down by one.
        """
        dlq = self.keys("dlq")
        last: int = self._command("LLEN", dlq)
        last = last if before is None else min(last, before - 1)
        if last < 1:
            return []
        ids = self._command("LRANGE", dlq, -last, min(number - last, 0) - 1)
        return [(last - i, decoded(raw)) for i, raw in enumerate(ids)]

    def stats(self) -> Stats:
        """Every counter at one moment."""
        return records.stats(self._run(self.calls.stats()))

    def scrape(self, hold: meters.Hold = meters.as_it_is) -> Reading:
        """Everything `/metrics` shows; each meter, and all the rest, at one moment.

        `hold` may show counters otherwise than they are.
        """
        reply = self._run(self.calls.scrape())
        named = meters.pairs(reply)
        rows = self._pipeline([("HGETALL", self.keys.meter(pair)) for pair in named])
        hashes = [() if isinstance(row, RedisError) else row for row in rows]
        return meters.reading(reply, dict(zip(named, hashes, strict=True)), hold)

    def running(self, worker: str) -> list[str]:
        """The ids in a worker's list, the oldest claim first."""
        ids = self._command("LRANGE", self.keys.running(worker), 0, -1)
        return [decoded(i) for i in ids]


def _record(job_id: str, reply: Any) -> Job | None:
    if isinstance(reply, RedisError):  # a key of another type
        return None
    raw = records.pairs(reply)
    if not raw or "deleted" in raw:
        return None
    try:
        return Job.from_fields(job_id, raw)
    except (KeyError, ValueError, TypeError, ConfigError, RecursionError):
        return None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
