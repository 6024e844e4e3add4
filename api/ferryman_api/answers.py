"""Answers: what the store knows, as JSON. The shapes are described in `bodies`."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from flask import Response
from werkzeug.datastructures import Headers

from ferryman.config import Settings
from ferryman.job import Job, backoff_fields, encode
from ferryman.lifecycle import State
from ferryman.store import Stats
from ferryman_api.times import to_text

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

JSON = "application/json"


class Answer(Response):
    """A response that has no media type unless it is given one: nothing here is HTML."""

    default_mimetype = None

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """The headers as they are: they are whole and ASCII; looking again takes 10 us."""
        return self.headers


def as_json(
    value: Any, status: int = 200, headers: dict[str, str] | None = None, content_type: str = JSON
) -> Answer:
    """A JSON answer; integers keep all their digits."""
    return Answer(encode(value), status, headers, content_type=content_type)


def job_view(job: Job, settings: Settings) -> dict[str, Any]:
    """A job as `GET /jobs/{id}` shows it; what is not set is left out."""
    view = {
        "id": job.id,
        "type": job.type,
        "queue": job.queue,
        "priority": job.priority,
        "status": job.state.value,
        "payload": _value(job.payload),
        "attempt": job.attempt,
        "failures": job.failures,
        "crashes": job.crashes or None,
        "max_attempts": job.max_attempts or settings.max_attempts,
        "timeout": job.timeout,
        "backoff": None if job.backoff is None else backoff_fields(job.backoff),
        "created_at": to_text(job.created_at),
        "updated_at": to_text(job.updated_at),
        "started_at": _time(job.started_at),
        "completed_at": _time(job.completed_at),
        "run_at": _time(job.run_at),
        "error": job.error,
        "errors": [_run(entry) for entry in job.errors] or None,
        "progress": job.progress,
        "progress_note": job.progress_note or None,
        "worker": job.worker,
        "tags": job.tags or None,
        "meta": job.meta or None,
        "trace_id": job.trace_id,
    }
    view = {name: value for name, value in view.items() if value is not None or name == "payload"}
    if job.result is not None:
        view["result"] = _value(job.result)
    return view


def stats_view(stats: Stats) -> dict[str, Any]:
    """The counters as `GET /stats` shows them."""
    states = stats.states
    completed, failed = states[State.COMPLETED], states[State.FAILED]
    return {
        "total_jobs": stats.total,
        "pending_jobs": stats.waiting,
        "running_jobs": states[State.RUNNING],
        "completed_jobs": completed,
        "failed_jobs": failed,
        "dlq_size": stats.dlq_size,
        "scheduled_jobs": states[State.SCHEDULED],
        "blocked_jobs": states[State.BLOCKED],
        "cancelled_jobs": states[State.CANCELLED],
        "recovered_jobs": stats.events.get("recovered_total", 0),
        "total_processed": completed + failed,
        "successful": completed,
        "failed": failed,
        "queue_length": states[State.PENDING],
        "workers": stats.workers,
        "queues": stats.queues,
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else to_text(seconds)


def _run(entry: dict[str, Any]) -> dict[str, Any]:
    failed_at = entry.get("failed_at")
    return entry | {"failed_at": to_text(failed_at)} if failed_at is not None else entry


def _value(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):  # somebody edited the hash by hand: show what is there
        return text


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # 1e400 can be read, and not be said again
        raise ValueError(text)
    return value


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)
