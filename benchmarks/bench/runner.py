"""Rounds: every contender once per round, then again; each sample is written down at once."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.contenders import Contender
from bench.crew import Failed
from bench.environments import Missing, environment
from bench.plan import Metrics, Plan
from bench.tasks import TASKS

BUSY = 1.0
"""Load before a run from which on its figures are not to be trusted."""


@dataclass
class Run:
    """A run's record, which is its JSON file: what it ran on, and every sample."""

    path: Path
    head: dict[str, Any]
    samples: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def done(self) -> set[tuple[str, str, int]]:
        """The samples there are: (task, contender, round)."""
        return {(s["task"], s["contender"], s["round"]) for s in self.samples if s["metrics"]}

    @property
    def busy(self) -> bool:
        """Whether other work was running when it began."""
        return bool(self.head["load_before"] >= BUSY)

    def add(self, sample: dict[str, Any]) -> None:
        """Keep a sample, in the place of one that failed, and write the record."""
        key = ("task", "contender", "round")
        self.samples = [s for s in self.samples if any(s[k] != sample[k] for k in key)]
        self.samples.append(sample)
        self.save()

    def save(self) -> None:
        """Write it whole, or not at all."""
        text = json.dumps(vars(self) | {"path": None}, indent=1)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(text + "\n")
        part.replace(self.path)


def load(path: Path) -> Run:
    """The record of an earlier run."""
    known = json.loads(path.read_text())
    return Run(**known | {"path": path})


Step = tuple[int, str, Contender]


def steps(contenders: Iterable[Contender], rows: Iterable[str], rounds: int) -> list[Step]:
    """What to measure, in order: round, row, contender. A round turns the order around."""
    chosen, order = list(contenders), []
    for number in range(1, rounds + 1):
        for row in rows:
            task = TASKS[row]
            if task.once and number > 1:
                continue
            taking_part = [c for c in chosen if task.takes_part(c)]
            order += [(number, row, c) for c in taking_part[:: 1 if number % 2 else -1]]
    return order


def carry_out(run: Run, todo: list[Step], plan: Plan) -> None:
    """Measure what is not there yet, saving after each sample."""
    done, progress = run.done(), Progress(len(todo))
    for number, row, contender in todo:
        progress.show(f"round {number}: {row}, {contender.name}")
        if (row, contender.name, number) not in done and _is_here(run, contender):
            began = time.monotonic()
            metrics, error = _sample(row, contender, plan)
            run.add({
                "task": row, "contender": contender.name, "round": number, "metrics": metrics,
                "error": error, "seconds": round(time.monotonic() - began, 1),
            })  # fmt: skip
            if error:
                progress.say(f"{row}, {contender.name}: {error}")
        progress.step()
    progress.show("done")
    progress.end()


def _is_here(run: Run, contender: Contender) -> bool:
    if contender.env in run.missing:
        return False
    try:
        run.versions[contender.env] = environment(contender.env).versions
    except Missing as error:
        run.missing[contender.env] = str(error)
        return False
    return True


def _sample(row: str, contender: Contender, plan: Plan) -> tuple[Metrics, str | None]:
    try:
        return TASKS[row].measure(contender, plan), None
    except Failed as error:
        return {}, str(error)
    except Exception as error:  # a run takes an hour: one sample's trouble must not end it
        return {}, f"{type(error).__name__}: {error}"


class Progress:
    """A bar with the time it may still take; a line per sample where there is no terminal."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._began = max(1, total), 0, time.monotonic()
        self._tty = sys.stderr.isatty()

    def step(self) -> None:
        """One more is done."""
        self._done += 1

    def show(self, what: str) -> None:
        """Say what is under way."""
        line = f"{bar(self._done, self._total)} {self._left()} {what}"
        print(f"\r\033[K{line}" if self._tty else line, end="" if self._tty else "\n",
              file=sys.stderr, flush=True)  # fmt: skip

    def say(self, line: str) -> None:
        """A line that stays."""
        print(("\r\033[K" if self._tty else "") + line, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._tty:
            print(file=sys.stderr)

    def _left(self) -> str:
        if not self._done:
            return "     "
        seconds = (time.monotonic() - self._began) / self._done * (self._total - self._done)
        return f"{int(seconds // 60):2d}:{int(seconds % 60):02d}"


def bar(done: int, total: int, width: int = 24) -> str:
    """`[####----] 3/6`."""
    filled = width * done // total
    return f"[{'#' * filled}{'-' * (width - filled)}] {done}/{total}"
