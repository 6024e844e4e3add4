"""Who takes part: each with its adapter, its environment, its worker command, its guarantee."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

AT_LEAST_ONCE, AT_MOST_ONCE, FAILED, LOOP = "at least once", "at most once", "moved aside", "none"
"""What becomes of a job whose worker dies in it: run again; gone; in a failed list; the claim
stays in a list, and no code brings it back."""


@dataclass(frozen=True)
class Contender:
    """One system under one setting."""

    name: str
    kind: str
    """ours, raw or rival."""
    adapter: str
    env: str
    """Name of its environment in `environments`; "own" is the one this runs in."""
    work: str
    """The worker's command; {bin} is the environment's folder of programs, {python} its Python."""
    jobs: int
    """Jobs of one drain: about a second and a half of work."""
    promise: str
    detail: str
    """The guarantee by default, in the words of the result page."""
    settings: str
    variant: str = ""
    handler: str = "noop"
    processes: int = 1
    """Processes that run jobs side by side: the clock starts when each has run one."""
    bulk: bool = False
    gap: tuple[float, float] = (0.005, 0.055)
    """Seconds between two pings of the latency task: for a poller as wide as its interval."""
    pings: int = 200


def _raw(variant: str, jobs: int, detail: str) -> Contender:
    return Contender(
        f"raw-{variant}", "raw", "with_raw.py", "own", "{python} with_raw.py work", jobs,
        LOOP, "stays in the worker's list; no recovery code in these loops", detail, variant,
        bulk=True,
    )  # fmt: skip


def _ours(suffix: str, settings: str, command: str, **options: object) -> Contender:
    return Contender(
        f"ferryman{suffix}", "ours", "with_ferryman.py", "own",
        f"{{bin}}/ferryman worker --app with_ferryman:ferry {command}", 40_000, AT_LEAST_ONCE,
        "run again: within 1 s when a child died, 17 s when its machine did; a late result is "
        "refused", settings, bulk=True, **options,  # type: ignore[arg-type]
    )  # fmt: skip


def _rival(
    name: str, adapter: str, env: str, work: str, jobs: int, promise: str, detail: str,
    settings: str, **options: object,
) -> Contender:  # fmt: skip
    return Contender(
        name, "rival", adapter, env, work, jobs, promise, detail, settings,
        **options,  # type: ignore[arg-type]
    )  # fmt: skip


SLOTS = 50
"""Of our worker here: what a user with short jobs sets; BullMQ runs as many at a time."""

CONTENDERS = (
    _ours("", f"1 child, {SLOTS} slots (threads)", f"--slots {SLOTS}"),
    _ours("-async", f"1 child, {SLOTS} slots, async def handler", f"--slots {SLOTS}",
          handler="anoop"),
    _ours("-2", f"2 children, {SLOTS} slots each", f"--processes 2 --slots {2 * SLOTS}",
          processes=2),
    _raw("plain", 15_000, "BLMOVE, job, LREM, one at a time"),
    _raw("fused", 20_000, "LREM of the last and LMOVE of the next in one round trip"),
    _raw("batch64", 60_000, "LREM of 64 and LMOVE of 64 in one round trip"),
    _rival("celery-prefork", "with_celery.py", "celery",
           "{bin}/celery -A with_celery worker -c 2 -P prefork -l WARNING --without-gossip "
           "--without-mingle --without-heartbeat", 2_000, AT_MOST_ONCE,
           "acked before the job runs; prefetched jobs come back after 3,600 s",
           "prefork -c 2, prefetch 64, no gossip, mingle, heartbeat; results ignored",
           processes=2),
    _rival("celery-threads", "with_celery.py", "celery",
           "{bin}/celery -A with_celery worker -c 4 -P threads -l WARNING --without-gossip "
           "--without-mingle --without-heartbeat", 2_000, AT_MOST_ONCE,
           "acked before the job runs; prefetched jobs come back after 3,600 s",
           "threads -c 4, otherwise the same"),
    _rival("rq-fork", "with_rq.py", "rq", "{python} with_rq.py work", 150, FAILED,
           "moved to the failed registry once its 90 s heartbeat has lapsed",
           "Worker, result_ttl 0", bulk=True),
    _rival("rq-simple", "with_rq.py", "rq", "{python} with_rq.py work", 600, FAILED,
           "moved to the failed registry once its 90 s heartbeat has lapsed",
           "SimpleWorker, result_ttl 0", variant="simple", bulk=True),
    _rival("dramatiq", "with_dramatiq.py", "dramatiq",
           "{bin}/dramatiq with_dramatiq -p 1 -t 16", 6_000, AT_LEAST_ONCE,
           "requeued 60 s after the last heartbeat, by maintenance on 0.1 % of commands",
           "1 process, 16 threads", gap=(0.2, 1.2), pings=40),
    _rival("huey", "with_huey.py", "huey", "{bin}/huey_consumer with_huey.huey -w 2 -k thread -q",
           8_000, AT_MOST_ONCE, "BRPOP", "2 threads"),
    _rival("arq", "with_arq.py", "arq", "{bin}/arq with_arq.WorkerSettings", 4_000, AT_LEAST_ONCE,
           "its in-progress key lapses after 310 s",
           "max_jobs 500, keep_result 0, uvloop", gap=(0.005, 0.505), pings=60),
    _rival("saq", "with_saq.py", "saq", "{bin}/saq --quiet with_saq.settings", 4_000, FAILED,
           "swept as aborted past its 10 s timeout, not run again (retries 1)",
           "concurrency 10, ttl -1, uvloop"),
    _rival("taskiq-list", "with_taskiq.py", "taskiq",
           "{bin}/taskiq worker with_taskiq:broker -w 1 --max-async-tasks 100 --log-level WARNING",
           6_000, AT_MOST_ONCE, "BRPOP", "1 worker process, 100 async tasks, uvloop",
           variant="list"),
    _rival("taskiq-stream", "with_taskiq.py", "taskiq",
           "{bin}/taskiq worker with_taskiq:broker -w 1 --max-async-tasks 100 --log-level WARNING",
           6_000, AT_LEAST_ONCE, "XAUTOCLAIM after 600 s",
           "1 worker process, 100 async tasks, uvloop", variant="stream"),
    _rival("streaq", "with_streaq.py", "streaq", "{bin}/streaq run with_streaq:worker", 2_500,
           AT_LEAST_ONCE, "after 60 s of silence of its stream entry",
           "concurrency 32, ttl 0, uvloop", bulk=True),
    _rival("wakaq", "with_wakaq.py", "wakaq", "{bin}/wakaq-worker --app with_wakaq.wakaq", 15_000,
           AT_MOST_ONCE, "BLPOP", "concurrency 2 (child processes)", processes=2),
    _rival("bullmq", "with_bullmq.js", "bullmq", "node with_bullmq.js work", 20_000, AT_LEAST_ONCE,
           "30 s lock, looked at every 30 s, once", "concurrency 50, removeOnComplete", bulk=True),
    _rival("sidekiq", "with_sidekiq.rb", "sidekiq",
           "sidekiq -r ./with_sidekiq.rb -c 2 -q default", 15_000, AT_MOST_ONCE,
           "BRPOP; the reliable fetch is not in this edition", "-c 2", bulk=True),
)  # fmt: skip

DURABLE = tuple(c.name for c in CONTENDERS if c.kind == "rival" and c.promise == AT_LEAST_ONCE)
PYTHON_PEERS = ("dramatiq", "taskiq-stream", "saq", "streaq", "arq")
"""The peers the first goal names; saq does not run a lost job again by default."""


def named(words: Iterable[str]) -> list[Contender]:
    """The contenders these words stand for: a name, its first part (rq), or ours, raw, rival."""
    chosen = []
    for word in words:
        found = [c for c in CONTENDERS if word in (c.name, c.kind, c.name.split("-")[0], "all")
                 or (word == "rivals" and c.kind == "rival")]  # fmt: skip
        if not found:
            known = ", ".join(["ours", "raw", "rivals", *(c.name for c in CONTENDERS)])
            raise SystemExit(f"--only: no contender {word!r}; known: {known}")
        chosen += found
    return [c for c in CONTENDERS if c in chosen]
