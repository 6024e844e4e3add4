#!/usr/bin/env python3
"""Writes the Grafana dashboards in `dashboards/`; a test compares them with what this makes.

    python deploy/grafana/make.py

Below, a panel is its title, its unit and what it shows as (legend, query). `make check-deploy`
sends every query to a running Prometheus.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]

FOLDER = Path(__file__).parent / "dashboards"
WIDTH, HEIGHT = 24, 7
SOURCE = {"type": "prometheus", "uid": "prometheus"}


class Panel(NamedTuple):
    """One panel; `shows` is a list of (legend, query)."""

    kind: str
    title: str
    about: str
    unit: str
    width: int
    shows: list[tuple[str, str]]


def stat(title: str, unit: str, query: str, about: str = "") -> Panel:
    return Panel("stat", title, about, unit, 4, [("", query)])


def lines(
    title: str, unit: str, *shows: tuple[str, str], about: str = "", width: int = 12
) -> Panel:
    return Panel("timeseries", title, about, unit, width, list(shows))


def rate(metric: str) -> str:
    return f"sum(rate({metric}[$__rate_interval]))"


def by_queue(state: str) -> str:
    return f'sum by (queue) (ferryman_queue_jobs{{queue=~"$queue", state="{state}"}})'


def events(event: str, by: str) -> str:
    """Events a second of the chosen queues, by a label."""
    series = f'ferryman_jobs_total{{event=~"{event}", queue=~"$queue"}}'
    return f"sum by ({by}) (rate({series}[$__rate_interval]))"


def slowest(share: float, metric: str, by: str, where: str = "") -> str:
    """The time that so many of the observations stay under, by a label."""
    buckets = f"rate({metric}_bucket{{{where}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (le, {by}) ({buckets}))"


def quantile(share: float) -> str:
    buckets = "job_processing_duration_seconds_bucket[$__rate_interval]"
    return f"histogram_quantile({share}, sum by (le) (rate({buckets})))"


OVERVIEW = [
    stat("Waiting", "short", 'max(queue_size{state="pending"})', "ready, scheduled and blocked"),
    stat("Running", "short", 'max(queue_size{state="running"})'),
    stat("Completed", "short", 'max(queue_size{state="completed"})', "since the beginning"),
    stat(
        "Dead letters",
        "short",
        'max(queue_size{state="dlq"})',
        "given up; they lie there until dealt with",
    ),
    stat(
        "Workers",
        "short",
        'max(ferryman_workers{state="running"})',
        "child processes; not those that stop or are lost",
    ),
    stat(
        "Time to work it off",
        "s",
        "ferryman:backlog:seconds",
        "what is ready, at the speed of the last 5 minutes",
    ),
    lines(
        "Jobs per second",
        "cps",
        ("created", rate("jobs_created_total")),
        ("completed", rate("jobs_processed_total")),
        ("failed runs", rate("jobs_failed_total")),
        about="A queue grows while created is above completed.",
    ),
    lines(
        "Jobs by state",
        "short",
        ("{{state}}", 'max by (state) (queue_size{state=~"pending|running|scheduled|dlq"})'),
        about="pending counts scheduled and blocked jobs too.",
    ),
    lines(
        "Run time of runs that ended well",
        "s",
        ("p50", quantile(0.5)),
        ("p95", quantile(0.95)),
        ("p99", quantile(0.99)),
    ),
    lines(
        "Share of runs that fail",
        "percentunit",
        (
            "failed",
            f"{rate('jobs_failed_total')}"
            f" / ({rate('jobs_failed_total')} + {rate('jobs_processed_total')} > 0)",
        ),
    ),
    lines(
        "What becomes of failed runs",
        "cps",
        ("retried", rate("jobs_retried_total")),
        ("given up", rate("jobs_dlq_total")),
        about="failed = retried + given up, always.",
    ),
    lines(
        "Crashes and late results",
        "short",
        ("recovered from dead workers", "sum(increase(ferryman_jobs_recovered_total[5m]))"),
        ("late results refused", "sum(increase(ferryman_jobs_fenced_total[5m]))"),
        ("set aside", "sum(increase(ferryman_jobs_quarantined_total[5m]))"),
        about="In five minutes. Flat at zero is right.",
    ),
    lines(
        "Runs per second by how they end",
        "cps",
        (
            "{{outcome}}",
            "sum by (outcome) (rate(ferryman_job_duration_seconds_count[$__rate_interval]))",
        ),
    ),
    lines(
        "Memory of Redis",
        "bytes",
        ("used", "max(ferryman_redis_used_memory_bytes)"),
        ("at most", "max(ferryman_redis_max_memory_bytes)"),
        about="At most 0: no limit is set.",
    ),
    lines(
        "Requests per second",
        "reqps",
        (
            "{{method}} {{route}}",
            "sum by (method, route) (rate(ferryman_http_requests_total[$__rate_interval]))",
        ),
        about="Of all API processes.",
    ),
    lines(
        "Time of a request, p95",
        "s",
        (
            "{{method}} {{route}}",
            slowest(0.95, "ferryman_http_request_duration_seconds", "method, route"),
        ),
        about="A long poll takes as long as its client asked for.",
    ),
]

QUEUES = [
    lines(
        "Oldest ready job",
        "s",
        ("{{queue}}", 'max by (queue) (ferryman_queue_latency_seconds{queue=~"$queue"})'),
        about="How long it has waited. Paused queues too.",
    ),
    lines(
        "Wait until started, p95",
        "s",
        ("{{queue}}", slowest(0.95, "ferryman_job_wait_seconds", "queue", 'queue=~"$queue"')),
        about="From ready to started: without delays and waits for a retry.",
    ),
    lines("Ready", "short", ("{{queue}}", by_queue("pending"))),
    lines("Running", "short", ("{{queue}}", by_queue("running"))),
    lines(
        "Scheduled",
        "short",
        ("{{queue}}", by_queue("scheduled")),
        about="Delayed jobs and retries.",
    ),
    lines(
        "Completed per second",
        "cps",
        (
            "{{queue}}",
            "sum by (queue) (deriv(ferryman_queue_jobs"
            '{queue=~"$queue", state="completed"}[$__rate_interval]))',
        ),
        about="A revived job moves back: short dips are possible.",
    ),
    lines(
        "Slots",
        "short",
        (
            "{{queue}} {{state}}",
            'sum by (queue, state) (ferryman_worker_slots{queue=~"$queue"})',
        ),
        about="Of the workers that serve a queue; those of several queues count for each.",
    ),
    lines(
        "Share of the limit in use",
        "percentunit",
        (
            "{{queue}}",
            'sum by (queue) (ferryman_queue_jobs{queue=~"$queue", '
            'state=~"pending|scheduled|blocked"})'
            " / (max by (queue) (ferryman_queue_limit) > 0)",
        ),
        about="At 100 % new jobs are refused.",
    ),
    lines(
        "Dead letters",
        "short",
        ("{{queue}}", 'max by (queue) (ferryman_dlq_jobs{queue=~"$queue"})'),
    ),
    lines(
        "Oldest dead letter",
        "s",
        ("{{queue}}", 'max by (queue) (ferryman_dlq_oldest_seconds{queue=~"$queue"})'),
    ),
    lines(
        "Runs taken from silent workers",
        "short",
        (
            "{{queue}}",
            'sum by (queue) (increase(ferryman_leases_expired_total{queue=~"$queue"}[5m]))',
        ),
        about="In five minutes. Flat at zero is right.",
    ),
    lines(
        "Paused",
        "bool_yes_no",
        ("{{queue}}", 'max by (queue) (ferryman_queue_paused{queue=~"$queue"})'),
    ),
    lines(
        "Moves per second",
        "cps",
        ("promoted", rate("ferryman_jobs_promoted_total")),
        ("released", rate("ferryman_jobs_released_total")),
        ("returned", rate("ferryman_jobs_returned_total")),
        ("snoozed", rate("ferryman_jobs_snoozed_total")),
        ("revived", rate("ferryman_jobs_revived_total")),
        ("deleted", rate("ferryman_jobs_deleted_total")),
        ("expired", rate("ferryman_jobs_expired_total")),
        about="promoted: became due; released: given back by a stopping worker; returned: claimed "
        "over the free slots; the others: by hand.",
    ),
    lines(
        "Redis",
        "s",
        ("one read of all counters", "max(ferryman_scrape_duration_seconds)"),
        about="Some milliseconds; more says that Redis or the network is slow.",
    ),
]

TYPES = [
    lines("Completed per second", "cps", ("{{type}}", events("completed", "type"))),
    lines(
        "Share of runs that fail",
        "percentunit",
        ("{{type}}", f"{events('failed', 'type')} / ({events('failed|completed', 'type')} > 0)"),
    ),
    lines(
        "Run time of runs that ended well, p95",
        "s",
        (
            "{{type}}",
            slowest(
                0.95,
                "ferryman_job_duration_seconds",
                "type",
                'queue=~"$queue", outcome="completed"',
            ),
        ),
    ),
    lines(
        "From created to the end, p95",
        "s",
        ("{{type}}", slowest(0.95, "ferryman_job_total_seconds", "type")),
        about="With delays, waits and retries; of all queues.",
    ),
    lines("Created per second", "cps", ("{{type}}", events("created", "type"))),
    lines("Given up per second", "cps", ("{{type}}", events("dead", "type"))),
    lines(
        "Slots in use on average",
        "short",
        (
            "{{type}}",
            "sum by (type) (rate(ferryman_job_duration_seconds_sum"
            '{queue=~"$queue"}[$__rate_interval]))',
        ),
        about="Seconds of run time a second: what takes the workers' time.",
    ),
    lines(
        "What happens, per second",
        "cps",
        ("{{event}}", events(".+", "event")),
        about="Of the chosen queues.",
    ),
]

QUEUE_VARIABLE = {
    "name": "queue",
    "label": "Queue",
    "type": "query",
    "datasource": SOURCE,
    "query": {"query": "label_values(ferryman_queue_jobs, queue)", "refId": "queue"},
    "includeAll": True,
    "allValue": ".*",
    "multi": True,
    "current": {"text": "All", "value": "$__all"},
    "refresh": 2,
    "sort": 1,
}

DASHBOARDS = {
    "overview": ("Ferryman", OVERVIEW, []),
    "queues": ("Ferryman: queues", QUEUES, [QUEUE_VARIABLE]),
    "types": ("Ferryman: types", TYPES, [QUEUE_VARIABLE]),
}
"""File: title, panels, variables."""


def dashboards() -> Iterator[tuple[Path, str]]:
    """Every file with its text."""
    for name, (title, panels, variables) in DASHBOARDS.items():
        text = json.dumps(dashboard(f"ferryman-{name}", title, panels, variables), indent=1)
        yield FOLDER / f"{name}.json", text + "\n"


def dashboard(uid: str, title: str, panels: Iterable[Panel], variables: list[Json]) -> Json:
    return {
        "uid": uid,
        "title": title,
        "tags": ["ferryman"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": variables},
        "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "title": "Ferryman", "tags": ["ferryman"], "asDropdown": False}
        ],
        "panels": list(laid_out(panels)),
    }


def laid_out(panels: Iterable[Panel]) -> Iterator[Json]:
    """The panels from left to right, row under row."""
    x = y = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        yield drawn(number, panel, {"x": x, "y": y, "w": panel.width, "h": HEIGHT})
        x += panel.width


def drawn(number: int, panel: Panel, place: Json) -> Json:
    """What Grafana calls a panel."""
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"showLegend": True}} if panel.kind == "timeseries" else {},
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": SOURCE,
                "expr": query,
                "legendFormat": legend,
            }
            for n, (legend, query) in enumerate(panel.shows)
        ],
    }


if __name__ == "__main__":
    for path, text in dashboards():
        path.write_text(text)
        print(path.name)
