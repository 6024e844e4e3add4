"""Producers: they enqueue, note what was acknowledged, and ask again where that is unknown."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from fleet import Fleet
from history import History
from waiting import Overrun

from ferryman.draft import draft
from ferryman.errors import FerrymanError, QueueFull, StoreUnavailable, WrongState
from ferryman.job import Draft
from ferryman.store import Store

Draw = Callable[[random.Random], dict[str, Any]]
"""Draws the payload and the options of the next job; its type, if it is not `work`; whether to ask
only `once`, to ask `again` after the acknowledgement, to `cancel` it soon after."""

THREADS = 3

STUBBORN = 90.0
"""Seconds one job is asked for before its outcome counts as unknown; longer than any fault."""


class Producer:
    """Enqueues jobs with ids of its own until stopped: at most `rate` a second, and none while more
    than `backlog` wait in `queue`, so that every fault finds work under way."""

    def __init__(
        self,
        fleet: Fleet,
        history: History,
        seed: int,
        draw: Draw,
        *,
        rate: float,
        backlog: int,
        queue: str = "default",
    ) -> None:
        self._store = Store(fleet.settings, timeout=2.0, tries=1)
        self._history, self._name, self._draw = history, f"{queue}-{seed}", draw
        self._pause, self._backlog, self._queue = THREADS / rate, backlog, queue
        self._stop = threading.Event()
        self._broken: list[BaseException] = []
        self._sent = [0] * (THREADS + 1)
        names = range(THREADS)
        self._threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in names]

    @property
    def sent(self) -> int:
        """Jobs asked for so far."""
        if self._broken:
            raise Overrun(f"a producer broke: {self._broken[0]!r}")
        return sum(self._sent)

    def __enter__(self) -> Producer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Ask no more; wait for what is under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(STUBBORN + 30)
            if thread.is_alive() and kind is None:
                raise Overrun(f"waited in vain for {thread.name}, a producer, to end")

    def _work(self, thread: int) -> None:
        try:
            self._produce(thread)
        except BaseException as error:
            self._broken.append(error)

    def _produce(self, thread: int) -> None:
        chance = random.Random(f"{self._name}-{thread}")
        due = time.monotonic()
        while not self._stop.is_set():
            if self._sent[thread] % 20 == 0 or self._backlog < 20:
                self._hold_back()
            self._send(thread, self._draw(chance))
            due = max(due + self._pause, time.monotonic() - 1.0)
            self._stop.wait(due - time.monotonic())

    def _hold_back(self) -> None:
        with contextlib.suppress(FerrymanError):
            while not self._stop.is_set() and self._waiting() > self._backlog:
                self._stop.wait(0.05)

    def _waiting(self) -> int:
        queue = self._store.stats().queues.get(self._queue, {})
        return queue.get("pending", 0) + queue.get("scheduled", 0)

    def send(self, **job: Any) -> None:
        """Enqueue one job more, from the main thread."""
        self._send(THREADS, job)

    def _send(self, thread: int, job: dict[str, Any]) -> None:
        self._sent[thread] += 1
        once, again, cancel = (job.pop(word, False) for word in ("once", "again", "cancel"))
        job_id = f"{self._name}-{thread}-{self._sent[thread]}"
        asked = draft(**{"type": "work", "queue": self._queue} | job, id=job_id)
        self._history.note("attempt", id=job_id)
        end = time.monotonic() + STUBBORN
        while not self._accepted(asked):  # by the same id: whether it was is not known
            if once or time.monotonic() > end:
                return
            time.sleep(0.1)
        self._history.note("ack", id=job_id)
        if again:
            self._accepted(asked)
        if cancel:
            self._cancel(job_id)

    def _accepted(self, asked: Draft) -> bool:
        with contextlib.suppress(StoreUnavailable, QueueFull):
            self._store.enqueue([asked])
            return True
        return False

    def _cancel(self, job_id: str) -> None:
        time.sleep(0.1)  # some of them run by now
        self._history.note("cancel", id=job_id)
        with contextlib.suppress(WrongState, StoreUnavailable):
            was = self._store.cancel(job_id)
            self._history.note("cancelled", id=job_id, was=was.value)
