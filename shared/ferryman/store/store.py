"""The store: every verb on every job, and the only way to Redis.

Calls wait at most `timeout` seconds a try. What is safe to repeat is tried once more after a lost
connection: every verb here is, by its id, its attempt or its state. After a failure calls fail at
once for half a second, so that a Redis that hangs does not hang its callers.
Next on the way of a job: lua/<verb>.lua, then `ferryman_worker.child`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis
from redis.exceptions import NoScriptError, RedisError

from ferryman.config import Settings, mask
from ferryman.decision import Decision
from ferryman.errors import (
    ConfigError,
    IdempotencyConflict,
    JobNotFound,
    MemoryFull,
    QueueFull,
    StoreUnavailable,
    WrongState,
)
from ferryman.job import Draft, Job
from ferryman.keys import Keys
from ferryman.lifecycle import State
from ferryman.store import meters, records
from ferryman.store.calls import Arg, Call, Calls
from ferryman.store.connect import as_unavailable, encoded, first_word, is_lost_connection, pool
from ferryman.store.connections import Connections
from ferryman.store.meters import Reading
from ferryman.store.records import Accepted, Beat, Forgetting, Promotion, Recovery, Stats
from ferryman.store.scripts import scripts

PAUSE = 0.5
"""Seconds calls fail at once after a failure."""


class Store:
    """The jobs of one shard. Safe to use from many threads."""

    def __init__(
        self,
        settings: Settings,
        keys: Keys | None = None,
        *,
        timeout: float = 0.7,
        tries: int = 2,
    ) -> None:
        self.settings, self.keys = settings, keys or Keys()
        self.address = settings.redis_address
        self.calls = Calls(self.keys, settings)
        self.pool = pool(settings, timeout)
        self._connections = Connections(self.pool)
        self._redis = redis.Redis(connection_pool=self.pool)
        # Replies as Redis gives them: redis-py's callbacks decode some commands and not others.
        self._redis.response_callbacks.clear()
        self._tries = tries
        self._down_until = 0.0
        self._trial = threading.Lock()

    def close(self) -> None:
        """Drop every connection; the next call connects again."""
        self._connections.close()
        self.pool.disconnect()

    # The verbs of a job.

    def enqueue(self, drafts: Sequence[Draft]) -> list[Accepted]:
        """Accept jobs, all or none, at most 1,000; a repeat of an accepted one is answered as such.

        Raises QueueFull, MemoryFull, IdempotencyConflict, StoreUnavailable.
        """
        reply = self._run(self.calls.enqueue(drafts))
        match reply[0]:
            case b"OK":
                ids = [_id(i) for i in reply[1::2]]
                return [Accepted(i, bool(n)) for i, n in zip(ids, reply[2::2], strict=True)]
            case b"MEMORY":
                raise MemoryFull("Redis is nearly full: no new jobs until some are done")
            case b"FULL":
                raise QueueFull(reply[1].decode(), reply[2])
            case _:
                twice = drafts[reply[1] - 1]
                by_key = twice.idempotency_key is not None
                raise IdempotencyConflict("Idempotency-Key" if by_key else f"id {twice.id!r}")

    def cancel(self, job_id: str) -> State:
        """Cancel a waiting job, ask a running one to stop; gives the state it was in.

        Raises JobNotFound, and WrongState for a finished job.
        """
        state = self._state(job_id, self._run(self.calls.cancel(job_id)))
        if state in (State.COMPLETED, State.FAILED, State.CANCELLED):
            raise WrongState(job_id, "cancel", state)
        return state

    def revive(self, job_id: str, payload: str | None = None) -> State:
        """Run a finished job again, with a new payload (JSON text) if given; gives its old state.

        Raises JobNotFound, and WrongState for a job that is not finished.
        """
        state = self._state(job_id, self._run(self.calls.revive(job_id, payload)))
        if state not in (State.COMPLETED, State.FAILED, State.CANCELLED):
            raise WrongState(job_id, "retry", state)
        return state

    def delete(self, job_id: str) -> State:
        """Delete a waiting or finished job, ask a running one to stop; gives its last state."""
        state = self._state(job_id, self._run(self.calls.delete(job_id)))
        if state is not State.RUNNING:
            return state
        try:
            asked = self.cancel(job_id)
        except WrongState:  # it ended in between
            return self.delete(job_id)
        return asked if asked is State.RUNNING else self.delete(job_id)

    def settle(self, worker: str, decisions: Sequence[Decision]) -> list[Decision]:
        """Settle attempts; gives back those that are no longer this worker's (fenced)."""
        fenced: list[Decision] = []
        for call, group in self.calls.settle(worker, decisions):
            reply = self._run(call)
            statuses = reply if isinstance(reply, list) else [reply]
            fenced += [d for d, ok in zip(group, statuses, strict=True) if not ok]
        return fenced

    def release(self, worker: str, attempts: Sequence[tuple[str, int]], alone: bool) -> list[int]:
        """Give attempts back to the head of their queues, nothing charged."""
        return list(self._run(self.calls.release(worker, attempts, alone)))

    def recover(self, worker: str, entry: str, error: str, is_silent: bool = False) -> Recovery:
        """Take a dead worker off the roll and move up to 200 of its jobs on.

        `is_silent`: its lease is over, and nobody knows since when it has been gone. What was begun
        for it in a wait after its last beat is then given back uncharged, once a job.
        """
        return Recovery(*self._run(self.calls.recover(worker, entry, error, is_silent)))

    def promote(self) -> Promotion:
        """Move up to 200 due jobs to their pending lists."""
        promoted, alone, next_in = self._run(self.calls.promote())
        return Promotion(promoted, alone, float(next_in) if next_in else None)

    def progress(self, worker: str, job_id: str, attempt: int, fraction: float, note: str) -> bool:
        """Note how far an attempt is; False when it is no longer this worker's."""
        return bool(self._run(self.calls.progress(worker, job_id, attempt, fraction, note)))

    def tally(
        self, job_id: str, counts: Mapping[str, Mapping[str, int]]
    ) -> dict[str, dict[str, int]]:
        """Add counters {day: {name: n}}, once per job id; gives the totals after it."""
        flat = [(day, name, n) for day, names in counts.items() for name, n in names.items()]
        totals: dict[str, dict[str, int]] = {}
        reply = self._run(self.calls.tally(job_id, flat))
        for (day, name, _), total in zip(flat, reply, strict=True):
            totals.setdefault(day, {})[name] = total
        return totals

    def pause(self, queue: str) -> bool:
        """Start nothing from this queue until `resume`; False when it was paused already."""
        return bool(self._run(self.calls.pause(queue)))

    def resume(self, queue: str) -> bool:
        """Serve the queue again; False when it was not paused."""
        return bool(self._run(self.calls.resume(queue)))

    # The roll of workers.

    def register(self, worker: str, queues: Sequence[str], about: Mapping[str, Arg]) -> bool:
        """Put a worker on the roll; False when its name was reaped."""
        return bool(self._run(self.calls.register(worker, queues, about)))

    def beat(
        self,
        supervisor: str,
        busy: Mapping[str, int],
        queues: Sequence[str],
        ages: Mapping[str, float] | None = None,
        instance: str = "",
        stopping: bool = False,
    ) -> Beat:
        """Renew the leases of a supervisor's workers and look around.

        `ages`: seconds since each heard Redis. `instance`: the data the caller worked on so far.
        `stopping`: it claims no more and waits for the runs to end.
        """
        call = self.calls.beat(supervisor, busy, queues, ages, instance, stopping)
        leads, alive, cancels, late, alone, now_on = self._run(call)
        names = [_id(v) for v in cancels]
        return Beat(
            bool(leads),
            [w for w, ok in zip(busy, alive, strict=True) if not ok],
            list(zip(names[::2], names[1::2], strict=True)),
            dict(zip(map(_id, late[::2]), map(_id, late[1::2]), strict=True)),
            alone,
            now_on.decode(),
        )

    def sweep(self, first: int = 0) -> tuple[int, list[str]]:
        """Reaped workers whose list is not empty, among 100 names from `first`; names looked at."""
        looked, *found = self._run(self.calls.sweep(first))
        return looked, [_id(w) for w in found]

    def forget(self) -> Forgetting:
        """While memory stays short, let up to 200 finished jobs go before their time."""
        closed, forgotten = self._run(self.calls.forget())
        return Forgetting(bool(closed), forgotten)

    def running(self, worker: str) -> list[str]:
        """The ids in a worker's list, the oldest claim first."""
        ids = self._command("LRANGE", self.keys.running(worker), 0, -1)
        return [_id(i) for i in ids]

    def await_wake(self, seconds: float) -> bool:
        """Wait for the token that a job due before all others leaves; at most `seconds`.

        `seconds` must stay under the socket timeout given to this store.
        """
        return self._command("BLPOP", self.keys("wake"), seconds) is not None

    # Reading.

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
        return [(top - i, _id(raw)) for i, raw in enumerate(ids[: max(top, 0)])]

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
        return [(last - i, _id(raw)) for i, raw in enumerate(ids)]

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

    def ping(self) -> None:
        """Return when Redis answers; StoreUnavailable when it does not."""
        self._command("PING")

    def server(self) -> dict[str, str]:
        """The fields of INFO server."""
        lines = self._command("INFO", "server")
        return dict(line.split(":", 1) for line in lines.decode().splitlines() if ":" in line)

    def check_server(self) -> None:
        """Return when the server can serve; ConfigError when it is too old for the scripts."""
        server = self.server()
        is_valkey = "valkey_version" in server
        version = server.get("valkey_version") or server.get("redis_version", "0")
        least = (7, 2) if is_valkey else (7, 0)
        if tuple(int(part) for part in version.split(".")[:2]) < least:
            name = "Valkey" if is_valkey else "Redis"
            raise ConfigError(
                f"REDIS_URL: expected Redis 7.0 or Valkey 7.2 and newer, got {name} {version} "
                f"at {mask(self.address)}"
            )

    def command(self, *args: str) -> Any:
        """Any Redis command, its reply undecoded: for `ferryman redis`."""
        return self._command(*args)

    # How a call reaches Redis.

    def _run(self, call: Call) -> Any:
        script = scripts()[call.verb]
        args = (script.sha, 1, self.keys.prefix, *call.args)
        try:
            return self._command("EVALSHA", *args)
        except NoScriptError:
            self._command("SCRIPT LOAD", script.text)
            return self._command("EVALSHA", *args)

    def _command(self, *args: Any) -> Any:
        return self._attempt(lambda: self._connections.ask(args))

    def _pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies in order; a command that met a key of another type gives its error."""

        def send() -> Any:
            with self._redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*encoded(command))
                replies = pipe.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, RedisError) and first_word(reply) != "WRONGTYPE":
                    raise reply
            return replies

        replies: list[Any] = self._attempt(send)
        return replies

    def _attempt(self, send: Callable[[], Any]) -> Any:
        if not self._down_until:
            return self._tried(send, self._tries)
        # After a failure one call at a time looks whether Redis is back, once; the others, which
        # would hold a thread each until they time out, fail at once.
        if time.monotonic() < self._down_until or not self._trial.acquire(blocking=False):
            raise StoreUnavailable("Redis did not answer a moment ago")
        try:
            return self._tried(send, 1)
        finally:
            self._trial.release()

    def _tried(self, send: Callable[[], Any], tries: int) -> Any:
        while True:
            try:
                reply = send()
            except RedisError as error:
                tries -= 1
                lost = is_lost_connection(error)
                if lost and tries:
                    continue
                self._down_until = time.monotonic() + PAUSE if lost else 0.0
                unavailable = as_unavailable(error, self.address)
                if unavailable is None:
                    raise
                raise unavailable from error
            self._down_until = 0.0
            return reply

    def _state(self, job_id: str, reply: bytes) -> State:
        """The state in a reply; what is no state is the record of no job any more."""
        try:
            return State(_id(reply))
        except ValueError:
            raise JobNotFound(job_id) from None


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


def _id(raw: bytes) -> str:
    """An id or a name; foreign bytes stay what they are, and go back as such."""
    return raw.decode("utf-8", "surrogateescape")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
