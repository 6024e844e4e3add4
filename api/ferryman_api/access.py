"""One log line and one id for every request, which is counted too."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import structlog

from ferryman import logs
from ferryman.traceparent import read
from ferryman_api.traffic import Traffic

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = "ferryman.request_id"
TRACE = "ferryman.trace"
ERROR = "ferryman.error"
"""Keys of the WSGI environment: the request's id, its `Trace` if it has one, and what its line says
went wrong."""

QUIET = frozenset({"/health", "/livez", "/readyz", "/metrics", "/metrics/process"})
"""Asked every few seconds by machines: their lines are for debugging only."""

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = structlog.get_logger()


class AccessLog:
    """Wraps an application. As hooks of Flask the same costs three times as much."""

    def __init__(self, app: WSGIApplication, traffic: Traffic) -> None:
        self._app, self._traffic = app, traffic

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if given and _GIVEN_ID.fullmatch(given) else new_id()
        environ[REQUEST_ID] = request_id
        if "HTTP_TRACEPARENT" in environ:
            environ[TRACE] = read(environ["HTTP_TRACEPARENT"], environ.get("HTTP_TRACESTATE"))

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            headers.append(("X-Request-Id", request_id))
            code, seconds = int(status[:3]), time.perf_counter() - began
            self._traffic.answered(environ, code, seconds)
            _write(environ, code, seconds)
            return start_response(status, headers, *rest)

        return self._app(environ, start)


def new_id() -> str:
    """An id for a request whose client gave none."""
    return secrets.token_hex(8)


def _write(environ: WSGIEnvironment, status: int, seconds: float) -> None:
    path = environ["PATH_INFO"]
    write = log.debug if path in QUIET else log.info
    error, trace = environ.get(ERROR), environ.get(TRACE)
    write(
        logs.REQUEST,
        method=environ["REQUEST_METHOD"],
        # WSGI gives bytes as Latin-1.
        path=path if path.isascii() else path.encode("latin-1").decode("utf-8", "replace"),
        status=status,
        duration_ms=round(seconds * 1000, 3),
        request_id=environ[REQUEST_ID],
        **({} if trace is None else {"trace_id": trace.trace_id}),
        **({} if error is None else {"error": error}),
    )
