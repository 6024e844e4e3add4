"""Where a drained job's time goes: py-spy on the worker, commandstats on the server.

Samples of the thread that holds the interpreter's lock only: what Python itself costs. Pinned, so
that waiting for the other core is not in it.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.contenders import Contender
from bench.crew import Crew, cpu
from bench.environments import environment
from bench.plan import Plan, crew

RATE = 400
"""Samples a second."""

MOST = 25


def profile(contender: Contender, plan: Plan) -> str:
    """A drain under py-spy, as text: functions by their own time, then the server's commands."""
    spy = environment("profile").bin / "py-spy"
    jobs = plan.jobs(contender.jobs)
    with crew(contender, plan, pin=True) as us:
        us.act("fill", jobs)
        us.server.client.config_resetstat()
        with us.worker() as worker:
            us.await_notes(1, worker)
            out, before, redis_before = us.folder / "stacks", cpu(worker.pid), us.server.cpu()
            recorder = _record(spy, worker.pid, out)
            us.await_notes(jobs, worker)
            spent, redis_spent = cpu(worker.pid) - before, us.server.cpu() - redis_before
            recorder.send_signal(2)  # py-spy writes its record when interrupted
            recorder.wait(20)
        stacks = out.read_text().splitlines()
        total, each = max(1, own(stacks).total()), spent / jobs * 1e6
        return "\n".join([
            f"{contender.name}: {jobs:,} jobs, worker {each:.1f} us a job, "
            f"server {redis_spent / jobs * 1e6:.1f} us a job (processor time, pinned)",
            "", "function: share of its own, us a job",
            *_shares(own(stacks), total, each),
            "", "with all it calls",
            *_shares(inclusive(stacks), total, each),
            "", "server: command, calls a job, us a call", *_commands(us, jobs),
        ])  # fmt: skip


def _record(spy: Path, pid: int, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # Nonblocking: stopped for each sample, a child of 50 threads does not move any more.
        [spy, "record", "--pid", str(pid), "--subprocesses", "--gil", "--nonblocking",
         "--function", "--rate", str(RATE), "--format", "raw", "--duration", "3600", "-o", out],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def own(lines: Iterable[str]) -> Counter[str]:
    """Samples by the function that ran; a line is `outer;inner;innermost 12`."""
    found: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        found[stack.split(";")[-1]] += int(count)
    return found


def inclusive(lines: Iterable[str]) -> Counter[str]:
    """Samples by every function on the stack, each once."""
    found: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        for frame in set(stack.split(";")):
            found[frame] += int(count)
    return found


def _shares(found: Counter[str], total: int, us_per_job: float) -> list[str]:
    return [
        f"{count / total:6.1%} {count / total * us_per_job:6.2f}  {frame}"
        for frame, count in found.most_common(MOST)
    ]


def _commands(us: Crew, jobs: int) -> list[str]:
    stats = us.server.client.info("commandstats")
    rows = sorted(stats.items(), key=lambda row: -row[1]["usec"])
    return [
        f"{name.removeprefix('cmdstat_'):14} {row['calls'] / jobs:8.3f} {row['usec_per_call']:8.2f}"
        for name, row in rows[:15]
    ]
