"""A child of the worker: claim -> run -> decide -> settle, in a loop.

Idle, it waits in one BLMOVE per list it serves (`wait`). Busy, one question settles every run that
is over and claims as many jobs as there are free slots, and a second one may be open: while one
batch runs here, Redis works on the next. Its other parts: the supervisor's `orders`, time `limits`,
`trouble` with Redis, and `reconcile` after it. Next on the way of a job: `run`.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from ferryman import logs
from ferryman.client import Ferryman
from ferryman.config import Settings
from ferryman.decision import Decision
from ferryman.errors import StoreUnavailable
from ferryman.store import Claimed, Port, Turn
from ferryman_worker import guard
from ferryman_worker.admit import Admission
from ferryman_worker.board import Board
from ferryman_worker.decide import decide
from ferryman_worker.limits import LOOK, Limits
from ferryman_worker.link import Link
from ferryman_worker.orders import Orders
from ferryman_worker.reconcile import Reconcile
from ferryman_worker.report import report
from ferryman_worker.run import Run
from ferryman_worker.runner import RELIEF, Runner
from ferryman_worker.trouble import Trouble
from ferryman_worker.wait import Wait

LEASE_LOST = 75
"""Exit status of a child that was reaped: its jobs are no longer its own (EX_TEMPFAIL)."""

AHEAD = 2
"""Questions that may be open at once. With one, brief functions drain a quarter slower."""

IDLE = 2.0
"""Seconds between two looks at the runs while there are none; the first one stirs the watch."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Post:
    """What a child is told at its fork: who it is and what it serves."""

    worker: str
    lists: Sequence[str]
    slots: int
    alone: bool
    """Serves jobs that must run alone, one after the other, and exits when there is none."""


@dataclass(frozen=True, slots=True)
class Question:
    """What Redis was asked for, and has not answered yet."""

    settles: list[tuple[Run, Decision]]
    free: int
    """Jobs it may hand out."""
    adopt: bool


class Child:
    """The loop of one child process. One thread at a time has it, and all of this but the hooks
    of runs, the watch and the handler of SIGTERM; the main thread only waits."""

    def __init__(
        self, ferry: Ferryman, settings: Settings, post: Post, board: Board, link: Link, port: Port
    ) -> None:
        self.post, self.board, self.port = post, board, port
        self.runs: dict[str, Run] = {}
        self.unsettled: list[tuple[Run, Decision]] = []
        self.asked: deque[Question] = deque()
        self.ended: list[tuple[Run, Decision]] = []  # settled, and not reported yet
        self.fenced: list[Decision] = []
        self.hungry = True  # the lists may hold more: claim by script before listening
        self.idle = self.is_brought = self.is_vain = False
        self.look_at = 0.0
        self.wait, self.limits = Wait(port, link), Limits(board, settings.grace)
        self.orders = Orders(post.worker, settings, link, port, self.limits)
        self.trouble, self.reconcile = Trouble(post.worker, board), Reconcile(port)
        self.runner = Runner(post.slots, self.limits.begin, self.limits.end, self.wait.nudge)
        self._admission = Admission(ferry.registry, settings, self)
        self._is_debug = settings.log_level == "debug"
        self._ended = threading.Event()
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

        Brief runs are called between a question to Redis and its answer. All state is in `self`,
        so another thread goes on at the top when this one is still in a handler.
        """
        while not self._finished():
            self.board.tick()
            if not self.post.alone:
                self.orders.consider_leaving(self.board.begun)
            try:
                self._ask([] if self._is_busy() else self._await_delivery())
                # Redis is at work: what it need not wait for has its place here. What goes to other
                # threads went behind the question: they would take the lock that it needs.
                self.runner.go()
                self._report()
                self._hear()
            except StoreUnavailable as error:
                self._lost(error)
            if not self.runner.run_here():
                return
            self._gather()
        self._report()
        self._ended.set()

    def _finished(self) -> bool:
        return not self.runs and (self.limits.stop_at is not None or self.idle)

    def _watch(self) -> None:
        """Look after the runs, in a thread of its own: the loop may wait for Redis or for a run."""
        while True:
            self.runner.rest(LOOK if self.runs or not self.runner.dozes else IDLE)
            if self.runner.look():
                self._take_over()
            self.limits.look(self.runs)

    # The steps of a turn.

    def _ask(self, delivered: Sequence[str]) -> None:
        """Settle what is over, begin what was delivered, claim what there is room for."""
        if self.is_brought and not delivered:
            self.is_brought = False
            return  # what a wait has just brought runs first; settle and claim go together then
        self._gather()
        now = time.monotonic()
        if now < self.trouble.retry_at:
            return
        may_adopt = bool(self.reconcile.owed and self._room())
        adopt = may_adopt or now >= self.reconcile.at
        ids = [i for i in delivered if i not in self.runs]
        if adopt:
            self._hear_all()
            ids += [i for i in self.reconcile.compare(self.runs) if i not in ids]
            self.trouble.has_read()
        self.hungry = self.hungry or bool(ids)
        free = self._room()
        lists = None if self.hungry else ()
        if self.unsettled or ids or (self.hungry and free):
            question = Question(self.unsettled, free, adopt)
            self.asked.append(question)
            self.unsettled = []
            self.port.ask([d for _, d in question.settles], free, ids, adopt, lists)
        else:  # what it may be given in an answer it runs before it leaves
            self.idle = self.post.alone and self.is_vain and not self.runs

    def _hear(self) -> None:
        """The answer to the first question, when there is nothing to run or to ask meanwhile.

        While one batch runs here Redis works on the next: then neither waits for the other.
        """
        if len(self.asked) < AHEAD and (self.runner.is_waited_for or self.runner.outcomes):
            return
        self._hear_first()
        if self.runner.is_waited_for and self.hungry and not self.asked:
            self._ask([])

    def _hear_all(self) -> None:
        """The answers to all questions: before anything else is asked of the port."""
        while self.asked:
            self._hear_first()

    def _hear_first(self) -> None:
        turn = self.port.answer()
        if turn is None:
            return
        question = self.asked.popleft()
        self._settled(question, turn)
        if question.adopt:
            self.reconcile.adopt(turn.jobs)
        self._begin(turn)
        self.reconcile.heard(self.runs)
        # All that was asked for: there may be more.
        self.hungry = turn.more or 0 < question.free <= len(turn.jobs)
        if turn.refusal:
            self.hungry = True
            self.reconcile.soon()  # what is delivered until then lies in the list
        self.trouble.heard(turn.refusal)

    def _lost(self, error: StoreUnavailable) -> None:
        """Redis is away: drop the connections, settle and claim again after a pause."""
        self.trouble.lost(error)
        self.reconcile.soon()
        self.hungry = True
        self.unsettled = [pair for q in self.asked for pair in q.settles] + self.unsettled
        self.asked.clear()
        self.runner.go()
        self.port.reset()

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
        if self.limits.stop_at or (self.trouble.is_refused and self.unsettled):
            return 0  # refused settles alone would let a child run all there is
        capacity = 1 if self.post.alone else self.runner.capacity
        under_way = len(self.runs) - len(self.unsettled)
        for question in self.asked:
            under_way += question.free - len(question.settles)
        return max(0, min(self.post.slots, capacity - under_way))

    def _settled(self, question: Question, turn: Turn) -> None:
        """What was settled is over; what Redis refused for now is asked again."""
        refused = {id(d) for d in turn.unsettled}
        ended = question.settles
        kept = [pair for pair in ended if id(pair[1]) in refused]
        if kept:
            ended = [pair for pair in ended if id(pair[1]) not in refused]
            self.unsettled = kept + self.unsettled
        for run, _ in ended:
            self.runs.pop(run.job.id, None)
        self.ended += ended
        self.fenced += turn.fenced

    def _report(self) -> None:
        ended, self.ended = self.ended, []
        fenced, self.fenced = self.fenced, []
        if ended:
            report(self._tell, ended, {id(d) for d in fenced})

    def _begin(self, turn: Turn) -> None:
        if turn.lease_lost:
            self._report()
            log.error(logs.LEASE_LOST, worker=self.post.worker, running=len(self.runs))
            os._exit(LEASE_LOST)
        for job in turn.jobs:
            if job.id not in self.runs:
                self._start(job)

    def _start(self, job: Claimed) -> None:
        run = self.runs[job.id] = self._admission.admit(job)
        if self._is_debug:
            trace = {"trace_id": run.trace.trace_id} if run.trace else {}
            log.debug(logs.JOB_STARTED, id=job.id, type=job.type, attempt=job.attempt, **trace)
        if run.outcome is None:
            self.runner.start(run)
        else:
            self.runner.outcomes.append(run)
            self.wait.nudge()

    def progress(self, job_id: str, attempt: int, fraction: float, note: str) -> None:
        """For `Context.progress`, from the handler's thread; lost while Redis is away."""
        with suppress(StoreUnavailable):
            self._store.progress(self.post.worker, job_id, attempt, fraction, note[:200])

    def terminate(self, *_: object) -> None:
        """The handler of SIGTERM: stop as if the supervisor had said so."""
        self.orders.is_terminated = True
        self.wait.nudge()

    # Waiting.

    def _is_busy(self) -> bool:
        """Whether there is something to do at once. A look at the sockets costs 20 us, and 100
        when it was quiet before: while busy, one every RELIEF will do."""
        return time.monotonic() < self.look_at and not self._timeout()

    def _await_delivery(self) -> list[str]:
        """Listen, and sleep until something happens; the ids that came, best priority first."""
        self.runner.go()
        self._report()  # not when the next job is there, and waits for it
        self.hungry = self.wait.is_poll_due() or self.hungry
        if not self.hungry and time.monotonic() >= self.trouble.retry_at:
            self.wait.listen(self._room())
        is_told, ready = self.wait.sleep(self._timeout)
        if is_told or self.orders.is_stop_due():
            self._hear_all()
        if is_told:
            self.orders.obey(self.runs)
        self.orders.heed_signal()
        delivered = self._take(ready)
        self.port.check()
        self.look_at = time.monotonic() + RELIEF
        return delivered

    def _timeout(self) -> float:
        now, retry_at = time.monotonic(), self.trouble.retry_at
        if self.runner.is_waited_for or self.asked or self.orders.is_stop_due():
            return 0.0
        if self.runner.outcomes and now >= retry_at:
            return 0.0
        longest = LOOK if self.runs or self.limits.stop_at else 1.0
        until = max(self.reconcile.at, retry_at)
        if self.unsettled or now < retry_at or (self.hungry and self._room()):
            until = retry_at
        return max(0.0, min(longest, until - now))

    def _take(self, ready: Sequence[Any]) -> list[str]:
        """Start the jobs that waits have brought; the ids that are still to be begun."""
        ids: list[str] = []
        known = len(self.runs)
        try:
            for found, turn, is_overdue in self.wait.take(ready):
                if is_overdue:  # these may be another's: what is still ours is handed out again
                    turn.jobs = []
                    self.reconcile.soon()
                turn.jobs = self.reconcile.new(turn.jobs)
                self._begin(turn)
                if not turn.refusal:
                    self.board.hear()
                ids += found
        except StoreUnavailable as error:
            self._lost(error)
        self.is_vain = bool(ready) and not ids
        self.is_brought = len(self.runs) > known
        self.hungry = self.hungry or self.is_brought
        return ids
