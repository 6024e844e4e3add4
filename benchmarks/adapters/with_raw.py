"""Bare redis-py: what a queue can cost at least. BENCH_VARIANT: plain, fused or batch64.

Every loop keeps a claimed job in a processing list until it has run, as a durable queue must; none
has the code that would bring it back.
"""

import os

import common
import redis

VARIANT = os.environ.get("BENCH_VARIANT", "plain")
server = redis.Redis.from_url(common.URL)
BATCH = 64


def send(text: str) -> None:
    """One LPUSH."""
    server.lpush("q", text)


def send_many(texts: list[str]) -> None:
    """A pipeline of LPUSHes."""
    pipeline = server.pipeline(transaction=False)
    for text in texts:
        pipeline.lpush("q", text)
    pipeline.execute()


def plain() -> None:
    """BLMOVE, the job, LREM: two round trips a job."""
    while True:
        job = server.blmove("q", "p", 2, "RIGHT", "LEFT")
        if job is not None:
            common.note(job)
            server.lrem("p", 1, job)


def fused() -> None:
    """LREM of the last and LMOVE of the next in one round trip."""
    job = None
    while True:
        if job is None:
            job = server.blmove("q", "p", 2, "RIGHT", "LEFT")
            continue
        common.note(job)
        pipeline = server.pipeline(transaction=False)
        pipeline.lrem("p", 1, job)
        pipeline.lmove("q", "p", "RIGHT", "LEFT")
        job = pipeline.execute()[1]


def batch64() -> None:
    """64 LREMs and 64 LMOVEs in one round trip."""
    jobs: list[bytes] = []
    while True:
        pipeline = server.pipeline(transaction=False)
        for job in jobs:
            pipeline.lrem("p", 1, job)
        for _ in range(BATCH):
            pipeline.lmove("q", "p", "RIGHT", "LEFT")
        jobs = [job for job in pipeline.execute()[len(jobs) :] if job is not None]
        if not jobs:
            jobs = [job for job in [server.blmove("q", "p", 2, "RIGHT", "LEFT")] if job]
        for job in jobs:
            common.note(job)


def work() -> None:
    """The loop of this variant."""
    {"plain": plain, "fused": fused, "batch64": batch64}[VARIANT]()


if __name__ == "__main__":
    common.main(globals())
