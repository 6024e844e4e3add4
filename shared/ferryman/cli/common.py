"""What the commands share: settings from flags and environment, tables, JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferryman import config

if TYPE_CHECKING:
    from ferryman.client import Ferryman
    from ferryman.job import Job

as_json = click.option("--json", "json_out", is_flag=True, help="Print JSON")


def settings(context: click.Context, **flags: Any) -> config.Settings:
    """Settings in force: flag > environment > the server `ferryman up` started here > default."""
    loaded = config.load(redis_url=context.find_root().obj, **flags)
    note = noted_server(context, loaded)
    return config.with_redis(loaded, note.read_text("utf-8").strip()) if note else loaded


def noted_server(context: click.Context, loaded: config.Settings) -> Path | None:
    """The file with the address of the server `ferryman up` runs here; None when none is asked."""
    if context.find_root().obj or os.environ.get("REDIS_URL"):
        return None
    note = Path(loaded.data) / "redis.url"
    return note if note.is_file() else None


def ferryman(context: click.Context) -> Ferryman:
    """A client with the settings in force. Commands can wait longer than a request may."""
    from ferryman.client import Ferryman
    from ferryman.store import Store

    loaded = settings(context)
    return Ferryman(loaded, store=Store(loaded, timeout=5.0))


def print_json(value: Any) -> None:
    """One JSON value, indented."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns under a header, as wide as they need; the last one as it is."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header) - 1)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        click.echo("  ".join([*cells, line[-1]]).rstrip())


def utc(seconds: float | None) -> str:
    """A time as RFC 3339 in UTC; "" for none."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def printable(text: str) -> str:
    """One line safe for a terminal: what handlers and clients say may hold control characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shortened(text: str, most: int) -> str:
    """At most so many characters; what was cut shows as …"""
    return text if len(text) <= most else text[: most - 1] + "…"


def job_view(job: Job) -> Mapping[str, Any]:
    """The fields of a job a person reads, unset ones left out."""
    view = {
        "id": job.id,
        "type": job.type,
        "queue": job.queue,
        "priority": job.priority,
        "status": job.state.value,
        "payload": json.loads(job.payload),
        "attempt": job.attempt,
        "failures": job.failures,
        "crashes": job.crashes,
        "max_attempts": job.max_attempts,
        "timeout": job.timeout,
        "backoff": None if job.backoff is None else asdict(job.backoff),
        "created_at": utc(job.created_at),
        "updated_at": utc(job.updated_at),
        "started_at": utc(job.started_at),
        "completed_at": utc(job.completed_at),
        "run_at": utc(job.run_at),
        "worker": job.worker,
        "progress": job.progress,
        "progress_note": job.progress_note,
        "error": job.error,
        "errors": [e | {"failed_at": utc(e["failed_at"])} for e in job.errors],
        "tags": list(job.tags),
        "meta": dict(job.meta),
        "trace_id": job.trace_id,
    }
    empty: tuple[Any, ...] = (None, "", [], {})
    view = {name: v for name, v in view.items() if v not in empty or name == "payload"}
    if job.result is not None:
        view["result"] = json.loads(job.result)
    return view
