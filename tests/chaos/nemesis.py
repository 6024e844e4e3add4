"""The faults: each strikes, is written down with whom it struck, and is mended again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable

import psutil
from fleet import LEASE, Fleet, Worker
from history import History

from ferryman.errors import StoreUnavailable


class Nemesis:
    """Strikes a fleet in an order drawn from a seed."""

    def __init__(self, fleet: Fleet, history: History, plan: dict[str, int], seed: int) -> None:
        self.fleet, self.history = fleet, history
        self.random = random.Random(seed)
        self.left = [kind for kind, number in plan.items() for _ in range(number)]
        self.random.shuffle(self.left)
        self._acts: dict[str, Callable[[], None]] = {
            "child-kill": self._child_kill,
            "worker-kill": self._worker_kill,
            "freeze": self._freeze,
            "client-kill": self._client_kill,
            "pause": self._pause,
            "black-hole": self._black_hole,
            "drop-replies": self._drop_replies,
            "delay": self._delay,
            "half-close": self._half_close,
            "redis-kill": self._redis_kill,
            "outage": self._outage,
            "full": self._full,
            "flush-scripts": self._flush_scripts,
            "clock-jump": self._clock_jump,
        }
        unknown = set(plan) - set(self._acts)
        if unknown:
            raise SystemExit(f"unknown faults: {', '.join(sorted(unknown))}")

    def strike(self) -> str:
        """The next fault of the plan."""
        kind = self.left.pop()
        with contextlib.suppress(psutil.Error, ProcessLookupError, StoreUnavailable):
            self._acts[kind]()
        return kind

    def _note(self, kind: str, pids: list[int], connections: int = 0) -> None:
        self.history.note("fault", kind=kind, pids=pids, connections=connections)

    def _busy(self) -> tuple[Worker, int]:
        """A worker and one of its children that holds a job, by Redis; waits for one."""
        while True:
            worker = self.random.choice(self.fleet.workers)
            pids = worker.tree()[1:]
            self.random.shuffle(pids)
            for pid in pids:
                if self._running(pid):
                    return worker, pid
            time.sleep(0.02)

    def _running(self, pid: int) -> bool:
        for name in self.fleet.raw("ZRANGE", "ferryman:{0}:workers", "0", "-1"):
            if name.split(b":")[1] == str(pid).encode():
                return bool(self.fleet.raw("EXISTS", "ferryman:{0}:running:" + name.decode()))
        return False

    def _child_kill(self) -> None:
        _, pid = self._busy()
        self._note("child-kill", [pid])
        os.kill(pid, signal.SIGKILL)
        time.sleep(self.random.uniform(0.1, 0.5))

    def _worker_kill(self) -> None:
        worker, _ = self._busy()
        pids = worker.tree()
        self._note("worker-kill", pids)
        os.kill(pids[0], signal.SIGKILL)
        time.sleep(self.random.uniform(0.5, 2.0))

    def _freeze(self) -> None:
        worker, _ = self._busy()
        pids = worker.tree()
        self._note("freeze", pids)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(LEASE + self.random.uniform(4, 6))
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _client_kill(self) -> None:
        killed = self.fleet.raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self._note("client-kill", [], connections=int(killed))
        time.sleep(self.random.uniform(0.2, 0.6))

    def _pause(self) -> None:
        self._note("pause", [], connections=1)
        self.fleet.raw("CLIENT", "PAUSE", str(int(1000 * (LEASE + 1))), "ALL")
        time.sleep(LEASE + 2)

    def _proxied(self) -> Worker:
        return self.random.choice([w for w in self.fleet.workers if w.proxy is not None])

    def _through_proxy(self, kind: str, seconds: float) -> None:
        worker = self._proxied()
        proxy = worker.proxy
        assert proxy is not None
        self._note(kind, worker.tree(), connections=proxy.connections)
        proxy.mode = kind
        time.sleep(seconds)
        proxy.cut()
        proxy.mode = "pass"

    def _black_hole(self) -> None:
        self._through_proxy("black-hole", self.random.uniform(1, LEASE + 3))

    def _drop_replies(self) -> None:
        self._through_proxy("drop-replies", self.random.uniform(0.2, 1.5))

    def _delay(self) -> None:
        self._through_proxy("delay", 2.0)

    def _half_close(self) -> None:
        worker = self._proxied()
        assert worker.proxy is not None
        self._note("half-close", worker.tree(), connections=worker.proxy.connections)
        worker.proxy.half_close()
        time.sleep(0.5)

    def _redis_kill(self) -> None:
        self._note("redis-kill", [], connections=self._clients())
        self.fleet.restart_server(0.0)
        time.sleep(self.random.uniform(0.5, 2.0))

    def _outage(self) -> None:
        self._note("outage", [], connections=self._clients())
        self.fleet.restart_server(LEASE + 2.0)
        time.sleep(1.0)

    def _full(self) -> None:
        info = self.fleet.raw("INFO", "memory").decode()
        used = next(line[12:] for line in info.splitlines() if line.startswith("used_memory:"))
        self._note("full", [], connections=self._clients())
        self.fleet.raw("CONFIG", "SET", "maxmemory", used)
        time.sleep(self.random.uniform(1, 3))
        self.fleet.raw("CONFIG", "SET", "maxmemory", "0")

    def _flush_scripts(self) -> None:
        self._note("flush-scripts", [], connections=self._clients())
        self.fleet.raw("SCRIPT", "FLUSH")
        time.sleep(0.1)

    def _clock_jump(self) -> None:
        worker = self.fleet.workers[-1]
        self._note("clock-jump", worker.tree())
        self.fleet.set_clock(self.random.choice([-3600, 3600, -5, 7200]))
        time.sleep(2.0)
        self.fleet.set_clock(0)

    def _clients(self) -> int:
        return len(self.fleet.raw("CLIENT", "LIST").splitlines())
