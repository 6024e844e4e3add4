"""The system under test: a server with AOF, workers kept running as an init system would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from clock import Clock
from proxy import Proxy
from waiting import wait_for

from ferryman import config
from ferryman.embedded import EmbeddedServer, find_binary
from ferryman.errors import ConfigError, FerrymanError, StoreUnavailable
from ferryman.processes import kill_session, spawn
from ferryman.store import Store

HERE = Path(__file__).parent

STARTING = 60.0
"""Seconds workers may take to be on the roll: a busy machine is slow."""

STOPPING = 20.0
"""Seconds until a worker that was asked to stop is killed."""


class Worker:
    """One worker process, started again half a second after it ends."""

    def __init__(self, number: int, folder: Path, env: dict[str, str], proxy: Proxy | None) -> None:
        self.number, self.proxy = number, proxy
        self.log = folder / f"worker-{number}.log"
        self._env = os.environ | env
        self.wanted = True
        self.start()

    def start(self) -> None:
        """Start the process."""
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", "ferryman", "worker"]
            self.process = spawn(argv, env=self._env, stdout=log, stderr=log)

    def tree(self) -> list[int]:
        """The supervisor's pid, then those of everything it forked."""
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self.process.pid)
            return [parent.pid, *(c.pid for c in parent.children(recursive=True))]
        return []


class Fleet:
    """Server, proxies and workers. The first `proxied` workers reach Redis through a proxy each."""

    def __init__(
        self,
        folder: Path,
        *,
        lease: float = 12.0,
        proxied: int = 0,
        clock: Clock | None = None,
        binary: str | None = None,
        **settings: object,
    ) -> None:
        self.folder, self.lease, self.clock = folder, lease, clock
        folder.mkdir(parents=True, exist_ok=True)
        self.server = EmbeddedServer(folder / "data", binary=_strict(folder, binary))
        self.server.start()
        assert self.server.port is not None
        self.env = {
            "CHAOS_HISTORY": str(folder / "history"),
            "FERRYMAN_APP": "chaos_app:ferry",
            "FERRYMAN_LEASE": str(lease),
            "FERRYMAN_LOG_LEVEL": "warning",
            "FERRYMAN_MAX_PENDING": "9999999",
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)]),
            "REDIS_URL": self.server.url,
        } | {k: str(v) for k, v in settings.items()}
        self.settings = config.load(self.env)
        self.store = Store(self.settings, timeout=10.0)
        self._proxies = [Proxy(self.server.port) for _ in range(proxied)]
        self.workers: list[Worker] = []
        self._closing = threading.Event()
        threading.Thread(target=self._keep, daemon=True).start()

    def add(self, number: int = 1, **settings: object) -> None:
        """Start workers, with settings of their own."""
        for _ in range(number):
            n = len(self.workers)
            env = self.env | {k: str(v) for k, v in settings.items()}
            proxy = self._proxies[n] if n < len(self._proxies) else None
            if proxy is not None:
                env["REDIS_URL"] = f"redis://127.0.0.1:{proxy.port}/0"
            self.workers.append(Worker(n, self.folder, env, proxy))

    def add_jumping(self) -> None:
        """Start a worker whose wall clock is `clock`."""
        assert self.clock is not None
        self.add(**self.clock.env)

    def await_ready(self) -> None:
        """Wait until as many children are on the roll as there are workers."""
        wait_for("the workers to register", self._ready, STARTING)

    def _ready(self) -> bool:
        with contextlib.suppress(FerrymanError):
            return self.store.stats().workers >= len(self.workers)
        return False

    def _keep(self) -> None:
        while not self._closing.wait(0.5):
            for worker in list(self.workers):
                if worker.wanted and worker.process.poll() is not None:
                    worker.start()

    def close(self) -> None:
        """Stop the workers, then the server."""
        for worker in self.workers:
            worker.wanted = False
            for pid in worker.tree():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            worker.process.terminate()
        for worker in self.workers:
            try:
                worker.process.wait(STOPPING)
            except subprocess.TimeoutExpired:
                kill_session(worker.process)
        self._closing.set()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.server.pid, signal.SIGCONT)
        self.server.stop()

    def restart_server(self, away: float) -> None:
        """kill -9 the server; start it on the same data after `away` seconds. Main thread only."""
        os.kill(self.server.pid, signal.SIGKILL)
        wait_for("the server's end", lambda: self.server.exit_code() is not None, 30, look=0.005)
        time.sleep(away)
        self.server.stop()
        for _ in range(4):
            with contextlib.suppress(ConfigError):  # silent on a busy machine
                self.server.start()
                return
        self.server.start()

    def raw(self, *command: Any) -> Any:
        """A Redis command, for the nemesis."""
        return self.store.command(*(str(word) for word in command))

    def insist(self, *command: Any) -> Any:
        """The same, until Redis does it: what mends a fault must not be lost to another one."""
        replies: list[Any] = []

        def done() -> bool:
            with contextlib.suppress(StoreUnavailable):
                replies.append(self.raw(*command))
            return bool(replies)

        wait_for(f"Redis to take {' '.join(map(str, command))}", done, 60)
        return replies[0]

    def clients(self) -> int:
        """Connections the server has now."""
        return len(self.raw("CLIENT", "LIST").splitlines())

    def check(self) -> list[str]:
        """What `ferryman check` finds."""
        command = [sys.executable, "-m", "ferryman", "check", "--json"]
        done = subprocess.run(
            command,
            env=os.environ | self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode not in (0, 1):
            return [f"it ended with {done.returncode}: {done.stderr.strip()[-300:]}"]
        found = json.loads(done.stdout)["violations"]
        return [f"{f['kind']} {f['subject']}: {f['what']}" for f in found]

    def version(self) -> str:
        """The server's name and version."""
        info = self.store.server()
        valkey = info.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"


def _strict(folder: Path, binary: str | None) -> str:
    """The server, answering no write before it is on disk; see docs/reliability.md."""
    script = folder / "server"
    words = "--appendfsync always --enable-debug-command yes"
    script.write_text(f'#!/bin/sh\nexec "{binary or find_binary()}" "$@" {words}\n')
    script.chmod(0o755)
    return str(script)
