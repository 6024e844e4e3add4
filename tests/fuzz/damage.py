"""Ways to damage what lies in Redis, one at a time, each told in words."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis

from ferryman.keys import Keys

KEYS = Keys()
P = KEYS.prefix

JUNK = [
    b"", b"x", b"-1", b"0", b"1", b"1e400", b"nan", b"inf", b"-inf", b"\xff\xfe\x00", b"9" * 40,
    b"{", b"[1", b"null", b'"a"', b"running", b"pending", b"scheduled", b"completed", b"failed",
    b"blocked", b"1.5", b"0x10", b"\n", b"a" * 5000, b"a:b", b"a b", b"\xc3\xa9", b"[" * 2000,
    b"1" * 17, b'{"base":"x"}', b'{"a":1}', b"[1,2]", b"high", b"-9223372036854775808",
    b"9223372036854775807", b"4294967295", b"99999999999999", b"1784000000.5", b"calm", b"q1",
    b"None", b"true",
]  # fmt: skip
FIELDS = ["state", "type", "queue", "priority", "payload", "attempt", "failures", "crashes",
          "worker", "max_attempts", "timeout", "backoff", "created_at", "started_at",
          "completed_at", "run_at", "expires_at", "updated_at", "tags", "meta", "error", "errors",
          "result", "settled", "alone", "dropped", "deleted", "lies_in", "stale", "unheard",
          "cancel_requested", "deadline", "digest", "idempotency_key", "progress",
          "ready_at"]  # fmt: skip
METER = ["created", "started", "completed", "failed", "deduplicated", "wait:0.01", "wait:sum",
         "duration:completed:0.01", "duration:completed:sum", "total:inf", "total:sum"]  # fmt: skip
STATES = [b"pending", b"scheduled", b"running", b"completed", b"failed", b"cancelled", b"blocked"]
WHOLE = ("stats", "workers", "reaped", "queues", "scheduled", "finished", "recent", "dlq", "meta",
         "quarantine", "wake", "upkeep")  # fmt: skip
"""Keys that every queue needs; the others belong to one queue, worker or job."""


@dataclass
class Damage:
    """What was done, in words, and which keys it struck."""

    said: list[str] = field(default_factory=list)
    struck: set[str] = field(default_factory=set)
    spoiled: set[str] = field(default_factory=set)
    """Keys that hold another type now."""

    def note(self, what: str, name: str, detail: object = "") -> None:
        self.said.append(f"{what} {name} {detail}"[:160].strip())
        self.struck.add(name)


class Vandal:
    """Damages one database. It leaves alone what belongs to `spared`: the queue and jobs beside
    the damage, and the child that must live through it."""

    def __init__(self, raw: redis.Redis, chance: random.Random, spared: tuple[str, ...]) -> None:
        self.raw, self.chance, self.spared = raw, chance, spared
        self.damage = Damage()

    def strike(self) -> Damage:
        """One to three things at random."""
        acts: list[tuple[int, Callable[[], None]]] = [
            (16, self.field), (10, self.remove), (12, self.spoil), (12, self.foreign),
            (10, self.double), (8, self.count), (6, self.vanish), (4, self.score),
            (4, self.expire), (6, self.turn), (3, self.lead), (3, self.roll), (3, self.pause),
            (5, self.meter),
        ]  # fmt: skip
        for _ in range(self.chance.choice([1, 1, 2, 3])):
            self.chance.choices([a for _, a in acts], [w for w, _ in acts])[0]()
        return self.damage

    # What there is to damage.

    def names(self, *kinds: str) -> list[str]:
        """Keys there are, of these types, without the prefix and without the spared ones."""
        found = []
        for key in sorted(self.raw.scan_iter(P + "*", count=1000)):
            name = key[len(P) :].decode("utf-8", "surrogateescape")
            if not any(part in name for part in self.spared):
                found.append(name)
        return [n for n in found if not kinds or self.raw.type(self.key(n)).decode() in kinds]

    def key(self, name: str) -> bytes:
        return (P + name).encode("utf-8", "surrogateescape")

    def job(self) -> str | None:
        """One of the jobs."""
        jobs = [n for n in self.names("hash") if n.startswith("job:")]
        return self.chance.choice(jobs) if jobs else None

    def element(self) -> bytes:
        """The id of a job, or what is none."""
        job = self.job()
        if job and self.chance.random() < 0.5:
            return job[4:].encode("utf-8", "surrogateescape")
        return self.chance.choice(
            [*JUNK, b"ghost", b"{0}", b"\xed\xa0\x80", b"job:x", b" ", b"x" * 300]
        )

    def place(self) -> str:
        """A list of ids, there or not."""
        queue = self.chance.choice(["q1", "q2", "q1", "nowhere"])
        level = self.chance.choice(["high", "normal", "low", "alone", "odd"])
        known = [n for n in self.names("list") if n.startswith(("running:", "pending:", "held:"))]
        made = [f"pending:{queue}:{level}", f"held:{queue}:{level}", "dlq", "finished", "recent",
                "running:nobody"]  # fmt: skip
        return self.chance.choice(known * 2 + made)

    # The acts.

    def field(self) -> None:
        job = self.job()
        if job:
            name, junk = self.chance.choice(FIELDS), self.chance.choice(JUNK)
            self.raw.hset(self.key(job), name, junk)
            self.damage.note("set", job, f"{name}={junk[:30]!r}")

    def remove(self) -> None:
        job = self.job()
        if job:
            fields = sorted(self.raw.hkeys(self.key(job)))
            name = self.chance.choice(fields)
            self.raw.hdel(self.key(job), name)
            self.damage.note("remove", job, name)

    def spoil(self) -> None:
        """Another type."""
        names = self.names()
        name = self.chance.choice([*names, *(n for n in WHOLE if n not in names), "queue:q1"])
        was, element = self.raw.type(self.key(name)).decode(), self.element()
        kinds: dict[str, Callable[[bytes], Any]] = {
            "string": lambda k: self.raw.set(k, self.chance.choice(JUNK)),
            "list": lambda k: self.raw.rpush(k, element, "x"),
            "hash": lambda k: self.raw.hset(k, mapping={"state": "pending", "x": "y"}),
            "set": lambda k: self.raw.sadd(k, element, "x"),
            "zset": lambda k: self.raw.zadd(k, {element: 1, "x": 2}),
            "stream": lambda k: self.raw.xadd(k, {"a": "b"}),
        }
        kind = self.chance.choice([k for k in kinds if k != was])
        self.raw.delete(self.key(name))
        kinds[kind](self.key(name))
        self.damage.note("spoil", name, kind)
        self.damage.spoiled.add(name)

    def foreign(self) -> None:
        if self.chance.random() < 0.3:
            self.zset(
                "scheduled",
                self.element(),
                self.chance.choice([1, 2e9, float("-inf"), float("inf")]),
            )
            return
        self.push(self.place(), self.element())

    def double(self) -> None:
        job = self.job()
        if job:
            job_id = job[4:].encode("utf-8", "surrogateescape")
            if self.chance.random() < 0.25:
                self.zset("scheduled", job_id, self.chance.choice([1, 2e9]))
            else:
                self.push(self.place(), job_id)

    def count(self) -> None:
        name = self.chance.choice(["stats", "queue:q1", "queue:q2"])
        fields = [*STATES, b"created_total", b"failed_total", b"dlq_total", b"processed_total",
                  b"duration_sum", b"max_pending", b"paused"]  # fmt: skip
        counter = self.chance.choice(fields[:-1] if name == "stats" else fields[:7] + fields[-2:])
        value = self.chance.choice([b"7", b"-3", b"0", *JUNK])
        if name not in self.damage.spoiled:
            self.raw.hset(self.key(name), counter, value)
            self.damage.note("count", name, f"{counter.decode()}={value[:30]!r}")

    def meter(self) -> None:
        """What is no number in a meter, or no pair among the labels."""
        name = self.chance.choice(["metrics:q1:noop", "metrics:q2:noop", "labels"])
        if name in self.damage.spoiled:
            return
        if name == "labels":
            element = self.element()
            self.raw.sadd(self.key(name), element)
            self.damage.note("add", name, repr(element[:30]))
            return
        counter, value = self.chance.choice(METER), self.chance.choice(JUNK)
        self.raw.hset(self.key(name), counter, value)
        self.damage.note("count", name, f"{counter}={value[:30]!r}")

    def vanish(self) -> None:
        names = self.names()
        if names:
            name = self.chance.choice(names)
            self.raw.delete(self.key(name))
            self.damage.note("delete", name)

    def score(self) -> None:
        found = self.raw.zrange(self.key("scheduled"), 0, -1) if self.is_zset("scheduled") else []
        if found:
            score = self.chance.choice([float("inf"), float("-inf"), 0, -1, 1e300, 2e9])
            self.zset("scheduled", self.chance.choice(found), score)

    def expire(self) -> None:
        names = self.names()
        if names:
            name = self.chance.choice(names)
            if self.chance.random() < 0.5:
                self.raw.persist(self.key(name))
            else:
                self.raw.expire(self.key(name), 100_000)
            self.damage.note("expire", name)

    def turn(self) -> None:
        """Another state, for which nothing else stands."""
        job = self.job()
        if job:
            state = self.chance.choice(STATES)
            self.raw.hset(self.key(job), "state", state)
            self.damage.note("turn", job, state.decode())

    def lead(self) -> None:
        self.raw.set(self.key("idem:k" + str(self.chance.randrange(9))), self.element())
        self.damage.note("lead", "idem:k")

    def roll(self) -> None:
        """The roll of workers says something else."""
        name = self.chance.choice(["workers", "reaped"])
        worker = self.chance.choice(["w0", "w1", "nobody", "\n", "x" * 300])
        self.zset(name, worker.encode(), self.chance.choice([0, 1, 2e9, 1e12, float("inf")]))

    def pause(self) -> None:
        name = self.chance.choice(["queue:q1", "queue:q2"])
        if name not in self.damage.spoiled:
            self.raw.hset(self.key(name), "paused", self.chance.choice(JUNK))
            self.damage.note("pause", name)

    def is_zset(self, name: str) -> bool:
        return self.raw.type(self.key(name)) == b"zset"

    def zset(self, name: str, member: bytes, score: float) -> None:
        if self.raw.type(self.key(name)) in (b"zset", b"none"):
            self.raw.zadd(self.key(name), {member: score})
            self.damage.note("put", name, f"{member[:40]!r}={score}")

    def push(self, name: str, element: bytes) -> None:
        if self.raw.type(self.key(name)) in (b"list", b"none"):
            (self.raw.lpush if self.chance.random() < 0.5 else self.raw.rpush)(
                self.key(name), element
            )
            self.damage.note("push", name, repr(element[:40]))
