"""A child of the worker: claim -> run -> decide -> settle, in a loop.

Idle, it waits in one BLMOVE per list it serves. Busy, one round trip settles every run that is
over and claims as many jobs as there are free slots. Next on the way of a job: `run`.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import structlog

from ferryman import logs
from ferryman.client import Ferryman
from ferryman.config import Settings
from ferryman.context import Context
from ferryman.decision import Bury, Cancel, Decision, Finish, Release, Retry, Snooze
from ferryman.errors import ConfigError, StoreUnavailable
from ferryman.registry import JobType, Options
from ferryman.store import Claimed, Port, Turn
from ferryman_worker.board import Board
from ferryman_worker.decide import decide, policy
from ferryman_worker.link import Link
from ferryman_worker.outcome import Failed
from ferryman_worker.run import Run, Runner

LEASE_LOST = 75
"""Exit status of a child that was reaped: its jobs are no longer its own (EX_TEMPFAIL)."""

RECONCILE = 10.0
"""Seconds between two comparisons of `running:<itself>` with memory; also after every error."""

LOOK = 0.25
"""Seconds between two looks at time limits, and at most between two turns of a busy loop."""

BRIEF_LOOK = 0.005
"""The same while runs are brief: the longest one can wait for a slow neighbour to be told."""

POLL = 0.2
"""Seconds between claims by script while BLMOVE is refused (Redis out of memory)."""

_EVENTS = {
    Finish: (logs.JOB_COMPLETED, "completed"),
    Retry: (logs.JOB_RETRIED, "scheduled"),
    Bury: (logs.JOB_FAILED, "failed"),
    Snooze: (logs.JOB_SNOOZED, "scheduled"),
    Release: (logs.JOB_RELEASED, "pending"),
    Cancel: (logs.JOB_CANCELLED, "cancelled"),
}

log = structlog.get_logger()


@dataclass(frozen=True)
class Post:
    """What a child is told at its fork: who it is and what it serves."""

    worker: str
    lists: Sequence[str]
    slots: int
    alone: bool
    """Serves jobs that must run alone, one after the other, and exits when there is none."""


class Child:
    """The loop of one child process; everything here runs in its main thread."""

    def __init__(
        self, ferry: Ferryman, settings: Settings, post: Post, board: Board, link: Link, port: Port
    ) -> None:
        self.ferry, self.settings, self.post = ferry, settings, post
        self.board, self.link, self.port = board, link, port
        self.runs: dict[str, Run] = {}
        self.free_slots = list(range(post.slots))
        self.unsettled: list[tuple[Run, Decision]] = []
        self.hungry = True  # the lists may hold more: claim by script before listening
        self.idle = False
        self.stop_at: float | None = None
        self.terminated = False
        self.asleep = False
        self.reconcile_at = time.monotonic() + RECONCILE
        self.retry_at = self.listen_at = self.poll_at = 0.0
        self.trouble_count = 0
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self.runner = Runner(post.slots, lambda run: board.end(run.slot), self._nudge)
        self._store = ferry.store

    def loop(self) -> None:
        """Work until told to stop and everything claimed is settled."""
        threading.Thread(target=self._watch_limits, name="limits", daemon=True).start()
        while not self._finished():
            self.board.tick()
            delivered = self._wait()
            try:
                self._turn(delivered)
                self._listen()
            except StoreUnavailable as error:
                self._trouble(error)

    # The steps of a turn.

    def _turn(self, delivered: Sequence[str]) -> None:
        """Settle what is over, begin what was delivered, claim what there is room for."""
        self._gather()
        now = time.monotonic()
        if now < self.retry_at:
            return
        adopt = now >= self.reconcile_at
        ids = [i for i in delivered if i not in self.runs]
        if adopt:
            ids += [i for i in self._strangers() if i not in ids]
        self.hungry = self.hungry or bool(ids)
        free = 0 if self.stop_at else len(self.free_slots)
        lists = None if self.hungry else ()
        if not (self.unsettled or ids or (self.hungry and free)):
            return
        turn = self.port.turn([d for _, d in self.unsettled], free, ids, adopt, lists)
        self._settled(turn)
        self._begin(turn)
        self.hungry = turn.more
        self._recovered_from_trouble(turn)

    def _gather(self) -> None:
        """Decide about the runs that are over; each frees its slot, which makes room to claim."""
        while self.runner.outcomes:
            run = self.runner.outcomes.popleft()
            self.free_slots.append(run.slot)
            assert run.outcome is not None
            self.runner.observe(run.duration)
            worker, roll = self.post.worker, random.random()
            decision = decide(run.job, run.outcome, run.limits, worker, run.duration, roll)
            self.unsettled.append((run, decision))
            self.hungry = True

    def _settled(self, turn: Turn) -> None:
        fenced, refused = {id(d) for d in turn.fenced}, {id(d) for d in turn.unsettled}
        kept = []
        for run, decision in self.unsettled:
            if id(decision) in refused:
                kept.append((run, decision))
                continue
            self.runs.pop(run.job.id, None)
            event, state = _EVENTS[type(decision)]
            if id(decision) in fenced:
                event, state = logs.JOB_FENCED, "unknown"
            self._log_end(event, run, decision, state)
        self.unsettled = kept

    def _begin(self, turn: Turn) -> None:
        if turn.lease_lost:
            log.error(logs.LEASE_LOST, worker=self.post.worker, running=len(self.runs))
            os._exit(LEASE_LOST)
        for job in turn.jobs:
            if job.id not in self.runs:
                self._start(job)
        self.runner.go()

    def _start(self, job: Claimed) -> None:
        job_type = self.ferry.registry.get(job.type)
        try:
            run = self._run_of(job, job_type)
        except (ValueError, TypeError, ConfigError, RecursionError) as error:
            whole = replace(job, backoff=None, tags=None, meta=None, damage=str(error))
            run = self._run_of(whole, job_type)
        self.runs[job.id] = run
        log.debug(logs.JOB_STARTED, id=job.id, type=job.type, attempt=job.attempt)
        if run.job.damage is not None:
            self._fail(run, Failed(f"the record is damaged: {run.job.damage}", final=True))
        elif job_type is None:
            self._fail(run, Failed(f"unknown job type: {job.type}"))
        else:
            deadline = time.monotonic() + run.limits.timeout + self.settings.grace
            self.board.begin(run.slot, job.id, job.attempt, deadline)
            self.runner.start(run)

    def _run_of(self, job: Claimed, job_type: JobType[Any, Any] | None) -> Run:
        limits = policy(job, job_type.defaults if job_type else Options(), self.settings)
        context = self._context(job, limits.max_attempts, limits.timeout)
        return Run(job, job_type, context, limits, self.free_slots.pop())

    def _fail(self, run: Run, outcome: Failed) -> None:
        """Over before it began."""
        run.outcome = outcome
        self.runner.outcomes.append(run)
        self._nudge()

    def _context(self, job: Claimed, max_attempts: int, timeout: float) -> Context:
        return Context(
            job_id=job.id,
            type=job.type,
            queue=job.queue,
            attempt=job.attempt,
            failures=job.failures,
            max_attempts=max_attempts,
            timeout=timeout,
            tags=tuple(json.loads(job.tags)) if job.tags else (),
            meta=json.loads(job.meta) if job.meta else {},
            services=self,
        )

    def progress(self, job_id: str, attempt: int, fraction: float, note: str) -> None:
        """For `Context.progress`, from the handler's thread; lost while Redis is away."""
        with suppress(StoreUnavailable):
            self._store.progress(self.post.worker, job_id, attempt, fraction, note[:200])

    def terminate(self, *_: object) -> None:
        """The handler of SIGTERM: stop as if the supervisor had said so."""
        self.terminated = True
        self._nudge()

    # Waiting.

    def _wait(self) -> list[str]:
        """Sleep until something happens; the ids that listeners brought, best priority first."""
        with selectors.PollSelector() as selector:  # poll: registering costs no system call
            selector.register(self._wake, selectors.EVENT_READ)
            selector.register(self.link, selectors.EVENT_READ)
            armed = [listener for listener in self.port.listeners if listener.armed]
            for listener in armed:
                selector.register(listener, selectors.EVENT_READ)
            self.asleep = True  # before the look at the outcomes: see _nudge
            ready = {key.fileobj for key, _ in selector.select(self._timeout())}
            self.asleep = False
        if self._wake in ready:
            self._drain_wake()
        if self.link in ready:
            self._obey()
        if self.terminated and self.stop_at is None:
            self._stop(self.settings.drain)
        return self._take([listener for listener in armed if listener in ready])

    def _timeout(self) -> float:
        now = time.monotonic()
        if self.runner.outcomes and now >= self.retry_at:
            return 0.0
        if self.terminated and self.stop_at is None:
            return 0.0
        look = BRIEF_LOOK if self.runner.brief else LOOK
        waits = [look if self.runs or self.stop_at else 1.0]
        waits.append(max(self.reconcile_at, self.retry_at) - now)
        may_claim = self.hungry and self.free_slots and not self.stop_at
        if may_claim or self.unsettled or now < self.retry_at:
            waits.append(self.retry_at - now)
        if now < self.listen_at:
            waits.append(POLL)
        return max(0.0, min(waits))

    def _take(self, ready: Sequence[Any]) -> list[str]:
        ids = []
        for listener in ready:
            if not listener.armed:
                continue  # a stop has taken what it brought, or an error has closed it
            try:
                job_id = listener.take()
            except StoreUnavailable as error:
                if not listener.connected:
                    self._trouble(error)
                self.listen_at = time.monotonic() + 1.0
                continue
            if job_id is not None:
                ids.append(job_id)
        self.idle = self.post.alone and bool(ready) and not ids
        return ids

    def _listen(self) -> None:
        """Wait in BLMOVE on every list, if there is a free slot and the lists were empty."""
        now = time.monotonic()
        if now < self.listen_at:
            if now >= self.poll_at:
                self.hungry, self.poll_at = True, now + POLL
            return
        if self.stop_at or self.hungry or not self.free_slots or now < self.retry_at:
            return
        for listener in self.port.listeners:
            if not listener.armed:
                listener.arm()

    # Trouble, and back.

    def _trouble(self, error: StoreUnavailable) -> None:
        """Redis is away or refuses: drop the connections, try again after a random pause."""
        if not self.trouble_count:
            log.warning(logs.REDIS_LOST, worker=self.post.worker, error=str(error))
        self.trouble_count += 1
        # Full jitter up to 5 s, so that many workers do not come back in one instant.
        self.retry_at = time.monotonic() + random.uniform(
            0.02, min(5.0, 0.1 * 2**self.trouble_count)
        )
        self.reconcile_at = 0.0
        self.hungry = True
        self.port.reset()

    def _recovered_from_trouble(self, turn: Turn) -> None:
        if turn.refusal:
            self.retry_at = time.monotonic() + POLL
            self.hungry = True
        elif self.trouble_count:
            log.info(logs.REDIS_BACK, worker=self.post.worker)
            self.trouble_count = 0

    def _strangers(self) -> list[str]:
        """Ids that lie in this child's list without its knowing: claimed, their reply lost."""
        self.reconcile_at = time.monotonic() + RECONCILE
        return [i for i in self.port.running() if i not in self.runs]

    # Stopping, cancelling, time limits.

    def _obey(self) -> None:
        for message in self.link.receive():
            if message["kind"] == "stop":
                self._stop(message["drain"])
            elif message["kind"] == "cancel" and message["id"] in self.runs:
                self.runs[message["id"]].interrupt("cancel")
        if self.link.closed:
            os._exit(0)  # the supervisor is gone; what runs here is recovered by another

    def _stop(self, drain: float) -> None:
        # A second before the supervisor kills, handlers are asked, so that they can clean up.
        self.stop_at = time.monotonic() + max(0.0, drain - 1.0)
        try:
            given_back = self.port.withdraw()
            if given_back:
                self.port.turn([], 0, given_back)
        except StoreUnavailable:
            self.port.reset()  # what arrived all the same is given back by the supervisor

    def _watch_limits(self) -> None:
        """Interrupt runs past their limit. A thread of its own: the loop may wait for Redis."""
        while True:
            time.sleep(LOOK)
            now = time.monotonic()
            stopping = self.stop_at is not None and now >= self.stop_at
            for run in list(self.runs.values()):
                if run.limit_at and now >= run.limit_at:
                    run.interrupt("timeout")
                elif stopping:
                    run.interrupt("stop")

    def _finished(self) -> bool:
        return not self.runs and (self.stop_at is not None or self.idle)

    def _nudge(self) -> None:
        if not self.asleep:
            return  # the loop is awake and looks before it sleeps: no system call
        self.asleep = False
        with suppress(BlockingIOError):  # full: it will wake anyway
            self._waker.send(b"x")

    def _drain_wake(self) -> None:
        with suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass

    def _log_end(self, event: str, run: Run, decision: Decision, state: str) -> None:
        job = run.job
        extra: dict[str, Any] = {}
        if isinstance(decision, Retry | Bury):
            extra["error"] = decision.error[:500]
        if isinstance(decision, Retry | Snooze):
            extra["delay"] = round(decision.delay, 3)
        log.info(
            event,
            id=job.id,
            type=job.type,
            queue=job.queue,
            priority=job.priority,
            attempt=job.attempt,
            worker=self.post.worker,
            state=state,
            duration=round(run.duration, 6),
            **extra,
        )
