"""What happened, written outside Redis: one JSON line per event, one file per process.

A line is one write to a file opened for appending, so it survives a kill -9 of its writer. Times
are time.monotonic(), which every process of the machine shares and no clock jump touches.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class History:
    """The writer of one process. Safe to use from many threads: a line is one write."""

    def __init__(self, folder: Path | str, who: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{who}-{os.getpid()}.jsonl"
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(self, event: str, **more: Any) -> None:
        """Append one event; `at` says when it was, if not now."""
        line = {"at": round(time.monotonic(), 6), "event": event, "pid": os.getpid()} | more
        os.write(self._fd, json.dumps(line).encode() + b"\n")


def read(folder: Path | str) -> Iterator[dict[str, Any]]:
    """Every event of every process, file by file. A line cut off by a kill is left out."""
    for path in sorted(Path(folder).glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue
