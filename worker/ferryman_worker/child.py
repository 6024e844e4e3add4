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
from ferryman.decision import Decision, Release
from ferryman.errors import StoreUnavailable
from ferryman.store import Claimed, Port, Turn
from ferryman_worker import guard
from ferryman_worker.admit import Admission
from ferryman_worker.board import Board
from ferryman_worker.decide import decide
from ferryman_worker.link import Link
from ferryman_worker.recycle import Recycle
from ferryman_worker.report import report
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

MANY = 1000
"""Adopted attempts remembered, at least until the listeners that may bring them too were read."""

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
    """The loop of one child process. One thread at a time has it, and all of this but the hooks
    of runs, the watch and the handler of SIGTERM; the main thread only waits."""

    def __init__(
        self, ferry: Ferryman, settings: Settings, post: Post, board: Board, link: Link, port: Port
    ) -> None:
        self.ferry, self.settings, self.post = ferry, settings, post
        self.board, self.link, self.port = board, link, port
        self.runs: dict[str, Run] = {}
        self.unsettled: list[tuple[Run, Decision]] = []
        self.asked: list[tuple[Run, Decision]] = []
        self.ended: list[tuple[Run, Decision]] = []  # settled, and not reported yet
        self.fenced: list[Decision] = []
        self.asked_for, self.asked_to_adopt = 0, False
        self.hungry = True  # the lists may hold more: claim by script before listening
        self.idle = self.is_brought = self.is_vain = False
        self.stop_at: float | None = None
        self.terminated = self.refused = False
        self.asleep = False
        self._admission = Admission(ferry.registry, settings, self)
        self._is_debug = settings.log_level == "debug"
        self.reconcile_at = time.monotonic() + RECONCILE
        self.owed: list[str] = []  # in its list when last compared, and not run for want of a slot
        self.adopted: set[tuple[str, int]] = set()  # a listener may still bring one of these
        self.recycle, self.leaving = Recycle(settings), False
        self.retry_at = self.listen_at = self.poll_at = self.look_at = 0.0
        self.trouble_count = 0
        self._ended = threading.Event()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self.runner = Runner(post.slots, self._begun, self._over, self._nudge)
        self._store, self._tell = ferry.store, logs.teller(worker=post.worker)

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
                self._ask([] if self._is_busy() else self._await_delivery())
            except StoreUnavailable as error:
                self._trouble(error)
            # From here on Redis is at work too: what does not belong to a question has its place
            # here (22 us of a brief job's 30).
            self._report()
            if not self.runner.run_here():
                return
            self._gather()
        self._ended.set()

    # The steps of a turn.

    def _ask(self, delivered: Sequence[str]) -> None:
        """Settle what is over, begin what was delivered, claim what there is room for."""
        if self.is_brought and not delivered and self.runner.is_waited_for:
            self.is_brought = False
            return  # what a wait has just brought runs first; settle and claim go together then
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
            self.asked_for, self.asked_to_adopt = free, adopt
            self.port.ask([d for _, d in self.asked], free, ids, adopt, lists)
        else:  # what it may be given in an answer it runs before it leaves
            self.idle = self.post.alone and self.is_vain and not self.runs

    def _hear(self) -> None:
        """The answer to the question asked, if one was."""
        turn = self.port.answer()
        if turn is None:
            return
        self._settled(turn)
        if self.asked_to_adopt:
            self._note_adopted(turn.jobs)
        self._begin(turn)
        self._heard(turn)
        # All that was asked for: there may be more.
        self.hungry = turn.more or 0 < self.asked_for <= len(turn.jobs)
        self._recovered_from_trouble(turn)

    def _note_adopted(self, jobs: Sequence[Claimed]) -> None:
        # No attempt comes twice, so an old entry does no harm; it only takes room.
        if len(self.adopted) > MANY:
            self.adopted.clear()
        self.adopted.update((job.id, job.attempt) for job in jobs)

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
        if self.stop_at or (self.refused and self.unsettled):
            return 0  # refused settles alone would let a child run all there is
        capacity = 1 if self.post.alone else self.runner.capacity
        under_way = len(self.runs) - len(self.unsettled) - len(self.asked)
        return min(self.post.slots, max(0, capacity - under_way))

    def _settled(self, turn: Turn) -> None:
        """What was settled is over; what Redis refused for now is asked again."""
        refused = {id(d) for d in turn.unsettled}
        kept = [pair for pair in self.asked if id(pair[1]) in refused]
        ended = [pair for pair in self.asked if id(pair[1]) not in refused] if kept else self.asked
        self.asked, self.unsettled = [], kept + self.unsettled
        for run, _ in ended:
            self.runs.pop(run.job.id, None)
        self.ended, self.fenced = ended, turn.fenced

    def _report(self) -> None:
        ended, self.ended = self.ended, []
        if ended:
            report(self._tell, ended, {id(d) for d in self.fenced})

    def _begin(self, turn: Turn) -> None:
        if turn.lease_lost:
            self._report()
            log.error(logs.LEASE_LOST, worker=self.post.worker, running=len(self.runs))
            os._exit(LEASE_LOST)
        for job in turn.jobs:
            if job.id not in self.runs:
                self._start(job)
        self.runner.go()

    def _start(self, job: Claimed) -> None:
        run = self.runs[job.id] = self._admission.admit(job)
        if self._is_debug:
            trace = {"trace_id": run.trace.trace_id} if run.trace else {}
            log.debug(logs.JOB_STARTED, id=job.id, type=job.type, attempt=job.attempt, **trace)
        if run.outcome is None:
            self.runner.start(run)
        else:
            self.runner.outcomes.append(run)
            self._nudge()

    def _begun(self, run: Run) -> None:
        """A run gets its slot, in its own thread."""
        run.limit_at = time.monotonic() + run.limits.timeout
        deadline = run.limit_at + self.settings.grace
        self.board.begin(run.slot, run.job.id, run.job.attempt, deadline)

    def _over(self, run: Run) -> None:
        self.board.end(run.slot)

    def progress(self, job_id: str, attempt: int, fraction: float, note: str) -> None:
        """For `Context.progress`, from the handler's thread; lost while Redis is away."""
        with suppress(StoreUnavailable):
            self._store.progress(self.post.worker, job_id, attempt, fraction, note[:200])

    def terminate(self, *_: object) -> None:
        """The handler of SIGTERM: stop as if the supervisor had said so."""
        self.terminated = True
        self._nudge()

    # Waiting.

    def _is_busy(self) -> bool:
        """Whether there is something to do at once. A look at the sockets costs 20 us, and 100
        when it was quiet before: while busy, one every RELIEF will do."""
        now = time.monotonic()
        return now < self.look_at and self._has_work(now)

    def _await_delivery(self) -> list[str]:
        """Listen, and sleep until something happens; the ids that came, best priority first."""
        self._report()  # not when the next job is there, and waits for it
        self._listen()
        delivered = self._wait()
        self.port.check()
        self.look_at = time.monotonic() + RELIEF
        return delivered

    def _wait(self) -> list[str]:
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
        if self._has_work(now) or (self.terminated and self.stop_at is None):
            return 0.0
        waits = [LOOK if self.runs or self.stop_at else 1.0]
        waits.append(max(self.reconcile_at, self.retry_at) - now)
        may_claim = self.hungry and self._room()
        if may_claim or self.unsettled or now < self.retry_at:
            waits.append(self.retry_at - now)
        if now < self.listen_at:
            waits.append(POLL)
        return max(0.0, min(waits))

    def _has_work(self, now: float) -> bool:
        outcomes = self.runner.outcomes and now >= self.retry_at
        return self.runner.is_waited_for or bool(outcomes)

    def _take(self, ready: Sequence[Any]) -> list[str]:
        ids: list[str] = []
        known = len(self.runs)
        for listener in ready:
            if not listener.armed:
                continue  # a stop has taken what it brought, or an error has closed it
            slept = listener.overdue
            try:
                delivered, turn = self.port.take(listener)
            except StoreUnavailable as error:
                self._trouble(error)
                self.listen_at = time.monotonic() + 1.0
                continue
            if slept:  # by now these may be another's: what is still ours is handed out again
                turn.jobs, self.reconcile_at = [], 0.0
            turn.jobs = [job for job in turn.jobs if (job.id, job.attempt) not in self.adopted]
            self._begin(turn)
            if turn.refusal:
                self.listen_at = time.monotonic() + 1.0
            else:
                self.board.hear()
            ids += delivered
        self.is_vain = bool(ready) and not ids
        self.is_brought = len(self.runs) > known
        self.hungry = self.hungry or self.is_brought
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
        self.port.listen(self._room())

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
            self.reconcile_at = 0.0  # what is delivered until then lies in the list
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
            ids, jobs = self.port.withdraw()
            if ids or jobs:
                self.port.turn([Release(job.id, job.attempt) for job in jobs], 0, ids)
        except StoreUnavailable:
            self.port.reset()  # what arrived all the same is given back by the supervisor

    def time_left(self, most: float) -> float:
        """Seconds, at most so many, until the supervisor kills what has not ended."""
        if self.stop_at is None:
            return most
        return min(most, self.stop_at + 1.0 - LOOK - time.monotonic())

    def _watch(self) -> None:
        """Look after the runs, in a thread of its own: the loop may wait for Redis or for a run."""
        looked = 0.0
        while True:
            self.runner.rest(LOOK)
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
