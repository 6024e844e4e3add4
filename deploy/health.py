#!/usr/bin/env python
"""The image's health check: 0 when the role this container runs is doing its work, else 1.

api: `/readyz` answers, so Redis does too. worker: a worker of this host has a lease that is not
over. Any other command: healthy as long as it runs.

It runs every few seconds for as long as the container lives, so it is cheap: 20 to 60 ms of CPU
with bare sockets, 250 ms with a Redis or HTTP client.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from typing import Any
from urllib.parse import unquote, urlsplit

PATIENCE = 8.0
"""Seconds for an answer; the engine gives the whole check 10."""


def main() -> int:
    """Find out the role from the container's first process."""
    with open("/proc/1/cmdline") as file:  # noqa: PTH123  (pathlib costs as much as all the rest)
        words = file.read().split("\0")
    checks = {"api": api_is_ready, "worker": worker_is_alive}
    role = next((word for word in words if word in checks), None)
    trouble = checks[role]() if role else None
    print(trouble or "healthy")
    return 1 if trouble else 0


def api_is_ready() -> str | None:
    """What is wrong with the API; None when it can serve."""
    port = int(os.environ.get("PORT") or 8081)
    try:
        with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as link:
            link.sendall(b"GET /readyz HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n")
            status = link.makefile("rb").readline().decode("latin-1").strip()
    except OSError as error:
        return f"no answer on port {port}: {error}"
    return None if status.startswith("HTTP/1.1 200 ") else f"/readyz answered {status}"


def worker_is_alive() -> str | None:
    """What is wrong with the worker; None when Redis has a lease of it."""
    from ferryman.config import load
    from ferryman.errors import FerrymanError
    from ferryman.keys import Keys

    key = Keys()("workers")
    try:
        alive = leases(load().redis_address, key)
    except (FerrymanError, OSError) as error:
        return f"Redis: {error}"
    host = socket.gethostname()
    if any(name.decode().rsplit(":", 2)[0] == host for name in alive):
        return None
    return f"no worker of {host} has a lease"


def leases(address: str, key: str) -> list[bytes]:
    """The workers whose lease holds, by the clock of Redis."""
    parts = urlsplit(address)
    if parts.scheme == "rediss" or parts.query:  # TLS and its options are redis-py's
        from ferryman.config import load
        from ferryman.store import Store

        ask = Store(load(), timeout=PATIENCE, tries=1).command
        now = ask("TIME")[0].decode()
        return list(ask("ZRANGEBYSCORE", key, now, "+inf"))
    with closing(connected(parts.path if parts.scheme == "unix" else None, parts)) as link:
        if parts.password:
            user = [unquote(parts.username)] if parts.username else []
            asked(link, "AUTH", *user, unquote(parts.password))
        if parts.scheme != "unix" and parts.path.strip("/"):
            asked(link, "SELECT", parts.path.strip("/"))
        now = asked(link, "TIME")[0].decode()
        return list(asked(link, "ZRANGEBYSCORE", key, now, "+inf"))


def connected(path: str | None, parts: Any) -> socket.socket:
    """A connection to Redis by its Unix socket, or else its host and port."""
    if path is None:
        return socket.create_connection((parts.hostname, parts.port or 6379), PATIENCE)
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(PATIENCE)
    link.connect(path)
    return link


def asked(link: socket.socket, *words: str) -> Any:
    """What Redis answers to one command; OSError when it is an error."""
    from hiredis import Reader, ReplyError, pack_command

    link.sendall(pack_command(words))
    reader = Reader()
    while (reply := reader.gets()) is False:
        data = link.recv(65536)
        if not data:
            raise OSError("the connection was closed")
        reader.feed(data)
    if isinstance(reply, ReplyError):
        raise OSError(str(reply))
    return reply


if __name__ == "__main__":
    sys.exit(main())
