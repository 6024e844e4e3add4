"""gunicorn as we run it: its lines join ours, its errors are not HTML, Ctrl-C is graceful."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.http import errors  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from ferryman import logs
from ferryman.config import Settings
from ferryman.job import encode
from ferryman_api import access, problems
from ferryman_api.listen import STALL
from ferryman_api.marks import MEMORY

STOP_TIMEOUT = 8
"""Seconds a request in flight may take after SIGTERM; everything has ended within 10."""

LAST_CALL = 100
"""Connections that stood in line when the stop came and are still taken."""

KEEPALIVE = 75
"""Seconds an idle connection stays open: longer than the 60 s of usual proxies, which would
otherwise send a request into a connection that is just being closed."""

log = structlog.get_logger()


class _Turn(threading.local):
    """When this thread took up the connection it serves."""

    def __init__(self) -> None:
        self.began = time.perf_counter()


_turn = _Turn()


class Master(Arbiter):  # type: ignore[misc]
    """gunicorn's parent process."""

    def handle_int(self) -> None:
        """Take Ctrl-C as SIGTERM: requests in flight complete. The second one is in a hurry."""
        raise StopIteration


class Worker(ThreadWorker):  # type: ignore[misc]
    """A process that answers requests."""

    def init_signals(self) -> None:
        super().init_signals()
        # A terminal sends Ctrl-C to every process; the master passes on what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Stop listening when stopping: what nobody will take is refused, not left waiting."""
        super().set_accept_enabled(enabled)
        if self.alive:
            return
        for listener in self.sockets:
            for _ in range(LAST_CALL):
                if select.select([listener], [], [], 0)[0]:
                    self.accept(listener)
            listener.close()

    def enqueue_req(self, conn: Any) -> None:
        """Give a connection a thread only when it has said something."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + STALL
        self.pending_conns.append(conn)
        speaks = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, speaks)

    def handle(self, conn: Any) -> Any:
        _turn.began = time.perf_counter()
        return super().handle(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what is not HTTP, or not HTTP we take, as a problem."""
        status, what = _refusal(exc)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error(logs.BUG, exc_info=exc)
        request_id = access.new_id()
        log.info(
            logs.REQUEST,
            status=status.value,
            duration_ms=_duration(),
            request_id=request_id,
            error=what,
        )
        kind = problems.Kind(status, status.phrase.lower().replace(" ", "-"), status.phrase)
        with contextlib.suppress(OSError):  # the client has gone
            text = encode(problems.body(kind, what))
            util.write_nonblock(client, _response(status, text, request_id))


class Log:
    """What gunicorn takes for its logger. Little it says matters to a user: info becomes debug."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    def debug(self, *_: Any, **__: Any) -> None:
        """Drop it: internals of gunicorn."""

    access = reopen_files = close_on_exec = setup = debug

    def info(self, message: str, *args: Any, **_: Any) -> None:
        log.debug(logs.GUNICORN, message=_fill(message, args))

    def warning(self, message: str, *args: Any, **_: Any) -> None:
        log.warning(logs.GUNICORN, message=_fill(message, args))

    def error(self, message: str, *args: Any, **options: Any) -> None:
        said = {"exc_info": True} if options.get("exc_info") else {}
        log.error(logs.GUNICORN, message=_fill(message, args), **said)

    critical = error

    def exception(self, message: str, *args: Any, **_: Any) -> None:
        if isinstance(sys.exc_info()[1], BlockingIOError):
            log.info(
                logs.REQUEST,
                duration_ms=_duration(),
                request_id=access.new_id(),
                error="the client stalled and was given up",
            )
        else:
            self.error(message, *args, exc_info=True)


class Server(BaseApplication):  # type: ignore[misc]
    """A gunicorn for `app` on a listening socket."""

    def __init__(
        self, app: Any, settings: Settings, listener: int, hooks: dict[str, Callable[[Any], None]]
    ) -> None:
        self._app, self._settings, self._listener, self._hooks = app, settings, listener, hooks
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options().items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._app

    def run(self) -> None:
        Master(self).run()

    def _options(self) -> dict[str, Any]:
        return {
            "bind": f"fd://{self._listener}",
            "workers": self._settings.api_processes,
            "threads": self._settings.api_threads,
            "worker_class": Worker,
            "logger_class": Log,
            "preload_app": True,
            "graceful_timeout": STOP_TIMEOUT,
            "keepalive": KEEPALIVE,
            "control_socket_disable": True,
            # Each process touches a file to show that it lives: in memory no slow or read-only
            # disk can stop it.
            "worker_tmp_dir": MEMORY if os.access(MEMORY, os.W_OK) else None,
        } | self._hooks


def _refusal(error: Exception) -> tuple[HTTPStatus, str]:
    said = str(error)
    match error:
        case errors.InvalidResponseHeader() | errors.InvalidResponseHeaderName():
            return HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of this server; it has been logged"
        case errors.LimitRequestLine():
            return HTTPStatus.REQUEST_URI_TOO_LONG, said
        case errors.LimitRequestHeaders():
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, said
        case errors.UnsupportedTransferCoding():
            return HTTPStatus.NOT_IMPLEMENTED, said
        case errors.ExpectationFailed():
            return HTTPStatus.EXPECTATION_FAILED, said
        case errors.ParseException():
            return HTTPStatus.BAD_REQUEST, said
    return HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of this server; it has been logged"


def _duration() -> float:
    return round((time.perf_counter() - _turn.began) * 1000, 3)


def _response(status: HTTPStatus, text: str, request_id: str) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
        f"Content-Type: {problems.MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
        f"X-Request-Id: {request_id}\r\n\r\n"
    )
    return head.encode() + body


def _fill(message: object, args: tuple[Any, ...]) -> str:
    return str(message) % args if args else str(message)
