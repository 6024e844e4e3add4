"""`ferryman api`: checks that everything is in place, then serves until it is stopped."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys

import structlog

from ferryman import logs
from ferryman.config import Settings
from ferryman.errors import ConfigError, StoreUnavailable
from ferryman.store import Store

PORT_TAKEN = 1
BAD_SETTING = 2
NO_REDIS = 3

BACKLOG = 2048
STALL = 5
"""Seconds a client may pause within a request, or not take its answer, before it is given up:
it holds a thread."""

ENDPOINTS = (
    "POST /jobs",
    "GET /jobs",
    "GET /jobs/{id}",
    "DELETE /jobs/{id}",
    "POST /jobs/{id}/retry",
    "GET /stats",
    "GET /health",
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
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
        return _refuse(PORT_TAKEN, _trouble(settings, error))
    with listener:
        try:
            _check_redis(settings)
        except StoreUnavailable as error:
            return _refuse(NO_REDIS, str(error).rstrip(".") + "; start it, or set REDIS_URL")
        except ConfigError as error:
            return _refuse(BAD_SETTING, str(error))
        return _run(settings, listener)


def listen(settings: Settings) -> socket.socket:
    """A socket on the address; OSError when it cannot be had."""
    listener = socket.create_server(
        (settings.host, settings.port),
        family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
        backlog=BACKLOG,
    )
    # What is accepted inherits these. Without them a client that is silent, or stops half way
    # through its request, would hold a thread for as long as it likes.
    stall = struct.pack("ll", STALL, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, stall)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, stall)
    if hasattr(socket, "TCP_DEFER_ACCEPT"):  # Linux: accepted when its first byte is there
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, STALL)
    return listener


def _run(settings: Settings, listener: socket.socket) -> int:
    from ferryman_api.app import create_app
    from ferryman_api.server import Server

    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    hooks = {
        "when_ready": lambda _: log.info(logs.API_STARTED, address=address, endpoints=ENDPOINTS),
        "on_exit": lambda _: log.info(logs.API_STOPPED, address=address),
    }
    parent = os.getpid()
    try:
        Server(create_app(settings), settings, listener.detach(), hooks).run()
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


def _trouble(settings: Settings, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {settings.port} is taken by another program: stop it, or set PORT to another"
    if error.errno == errno.EACCES:
        return f"port {settings.port} may not be opened by this user: set PORT above 1023"
    return f"cannot listen on {settings.host!r}: set FERRYMAN_HOST to an address of this machine"


def _refuse(code: int, line: str) -> int:
    print(f"ferryman api: {line}", file=sys.stderr)
    return code
