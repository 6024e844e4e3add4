"""Each verb as the arguments of its script. Pure: no connection, no reply.

Every script takes the tagged prefix as KEYS[1] and begins ARGV with the same head: the worker
('' when there is none), the retention in seconds, the cap of the `finished` list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ferryman.config import Settings
from ferryman.decision import Bury, Cancel, Decision, Finish, Release, Retry, Snooze
from ferryman.job import Draft
from ferryman.keys import Keys

Arg = str | int | float | bytes

FINISHED_CAP = 100_000
RECENT_CAP = 100_000
KEY_TTL = 86_400
"""Seconds an Idempotency-Key is remembered: a day."""

REAPED_TTL = 86_400
"""Seconds a reaped worker's list is looked at again: a day."""

PRESSED = 10.0
"""Seconds the memory gate must have been closed before finished jobs are forgotten early."""

FORGET_BATCH = 200
KEEP_NEWEST = 1_000
KEEP_SECONDS = 300.0
"""Of finished jobs the newest, and those that ended a moment ago, are never forgotten early."""


class Call(NamedTuple):
    """A script to run: its verb and its ARGV."""

    verb: str
    args: list[Arg]


@dataclass(frozen=True)
class Calls:
    """Builds the calls of one shard."""

    keys: Keys
    settings: Settings

    def _call(self, verb: str, worker: str, *args: Arg) -> Call:
        return Call(verb, [worker, int(self.settings.retention), FINISHED_CAP, *args])

    def enqueue(self, drafts: Sequence[Draft]) -> Call:
        args: list[Arg] = [self.settings.max_pending, RECENT_CAP, KEY_TTL, len(drafts)]
        for d in drafts:
            fields = d.fields()
            due = [_or_empty(d.delay), _or_empty(d.run_at)]
            args += [d.id, d.queue, d.priority, *due, d.idempotency_key or "", d.digest or ""]
            args.append(len(fields))
            for name, value in fields.items():
                args += [name, value]
        return self._call("enqueue", "", *args)

    def claim(
        self,
        worker: str,
        free: int,
        lists: Sequence[str],
        ids: Sequence[str],
        adopt: bool,
        newest: int = 0,
    ) -> Call:
        s = self.settings
        head = (free, int(adopt), s.timeout, s.grace, newest, len(lists))
        return self._call("claim", worker, *head, *lists, *ids)

    def settle(
        self, worker: str, decisions: Iterable[Decision]
    ) -> list[tuple[Call, list[Decision]]]:
        """The fewest calls that settle these: one per kind of decision, one per cancel."""
        by_kind: dict[type, list[Decision]] = {}
        for decision in decisions:
            by_kind.setdefault(type(decision), []).append(decision)
        calls = []
        for kind, group in by_kind.items():
            if kind is Cancel:
                calls += [(self.cancel(d.id, worker, d.attempt), [d]) for d in group]
                continue
            head: list[Arg] = [0] if kind is Release else []
            args = [arg for d in group for arg in _settle_args(d)]
            calls.append((self._call(kind.__name__.lower(), worker, *head, *args), group))
        return calls

    def release(self, worker: str, attempts: Sequence[tuple[str, int]], alone: bool) -> Call:
        args: list[Arg] = [part for pair in attempts for part in pair]
        return self._call("release", worker, int(alone), *args)

    def recover(
        self, worker: str, entry: str, error: str, is_silent: bool = False, limit: int = 200
    ) -> Call:
        lease = self.settings.lease if is_silent else ""
        return self._call("recover", worker, limit, entry, error, lease)

    def promote(self, limit: int = 200) -> Call:
        return self._call("promote", "", limit)

    def cancel(self, job_id: str, worker: str = "", attempt: int | None = None) -> Call:
        return self._call("cancel", worker, job_id, "" if attempt is None else attempt)

    def revive(self, job_id: str, payload: str | None) -> Call:
        return self._call("revive", "", job_id, int(payload is not None), payload or "")

    def delete(self, job_id: str) -> Call:
        return self._call("delete", "", job_id)

    def progress(self, worker: str, job_id: str, attempt: int, fraction: float, note: str) -> Call:
        return self._call("progress", worker, job_id, attempt, fraction, note)

    def tally(self, job_id: str, counts: Iterable[tuple[str, str, int]]) -> Call:
        args: list[Arg] = [part for count in counts for part in count]
        return self._call("tally", "", job_id, *args)

    def register(self, worker: str, queues: Sequence[str], about: Mapping[str, Arg]) -> Call:
        args: list[Arg] = [part for pair in about.items() for part in pair]
        return self._call("register", worker, self.settings.lease, ",".join(queues), *args)

    def beat(
        self,
        supervisor: str,
        busy: Mapping[str, int],
        queues: Sequence[str],
        ages: Mapping[str, float] | None = None,
        instance: str = "",
        stopping: bool = False,
    ) -> Call:
        heard = ages or {}
        args: list[Arg] = [part for w, n in busy.items() for part in (w, n, heard.get(w, ""))]
        head = (self.settings.lease, instance, int(stopping), len(busy))
        return self._call("beat", supervisor, *head, *args, *queues)

    def forget(self) -> Call:
        return self._call("forget", "", PRESSED, FORGET_BATCH, KEEP_NEWEST, KEEP_SECONDS)

    def sweep(self, first: int, number: int = 100) -> Call:
        return self._call("sweep", "", REAPED_TTL, number, first)

    def pause(self, queue: str) -> Call:
        return self._call("pause", "", queue)

    def resume(self, queue: str) -> Call:
        return self._call("resume", "", queue)

    def recent(self, before: int | None, number: int) -> Call:
        return self._call("recent", "", "" if before is None else before, number)

    def stats(self) -> Call:
        return self._call("stats", "")

    def scrape(self) -> Call:
        return self._call("scrape", "")


def _or_empty(value: float | None) -> Arg:
    return "" if value is None else value


def _settle_args(decision: Decision) -> list[Arg]:
    match decision:
        case Finish(job_id, attempt, result, duration):
            return [job_id, attempt, result or "", duration]
        case Retry(job_id, attempt, delay, error, entry, most):
            return [job_id, attempt, delay, error, entry, most or ""]
        case Bury(job_id, attempt, error, entry, most):
            return [job_id, attempt, error, entry, most or ""]
        case Snooze(job_id, attempt, delay):
            return [job_id, attempt, delay]
        case Release(job_id, attempt) | Cancel(job_id, attempt):
            return [job_id, attempt]
