"""`report`: rows in, one line per group out, to a CSV file and into the result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Context as Arithmetic
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import MinLen

from ferryman import Bury, Ferryman
from ferryman_worker.jobs import tables
from ferryman_worker.jobs.files import existing, inside, whole
from ferryman_worker.jobs.payloads import misfit
from ferryman_worker.jobs.tables import NUMBER, Row, Table

MAX_GROUPS = 100_000
MAX_ROWS_SHOWN = 200
MAX_BYTES_SHOWN = 48 * 1024
"""What the result shows of a long report: a job's result holds 64 KiB."""

EXACT = Arithmetic(prec=210, traps=[])
"""Enough for every sum of numbers of at most 50 digits before the point and 50 after it."""

MEAN = Arithmetic(prec=28)

Aggregate = Literal["sum", "mean", "min", "max", "count"]
Aggregates = Annotated[dict[str, Aggregate], MinLen(1)]
Cell = str | int


def register(ferry: Ferryman) -> None:
    @ferry.job("report")
    def report(
        group_by: str | list[str],
        aggregates: Aggregates,
        target: str,
        rows: list[dict[str, Any]] | None = None,
        source: str | None = None,
    ) -> dict[str, Any]:
        plan = plan_of(group_by, aggregates)
        folder = ferry.settings.files
        out = inside(folder, target)
        if out.suffix.lower() != ".csv":
            raise Bury(f"target {target!r}: expected a name ending in .csv")
        with opened(rows, source, folder) as table:
            lines = group(table, plan)
        with whole(out) as file:
            file.write(tables.to_csv(plan.header, lines))
        shown = as_objects(plan.header, lines)
        return {"target": target, "groups": len(lines), "rows": shown}


@dataclass(frozen=True)
class Plan:
    """What to group by and what to work out of each group."""

    keys: tuple[str, ...]
    aggregates: tuple[tuple[str, Aggregate], ...]

    @property
    def header(self) -> list[str]:
        """The columns of the report: region, amount_sum, ..."""
        return [*self.keys, *(f"{column}_{what}" for column, what in self.aggregates)]


def plan_of(group_by: str | list[str], aggregates: Mapping[str, Aggregate]) -> Plan:
    """The plan a payload asks for; BadPayload when two columns of the report had one name."""
    keys = (group_by,) if isinstance(group_by, str) else tuple(group_by)
    plan = Plan(keys, tuple(aggregates.items()))
    if len(set(plan.header)) != len(plan.header):
        raise misfit("group_by", f"the report would have a column twice: {', '.join(plan.header)}")
    return plan


@contextmanager
def opened(rows: Sequence[Row] | None, source: str | None, folder: str) -> Iterator[Table]:
    """The rows of the payload or of the source file, whichever was given."""
    if (rows is None) == (source is None):
        raise misfit("rows", "expected either rows or a source")
    if source is None:
        yield tables.of_rows(rows or [])
        return
    path = existing(folder, source)
    kind = Path(source).suffix.lower()
    if kind == ".json":
        yield tables.of_json(path, source)
    elif kind == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield tables.of_csv(file, source)
    else:
        raise Bury(f"source {source!r}: expected a name ending in .csv or .json")


def group(table: Table, plan: Plan) -> list[list[Cell]]:
    """The lines of the report, in the order of their keys.

    Raises Bury naming a column that no row has, or the row and column of what is no number.
    """
    check_columns(table, plan)
    groups: dict[tuple[str, ...], list[Running]] = {}
    for number, row in enumerate(table.rows, 1):
        key = tuple(label(row.get(column), number, column) for column in plan.keys)
        if key not in groups:
            if len(groups) == MAX_GROUPS:
                raise Bury(f"group_by {', '.join(plan.keys)}: more than {MAX_GROUPS:,} groups")
            groups[key] = [Running(what) for _, what in plan.aggregates]
        for (column, _), running in zip(plan.aggregates, groups[key], strict=True):
            running.add(row.get(column), number, column)
    return [[*key, *(running.value() for running in groups[key])] for key in sorted(groups)]


def check_columns(table: Table, plan: Plan) -> None:
    """Bury for the first column asked for that no row has, where there are rows to tell."""
    if table.columns is None:
        return
    for column in (*plan.keys, *(column for column, _ in plan.aggregates)):
        if column not in table.columns:
            there = ", ".join(sorted(table.columns)[:20])
            raise Bury(f"no row has a column {column!r}; there are: {there}")


@dataclass(slots=True)
class Running:
    """One aggregate of one group while its rows go by. Blank and missing cells do not count."""

    what: Aggregate
    count: int = 0
    held: Decimal | None = None

    def add(self, cell: Any, row: int, column: str) -> None:
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            return
        self.count += 1
        if self.what != "count":
            value = number_of(cell, row, column)
            self.held = value if self.held is None else self._with(self.held, value)

    def _with(self, held: Decimal, value: Decimal) -> Decimal:
        if self.what == "min":
            return min(held, value)
        if self.what == "max":
            return max(held, value)
        return EXACT.add(held, value)

    def value(self) -> Cell:
        """A count as a number, the rest as text: a float would round. Of nothing: an empty text."""
        if self.what == "count":
            return self.count
        if self.held is None:
            return "0" if self.what == "sum" else ""
        if self.what == "mean":
            return f"{MEAN.divide(self.held, self.count):f}"
        return f"{self.held:f}"


def number_of(cell: Any, row: int, column: str) -> Decimal:
    """The exact number in a cell: 0.1 is a tenth, also when JSON made a float of it."""
    text = str(cell).strip()
    if not isinstance(cell, bool) and len(text) <= 200 and NUMBER.fullmatch(text):
        number = EXACT.create_decimal(text)
        exponent = number.as_tuple().exponent
        if number.adjusted() < 50 and isinstance(exponent, int) and exponent >= -50:
            return number
    raise Bury(f"row {row}, column {column!r}: {text[:50]!r} is not a number that can be added")


def label(cell: Any, row: int, column: str) -> str:
    """A cell as the name of its group: the same from CSV and from JSON."""
    if isinstance(cell, list | dict):
        raise Bury(f"row {row}, column {column!r}: a list or object cannot name a group")
    if cell is None:
        return ""
    text = json.dumps(cell) if isinstance(cell, bool) else str(cell)
    return text.encode("utf-8", "replace").decode()  # JSON can hold half a character


def as_objects(header: Sequence[str], lines: Sequence[Sequence[Cell]]) -> list[dict[str, Cell]]:
    """As many lines, from the first on, as fit a job's result."""
    shown: list[dict[str, Cell]] = []
    size = 0
    for line in lines[:MAX_ROWS_SHOWN]:
        item = dict(zip(header, line, strict=True))
        size += len(json.dumps(item, ensure_ascii=False).encode()) + 1
        if size > MAX_BYTES_SHOWN:
            break
        shown.append(item)
    return shown
