"""Benchmarks: ours, the bare redis-py loops and the rivals, interleaved, into one JSON file.

PYTHONPATH=benchmarks python -m bench --only ours,raw,bullmq --rows drain,enqueue --rounds 3
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from bench import page, picture, servers
from bench.contenders import named
from bench.environments import FOLDER, ROOT
from bench.plan import Plan
from bench.profile import profile
from bench.runner import Run, carry_out, load, steps
from bench.tasks import TASKS

RECORD = ROOT / "benchmarks" / "result.json"
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "benchmarks.svg"


def main() -> int:
    """Measure or render; the exit code."""
    args = _parser().parse_args()
    if args.publish:
        publish(load(args.record or RECORD))
        return 0
    record = args.record or FOLDER / "bench.json"
    kind = servers.kind(args.server, args.shipped)
    plan = Plan(kind, args.scale, args.backlog, args.batches)
    if args.profile:
        print("\n\n".join(profile(c, plan) for c in named(args.only.split(","))))
        return 0
    rows = _rows(args.rows)
    run = load(record) if args.resume and record.exists() else Run(record, _head(kind, args))
    todo = steps(named(args.only.split(",")), rows, args.rounds)
    carry_out(run, todo, plan)
    run.save()
    print(page.terminal(run))
    print(f"\nrecord: {record}")
    return 0


def publish(run: Run) -> None:
    """The page and the picture of a record, and the record itself, where they are kept."""
    dataclasses.replace(run, path=RECORD).save()
    PAGE.write_text(page.render(run))
    PICTURE.write_text(picture.render(run))


def _rows(text: str) -> list[str]:
    rows = list(TASKS) if text == "all" else text.split(",")
    for row in rows:
        if row not in TASKS:
            raise SystemExit(f"--rows: no row {row!r}; known: {', '.join(TASKS)}")
    return rows


def _head(kind: servers.Kind, args: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        "server": kind.name + (", hash-max-listpack-value 1024" if kind.shipped else ", stock"),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "scale": args.scale,
        "backlog": args.backlog,
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="ours,raw", help="names, or ours, raw, rivals, all")
    parser.add_argument("--rows", default="all", help=", ".join(TASKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="times the jobs of each sample")
    parser.add_argument("--backlog", type=int, default=1_000_000, help="of the row growth")
    parser.add_argument("--batches", type=int, default=31, help="of the row growth")
    parser.add_argument("--server", choices=("auto", "redis", "valkey"), default="auto")
    parser.add_argument("--shipped", action="store_true",
                        help="hash-max-listpack-value 1024, not a stock server")  # fmt: skip
    parser.add_argument("--record", type=Path, help="the JSON file, .bench/bench.json")
    parser.add_argument("--resume", action="store_true", help="keep the samples the record has")
    parser.add_argument("--profile", action="store_true",
                        help="where the time of a drain goes, by py-spy")  # fmt: skip
    parser.add_argument("--publish", action="store_true",
                        help="make docs/benchmarks.md and .svg from the record")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
