"""What this process was asked, for `/metrics/process`: the one figure that does not lie in Redis.

Labels are bounded: a route is the rule it was found by, never the path; what matches none, and a
method we have never heard of, are `other`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds. A long poll takes as long as its client asked for."""


class _Registry(CollectorRegistry):
    """Its metrics without the time each was made, which would be a series more for every label.

    `disable_created_metrics()` would take them from all metrics of a program that serves this
    application beside its own.
    """

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric


class Traffic:
    """Requests answered by one application, in this process."""

    def __init__(self) -> None:
        self.registry = _Registry()
        self._requests = Counter(
            "ferryman_http_requests_total",
            "Requests answered by this process",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "ferryman_http_request_duration_seconds",
            "Time to the first byte of the answer",
            ["method", "route"],
            buckets=BUCKETS,
            registry=self.registry,
        )

    def answered(self, environ: WSGIEnvironment, status: int, seconds: float) -> None:
        """Count one answer; its `environ` has been through the application."""
        method = environ["REQUEST_METHOD"]
        method = method if method in METHODS else "other"
        # werkzeug leaves the request there, Flask the rule it matched in that.
        rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
        route = "other" if rule is None else rule.rule
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)
