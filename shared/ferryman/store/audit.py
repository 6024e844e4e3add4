"""What an audit reads and mends: the whole keyspace, in batches that never hold Redis up.

SCAN is allowed here because no request waits for it. A batch is one SCAN of 500, one script over
200 jobs or one LRANGE of 1,000; none takes Redis more than about 1 ms. What the rows mean is
`ferryman.check`, and when it is a finding `ferryman.audit`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError, RedisError, ResponseError

from ferryman.config import Settings
from ferryman.errors import StoreDamaged, StoreUnavailable
from ferryman.keys import Keys
from ferryman.lifecycle import State
from ferryman.store import records
from ferryman.store.calls import Arg, Call
from ferryman.store.connect import as_unavailable, encoded, first_word
from ferryman.store.records import Recovery, decoded
from ferryman.store.scripts import scripts
from ferryman.store.store import Store

FIELDS = (
    "state", "queue", "priority", "worker", "dropped", "attempt", "failures", "crashes",
    "max_attempts", "settled", "type", "deleted", "lies_in",
)  # fmt: skip
"""What an audit looks at of a job; never its payload."""

SCAN = 500
SURVEY = 100
WINDOW = 1_000
QUEUES = 100
"""Queues one census looks at; the script takes 8 lengths of each."""

STEPS = 100_000
"""Parts a repair is done in at most; one that does not end is told as undone."""

Raw = list[Any]
"""A job as the survey gives it: seconds to live, then FIELDS as bytes or None."""

Words = tuple[str, str, str]
"""A piece of evidence or an act of lua/mend.lua: what, where, value."""


class Counted(NamedTuple):
    """A queue's counters of pending, running and scheduled beside what lies in its places.

    A place is None when there was too much in it to count in one script.
    """

    queue: str
    pending: int
    running: int
    scheduled: int
    entries: int | None
    begun: int | None
    due: int | None


@dataclass(frozen=True)
class Census:
    """Every queue counted; each by itself at one moment, `events` at the last of them."""

    queues: Sequence[Counted]
    events: Mapping[str, int]
    scheduled: int
    """Jobs by the counter of `stats`, when `due` was the length of the sorted set."""
    due: int


@dataclass
class Roll:
    """Who and what is known."""

    now: float = 0.0
    leases: dict[str, float] = field(default_factory=dict)
    reaped: set[str] = field(default_factory=set)
    queues: set[str] = field(default_factory=set)
    meta: dict[str, str] = field(default_factory=dict)

    def knows(self, worker: str) -> bool:
        """Whether a list of this worker's has somebody to look after it."""
        return worker in self.leases or worker in self.reaped


class Audit(Store):
    """A store that can look at everything and set it right."""

    def __init__(self, settings: Settings, keys: Keys | None = None) -> None:
        super().__init__(settings, keys, timeout=5.0)

    # Reading.

    def names(self, family: str = "") -> Iterator[list[bytes]]:
        """Every key (that begins so) without the prefix, in batches; one may come twice."""
        prefix, cursor = self.keys.prefix.encode(), b"0"
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self.keys.prefix + family) + "*"
        while True:
            cursor, keys = self._command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN)
            yield [key[len(prefix) :] for key in keys]
            if cursor == b"0":
                return

    def answer(self, *command: str | int) -> Any:
        """A reply; None where this server does not answer: forbidden, renamed, the wrong type."""

        def send() -> Any:
            try:
                return self._redis.execute_command(*encoded(command))
            except ResponseError:
                return None

        return self._attempt(send)

    def size(self) -> int:
        """Keys in the database: about how far a walk over all of them goes."""
        return int(self._command("DBSIZE"))

    def types(self, names: Sequence[bytes]) -> list[str]:
        """The Redis types of these keys, "none" for one that is gone."""
        return [decoded(r) for r in self._replies([("TYPE", self._key(n)) for n in names])]

    def survey(self, ids: Sequence[bytes]) -> list[Raw]:
        """Of each job its time to live and FIELDS; [-2, ...] when gone, [-3] when not a hash."""
        parts = [ids[i : i + SURVEY] for i in range(0, len(ids), SURVEY)]
        calls = [self._call("survey", len(FIELDS), *FIELDS, *part) for part in parts]
        return [row for rows in self._scripts(calls) for row in rows]

    def walk(self, name: str) -> Iterator[list[bytes]]:
        """Every element of a list that stays in it, from the tail to the head.

        Ids leave lists at the head and come in at the tail, so places counted from the tail only
        grow by what came in meanwhile; each window begins with the last element of the one before,
        which shows by how much. An element may come twice when others are taken out between.
        """
        key, read, anchor = self.keys(name), 0, None
        while True:
            first = -(read + WINDOW)
            window = self._replies([("LRANGE", key, first, -max(read, 1))])[0]
            if not isinstance(window, list) or not window:
                return
            at_head = len(window) < WINDOW
            if anchor is not None and anchor in window:
                place = len(window) - 1 - window[::-1].index(anchor)
                read += len(window) - 1 - place
                window = window[:place]
            elif anchor is not None:
                read = max(0, read - WINDOW // 2)
                anchor = None
                continue
            yield window
            read += len(window)
            if at_head:
                return
            anchor = window[0] if window else anchor

    def walk_scheduled(self) -> Iterator[list[bytes]]:
        """Every id of `scheduled` that stays in it; one may come twice."""
        cursor = b"0"
        while True:
            reply = self._replies([("ZSCAN", self.keys("scheduled"), cursor, "COUNT", SCAN)])[0]
            if not isinstance(reply, list):
                return
            cursor, flat = reply
            yield flat[::2]
            if cursor == b"0":
                return

    def roll(self) -> Roll:
        """Workers, queues and the schema, as far as their keys can be read."""
        names = [
            ("TIME",),
            ("ZRANGE", self.keys("workers"), 0, -1, "WITHSCORES"),
            ("ZRANGE", self.keys("reaped"), 0, -1),
            ("SMEMBERS", self.keys("queues")),
            ("HGETALL", self.keys("meta")),
        ]
        replies = self._replies(names)
        time, leases, reaped, queues, meta = (r if isinstance(r, list) else [] for r in replies)
        return Roll(
            int(time[0]) + int(time[1]) / 1_000_000,
            {decoded(w): float(lease) for w, lease in zip(leases[::2], leases[1::2], strict=True)},
            {decoded(w) for w in reaped},
            {decoded(q) for q in queues},
            records.pairs(meta),
        )

    def shelves(self, queues: Sequence[str]) -> list[tuple[str, bool, list[str]]]:
        """Of each queue whether it is paused and which of its lists there are, at one moment."""
        found = []
        for i in range(0, len(queues), QUEUES):
            part = queues[i : i + QUEUES]
            for queue, row in zip(part, self._ask("shelves", *part) or (), strict=False):
                found.append((queue, row[0] == 1, [decoded(name) for name in row[1:]]))
        return found

    def lengths(self, names: Sequence[str]) -> list[int]:
        """How many elements these lists hold; 0 for what is no list."""
        replies = self._replies([("LLEN", self.keys(name)) for name in names])
        return [r if isinstance(r, int) else 0 for r in replies]

    def idem(self, names: Sequence[bytes]) -> list[tuple[bytes | None, int, bool]]:
        """Of each idempotency key: the id, its time to live, whether that job exists."""
        ids = self._replies([("GET", self._key(n)) for n in names])
        job = self.keys.job("").encode()
        commands: list[tuple[Any, ...]] = []
        for name, job_id in zip(names, ids, strict=True):
            commands.append(("TTL", self._key(name)))
            commands.append(("EXISTS", job + (job_id if isinstance(job_id, bytes) else b"")))
        more = self._replies(commands)
        values = (i if isinstance(i, bytes) else None for i in ids)
        return list(zip(values, more[::2], map(bool, more[1::2]), strict=True))

    def census(self, queues: Sequence[str]) -> Census:
        """Counters beside places, each queue at one moment."""
        counted: list[Counted] = []
        events: dict[str, int] = {}
        due = 0
        for i in range(0, max(len(queues), 1), QUEUES):
            flat, due, *rows = self._ask("census", *queues[i : i + QUEUES]) or [(), 0]
            events = {name: _number(n) for name, n in records.pairs(flat).items()}
            for name, *numbers in rows:
                p, r, s, entries, begun, lie = (_number(n) for n in numbers)
                counted.append(
                    Counted(decoded(name), p, r, s, *map(_counted, (entries, begun, lie)))
                )
        return Census(counted, events, events.get("scheduled", 0), due)

    def sums(self) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """The counters of `stats` and of up to 1,000 queues, all at one moment."""
        reply = self._ask("stats")
        if reply is None:
            return {}, {}
        numbers = {n: _number(v) for n, v in records.pairs(reply[0]).items()}
        by_queue = zip(reply[3][::2], reply[3][1::2], strict=True)
        return numbers, {
            decoded(q): {n: _number(v) for n, v in records.pairs(own).items()}
            for q, own in by_queue
        }

    def garbled(self) -> list[tuple[str, str]]:
        """Counters that no script can add to, as (key, field): they are no whole numbers."""
        names = ["stats", *(f"queue:{queue}" for queue in sorted(self.roll().queues))]
        replies = self._replies([("HGETALL", self.keys(name)) for name in names])
        return [
            (name, counter)
            for name, flat in zip(names, replies, strict=True)
            if isinstance(flat, list)
            for counter, value in records.pairs(flat).items()
            if name == "stats" or counter in set(State)
            if not _can_be_added_to(counter, value)
        ]

    # Mending.

    def mend(self, job_id: str, evidence: Sequence[Words], acts: Sequence[Words]) -> bool:
        """Do these acts if all evidence holds; without acts, only whether it does."""
        words = [word for three in (*evidence, *acts) for word in three]
        return bool(self._ask("mend", int(bool(acts)), job_id, len(evidence), *words))

    def tidy(self, what: str, *words: str) -> bool:
        """Set one key right, in as many parts as it takes; False when nothing was to be done."""
        for done in range(STEPS):
            if not self._ask("tidy", what, *words):
                return done > 0
        return False

    def recount(self, guards: Mapping[str, int], dropped: Mapping[str, int]) -> bool:
        """Set the counters of these queues and all sums; False when a guard has moved."""
        queues = list(dropped.items())
        done = True
        for i in range(0, max(len(queues), 1), QUEUES):
            words = [
                str(word) for pair in (*guards.items(), *queues[i : i + QUEUES]) for word in pair
            ]
            done = bool(self._ask("recount", len(guards), *words)) and done
        return done

    def recover(self, worker: str, entry: str, error: str, is_silent: bool = False) -> Recovery:
        """As ever; stops where it meets something odd, which the next audit sees."""
        try:
            return super().recover(worker, entry, error, is_silent)
        except (ResponseError, StoreDamaged):
            return Recovery(0, 0, 0, 0)

    def note(self, at: float, violations: int) -> None:
        """Leave the result for `/metrics`, in the hash `audit`."""
        self._command("HSET", self.keys("audit"), "at", f"{at:.3f}", "violations", violations)

    # How a call reaches Redis.

    def _key(self, name: bytes) -> bytes:
        return self.keys.prefix.encode() + name

    def _call(self, verb: str, *args: Arg) -> Call:
        return self.calls._call(verb, "", *args)

    def _ask(self, verb: str, *args: Arg) -> Any:
        """A script's reply; None when one that only reads met a key of the wrong type."""
        try:
            return self._run(self._call(verb, *args))
        except StoreDamaged:
            return None

    def _scripts(self, calls: Sequence[Call]) -> list[Any]:
        def send(call: Call) -> tuple[Any, ...]:
            return ("EVALSHA", scripts()[call.verb].sha, 1, self.keys.prefix, *call.args)

        replies = self._replies([send(call) for call in calls])
        if any(isinstance(reply, NoScriptError) for reply in replies):
            self._command("SCRIPT LOAD", scripts()[calls[0].verb].text)
            replies = self._replies([send(call) for call in calls])
        return replies

    def _replies(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Replies in order; WRONGTYPE and NOSCRIPT as they are, for they say what is there."""

        def send() -> Any:
            with self._redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*encoded(command))
                return pipe.execute(raise_on_error=False)

        if not commands:
            return []
        replies: list[Any] = self._attempt(send)
        for reply in replies:
            if isinstance(reply, RedisError) and not _says_what_is_there(reply):
                raise as_unavailable(reply, self.address) or StoreUnavailable(str(reply))
        return replies


def _says_what_is_there(error: RedisError) -> bool:
    return isinstance(error, NoScriptError) or first_word(error) == "WRONGTYPE"


def _number(raw: bytes | str | int) -> int:
    """A counter; 0 for what is not one."""
    try:
        return int(raw)
    except ValueError:
        return 0


def _can_be_added_to(name: str, value: str) -> bool:
    if name == "duration_sum":
        return re.fullmatch(r"[0-9]{1,18}", value) is not None  # microseconds: many digits
    return re.fullmatch(r"-?[0-9]{1,15}", value) is not None


def _counted(n: int) -> int | None:
    return None if n < 0 else n
