"""The fuzz run: every act in full, a table, a verdict. `make fuzz`; exit 1 on any violation.

    python -m tests.fuzz --only states --scale 0.05 --seed 7     # a twentieth of one act
    python -m tests.fuzz --only bodies --seed 7 --case 4711      # one case again

With --write the results go to docs/fuzz.json, act by act, and the table in docs/fuzz.md is made
from it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.fuzz import bodies, cuts, exceptions, lanes, sequences, sockets, states

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- made by `make fuzz` -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Plan:
    """How much of an act there is, and what its table row says."""

    act: Any
    cases: int
    """0: as many as the log of the act has lengths."""
    lanes: int
    counts: tuple[str, ...]


PLANS = {
    "bodies": Plan(bodies.act, 200_000, 2, ("bodies", "other requests", "keyspaces compared",
                   "accepted and read back", "log lines")),
    "sockets": Plan(sockets.act, 4_000, 2, ("connections", "ordinary jobs between", "log lines")),
    "sequences": Plan(sequences.act, 50_000, 2, ("cases", "verbs", "refused settles",
                      "foreign elements", "driven to the end")),
    "states": Plan(states.act, 10_000, 3, ("cases", "damages", "verbs", "mended whole",
                   "child deaths")),
    "cuts": Plan(cuts.act, 0, 3, ("servers started", "states checked",
                 "jobs acknowledged and there")),
    "exceptions": Plan(exceptions.act, 3_000, 2, ("cases", "ended failed", "ended scheduled",
                       "ended completed", "child deaths", "log lines")),
}  # fmt: skip


class Progress:
    """A line on a terminal, a line every half minute elsewhere."""

    def __init__(self, name: str, cases: int) -> None:
        self._name, self._cases, self._shown = name, max(cases, 1), 0.0

    def show(self, done: int) -> None:
        tty = sys.stderr.isatty()
        if time.monotonic() - self._shown < (0.2 if tty else 30) and done < self._cases:
            return
        self._shown = time.monotonic()
        bar = "#" * int(30 * done / self._cases)
        text = f"[{bar:<30}] {self._name}: {done:,} of {self._cases:,}"
        last = "\n" if not tty or done >= self._cases else ""
        print("\r" + text if tty else text, end=last, file=sys.stderr, flush=True)


def play(name: str, seed: int, scale: float, case: int | None) -> lanes.Report:
    """One act, whole or one case of it."""
    plan = PLANS[name]
    with tempfile.TemporaryDirectory(prefix="ferryman-fuzz-") as folder:
        act: Any = plan.act
        cases: Sequence[int] = range(max(1, int(plan.cases * scale)))
        if name == "cuts":
            log = cuts.write(Path(folder), seed)
            act, cases = partial(cuts.act, log=log), cuts.cases(log, scale)
        if case is not None:
            (Path(folder) / "lane").mkdir()
            return lanes.alone(act, name, seed, range(case, case + 1), Path(folder) / "lane")
        return lanes.beside(act, name, seed, cases, plan.lanes, Progress(name, len(cases)).show)


def row(name: str, entry: dict[str, Any]) -> str:
    """One act in the table."""
    counts = entry["counts"]
    did = ", ".join(f"{counts.get(c, 0):,} {c}" for c in PLANS[name].counts)
    broken = counts.get("violations", 0)
    took = f"{entry['seconds'] / 60:.1f} min"
    return f"| {name} | {did} | **{broken}** | {took} | {entry['seed']} | {entry['date']} |"


def table(entries: dict[str, Any]) -> str:
    """Every act there is a result of, as Markdown."""
    lines = [
        "| act | what was done | violations | time | seed | date |",
        "|---|---|---|---|---|---|",
    ]
    lines += [row(name, entries[name]) for name in PLANS if name in entries]
    machines = sorted({entry["machine"] for entry in entries.values()})
    return "\n".join([*lines, "", f"Machine: {'; '.join(machines)}. Command: `make fuzz`.", ""])


def noted(name: str, seed: int, report: lanes.Report) -> dict[str, Any]:
    """A result as it is kept."""
    return {
        "counts": dict(report.counts),
        "violations": report.violations,
        "seconds": round(report.seconds, 1),
        "seed": seed,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {platform.platform()}",
    }


def write(results: dict[str, Any]) -> None:
    """Keep the results, and make the table anew."""
    kept = DOCS / "fuzz.json"
    entries = (json.loads(kept.read_text()) if kept.exists() else {}) | results
    kept.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n")
    page = DOCS / "fuzz.md"
    text = page.read_text()
    head, rest = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    page.write_text(head + "\n" + table(entries) + "\n" + rest)


def main() -> int:
    """Parse, play, tell; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=PLANS, help="this act; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the cases")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--case", type=int, help="only this case")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--write", action="store_true", help="write docs/fuzz.json and the table")
    args = parser.parse_args()
    print(f"fuzz: seed {args.seed}", file=sys.stderr)
    results: dict[str, Any] = {}
    for name in args.only or PLANS:
        report = play(name, args.seed, args.scale, args.case)
        results[name] = noted(name, args.seed, report)
        for violation in report.violations:
            print(f"{name}: {violation}", file=sys.stderr)
        if args.write:
            write({name: results[name]})
    print(table(results))
    if args.json:
        args.json.write_text(json.dumps(results))
    return 1 if any(r["counts"].get("violations") for r in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
