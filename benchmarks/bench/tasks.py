"""What is measured: one function per row, from a contender to numbers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench import growth, http
from bench.contenders import Contender
from bench.crew import Crew, Failed, cpu, until
from bench.environments import environment
from bench.figures import drain_rate, percentile
from bench.plan import Metrics, Plan, crew


def drain(contender: Contender, plan: Plan, *, pin: bool, aof: bool = False) -> Metrics:
    """Jobs queued first, then a worker started: its rate, and what one job cost."""
    jobs = plan.jobs(contender.jobs)
    with crew(contender, plan, pin=pin, aof=aof) as us:
        empty = us.server.info()["used_memory"]
        us.act("fill", jobs)
        bytes_per_job = (us.server.info()["used_memory"] - empty) / jobs
        us.server.client.config_resetstat()
        redis_before = us.server.cpu()
        with us.worker() as worker:
            us.await_notes(1, worker)
            worker_before, from_job = cpu(worker.pid), us.count()
            notes = us.await_notes(jobs, worker)
            worker_cpu = cpu(worker.pid) - worker_before
            redis_cpu = us.server.cpu() - redis_before
            info = us.server.info()
            until(partial(_settled, us, jobs), 10, "every job completed")
        commands = sum(v["calls"] for k, v in info.items() if k.startswith("cmdstat_"))
        return {
            "jobs_per_s": drain_rate(notes.lanes(), contender.processes),
            "twice": len(notes.times) - jobs,
            "bytes_per_job": bytes_per_job,
            "reads_per_job": info["total_reads_processed"] / jobs,
            "commands_per_job": commands / jobs,
            "redis_us_per_job": redis_cpu / jobs * 1e6,
            "worker_us_per_job": worker_cpu / max(1, jobs - from_job) * 1e6,
        }


def _settled(us: Crew, jobs: int) -> bool:
    """Ours counts: every job is completed, by its own counters. The others do not say."""
    counted = us.act("check")
    return not counted or counted["completed"] == jobs


def enqueue(contender: Contender, plan: Plan) -> Metrics:
    """One producer on one core with the server: jobs/s one by one, and in bulk."""
    with crew(contender, plan, pin=True) as us:
        jobs = plan.jobs(20_000 if contender.kind != "rival" else 6_000)
        metrics = {"one_per_s": (jobs - 1) / us.act("one", jobs)["seconds"]}
        if contender.bulk:
            calls = max(2, plan.jobs(40_000) // 1000)
            metrics["bulk_per_s"] = 1000 * calls / us.act("bulk", calls)["seconds"]
        return metrics


def latency(contender: Contender, plan: Plan) -> Metrics:
    """Milliseconds from just before the enqueue call to the handler's start, worker idle."""
    number = max(5, int(contender.pings * min(1.0, plan.scale)))
    with crew(contender, plan) as us:
        with us.worker() as worker:
            sent = us.act("ping", number, *contender.gap)["sent"]
            notes = us.await_notes(number, worker)
        waits = [(ran - went) * 1000 for ran, went in zip(notes.times[-number:], sent, strict=True)]
        return {f"p{int(100 * q)}_ms": percentile(waits, q) for q in (0.5, 0.95, 0.99)}


def memory(contender: Contender, plan: Plan) -> Metrics:
    """Bytes of Redis a waiting job takes, on a stock server and with the settings we ship."""
    metrics = {}
    for name, shipped in (("stock_bytes", False), ("shipped_bytes", True)):
        with crew(contender, plan, shipped=shipped) as us:
            us.act("fill", 100)  # scripts and counters are not a job's
            empty, jobs = us.server.info()["used_memory"], plan.jobs(20_000)
            us.act("fill", jobs)
            metrics[name] = (us.server.info()["used_memory"] - empty) / jobs
    return metrics


def start(contender: Contender, plan: Plan) -> Metrics:
    """Milliseconds of `ferryman --help`, and until a started worker runs a waiting job."""
    program = str(environment(contender.env).bin / "ferryman")
    helps = [_timed_help(program) for _ in range(7)]
    with crew(contender, plan) as us:
        us.act("fill", 1)
        began = time.time()
        with us.worker() as worker:
            ran = us.await_notes(1, worker).times[0]
    return {"help_ms": percentile(helps, 0.5), "ready_ms": (ran - began) * 1000}


def _timed_help(program: str) -> float:
    began = time.perf_counter()
    subprocess.run([program, "--help"], capture_output=True, check=True)
    return (time.perf_counter() - began) * 1000


SLOW = 0.05
"""Seconds a slow handler takes."""


def slow(contender: Contender, plan: Plan) -> Metrics:
    """50 ms handlers on 50 slots: share of the ideal 1,000 jobs/s; then two workers beside."""
    slots = 50
    command = "{bin}/ferryman worker --app with_ferryman:ferry --slots"
    slow_env = {"BENCH_HANDLER": "slow" if contender.handler == "noop" else "aslow"}
    jobs = plan.jobs(3_000)
    with crew(contender, plan, settings=slow_env) as us:
        us.act("fill", jobs)
        with us.worker(f"{command} {slots}") as worker:
            times = us.await_notes(jobs, worker).times
        ideal = (jobs - slots) / (slots / SLOW)
        share = ideal / (times[-1] - times[0]) if jobs > slots else 0.0
    with crew(contender, plan, settings=slow_env) as us:
        return {"ideal_share": share} | _beside(us, f"{command} {slots}", slots, jobs)


def _beside(us: Crew, command: str, slots: int, jobs: int) -> Metrics:
    """Two workers: as many jobs as both have slots, all at once; then the shares of a long run."""
    with us.worker(command) as first, us.worker(command):
        until(lambda: _registered(us) >= 2, 10, "ready")
        us.act("fill", 2 * slots)
        burst = us.await_notes(2 * slots, first).times
        us.act("fill", jobs)
        lanes = us.await_notes(2 * slots + jobs, first).lanes()
    if len(lanes) != 2:
        raise Failed(f"{len(lanes)} of two workers ran jobs")
    counts = [len(lane) for lane in lanes.values()]
    return {
        # All start within one handler's time when no worker holds what the other could run.
        "burst_ms": (burst[-1] - burst[0]) * 1000,
        "least_share": min(counts) / sum(counts),
    }


def _registered(us: Crew) -> int:
    return int(us.server.client.zcard("ferryman:{0}:workers"))


@dataclass(frozen=True)
class Task:
    """A row of the benchmark: who takes part, and how often it is worth doing."""

    measure: Callable[[Contender, Plan], Metrics]
    takes_part: Callable[[Contender], bool] = lambda _: True
    once: bool = False
    """Done in the first round only: long, with batches of its own inside, or always the same."""


def _is(*names: str) -> Callable[[Contender], bool]:
    return lambda contender: contender.name in names


def _single(contender: Contender) -> bool:
    return not contender.name.startswith("ferryman-")


TASKS = {
    "drain": Task(partial(drain, pin=False)),
    "pinned": Task(partial(drain, pin=True), lambda c: c.name != "ferryman-2"),
    "aof": Task(partial(drain, pin=True, aof=True), lambda c: c.name != "ferryman-2"),
    "enqueue": Task(enqueue, lambda c: _single(c) and c.name not in ("raw-fused", "raw-batch64")),
    "latency": Task(latency, lambda c: c.name not in ("ferryman-2", "raw-fused", "raw-batch64")),
    "memory": Task(memory, _is("ferryman"), once=True),
    "start": Task(start, _is("ferryman")),
    "slow": Task(slow, _is("ferryman", "ferryman-async"), once=True),
    "http": Task(http.post, _is("ferryman", "raw-plain")),
    "growth": Task(growth.growth, _is("ferryman"), once=True),
}
