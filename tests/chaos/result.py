"""What an act gives back: rows of a table, and whether each is as promised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from judge import Report


@dataclass
class Row:
    """One line of the table. Nothing `asked`: only a fact."""

    what: str
    found: str
    asked: str = ""
    ok: bool = True


@dataclass
class Result:
    """One act, played."""

    act: str
    rows: list[Row] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    """Machine, date, command and the like: filled in by run.py."""

    @property
    def valid(self) -> bool:
        return not self.violations and all(row.ok for row in self.rows)

    def add(self, what: str, found: object, asked: str = "", ok: bool = True) -> None:
        """One row more; numbers are shown with thousands set apart."""
        shown = f"{found:,}" if isinstance(found, int) else str(found)
        self.rows.append(Row(what, shown, asked, ok))

    def none(self, what: str, found: int) -> None:
        """A row that must be 0."""
        self.add(what, found, "0", found == 0)

    def least(self, what: str, found: int, least: int) -> None:
        """A row that must reach a number."""
        self.add(what, found, f"at least {least:,}", found >= least)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def from_json(read: Mapping[str, Any]) -> Result:
    """The result a file holds."""
    rows = [Row(**row) for row in read["rows"]]
    return Result(read["act"], rows, read["violations"], read["servers"], read["facts"])


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: p99 of 100 values is the 99th of them."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def verdict(result: Result, report: Report) -> None:
    """The rows every act ends with."""
    result.add("jobs asked for", report.attempted)
    result.add("acknowledged", report.acknowledged)
    result.add("outcome unknown to the client (ran all the same)", _of(report))
    result.add("runs", report.runs)
    result.none("lost", len(report.lost))
    result.none("unexpected", len(report.unexpected))
    result.add("ran a second time", report.duplicated)
    result.none("of those without a recorded cause", len(report.unexplained))
    result.add("late results refused", report.fenced)
    result.none("stale results accepted", len(report.stale))
    result.none("failures charged that no handler raised", len(report.charged))
    result.none("counters that do not add up", len(report.accounts))
    result.none("findings of `ferryman check` at the end", len(report.check))
    result.violations += report.violations()


def _of(report: Report) -> str:
    return f"{report.unknown:,} ({report.recovered:,})"
