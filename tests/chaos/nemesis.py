"""The faults: each strikes, is written down with whom it struck, and is mended again.

A silence (freeze, black hole) lasts long; meanwhile the nemesis goes on striking other workers.
Whatever makes Redis stand still comes alone: a silence it overlaps would not be noticed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Mapping

import psutil
from fleet import Fleet, Worker
from history import History
from proxy import Mode, Proxy
from waiting import wait_for

from ferryman.errors import StoreUnavailable

STANDSTILLS = ("redis-kill", "outage", "pause", "full")
SILENCES = ("freeze", "black-hole")

WORKERS = "ferryman:{0}:workers"

PATIENCE = 120.0
"""Seconds a fault may wait for something to strike."""


class Nemesis:
    """Strikes a fleet in an order drawn from a seed."""

    def __init__(self, fleet: Fleet, history: History, plan: Mapping[str, int], seed: int) -> None:
        self.fleet, self.history = fleet, history
        self.random = random.Random(seed)
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
        self._left: list[str] = []
        self._mends: dict[str, tuple[Callable[[], bool], Worker, Callable[[], None]]] = {}
        self.plan(plan)

    @property
    def left(self) -> int:
        """Faults still to strike."""
        return len(self._left)

    def plan(self, plan: Mapping[str, int]) -> None:
        """Strike these too."""
        self._left += [kind for kind, number in plan.items() for _ in range(number)]
        self.random.shuffle(self._left)

    def strike(self) -> str:
        """The next fault of the plan."""
        kind = self._next()
        with contextlib.suppress(psutil.Error, ProcessLookupError, StoreUnavailable):
            self._acts[kind]()
        return kind

    def calm(self) -> None:
        """Wait until every silence is over."""
        while self._mends:
            self._rest(0.05)

    def _next(self) -> str:
        held = False  # a standstill waits for the silences to end: none begins before it
        for place in reversed(range(len(self._left))):
            kind = self._left[place]
            if kind in STANDSTILLS and self._mends:
                held = True
            elif not (kind in SILENCES and (held or kind in self._mends)):
                return self._left.pop(place)
        self.calm()
        return self._left.pop()

    def _note(self, kind: str, pids: list[int], seconds: float = 0.0, **more: float) -> None:
        struck = {"kind": kind, "pids": pids, "seconds": round(seconds, 3), "connections": 0}
        self.history.note("fault", **struck | {"lease": self.fleet.lease} | more)

    def _rest(self, seconds: float) -> None:
        """Let time pass; end the silences that are due."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for kind, (over, _, mend) in list(self._mends.items()):
                if over():
                    del self._mends[kind]
                    mend()
            time.sleep(0.02)

    def _heard(self) -> list[Worker]:
        """The workers that are not silent."""
        silent = [worker for _, worker, _ in self._mends.values()]
        return [worker for worker in self.fleet.workers if worker not in silent]

    # Processes.

    def _busy(self) -> tuple[Worker, int]:
        """A worker that can be heard and one of its children that holds a job, by Redis."""
        found: list[tuple[Worker, int]] = []

        def look() -> bool:
            self._rest(0.02)
            worker = self.random.choice(self._heard())
            running = self._running()
            found.extend((worker, pid) for pid in worker.tree()[1:] if pid in running)
            return bool(found)

        wait_for("a child with a job under way", look, PATIENCE, look=0.0)
        return self.random.choice(found)

    def _names(self, otherwise: Iterable[str] = ()) -> list[str]:
        """The children on the roll; `otherwise` when Redis does not say."""
        with contextlib.suppress(StoreUnavailable):
            return [name.decode() for name in self.fleet.raw("ZRANGE", WORKERS, 0, -1)]
        return list(otherwise)

    def _running(self) -> set[int]:
        """Pids of the children whose list in Redis is not empty."""
        with contextlib.suppress(StoreUnavailable):
            lists = {name: f"ferryman:{{0}}:running:{name}" for name in self._names()}
            return {_pid(name) for name, key in lists.items() if self.fleet.raw("EXISTS", key)}
        return set()

    def _child_kill(self) -> None:
        _, pid = self._busy()
        self._note("child-kill", [pid])
        os.kill(pid, signal.SIGKILL)
        self._rest(self.random.uniform(0.1, 0.4))

    def _worker_kill(self) -> None:
        worker, _ = self._busy()
        pids = worker.tree()
        self._note("worker-kill", pids)
        os.kill(pids[0], signal.SIGKILL)
        self._rest(self.random.uniform(0.5, 1.5))

    def _freeze(self) -> None:
        """Until it is held for dead and its jobs run again: then its late results come in."""
        worker, _ = self._busy()
        pids, started = worker.tree(), time.monotonic()
        names = [name for name in self._names() if _pid(name) in pids]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

        def thaw() -> None:
            seconds = time.monotonic() - started
            for pid in reversed(pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self._note("freeze", pids, seconds, at=started)

        late = self.random.uniform(0, 0.5)
        limit = self.fleet.lease + 8

        def over() -> bool:
            if time.monotonic() - started > limit:
                return True
            if not set(names) - set(self._names(names)):
                return False
            time.sleep(late)
            return True

        self._mends["freeze"] = (over, worker, thaw)
        self._rest(0.2)

    # Connections.

    def _client_kill(self) -> None:
        killed = int(self.fleet.raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
        self._note("client-kill", [], connections=killed)
        self._rest(self.random.uniform(0.2, 0.5))

    def _proxied(self) -> tuple[Worker, Proxy]:
        """A worker behind a proxy that can be heard."""
        found = [(w, w.proxy) for w in self._heard() if w.proxy is not None]
        if not found:
            self.calm()
            return self._proxied()
        return self.random.choice(found)

    def _through_proxy(self, kind: Mode, seconds: float) -> Callable[[], None]:
        worker, proxy = self._proxied()
        self._note(kind, worker.tree(), seconds, connections=proxy.connections)
        proxy.mode = kind

        def mend() -> None:
            proxy.cut()
            proxy.mode = "pass"

        if kind == "black-hole":
            due = time.monotonic() + seconds
            self._mends[kind] = (lambda: time.monotonic() >= due, worker, mend)
        return mend

    def _black_hole(self) -> None:
        self._through_proxy("black-hole", self.random.uniform(1, self.fleet.lease + 5))
        self._rest(0.2)

    def _drop_replies(self) -> None:
        seconds = self.random.uniform(0.2, 1.5)
        mend = self._through_proxy("drop-replies", seconds)
        self._rest(seconds)
        mend()

    def _delay(self) -> None:
        mend = self._through_proxy("delay", 2.0)
        self._rest(2.0)
        mend()

    def _half_close(self) -> None:
        worker, proxy = self._proxied()
        self._note("half-close", worker.tree(), connections=proxy.connections)
        proxy.half_close()
        self._rest(0.5)

    # Redis.

    def _pause(self) -> None:
        seconds = self.fleet.lease + 1
        self._note("pause", [], seconds, connections=self.fleet.clients())
        self.fleet.raw("CLIENT", "PAUSE", int(1000 * seconds), "ALL")
        self._rest(seconds + 1)

    def _redis_kill(self) -> None:
        self._note("redis-kill", [], connections=self.fleet.clients())
        self.fleet.restart_server(0.0)
        self._rest(self.random.uniform(0.5, 1.5))

    def _outage(self) -> None:
        seconds = self.fleet.lease + 2
        self._note("outage", [], seconds, connections=self.fleet.clients())
        self.fleet.restart_server(seconds)
        self._rest(1.0)

    def _full(self) -> None:
        clients, seconds = self.fleet.clients(), self.random.uniform(1, 3)
        self.fleet.raw("CONFIG", "SET", "maxmemory", "1mb")
        try:
            # It struck only if Redis did refuse.
            self._note("full", [], seconds, connections=clients if self._refuses() else 0)
            self._rest(seconds)
        finally:
            self.fleet.insist("CONFIG", "SET", "maxmemory", 0)
            self.fleet.insist("DEL", "chaos:full")

    def _refuses(self) -> bool:
        try:
            for _ in range(2):  # one more than there may be room for
                self.fleet.raw("SET", "chaos:full", "x" * 2_000_000)
        except StoreUnavailable as error:
            return "memory" in str(error)
        return False

    def _flush_scripts(self) -> None:
        self._note("flush-scripts", [], connections=self.fleet.clients())
        self.fleet.raw("SCRIPT", "FLUSH")
        self._rest(0.1)

    # Clocks.

    def _clock_jump(self) -> None:
        clock, worker = self.fleet.clock, self.fleet.workers[-1]
        assert clock is not None
        if worker not in self._heard():
            self.calm()
        self._note("clock-jump", worker.tree(), 2.0)
        clock.shift(self.random.choice([-3600, 3600, -5, 7200]))
        self._rest(2.0)
        clock.shift(0)


def _pid(name: str) -> int:
    """A child's pid, out of host:pid:nonce."""
    return int(name.split(":")[1])
