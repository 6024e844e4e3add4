"""A plugin of pytest that notes how each test ended, one JSON object a line, for `run`."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the notes go."""
    parser.addoption("--notes", type=Path, help="file for how each test ended")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note that a test begins: one that never ends took its process with it."""
    _note(item, when="setup", outcome="begun")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a failure with its exception, and every end of a test's own part."""
    report = yield
    if report.failed or report.when == "call":
        error = call.excinfo
        _note(
            item,
            when=str(report.when),
            outcome=report.outcome,
            kind=error.typename if error else "",
            text=str(error.value)[:2000] if error else "",
        )
    return report


def _note(item: pytest.Item, **said: str) -> None:
    note = {"test": item.nodeid, "kind": "", "text": ""} | said
    with item.config.getoption("--notes").open("a") as notes:
        notes.write(json.dumps(note) + "\n")
