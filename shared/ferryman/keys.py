"""Every Redis key, built in one place.

All keys of a shard share one hash tag, so a script may touch any of them on Redis Cluster.
Scripts receive the tagged prefix as KEYS[1] and derive the rest from the same words;
docs/redis.md is the catalogue. Next on the way of a job: `store`.
"""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("high", "normal", "low")
"""Priorities, the one served first first."""

ALONE = "alone"
"""A fourth level nobody can ask for: jobs that run alone in a child after a crash."""


@dataclass(frozen=True)
class Keys:
    """The keys of one shard."""

    namespace: str = "ferryman"
    shard: int = 0

    @property
    def prefix(self) -> str:
        """What every key of the shard starts with, the hash tag in braces."""
        return f"{self.namespace}:{{{self.shard}}}:"

    def __call__(self, name: str) -> str:
        """A key that is only one word, such as `dlq`."""
        return self.prefix + name

    def job(self, job_id: str) -> str:
        return f"{self.prefix}job:{job_id}"

    def pending(self, queue: str, level: str) -> str:
        return self.prefix + self.pending_name(queue, level)

    def pending_name(self, queue: str, level: str) -> str:
        """The list without the prefix, as scripts take it."""
        return f"pending:{queue}:{level}"

    def held(self, queue: str, level: str) -> str:
        return f"{self.prefix}held:{queue}:{level}"

    def running(self, worker: str) -> str:
        return f"{self.prefix}running:{worker}"

    def worker(self, worker: str) -> str:
        return f"{self.prefix}worker:{worker}"

    def queue(self, queue: str) -> str:
        return f"{self.prefix}queue:{queue}"

    def meter(self, pair: bytes) -> bytes:
        """`pair`: a queue and a type with a colon between, as it stands in `labels`."""
        return f"{self.prefix}metrics:".encode() + pair

    def idem(self, key: str) -> str:
        return f"{self.prefix}idem:{key}"

    def analytics(self, day: str) -> str:
        return f"{self.prefix}analytics:{day}"
