"""A child of the worker: claim -> run -> decide -> settle, in a loop.

Idle, it waits in one BLMOVE per list it serves. Busy, one round trip settles every run that is
over and claims as many jobs as there are free slots. Next on the way of a job: `run`.
"""

from __future__ import annotations

import os
import random
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from ferryman import logs
from ferryman.client import Ferryman
from ferryman.config import Settings
from ferryman.context import Context
from ferryman.decision import Bury, Cancel, Decision, Finish, Release, Retry, Snooze
from ferryman.errors import ConfigError, StoreUnavailable
from ferryman.job import read_meta, read_tags
from ferryman.outlet import together
from ferryman.registry import JobType, Options
from ferryman.store import Claimed, Port, Turn
from ferryman_worker import guard
from ferryman_worker.board import Board
from ferryman_worker.decide import Policy, decide, policy
from ferryman_worker.link import Link
from ferryman_worker.outcome import Failed
from ferryman_worker.recycle import Recycle
from ferryman_worker.run import Run
from ferryman_worker.runner import RELIEF, Runner

LEASE_LOST = 75
"""Exit status of a child that was reaped: its jobs are no longer its own (EX_TEMPFAIL)."""

RECONCILE = 10.0
"""Seconds between two comparisons of `running:<itself>` with memory; also after every error."""

LOOK = 0.25
"""Seconds between two looks at time limits, and at most between two turns of a busy loop."""

POLL = 0.2
"""Seconds between claims by script while BLMOVE is refused (Redis out of memory)."""

POLICIES = 1000
"""Policies of jobs kept at hand."""

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
        self.unsettled: list[tuple[Run, Decision]] = []
        self.asked: list[tuple[Run, Decision]] = []
        self.asked_for = 0
        self.hungry = True  # the lists may hold more: claim by script before listening
        self.idle = False
        self.stop_at: float | None = None
        self.terminated = self.refused = False
        self.asleep = False
        self._policies: dict[tuple[object, ...], Policy] = {}
        self._is_debug = settings.log_level == "debug"
        self.reconcile_at = time.monotonic() + RECONCILE
        self.owed: list[str] = []  # in its list when last compared, and not run for want of a slot
        self.recycle, self.leaving = Recycle(settings), False
        self.retry_at = self.listen_at = self.poll_at = 0.0
        self.trouble_count = 0
        self._ended = threading.Event()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self.runner = Runner(post.slots, self._begun, self._over, self._nudge)
        self._store = ferry.store

    def loop(self) -> None:
        """Work until told to stop and everything claimed is settled."""
        guard.thread("watch", self._watch)
        self._take_over()
        self._ended.wait()

    def _take_over(self) -> None:
        """Serve the loop in a thread of its own, which a run that is not brief may keep."""
        guard.thread("loop", self._turns)

    def _turns(self) -> None:
        """The loop, until this thread is relieved or everything is done.

        Brief runs are called between the question to Redis and its answer. All state is in `self`,
        so another thread goes on at the top when this one is still in a handler.
        """
        while not self._finished():
            self.board.tick()
            self._consider_leaving()
            try:
                self._hear()
                self._listen()
                delivered = self._wait()
                self.port.check()
                self._ask(delivered)
            except StoreUnavailable as error:
                self._trouble(error)
            if not self.runner.run_here():
                return
        self._ended.set()

    # The steps of a turn.

    def _ask(self, delivered: Sequence[str]) -> None:
        """Settle what is over, begin what was delivered, claim what there is room for."""
        self._gather()
        now = time.monotonic()
        if now < self.retry_at:
            return
        may_adopt = bool(self.owed and self._room())
        adopt = may_adopt or now >= self.reconcile_at
        ids = [i for i in delivered if i not in self.runs]
        if adopt:
            self.owed = self._strangers()
            ids += [i for i in self.owed if i not in ids]
        self.hungry = self.hungry or bool(ids)
        free = self._room()
        lists = None if self.hungry else ()
        if self.unsettled or ids or (self.hungry and free):
            self.asked, self.unsettled = self.unsettled, []
            self.asked_for = free
            self.port.ask([d for _, d in self.asked], free, ids, adopt, lists)

    def _hear(self) -> None:
        """The answer to the question asked, if one was."""
        turn = self.port.answer()
        if turn is None:
            return
        self._settled(turn)
        self._begin(turn)
        self._heard(turn)
        # All that was asked for: there may be more.
        self.hungry = turn.more or 0 < self.asked_for <= len(turn.jobs)
        self._recovered_from_trouble(turn)

    def _gather(self) -> None:
        """Decide about the runs that are over; each makes room to claim another."""
        self.runner.outcomes.extend(self.runner.surplus())
        while self.runner.outcomes:
            run = self.runner.outcomes.popleft()
            assert run.outcome is not None
            if run.started:
                self.runner.observe(run)
            worker, roll = self.post.worker, random.random()
            decision = decide(run.job, run.outcome, run.limits, worker, run.duration, roll)
            self.unsettled.append((run, decision))
            self.hungry = True

    def _room(self) -> int:
        """How many jobs may be claimed; what only waits to be settled takes no room."""
        if self.stop_at:
            return 0
        capacity = 1 if self.post.alone else self.runner.capacity
        under_way = len(self.runs) - len(self.unsettled) - len(self.asked)
        return min(self.post.slots, max(0, capacity - under_way))

    def _settled(self, turn: Turn) -> None:
        fenced, refused = {id(d) for d in turn.fenced}, {id(d) for d in turn.unsettled}
        kept = []
        with together():
            for run, decision in self.asked:
                if id(decision) in refused:
                    kept.append((run, decision))
                    continue
                self.runs.pop(run.job.id, None)
                event, state = _EVENTS[type(decision)]
                if id(decision) in fenced:
                    event, state = logs.JOB_FENCED, "unknown"
                self._log_end(event, run, decision, state)
        self.asked, self.unsettled = [], kept + self.unsettled

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
            whole = job._replace(backoff=None, tags=None, meta=None, damage=str(error))
            run = self._run_of(whole, job_type)
        self.runs[job.id] = run
        if self._is_debug:
            log.debug(logs.JOB_STARTED, id=job.id, type=job.type, attempt=job.attempt)
        if run.job.damage is not None:
            self._fail(run, Failed(f"the record is damaged: {run.job.damage}", final=True))
        elif job_type is None:
            self._fail(run, Failed(f"unknown job type: {job.type}"))
        else:
            self.runner.start(run)

    def _run_of(self, job: Claimed, job_type: JobType[Any, Any] | None) -> Run:
        limits = self._policy(job, job_type)
        asked = job_type is not None and job_type.wants_context
        context = self._context(job, limits) if asked or job.tags or job.meta else None
        return Run(job, job_type, context, limits)

    def _policy(self, job: Claimed, job_type: JobType[Any, Any] | None) -> Policy:
        # Jobs of a type mostly have the same; making one anew costs 3 us.
        key = job.type, job.max_attempts, job.timeout, job.backoff
        known = self._policies.get(key)
        if known is None:
            known = policy(job, job_type.defaults if job_type else Options(), self.settings)
            if len(self._policies) >= POLICIES:
                self._policies.clear()
            self._policies[key] = known
        return known

    def _begun(self, run: Run) -> None:
        """A run gets its slot, in its own thread."""
        run.limit_at = time.monotonic() + run.limits.timeout
        deadline = run.limit_at + self.settings.grace
        self.board.begin(run.slot, run.job.id, run.job.attempt, deadline)

    def _over(self, run: Run) -> None:
        self.board.end(run.slot)

    def _fail(self, run: Run, outcome: Failed) -> None:
        """Over before it began."""
        run.outcome = outcome
        self.runner.outcomes.append(run)
        self._nudge()

    def _context(self, job: Claimed, limits: Policy) -> Context:
        return Context(
            job_id=job.id,
            type=job.type,
            queue=job.queue,
            attempt=job.attempt,
            failures=job.failures,
            max_attempts=limits.max_attempts,
            timeout=limits.timeout,
            tags=read_tags(job.tags),
            meta=read_meta(job.meta),
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
        if self.runner.is_waited_for or (self.runner.outcomes and now >= self.retry_at):
            return 0.0
        if self.terminated and self.stop_at is None:
            return 0.0
        waits = [LOOK if self.runs or self.stop_at else 1.0]
        waits.append(max(self.reconcile_at, self.retry_at) - now)
        may_claim = self.hungry and self._room()
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
            self.board.hear()
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
        if self.hungry or not self._room() or now < self.retry_at:
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
        self.asked, self.unsettled = [], self.asked + self.unsettled
        self.port.reset()

    def _recovered_from_trouble(self, turn: Turn) -> None:
        if turn.refusal:
            self.retry_at = time.monotonic() + POLL
            self.hungry = True
            if self.board.claim_age() > RECONCILE:
                # By now the address may lead to another server, as after a failover.
                raise StoreUnavailable(turn.refusal)
        elif self.trouble_count:
            log.info(logs.REDIS_BACK, worker=self.post.worker)
            self.trouble_count = 0

    def _heard(self, turn: Turn) -> None:
        """Redis did what it was asked; a begun job there was no slot for is asked for again."""
        if self.owed:
            self.owed = [i for i in self.owed if i not in self.runs]
        self.refused = turn.refusal is not None
        if not self.refused:
            self.board.hear()

    def _strangers(self) -> list[str]:
        """Ids that lie in this child's list without its knowing: claimed, their reply lost."""
        self.reconcile_at = time.monotonic() + RECONCILE
        ids = self.port.running()
        if not self.refused:  # a server that only lets itself be read is of no use
            self.board.hear()
        return [i for i in ids if i not in self.runs]

    def _consider_leaving(self) -> None:
        """Ask to be replaced, once; until the other one is there this one works on."""
        if self.leaving or self.post.alone:
            return
        reason = self.recycle.due(self.board.begun)
        if reason:
            self.leaving = True
            log.info(logs.CHILD_LEAVING, worker=self.post.worker, reason=reason)
            self.link.send("leaving")

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

    def _watch(self) -> None:
        """Look after the runs, in a thread of its own: the loop may wait for Redis or for a run."""
        looked = 0.0
        while True:
            time.sleep(RELIEF if self.runner.here else LOOK)
            if self.runner.look():
                self._take_over()
            if time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                self._interrupt_late(looked)

    def _interrupt_late(self, now: float) -> None:
        """Interrupt runs past their limit, and at the end of a drain all of them."""
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
