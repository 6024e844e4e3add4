"""The table of guards: the text that makes each, and the tests that miss it when it is gone.

One `[[guard]]` a guard in guards/*.toml:

    name     what it is called, once in the whole table
    against  what would go wrong without it
    file     where it stands
    take     the text that is taken out; it stands there exactly once
    put      what stands there instead ("" when left out)
    red      tests that must fail then, as path::name; of a parametrized one any case

`run` takes them out one at a time; `test_table` keeps the table true. Next: `run`.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLES = Path(__file__).parent / "guards"


@dataclass(frozen=True)
class Guard:
    """A line or two of the program that keep a fault away."""

    name: str
    against: str
    file: str
    take: str
    red: tuple[str, ...]
    put: str = ""

    def without(self, text: str) -> str:
        """The text of the file with the guard taken out."""
        return text.replace(self.take, self.put, 1)

    def trouble(self, root: Path) -> str | None:
        """What is wrong with this entry of the table, judged by the files under `root`."""
        path = root / self.file
        if not path.is_file():
            return f"there is no {self.file}"
        found = path.read_text("utf-8").count(self.take)
        if found != 1:
            return f"its text stands {found} times in {self.file}"
        if self.take == self.put:
            return "nothing is taken out"
        gone = [test for test in self.red if not exists(root, test)]
        return f"there is no test {', '.join(gone)}" if gone else None


def load(folder: Path = TABLES) -> list[Guard]:
    """Every guard of the table, those of one file after the other."""
    return [guard for path in sorted(folder.glob("*.toml")) for guard in _read(path)]


def _read(path: Path) -> Iterator[Guard]:
    for entry in tomllib.loads(path.read_text("utf-8"))["guard"]:
        yield Guard(**(entry | {"red": tuple(entry["red"])}))


def exists(root: Path, test: str) -> bool:
    """Whether the test `path::name` is written there; nothing is imported."""
    path, _, name = test.partition("::")
    return name.partition("[")[0] in _tests(root / path)


@cache
def _tests(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    body = ast.parse(path.read_text("utf-8")).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    return frozenset(f.name for f in functions if f.name.startswith("test_"))
