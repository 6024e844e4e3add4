"""The server under test: a fresh one for each sample, on a free port, pinned if asked."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from ferryman.embedded import find_binary, free_port
from ferryman.processes import kill_session, spawn

SHIPPED = {"hash-max-listpack-value": "1024"}
"""What `ferryman up` and the deployment files set beside persistence; a stock server has 64."""


@dataclass(frozen=True)
class Kind:
    """Which program, under which settings."""

    binary: str
    name: str
    shipped: bool = False


def kind(wanted: str, shipped: bool) -> Kind:
    """The server program: "redis" (the machine's), "valkey" (embedded) or "auto"."""
    binary = shutil.which("redis-server") if wanted in ("auto", "redis") else None
    if binary is None and wanted == "redis":
        raise SystemExit("--server redis: redis-server is not installed")
    binary = binary or find_binary()
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    words = said.split()
    return Kind(binary, f"{words[0].lower()} {words[2].removeprefix('v=')}", shipped)


@dataclass(frozen=True)
class Server:
    """A running server and a connection of our own to it."""

    url: str
    pid: int
    client: redis.Redis

    def info(self) -> dict[str, Any]:
        """INFO everything, as one dict."""
        found: dict[str, Any] = self.client.info("everything")
        return found

    def cpu(self) -> float:
        """Seconds of processor the server has used, to the nanosecond (schedstat)."""
        spent = Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]
        return int(spent) / 1e9


@contextlib.contextmanager
def serve(kind: Kind, *, core: int | None = None, aof: bool = False) -> Iterator[Server]:
    """A server that is gone afterwards, with its data."""
    with tempfile.TemporaryDirectory(prefix="bench-server-") as folder:
        port = free_port()
        settings = {"port": str(port), "bind": "127.0.0.1", "dir": folder, "save": "",
                    "appendonly": "yes" if aof else "no", "appendfsync": "everysec"}  # fmt: skip
        settings |= SHIPPED if kind.shipped else {}
        argv = [kind.binary, *(word for k, v in settings.items() for word in (f"--{k}", v))]
        with (Path(folder) / "log").open("wb") as log:
            process = spawn([*pinned(core), *argv], stdout=log, stderr=log)
        client = redis.Redis(port=port, socket_timeout=60)
        try:
            _await(client, process)
            yield Server(f"redis://127.0.0.1:{port}/0", process.pid, client)
        finally:
            client.close()
            kill_session(process)


def pinned(core: int | None) -> list[str]:
    """What to put before a command so that it stays on one core."""
    return [] if core is None else ["taskset", "-c", str(core)]


def _await(client: redis.Redis, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the server did not start") from None
            time.sleep(0.01)
