"""Log lines: one list of event names, and how a line is written.

    log = structlog.get_logger()
    log.info(logs.JOB_COMPLETED, id=job.id, duration=0.012)

JSON, one object a line, unless stdout is a terminal: `ts` (UTC), `level`, `event`, then what the
event brings. Payloads and results are never logged.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from ferryman.config import Settings

# A job, once per run when it ends; its start at debug.
JOB_STARTED = "job.started"
JOB_COMPLETED = "job.completed"
JOB_RETRIED = "job.retried"
JOB_FAILED = "job.failed"
JOB_SNOOZED = "job.snoozed"
JOB_RELEASED = "job.released"
JOB_CANCELLED = "job.cancelled"
JOB_FENCED = "job.fenced"  # a late result was refused: the job had been given to somebody else

# A worker: its supervisor, its children.
WORKER_STARTED = "worker.started"
WORKER_STOPPING = "worker.stopping"
WORKER_STOPPED = "worker.stopped"
WORKER_RECOVERED = "worker.recovered"
CHILD_STARTED = "child.started"
CHILD_DIED = "child.died"
CHILD_KILLED = "child.killed"
LEASE_LOST = "lease.lost"
APP_BROKEN = "app.broken"  # the application named by FERRYMAN_APP does not load

# Redis, as a worker sees it.
REDIS_LOST = "redis.lost"
REDIS_BACK = "redis.back"

# The API.
API_STARTED = "api.started"
API_STOPPED = "api.stopped"
REQUEST = "request"
GUNICORN = "gunicorn"  # what the server under the API has to say

# `ferryman up`.
PART_ENDED = "part.ended"

# Something that should not be possible, with its traceback.
BUG = "bug"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure(settings: Settings) -> None:
    """Set the level and the form of every line; once, at the start of a process."""
    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stdout is not None and sys.stdout.isatty()
    )
    structlog.configure(
        processors=_console() if console else [structlog.processors.format_exc_info, as_json],
        # Levels under the one set cost a call that returns at once.
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=_Stdout,
        cache_logger_on_first_use=True,
    )


def as_json(logger: Any, level: str, fields: EventDict) -> str:
    """One line of JSON. It is pure ASCII, so nothing a client sends can begin a line of its own."""
    return _encode({"ts": now(), "level": level, "event": fields.pop("event"), **fields})


def now() -> str:
    """The time as RFC 3339 in UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


_encode = json.JSONEncoder(default=str).encode


def _console() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        _defuse,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(colors=sys.stdout is not None and sys.stdout.isatty()),
    ]


def _defuse(logger: Any, level: str, fields: EventDict) -> EventDict:
    """Show control characters as escapes: they could move the cursor or begin a line."""
    for name, value in fields.items():
        if isinstance(value, str) and _CONTROL.search(value):
            fields[name] = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], value)
    return fields


class _Stdout:
    """Writes each line with one system call: no lock to inherit over a fork, no torn lines.

    When the reader has gone or the disk is full the log is lost, and the program goes on.
    """

    def __init__(self, *_: Any) -> None:
        pass

    def msg(self, line: str) -> None:
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        held: list[bytes] | None = getattr(_held, "lines", None)
        if held is None:
            _write(data)
        else:
            held.append(data)

    debug = info = warning = error = critical = fatal = exception = msg


_held = threading.local()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """The lines this thread logs meanwhile are written at the end, with one system call."""
    lines: list[bytes] = []
    _held.lines = lines
    try:
        yield
    finally:
        _held.lines = None
        if lines:
            _write(b"".join(lines))


def _write(data: bytes) -> None:
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(1, data) :]
