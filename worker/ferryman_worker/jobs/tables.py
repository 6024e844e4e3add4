"""Rows for `report`: from the payload, a CSV file or a JSON file, and back to a CSV file."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from ferryman import Bury

MAX_JSON_BYTES = 64 * 1024 * 1024
"""A JSON file is read whole and takes about ten times its size; CSV has no limit, it streams."""

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""What counts as a number in a text: no thousands marks, no NaN, no digits of other scripts."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows to read once, and every column that one of them has (None: no row, nothing known)."""

    columns: frozenset[str] | None
    rows: Iterable[Row]


def of_rows(rows: Sequence[Row]) -> Table:
    return Table(frozenset(column for row in rows for column in row) if rows else None, rows)


def of_json(path: Path, name: str) -> Table:
    """The table in a JSON file, a list of objects; Bury when it is anything else."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise Bury(f"source {name!r} is over {MAX_JSON_BYTES:,} bytes; CSV has no limit")
    try:
        rows = json.loads(path.read_bytes(), parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise Bury(f"source {name!r} is not JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Bury(f"source {name!r}: expected a list of objects")
    return of_rows(rows)


def of_csv(file: TextIO, name: str) -> Table:
    """The table in an open CSV file whose first line names the columns; Bury when it is broken."""
    lines = _lines(file, name)
    header = next(lines, [])
    if not header or len(set(header)) != len(header):
        raise Bury(f"source {name!r}: expected a first line with a different name for each column")
    return Table(frozenset(header), _rows(lines, header, name))


def _rows(lines: Iterator[list[str]], header: list[str], name: str) -> Iterator[Row]:
    for number, cells in enumerate(lines, 1):
        if len(cells) > len(header):
            raise Bury(f"source {name!r}, row {number}: more cells than columns")
        yield dict(zip(header, cells, strict=False))


def _lines(file: TextIO, name: str) -> Iterator[list[str]]:
    """The lines that are not blank."""
    try:
        yield from filter(None, csv.reader(file, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise Bury(f"source {name!r} is not CSV in UTF-8: {error}") from error


def to_csv(header: Sequence[str], rows: Iterable[Sequence[str | int]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([safe(cell) for cell in header])
    writer.writerows([safe(cell) for cell in row] for row in rows)
    return out.getvalue().encode()


def safe(cell: str | int) -> str | int:
    """The cell, with ' before a text that a spreadsheet would run as a formula.

    Rows come from strangers, and `=HYPERLINK(...)` in a name would act when the report is
    opened. Numbers keep their sign. (OWASP, CSV injection.)
    """
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell if NUMBER.fullmatch(cell) else f"'{cell}"
    return cell
