#!/usr/bin/env python
"""The image's health check: 0 when the role this container runs is doing its work, else 1.

api: `/readyz` answers, so Redis does too. worker: a worker of this host has a lease that is not
over. Any other command: healthy as long as it runs.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
from pathlib import Path

PATIENCE = 4.0
"""Seconds for the answer; the engine gives the whole check 10."""


def main() -> int:
    """Find out the role from the container's first process."""
    words = Path("/proc/1/cmdline").read_text().split("\0")
    checks = {"api": api_is_ready, "worker": worker_is_alive}
    role = next((word for word in words if word in checks), None)
    trouble = checks[role]() if role else None
    print(trouble or "healthy")
    return 1 if trouble else 0


def api_is_ready() -> str | None:
    """What is wrong with the API; None when it can serve."""
    port = int(os.environ.get("PORT") or 8081)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except OSError as error:
        return f"no answer on port {port}: {error}"
    return None if status == 200 else f"/readyz answered {status}"


def worker_is_alive() -> str | None:
    """What is wrong with the worker; None when Redis has a lease of it."""
    from ferryman.config import load
    from ferryman.errors import FerrymanError
    from ferryman.store import Store

    try:
        store = Store(load(), timeout=PATIENCE, tries=1)
        now = float(store.command("TIME")[0])
        alive = store.command("ZRANGEBYSCORE", store.keys("workers"), str(now), "+inf")
    except FerrymanError as error:
        return str(error)
    host = socket.gethostname()
    if any(name.decode().rsplit(":", 2)[0] == host for name in alive):
        return None
    return f"no worker of {host} has a lease"


if __name__ == "__main__":
    sys.exit(main())
