"""What the store's tests share: a driver for the verbs, and the whole keyspace around an act.

    with world.changes() as changed:
        hand.finish("a")
    assert changed == {"running:w": [], "finished": ["a"], "job:a": {"state": "completed"}, ...}

`changed` holds every key of the namespace that differs, so what it does not name did not change;
only the meters (`labels`, `metrics:...`), which every verb adds to, are left to test_meter.py.
Lists, sets and sorted sets are given whole as they are now ([], set() and {} when gone); of a hash
the fields that differ (None: removed), or None when it is gone; of counters the difference.
Times, and times to live, are given in seconds after the act.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import settings as hypothesis_settings

from ferryman.check import Finding, Report, inspect, repair
from ferryman.decision import Bury, Cancel, Decision, Finish, Release, Retry, Snooze
from ferryman.job import Draft
from ferryman.keys import LEVELS
from ferryman.store import Accepted, Claimed, Port, Store, Turn
from ferryman.store.audit import Audit

# The property test, for longer: pytest tests/store/test_property.py --hypothesis-profile=long
hypothesis_settings.register_profile("long", deadline=None, max_examples=5_000)

LOOK = """
local out, cursor, reads = {redis.call('TIME')}, '0', {
  hash = {'HGETALL'}, list = {'LRANGE', 0, -1}, zset = {'ZRANGE', 0, -1, 'WITHSCORES'},
  set = {'SMEMBERS'}, string = {'GETRANGE', 0, -1},
}
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1] .. '*', 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local kind = redis.call('TYPE', key).ok
    local read = reads[kind]
    local value = redis.call(read[1], key, unpack(read, 2))
    out[#out + 1] = {key, kind, redis.call('PEXPIRETIME', key), value}
  end
until cursor == '0'
return out
"""

TIMES = {
    "created_at",
    "started_at",
    "completed_at",
    "updated_at",
    "ready_at",
    "run_at",
    "deadline",
    "cancel_requested",
    "registered_at",
    "paused",
}
NUMBERS = {"attempt", "failures", "crashes", "dropped", "settled", "max_attempts", "deleted"}
NUMBERS |= {"stale", "alone", "busy", "beat", "schema"}


class Entry(NamedTuple):
    """One key: its type, when it expires (epoch seconds, None: never), its value."""

    kind: str
    expires: float | None
    value: Any


@dataclass(frozen=True)
class Snapshot:
    """Every key of a namespace at one moment, by its name without the prefix."""

    at: float
    keys: Mapping[str, Entry]

    def of_kind(self, kind: str) -> dict[str, Any]:
        """The values of all keys of this type."""
        return {name: entry.value for name, entry in self.keys.items() if entry.kind == kind}

    def value(self, name: str, default: Any) -> Any:
        """The value of one key."""
        return self.keys[name].value if name in self.keys else default


def snapshot(store: Store) -> Snapshot:
    """Read everything, in one script."""
    prefix = store.keys.prefix
    (seconds, micros), *rows = store.command("EVAL_RO", LOOK, "0", prefix)
    keys = {}
    for key, kind, expires, value in rows:
        name, kind_ = _text(key)[len(prefix) :], _text(kind)
        keys[name] = Entry(kind_, None if expires < 0 else expires / 1000, _value(kind_, value))
    return Snapshot(int(seconds) + int(micros) / 1_000_000, keys)


def _value(kind: str, raw: Any) -> Any:
    if kind == "string":
        return _text(raw)
    items = [_text(i) for i in raw]
    if kind == "hash":
        return dict(zip(items[::2], items[1::2], strict=True))
    if kind == "zset":
        return {m: float(score) for m, score in zip(items[::2], items[1::2], strict=True)}
    return set(items) if kind == "set" else items


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


class Moment:
    """A time; equal to the number of seconds after the act at which it lies."""

    __hash__ = None  # type: ignore[assignment]  # equal to a whole range of numbers

    def __init__(self, at: float | str, first: float, last: float) -> None:
        self.at, self.first, self.last = float(at), first, last

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, int | float):
            return NotImplemented
        return self.first - 0.01 <= self.at - other <= self.last + 0.01

    def __repr__(self) -> str:
        return f"{self.at - self.last:.3f}"


@dataclass(frozen=True)
class Comparison:
    """Two snapshots, the one before and the one after an act."""

    before: Snapshot
    after: Snapshot

    def changes(self) -> dict[str, Any]:
        """Every key that differs; see the head of this file."""
        changed = {}
        for name in sorted({*self.before.keys, *self.after.keys}):
            if name == "labels" or name.startswith("metrics:"):
                continue
            old, new = self.before.keys.get(name), self.after.keys.get(name)
            if old != new:
                changed[name] = self._change(name, old, new)
        return changed

    def _change(self, name: str, old: Entry | None, new: Entry | None) -> Any:
        kind = (new or old or Entry("", None, "")).kind
        value = new.value if new else None
        match kind:
            case "zset":
                return {member: self._moment(score) for member, score in (value or {}).items()}
            case "list" if name == "quarantine":
                return [self._object(line, "at") for line in value or []]
            case "list":
                return value or []
            case "set":
                return value or set()
            case "hash" if name == "stats" or name.startswith("queue:"):
                return self._counters(old.value if old else {}, value or {})
            case "hash" if value is not None:
                return self._fields(old, new)
            case "string" if new and new.expires:
                return (value, self._moment(new.expires))
        return value

    def _counters(self, old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        for field in sorted({*old, *new}):
            if field in TIMES:
                if old.get(field) != new.get(field):
                    changed[field] = self._field(field, new.get(field))
            elif delta := round(float(new.get(field, 0)) - float(old.get(field, 0)), 6):
                changed[field] = delta
        return changed

    def _fields(self, old: Entry | None, new: Entry | None) -> dict[str, Any]:
        was, now = (old.value if old else {}), (new.value if new else {})
        names = {n for n in {*was, *now} if was.get(n) != now.get(n)}
        changed = {n: self._field(n, now.get(n)) for n in sorted(names)}
        expiry = (old.expires if old else None, new.expires if new else None)
        if expiry[0] != expiry[1]:
            changed["ttl"] = None if expiry[1] is None else self._moment(expiry[1])
        return changed

    def _field(self, name: str, value: str | None) -> Any:
        if value is None:
            return None
        if name in TIMES:
            return self._moment(value)
        if name == "errors":
            return [self._object(line, "failed_at") for line in value.split("\n")]
        return int(value) if name in NUMBERS else value

    def _object(self, line: str, time_field: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(line)
        return read | {time_field: self._moment(read[time_field])}

    def _moment(self, at: float | str) -> Moment:
        return Moment(at, self.before.at, self.after.at)


@dataclass
class World:
    """A store on a namespace of its own, and the workers on its roll."""

    store: Store

    def __post_init__(self) -> None:
        self.hands: list[Hand] = []

    def close(self) -> None:
        """Drop every worker's connections."""
        for hand in self.hands:
            hand.port.reset()

    def snapshot(self) -> Snapshot:
        """Everything there is, now."""
        return snapshot(self.store)

    @contextmanager
    def changes(self) -> Iterator[dict[str, Any]]:
        """What the act in the `with` block changes; filled in at its end."""
        changed: dict[str, Any] = {}
        before = self.snapshot()
        yield changed
        changed.update(Comparison(before, self.snapshot()).changes())

    def enqueue(self, *ids: str, type: str = "noop", **options: Any) -> list[Accepted]:
        """Accept jobs of these ids; options are fields of `Draft`."""
        return self.store.enqueue([Draft(id=i, type=type, **options) for i in ids])

    def worker(self, name: str = "w", queues: Sequence[str] = ("default",)) -> Hand:
        """A worker on the roll."""
        assert self.store.register(name, queues, {"host": "h", "pid": 1})
        return self.unregistered(name, queues)

    def unregistered(self, name: str, queues: Sequence[str] = ("default",)) -> Hand:
        """A worker that is not on the roll."""
        hand = Hand(self.store, name, queues)
        self.hands.append(hand)
        return hand

    def running(self, *ids: str, worker: str = "w", **options: Any) -> Hand:
        """These jobs, enqueued and begun by a new worker."""
        self.enqueue(*ids, **options)
        hand = self.worker(worker)
        assert [job.id for job in hand.claim(len(ids))] == list(ids)
        return hand

    def begun_behind_a_wait(self, job_id: str, worker: str = "w") -> None:
        """A job begun for a new worker that does not read the answer."""
        hand = self.worker(worker)
        hand.claim(lists=())  # the server knows the script from here on
        hand.port.listen(len(hand.port.listeners))
        if self.field(job_id, "state") is None:
            self.enqueue(job_id)
        while self.field(job_id, "state") != "running":
            time.sleep(0.01)

    def recover(self, worker: str = "w", is_silent: bool = False) -> Any:
        """Recover a worker, as upkeep does when it is gone."""
        entry = json.dumps({"worker": worker, "error": "gone"})
        return self.store.recover(worker, entry, "gone", is_silent)

    def make_due(self, *ids: str) -> None:
        """Let the time these scheduled jobs wait for be over."""
        for job_id in ids:
            self.store.command("ZADD", self.store.keys("scheduled"), "XX", "1", job_id)

    def list(self, name: str) -> list[str]:
        """A list as it lies in Redis, the head first."""
        return [_text(i) for i in self.store.command("LRANGE", self.store.keys(name), "0", "-1")]

    def field(self, job_id: str, name: str) -> str | None:
        """One field of a job's hash."""
        raw = self.store.command("HGET", self.store.keys.job(job_id), name)
        return None if raw is None else _text(raw)

    def set(self, job_id: str, **fields: object) -> None:
        """Write fields into a job's hash by hand."""
        for name, value in fields.items():
            self.store.command("HSET", self.store.keys.job(job_id), name, str(value))

    def stat(self, name: str) -> int:
        """One lifetime counter."""
        return int(self.store.command("HGET", self.store.keys("stats"), name) or 0)


class Hand:
    """A worker as Redis knows it: what it claims, and how it settles. Settling gives False when
    it was refused."""

    def __init__(self, store: Store, name: str, queues: Sequence[str]) -> None:
        keys = store.keys
        lists = [keys.pending_name(queue, level) for level in LEVELS for queue in queues]
        self.store, self.name = store, name
        self.port = Port(store.settings, keys, name, lists)

    def turn(self, free: int, *ids: str, adopt: bool = False, lists: Any = None) -> Turn:
        """Begin the delivered ids, then claim up to the free slots."""
        return self.port.turn([], free, ids, adopt, lists)

    def claim(self, free: int = 1, **options: Any) -> list[Claimed]:
        """Up to `free` jobs from the lists."""
        return self.turn(free, **options).jobs

    def begin(self, *ids: str, free: int = 1, adopt: bool = False) -> list[Claimed]:
        """Begin ids that lie in this worker's list; claim no more."""
        return self.turn(free, *ids, adopt=adopt, lists=()).jobs

    def deliver(self, level: str = "normal", queue: str = "default") -> str | None:
        """What BLMOVE does: an id into this worker's list, not begun."""
        source = self.store.keys.pending(queue, level)
        target = self.store.keys.running(self.name)
        raw = self.store.command("LMOVE", source, target, "LEFT", "RIGHT")
        return None if raw is None else _text(raw)

    def settle(self, *decisions: Decision) -> bool:
        """Settle these; False when any was refused."""
        return not self.store.settle(self.name, decisions)

    def settle_by(self, verb: str, job_id: str, attempt: int = 1) -> bool:
        """Settle by the name of the verb."""
        return bool(getattr(self, verb)(job_id, attempt))

    def finish(
        self, job_id: str, attempt: int = 1, result: str | None = None, seconds: float = 0.01
    ) -> bool:
        return self.settle(Finish(job_id, attempt, result, seconds))

    def retry(
        self, job_id: str, attempt: int = 1, delay: float = 10.0, error: str = "boom"
    ) -> bool:
        return self.settle(Retry(job_id, attempt, delay, error, _entry(attempt, error)))

    def bury(self, job_id: str, attempt: int = 1, error: str = "boom") -> bool:
        return self.settle(Bury(job_id, attempt, error, _entry(attempt, error)))

    def snooze(self, job_id: str, attempt: int = 1, delay: float = 10.0) -> bool:
        return self.settle(Snooze(job_id, attempt, delay))

    def release(self, *job_ids: str | int, attempt: int = 1) -> bool:
        """Ids in the order of their claims; a number after an id is its attempt."""
        pairs: list[tuple[str, int]] = []
        for part in job_ids:
            if isinstance(part, int):
                pairs[-1] = (pairs[-1][0], part)
            else:
                pairs.append((part, attempt))
        return self.settle(*(Release(*pair) for pair in pairs))

    def cancel(self, job_id: str, attempt: int = 1) -> bool:
        """The attempt stopped as it was asked to."""
        return self.settle(Cancel(job_id, attempt))


def _entry(attempt: int, error: str) -> str:
    return json.dumps({"attempt": attempt, "error": error})


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    """The store of this test, with a driver for its verbs."""
    made = World(store)
    yield made
    made.close()


@pytest.fixture
def make_world() -> Iterator[Any]:
    """Makes worlds on stores of one's own, closed at the end."""
    made: list[World] = []

    def make(store: Store) -> World:
        made.append(World(store))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.store.close()


@dataclass
class Town:
    """A world in which every kind of job lives, and the audit that looks at it."""

    world: Any
    audit: Audit

    def redis(self, *words: object) -> Any:
        """A command; a word that begins with / is a key."""
        keys = self.audit.keys
        told = [keys(w[1:]) if isinstance(w, str) and w.startswith("/") else w for w in words]
        return self.audit._command(*told)

    def inspect(self) -> Report:
        return inspect(self.audit, settle=0.0)

    def findings(self) -> list[Finding]:
        return self.inspect().findings

    def repair(self) -> tuple[list[Finding], Report]:
        return repair(self.audit, self.inspect(), settle=0.0)


@pytest.fixture
def town(world) -> Iterator[Town]:
    """Jobs in every state and every place, on two queues of which one is paused."""
    old = world.running("crashed", "buried", worker="old")
    old.bury("buried")
    world.recover("old")
    world.enqueue("done", "failed", "retried", "snoozed", "run", "claimed")
    world.store.enqueue(
        [Draft(id="keyed", type="noop", idempotency_key="key", digest="d", priority="high")]
    )
    hand = world.worker()
    assert [job.id for job in hand.claim(6)][:2] == ["keyed", "done"]
    assert hand.finish("keyed")
    assert hand.finish("done", result="1")
    assert hand.bury("failed")
    assert hand.retry("retried", delay=60.0)
    assert hand.snooze("snoozed", delay=60.0)
    assert hand.deliver() == "claimed"
    world.enqueue("p1", "p2", "cancelled", "deleted", "revived", max_attempts=3)
    world.enqueue("urgent", priority="high")
    world.enqueue("later", delay=60.0)
    world.store.cancel("cancelled")
    world.store.delete("deleted")
    world.store.cancel("revived")
    world.store.revive("revived")
    world.enqueue("h1", "h2", queue="other")
    world.store.pause("other")
    audit = Audit(world.store.settings, world.store.keys)
    yield Town(world, audit)
    audit.close()
