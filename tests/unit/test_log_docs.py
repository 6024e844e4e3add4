"""docs/logs.md: every event of the program is in its table, with its level and its keys, and no
other is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ferryman import logs
from ferryman.backoff import Backoff
from ferryman.decision import Bury, Cancel, Decision, Finish, Release, Retry, Snooze
from ferryman.store import Claimed
from ferryman.traceparent import Trace
from ferryman_worker.decide import Policy
from ferryman_worker.report import report
from ferryman_worker.run import Run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "logs.md").read_text("utf-8")
FILES = [
    path
    for folder in ("shared/ferryman", "worker/ferryman_worker", "api/ferryman_api")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
EVENTS = {
    name: value
    for name, value in vars(logs).items()
    if name.isupper() and isinstance(value, str) and name[0] != "_"
}
LEVELS = {"debug", "info", "warning", "error", "exception"}
A_RUN = {"worker", "id", "type", "queue", "priority", "attempt", "state", "duration"}


class Row(NamedTuple):
    """A line of the table."""

    levels: set[str]
    always: set[str]
    sometimes: set[str]

    @property
    def keys(self) -> set[str]:
        """All that a line may have."""
        return self.always | self.sometimes


def rows() -> dict[str, Row]:
    """The table, by event; an event that is in it twice fails."""
    found: dict[str, Row] = {}
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            event, levels, _, keys = line.strip("| ").split(" | ")
            assert event not in found
            sometimes = listed(" ".join(re.findall(r"\*([^*]+)\*", keys)))
            always = listed(re.sub(r"\*[^*]+\*", "", keys))
            if keys.startswith("the same"):
                always, sometimes = always | A_RUN, sometimes | {"trace_id"}
            found[event.strip("`")] = Row(set(levels.split(", ")), always, sometimes)
    return found


def listed(text: str) -> set[str]:
    """The keys in a cell of the table."""
    return {key for part in re.findall(r"`([^`]+)`", text) for key in part.split(", ")}


class Said(NamedTuple):
    """A call that logs."""

    event: str
    level: str
    keys: set[str]


def said(tree: ast.AST) -> Iterator[Said]:
    """Every `log.<level>(logs.<EVENT>, key=...)`."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and ast.unparse(node.func.value) == "log"
        ):
            event = ast.unparse(node.args[0]).removeprefix("logs.")
            level = "error" if node.func.attr == "exception" else node.func.attr
            keys = {k.arg for k in node.keywords if k.arg} - {"exc_info"}
            yield Said(EVENTS[event], level, keys)


def used(tree: ast.AST, own: bool) -> Iterator[str]:
    """Every event named: as `logs.<EVENT>`, in logs.py itself by its name alone."""
    for node in ast.walk(tree):
        is_read = isinstance(getattr(node, "ctx", None), ast.Load)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "logs":
            yield node.attr
        elif own and isinstance(node, ast.Name) and is_read and node.id in EVENTS:
            yield node.id


TREES = [(path, ast.parse(path.read_text("utf-8"))) for path in FILES]
CALLS = [call for _, tree in TREES for call in said(tree)]


def test_the_table_names_the_events_the_program_logs_and_no_other() -> None:
    named = {name for path, tree in TREES for name in used(tree, path.name == "logs.py")}
    assert {EVENTS[name] for name in named & EVENTS.keys()} == set(rows())
    assert set(rows()) == set(EVENTS.values())


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.event} {call.level}")
def test_a_line_has_the_level_and_the_keys_of_its_row(call: Said) -> None:
    row = rows()[call.event]
    assert call.level in row.levels
    assert row.always <= call.keys <= row.keys


PUT_TOGETHER = {"job.started", "bug", "request"}
"""Lines whose keys are not all written where they are logged."""


def test_a_row_names_no_level_and_no_key_that_nothing_logs() -> None:
    for event, row in rows().items():
        calls = [call for call in CALLS if call.event == event]
        if calls and event not in PUT_TOGETHER:
            assert row.levels == {call.level for call in calls}, event
            assert row.keys == {key for call in calls for key in call.keys}, event


@pytest.mark.parametrize(
    "decision",
    [
        Finish("a", 1, None, 0.1),
        Retry("a", 1, 1.0, "no", "{}"),
        Bury("a", 1, "no", "{}"),
        Snooze("a", 1, 1.0),
        Release("a", 1),
        Cancel("a", 1),
    ],
    ids=lambda decision: type(decision).__name__,
)
@pytest.mark.parametrize("is_fenced", [False, True])
def test_the_line_of_a_run_has_the_keys_of_its_row(decision: Decision, is_fenced: bool) -> None:
    job = Claimed(id="a", attempt=1, type="t", payload="secret", queue="q")
    limits = Policy(max_attempts=3, delay=Backoff().delay, timeout=60.0)
    run = Run(job, None, None, limits, Trace(f"00-{'1' * 32}-{'2' * 16}-01"))
    lines: list[dict[str, object]] = []

    def tell(event: str, **keys: object) -> None:
        lines.append({"event": event, "worker": "bound", **keys})

    report(tell, [(run, decision)], {id(decision)} if is_fenced else ())
    [line] = lines
    event = line.pop("event")
    assert (event == "job.fenced") is is_fenced
    row = rows()[str(event)]
    assert row.levels == {"info"}
    assert row.always <= line.keys() <= row.keys
    assert is_fenced or line.keys() == row.keys
    assert line["trace_id"] == "1" * 32
    assert "secret" not in str(line)
