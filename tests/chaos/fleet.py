"""The system under test: a server with AOF, workers kept running as an init system would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from proxy import Proxy

from ferryman import config
from ferryman.embedded import EmbeddedServer
from ferryman.store import Store

HERE = Path(__file__).parent
LEASE = 3
"""Seconds; the shortest allowed, so that many lapses fit in an hour."""


class Worker:
    """One worker process, started again half a second after it ends."""

    def __init__(self, number: int, url: str, folder: Path, fake_clock: Path | None) -> None:
        self.number, self.proxy = number, None
        self._log = (folder / f"worker-{number}.log").open("ab")
        self._env = os.environ | {
            "REDIS_URL": url,
            "CHAOS_HISTORY": str(folder / "history"),
            "FERRYMAN_APP": "chaos_app:ferry",
            "FERRYMAN_LEASE": str(LEASE),
            "FERRYMAN_LOG_LEVEL": "warning",
            "NUM_WORKERS": "5",
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        }
        if fake_clock is not None:
            self._env |= {
                "LD_PRELOAD": _faketime(),
                "FAKETIME_TIMESTAMP_FILE": str(fake_clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        self.wanted = True
        self.start()

    def start(self) -> None:
        """Start the process."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ferryman", "worker"],
            env=self._env,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def tree(self) -> list[int]:
        """The supervisor's pid, then those of everything it forked."""
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self.process.pid)
            return [parent.pid, *(c.pid for c in parent.children(recursive=True))]
        return []


def _faketime() -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise SystemExit("clock jumps need libfaketime: apt-get install libfaketime")
    return str(found[0])


class Fleet:
    """Server, proxies and workers."""

    def __init__(self, folder: Path, workers: int, clock_jumps: bool) -> None:
        self.folder = folder
        self.server = EmbeddedServer(folder / "data", persist=True)
        self.server.start()
        assert self.server.port is not None
        self.settings = config.load(
            {"REDIS_URL": self.server.url, "FERRYMAN_MAX_PENDING": "9999999"}
        )
        self.store = Store(self.settings, timeout=10.0)
        self.proxies = [Proxy(self.server.port), Proxy(self.server.port)]
        self.clock = folder / "clock"
        self.set_clock(0)
        self.workers = [self._worker(n, workers, clock_jumps) for n in range(workers)]
        self._closing = threading.Event()
        threading.Thread(target=self._keep, daemon=True).start()

    def _worker(self, n: int, workers: int, clock_jumps: bool) -> Worker:
        url = self.server.url
        if n < len(self.proxies):
            url = f"redis://127.0.0.1:{self.proxies[n].port}/0"
        jumping = clock_jumps and n == workers - 1
        worker = Worker(n, url, self.folder, self.clock if jumping else None)
        if n < len(self.proxies):
            worker.proxy = self.proxies[n]  # type: ignore[assignment]
        return worker

    def set_clock(self, offset: int) -> None:
        """The last worker's wall clock is off by `offset` seconds from now on."""
        self.clock.write_text(f"{offset:+d}")

    def _keep(self) -> None:
        while not self._closing.wait(0.5):
            for worker in self.workers:
                if worker.wanted and worker.process.poll() is not None:
                    worker.start()

    def ready(self) -> bool:
        """Every worker is on the roll."""
        with contextlib.suppress(Exception):
            return self.store.stats().workers >= len(self.workers)
        return False

    def close(self) -> None:
        """Stop the workers, then the server."""
        self._closing.set()
        for worker in self.workers:
            worker.wanted = False
            for pid in worker.tree():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            worker.process.terminate()
        for worker in self.workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(12)
        self.server.stop()

    def restart_server(self, away: float) -> None:
        """kill -9 the server; start it on the same data after `away` seconds."""
        os.kill(self.server.pid, signal.SIGKILL)
        while self.server.exit_code() is None:
            time.sleep(0.01)
        time.sleep(away)
        self.server.stop()
        self.server.start()

    def raw(self, *command: Any) -> Any:
        """A Redis command, for the nemesis."""
        return self.store.command(*command)
