"""The upkeep process of a worker: beats for the children, recovers the dead, promotes the due.

It runs no user code, so nothing a job does can keep it from beating. Three loops, each in its own
thread; when one fails for a reason of ours the process exits and the supervisor forks another.
Every step is idempotent and may run on any number of machines.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from ferryman import logs
from ferryman.backoff import Backoff
from ferryman.config import Settings
from ferryman.errors import JobNotFound, StoreUnavailable
from ferryman.job import Job, backoff_fields, encode
from ferryman.lifecycle import State
from ferryman.registry import Options
from ferryman.store import Claimed, Store
from ferryman_worker import guard
from ferryman_worker.decide import decide, history, policy
from ferryman_worker.link import Link
from ferryman_worker.outcome import Failed
from ferryman_worker.watch import Watch

TICK = 1.0
"""Seconds between beats; each is one command."""

WAKE = 5.0
"""Seconds the leader waits at most for a job that is due before all others."""

SWEEP = 10.0
"""Seconds between two looks at the lists of reaped workers."""

STUCK = 30.0
"""Seconds without a round after which a loop counts as stuck; a try at Redis is given up at 8."""

FRESH = 5.0
"""Seconds for which an answer to a beat counts as hearing Redis."""

STALE = 12.0
"""Seconds without a roster after which the supervisor counts as frozen and its beats end."""

log = structlog.get_logger()


@dataclass
class Gone:
    """A worker to be taken off the roll, and how it ended."""

    worker: str
    how: str
    """"crashed", "killed" (a run overran; the others are not to blame), "released" (a stop),
    "silent" (its lease is over)."""
    reason: str
    overran: list[tuple[str, int]] = field(default_factory=list)


class Upkeep:
    """The loops, and what they share."""

    def __init__(self, settings: Settings, supervisor: str, link: Link, instance: str = "") -> None:
        self.settings, self.supervisor, self.link = settings, supervisor, link
        self.instance = instance
        """The data worked on so far, by its id; empty until Redis has told one."""
        # Beats have connections of their own: a slow recovery must not delay one.
        self.beats = Store(settings, timeout=2.0, tries=1)
        self.store = Store(settings, timeout=WAKE + 3.0, tries=1)
        self.busy: dict[str, int] = {}
        self.ages: dict[str, float] = {}
        self.stopping = False
        self.heard = time.monotonic()
        self.answered = 0.0
        self.is_lost = False
        """Redis did not answer the last beat; said once, and once that it does again."""
        self.rounds: dict[str, float] = {}
        self.leads = threading.Event()
        self.types: dict[str, Any] = {}
        self.gone: SimpleQueue[Gone | None] = SimpleQueue()
        self.watch = Watch(settings.lease)
        self.forgotten: int | None = None
        """Jobs forgotten early since the memory gate closed; None while it is open."""

    def run(self) -> None:
        """Serve until the supervisor says stop, or is gone."""
        for loop in (self._beat_loop, self._promote_loop):
            self._start(loop)
        recovering = self._start(self._recover_loop)
        self._start(self._speak_loop)
        while True:
            for message in self.link.receive():
                if message["kind"] == "stop":
                    self.gone.put(None)
                    recovering.join()
                    self.link.send("stopped")
                    return
                self._heed(message)
            if self.link.closed:
                os._exit(0)  # without a supervisor there is nobody to beat for

    def _start(self, loop: Callable[[], None]) -> threading.Thread:
        return guard.thread(loop.__name__, loop)

    def _speak_loop(self) -> None:
        """Tell the supervisor every second that all loops turn, and whether Redis answers."""
        while True:
            if not self._stuck():
                redis = time.monotonic() - self.answered < FRESH
                self.link.send("word", redis=redis, instance=self.instance)
            time.sleep(TICK)

    def _stuck(self) -> list[str]:
        now = time.monotonic()
        return [loop for loop, last in list(self.rounds.items()) if now - last > STUCK]

    def _round(self, loop: str) -> None:
        self.rounds[loop] = time.monotonic()

    def _heed(self, message: Mapping[str, Any]) -> None:
        match message["kind"]:
            case "roster":
                self.busy, self.ages = dict(message["busy"]), dict(message["ages"])
                self.stopping = message["stopping"]
                self.heard = time.monotonic()
            case "types":
                self.types = dict(message["types"])
            case "gone":
                overran = [(i, int(n)) for i, n in message["overran"]]
                how, reason = message["how"], message["reason"]
                self.gone.put(Gone(message["worker"], how, reason, overran))

    # Beating and watching.

    def _beat_loop(self) -> None:
        while True:
            started = time.monotonic()
            self._round("beat")
            try:
                self._beat()
            except StoreUnavailable as error:
                self._lose_redis(error)
            time.sleep(max(0.05, TICK - (time.monotonic() - started)))

    def _lose_redis(self, error: StoreUnavailable) -> None:
        self.watch.lost_sight()
        self.leads.clear()
        # The next beat connects anew: the address may lead to another server by now.
        self.beats.close()
        if not self.is_lost:
            self.is_lost = True
            log.warning(logs.REDIS_LOST, worker=self.supervisor, error=str(error))

    def _hear_redis(self) -> None:
        self.answered = time.monotonic()
        if self.is_lost:
            self.is_lost = False
            log.info(logs.REDIS_BACK, worker=self.supervisor)

    def _beat(self) -> None:
        if time.monotonic() - self.heard > STALE:
            return  # the supervisor is frozen: nobody would kill a run past its limit
        busy = self.busy
        beat = self.beats.beat(
            self.supervisor, busy, self.settings.queues, self.ages, self.instance, self.stopping
        )
        self._hear_redis()
        self._compare(beat.instance)
        for worker in beat.lost:
            self.link.send("lost", worker=worker)
        for worker, job_id in beat.cancels:
            self.link.send("cancel", worker=worker, id=job_id)
        if beat.alone:
            self.link.send("alone", jobs=beat.alone)
        if beat.leads:
            self.leads.set()
        else:
            self.leads.clear()
        for worker in self.watch.dead(beat.late):
            self.gone.put(Gone(worker, "silent", "its worker fell silent: lease expired"))

    def _compare(self, instance: str) -> None:
        """Say so when these are not the data worked on so far; children have lost their lease."""
        if self.instance and instance and instance != self.instance:
            log.error(logs.DATA_REPLACED, worker=self.supervisor, was=self.instance, now=instance)
        self.instance = instance or self.instance

    # Recovering.

    def _recover_loop(self) -> None:
        while True:
            self._round("recover")
            try:
                gone = self.gone.get(timeout=SWEEP)
            except Empty:
                self._sweep()
                continue
            if gone is None:
                return
            self._until_done(gone)
            self.link.send("recovered", worker=gone.worker)

    def _until_done(self, gone: Gone) -> None:
        pause = 0.1
        while True:
            self._round("recover")
            try:
                return self._recover(gone)
            except StoreUnavailable:
                self.store.close()
                time.sleep(random.uniform(0, pause))
                pause = min(pause * 2, 2.0)

    def _recover(self, gone: Gone) -> None:
        if gone.how == "released":
            self._release(gone.worker, alone=False)
        elif gone.how == "killed":
            self._charge(gone)
            self._release(gone.worker, alone=True)
        entry = history(None, gone.worker, gone.reason)
        recovered = buried = alone = 0
        left = 1
        while left:
            self._round("recover")
            done = self.store.recover(gone.worker, entry, gone.reason, gone.how == "silent")
            left, recovered, buried = done.left, recovered + done.recovered, buried + done.buried
            alone += done.alone
        if gone.how == "killed" or alone:
            self.link.send("alone", jobs=max(alone, 1))
        if gone.how != "released" or recovered or buried:
            log.warning(
                logs.WORKER_RECOVERED,
                worker=gone.worker,
                reason=gone.reason,
                recovered=recovered,
                buried=buried,
            )

    def _release(self, worker: str, alone: bool) -> None:
        jobs = self.store.get_many(self.store.running(worker))
        begun = [(j.id, j.attempt) for j in jobs if j.state is State.RUNNING and j.worker == worker]
        if begun:
            self.store.release(worker, begun, alone)

    def _charge(self, gone: Gone) -> None:
        """The run over its limit is charged a failure, as if its handler had raised."""
        for job_id, attempt in gone.overran:
            try:
                job = self.store.get(job_id)
            except JobNotFound:
                continue
            limits = policy(_as_claimed(job), self._options(job.type), self.settings)
            run = Failed(f"timeout: ran longer than {limits.timeout:g} s and did not stop: killed")
            taken = limits.timeout + self.settings.grace
            claim = _as_claimed(job, attempt)
            decision = decide(claim, run, limits, gone.worker, taken, random.random())
            self.store.settle(gone.worker, [decision])

    def _options(self, name: str) -> Options:
        """A type's defaults as its child told them; a formula of tenacity's stays behind there."""
        told = self.types.get(name) or {}
        wait = Backoff(**told["backoff"]) if told.get("backoff") else None
        return Options(
            max_attempts=told.get("max_attempts"), timeout=told.get("timeout"), backoff=wait
        )

    def _sweep(self) -> None:
        if not self.leads.is_set():
            return
        try:
            first, looked = 0, 100
            while looked == 100:
                looked, workers = self.store.sweep(first)
                first += looked
                for worker in workers:
                    reason = "it was claimed by a worker that was gone already"
                    self._recover(Gone(worker, "crashed", reason))
        except StoreUnavailable:
            return  # the next sweep finds the same

    # Promoting.

    def _promote_loop(self) -> None:
        while True:
            self._round("promote")
            if not self.leads.wait(timeout=TICK):
                continue
            try:
                next_in = self._promote()
                self._make_room()
                self.store.await_wake(min(max(next_in, 0.001), WAKE))
            except StoreUnavailable:
                self.store.close()
                time.sleep(random.uniform(0.1, 1.0))

    def _promote(self) -> float:
        """Move what is due; seconds until more is."""
        while True:
            self._round("promote")
            done = self.store.promote()
            if done.alone:
                self.link.send("alone", jobs=done.alone)
            if done.next_in is None:
                return WAKE
            if done.next_in > 0:
                return done.next_in
            if not done.promoted:
                return 0.05  # due, yet nothing moved: another upkeep was faster

    def _make_room(self) -> None:
        """While Redis stays nearly full, forget finished jobs early, up to 10,000 at a time."""
        for _ in range(50):
            done = self.store.forget()
            if done.closed and self.forgotten is None:
                self.forgotten = 0
                log.warning(logs.MEMORY_SHORT, worker=self.supervisor)
            elif not done.closed and self.forgotten is not None:
                log.info(logs.MEMORY_FREE, forgotten=self.forgotten)
                self.forgotten = None
            if not done.forgotten:
                return
            if not self.forgotten:
                log.warning(logs.MEMORY_FORGETTING, worker=self.supervisor)
            self.forgotten = (self.forgotten or 0) + done.forgotten


def _as_claimed(job: Job, attempt: int | None = None) -> Claimed:
    return Claimed(
        id=job.id,
        attempt=job.attempt if attempt is None else attempt,
        type=job.type,
        payload=job.payload,
        queue=job.queue,
        priority=job.priority,
        failures=job.failures,
        crashes=job.crashes,
        max_attempts=job.max_attempts,
        timeout=job.timeout,
        backoff=None if job.backoff is None else encode(backoff_fields(job.backoff)),
        tags=None,
        meta=None,
    )


def serve(
    settings: Settings, supervisor: str, link: Link, close: Sequence[int], instance: str
) -> None:
    """The body of the forked process; never returns."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the supervisor says when to stop
    for fd in close:
        os.close(fd)
    guard.run("upkeep", Upkeep(settings, supervisor, link, instance).run)
    os._exit(0)
