"""The supervisor: forks the children and the upkeep, and sees to it that they live and obey.

One thread, no connection to Redis, no user code: it can fork at any time and never hangs. It sees
a child die at once and kills one whose run outlasted its hard limit, or that hangs or is deaf; what
becomes of the jobs is upkeep's business. Next: `kept`, `child`, `upkeep`.
"""

from __future__ import annotations

import os
import secrets
import selectors
import signal
import socket
import time
from collections import deque
from typing import Any

import structlog

from ferryman import logs, tracing
from ferryman.config import Settings
from ferryman.keys import ALONE, LEVELS, Keys
from ferryman.processes import ECHO, describe_exit
from ferryman_worker import upkeep
from ferryman_worker.board import Board
from ferryman_worker.child import LEASE_LOST, Post
from ferryman_worker.fork import BROKEN_APP, fork, serve_child
from ferryman_worker.hearing import SILENT, Hearing
from ferryman_worker.kept import ChildProcess, kill_group
from ferryman_worker.link import Link
from ferryman_worker.recycle import MIB, peak

LOOK = 0.25
"""Seconds between two looks at the boards..."""

IDLE = 1.0
"""...and while no child has a run: a look costs 2 ms of a processor that has slept."""

PATIENT = 1e9
"""The drain, in seconds, of a child that may take its time: the limits of its runs hold."""

CLEAN_UP = 1.5
"""Seconds for upkeep to give back the jobs of children killed at a stop; drain + this < 10 s."""

log = structlog.get_logger()


class Supervisor:
    """One worker: its children, its upkeep, and the way it stops."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.host = socket.gethostname()
        self.name = self._name(os.getpid())
        self.children: dict[int, ChildProcess] = {}
        self.upkeep_pid, self.upkeep_started = 0, 0.0
        self.upkeep: Link | None = None
        self.hearing = Hearing()
        self.instance = ""
        self.mourned: dict[str, dict[str, Any]] = {}
        self.selector = selectors.DefaultSelector()
        self.stop_at: float | None = None
        self.stop_signals: deque[tuple[int, float]] = deque()
        self.signalled_at = 0.0
        self.exit_code = 0
        self.was_ready = False
        self.fork_at = 0.0
        self.quick_deaths = 0
        self.roster_at = 0.0
        self.types: dict[str, Any] = {}

    def run(self) -> int:
        """Serve until stopped; the exit code."""
        self._catch_signals()
        self._fork_upkeep()
        for slots in _shares(self.settings.num_workers, self.settings.processes):
            self._fork_child(slots)
        log.info(logs.WORKER_STARTED, worker=self.name, slots=self.settings.num_workers,
                 queues=",".join(self.settings.queues))  # fmt: skip
        while self.children or self.stop_at is None:
            self._look()
        self._end_upkeep()
        log.info(logs.WORKER_STOPPED, worker=self.name)
        return self.exit_code

    def _look(self) -> None:
        for key, _ in self.selector.select(IDLE if self._is_idle() else LOOK):
            key.data()
        self.hearing.look()
        self._heed_signals()
        self._reap()
        self._judge_upkeep()
        self._send_roster()
        for child in list(self.children.values()):
            self._judge(child)
        if self.stop_at is None:
            self._replace()
        elif time.monotonic() >= self.stop_at:
            self._kill_all("released", "the worker stopped before it ended")

    def _is_idle(self) -> bool:
        """Nothing may fall due within a look: no run, no fork, no stop."""
        idle = sum(c.slots for c in self.children.values() if c.ready and not c.board.busy())
        return self.stop_at is None and idle == self.settings.num_workers and bool(self.upkeep_pid)

    # Children.

    def _fork_child(self, slots: int, alone: bool = False) -> None:
        board, (ours, theirs) = Board(slots), Link.pair()
        levels = (ALONE,) if alone else LEVELS
        lists = [Keys().pending_name(q, level) for level in levels for q in self.settings.queues]
        close = [*self._descriptors(), ours.fileno()]

        def body() -> None:
            post = Post(self._name(os.getpid()), lists, slots, alone)
            serve_child(self.settings, post, board, theirs, close)

        pid = fork(body, own_group=True)
        theirs.close()
        # The child learns its name from its pid and tells it when it is ready.
        child = ChildProcess(pid, "", board, ours, slots, alone)
        self.children[pid] = child
        self.selector.register(ours, selectors.EVENT_READ, lambda: self._hear(child))

    def _hear(self, child: ChildProcess) -> None:
        for message in child.link.receive(wait=False):
            if message["kind"] == "named":
                child.worker = message["worker"]
            elif message["kind"] == "ready":
                child.ready = self.was_ready = True
                self.types = message["types"]
                self._tell_upkeep("types", types=self.types)
                self.roster_at = 0.0
                log.info(logs.CHILD_STARTED, worker=child.worker, slots=child.slots,
                         alone=child.alone)  # fmt: skip
                if not child.alone:
                    self._dismiss(child)
            elif message["kind"] == "leaving":
                child.leaving = True
        if child.link.closed:
            self._forget_link(child.link)

    def _dismiss(self, successor: ChildProcess) -> None:
        """A child is ready: one that is leaving stops claiming and ends when its runs have."""
        leaving = [c for c in self.children.values() if c.leaving and not c.dismissed]
        for child in [c for c in leaving if c.slots == successor.slots][:1]:
            child.dismissed = True
            child.link.send("stop", drain=PATIENT)

    def _judge(self, child: ChildProcess) -> None:
        if child.how != "crashed":
            return  # it is killed already
        verdict = child.verdict()
        deaf = child.deaf(self.hearing) if self.stop_at is None else None
        if deaf and child.board.busy():
            self._let_leave(child, deaf.reason)
        verdict = verdict or (None if child.board.busy() else deaf)
        if verdict:
            ids = [i for i, _ in verdict.overran]
            log.error(logs.CHILD_KILLED, worker=child.worker, reason=verdict.reason, ids=ids)
            child.kill(verdict.how, verdict.reason)

    def _let_leave(self, child: ChildProcess, reason: str) -> None:
        """Its runs may end, and tell so if it hears again; another serves the lists meanwhile."""
        if not child.leaving:
            child.leaving = True
            log.warning(logs.CHILD_LEAVING, worker=child.worker, reason=reason)

    def _kill_all(self, how: str, reason: str) -> None:
        for child in self.children.values():
            if child.how == "crashed":
                child.kill(how, reason)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self.upkeep_pid:
                self._upkeep_died(code)
            elif pid in self.children:
                self._bury(self.children.pop(pid), code, peak(usage) // MIB)

    def _bury(self, child: ChildProcess, code: int, mib: int) -> None:
        """A child is dead: upkeep moves its jobs on, whatever the reason."""
        if code:
            # What its handlers forked holds its connections, and what Redis gives to those.
            kill_group(child.pid)
        # What it said last is still to be read. Its end may be open yet: a process that a handler
        # left behind holds it too.
        self._hear(child)
        self._forget_link(child.link)
        if code == BROKEN_APP and not self.was_ready:
            self.exit_code = 2
            self._stop(0)
            return
        if child.worker:
            # The dead write nothing more: what the board says now is how it was.
            overran = child.board.overran() if child.how == "killed" else []
            # A clean end leaves nothing begun.
            how = child.how if code else "released"
            # Reaped, it may still have been given an id; after a FLUSHALL nobody else would look.
            lost = "its lease was lost" if code == LEASE_LOST else ""
            died = f"its process died: {describe_exit(code)}; it had used {mib} MiB"
            reason = child.reason or lost or died
            self._mourn(worker=child.worker, how=how, reason=reason, overran=overran)
        if code:
            log.error(logs.CHILD_DIED, worker=child.worker, cause=describe_exit(code), mib=mib)
            self._pause_forks(child.started)

    def _mourn(self, worker: str, **how: Any) -> None:
        """Tell upkeep of a dead child; the next upkeep too, if this one does not live to the end
        of its recovery: otherwise its jobs would wait for the end of its lease."""
        self.mourned[worker] = how
        self._tell_upkeep("gone", worker=worker, **how)

    def _pause_forks(self, started: float) -> None:
        """What dies within a second of its start is forked again ever more slowly."""
        quick = time.monotonic() - started < 1.0
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        self.fork_at = time.monotonic() + (min(5.0, 0.1 * 2**self.quick_deaths) if quick else 0)

    def _replace(self) -> None:
        there = [c for c in self.children.values() if not c.alone and not c.leaving]
        regular = sorted(c.slots for c in there)
        if time.monotonic() < self.fork_at:
            return
        wanted = _shares(self.settings.num_workers, self.settings.processes)
        for slots in regular:
            wanted.remove(slots)
        for slots in wanted:
            self._fork_child(slots)
        if not self.upkeep_pid:
            self._fork_upkeep()

    # Upkeep.

    def _fork_upkeep(self) -> None:
        ours, theirs = Link.pair()
        close = [*self._descriptors(), ours.fileno()]
        pid = fork(lambda: upkeep.serve(self.settings, self.name, theirs, close, self.instance))
        theirs.close()
        self.upkeep_pid, self.upkeep, self.upkeep_started = pid, ours, time.monotonic()
        self.hearing.begin()
        self.selector.register(ours, selectors.EVENT_READ, self._hear_upkeep)
        self._tell_upkeep("types", types=self.types)
        for worker, how in self.mourned.items():
            self._tell_upkeep("gone", worker=worker, **how)
        self.roster_at = 0.0

    def _hear_upkeep(self) -> None:
        assert self.upkeep is not None
        for message in self.upkeep.receive():
            match message["kind"]:
                case "word":
                    self.hearing.word(message["redis"])
                    self.instance = message["instance"]
                case "recovered":
                    self.mourned.pop(message["worker"], None)
                case "alone":
                    self._run_alone(message["jobs"])
                case "cancel":
                    # Told again at every beat: a child that hangs must not hang us too.
                    for child in self._named(message["worker"]):
                        child.link.send("cancel", wait=False, id=message["id"])
                case "lost":
                    for child in self._named(message["worker"]):
                        child.kill("crashed", "its lease was lost")
        if self.upkeep.closed:
            self._forget_link(self.upkeep)

    def _named(self, worker: str) -> list[ChildProcess]:
        return [c for c in self.children.values() if c.worker == worker]

    def _run_alone(self, jobs: int) -> None:
        """Fork a child for each job that must run alone, at most as many as there are slots."""
        there = [c for c in self.children.values() if c.alone]
        idle = sum(1 for c in there if not c.board.busy())
        for _ in range(min(jobs - idle, self.settings.num_workers - len(there))):
            if self.stop_at is None:
                self._fork_child(1, alone=True)

    def _send_roster(self) -> None:
        if time.monotonic() < self.roster_at:
            return
        self.roster_at = time.monotonic() + 1.0
        there = [c for c in self.children.values() if c.ready]
        busy = {c.worker: c.board.busy() for c in there}
        ages = {c.worker: round(c.board.claim_age(), 3) for c in there}
        self._tell_upkeep("roster", busy=busy, ages=ages, stopping=self.stop_at is not None)

    def _tell_upkeep(self, kind: str, **content: Any) -> None:
        if self.upkeep is not None:
            self.upkeep.send(kind, **content)

    def _judge_upkeep(self) -> None:
        """Kill an upkeep that hangs: without its beats all children would be given up."""
        if self.upkeep_pid and self.hearing.is_silent():
            log.error(
                logs.UPKEEP_KILLED, worker=self.name, reason=f"it said nothing for {SILENT:g} s"
            )
            os.kill(self.upkeep_pid, signal.SIGKILL)
            self.hearing.begin()

    def _upkeep_died(self, code: int) -> None:
        # What it had not done yet is found again: by its lease a dead child is late like any other.
        log.error(logs.CHILD_DIED, worker=self.name, cause=f"upkeep: {describe_exit(code)}")
        if self.upkeep is not None:
            self._forget_link(self.upkeep)
        self.upkeep_pid, self.upkeep = 0, None
        self._pause_forks(self.upkeep_started)

    def _end_upkeep(self) -> None:
        if self.upkeep is None:
            return
        self.upkeep.send("stop")
        end = time.monotonic() + CLEAN_UP
        while time.monotonic() < end and not self.upkeep.closed:
            with selectors.DefaultSelector() as selector:
                selector.register(self.upkeep, selectors.EVENT_READ)
                if selector.select(end - time.monotonic()):
                    self.upkeep.receive()
        if not self.upkeep.closed:
            os.kill(self.upkeep_pid, signal.SIGKILL)

    # Stopping.

    def _catch_signals(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._signals = (reader, writer)
        self.selector.register(reader, selectors.EVENT_READ, lambda: reader.recv(4096))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake the loop

    def _note_signal(self, number: int, _frame: object) -> None:
        # No more than that: it may come in the middle of a fork, or of the signal before.
        self.stop_signals.append((number, time.monotonic()))

    def _heed_signals(self) -> None:
        while self.stop_signals:
            number, at = self.stop_signals.popleft()
            if self.stop_at is None:
                log.info(logs.WORKER_STOPPING, worker=self.name, signal=signal.Signals(number).name)
                self._stop(self.settings.drain)
            elif at - self.signalled_at > ECHO:
                self.stop_at = 0.0  # a second signal: at once
            self.signalled_at = at

    def _stop(self, drain: float) -> None:
        self.stop_at = time.monotonic() + drain
        self.roster_at = 0.0  # the next beat says so
        for child in self.children.values():
            child.link.send("stop", drain=drain)

    # Small things.

    def _name(self, pid: int) -> str:
        """host:pid:nonce. The nonce, for in containers host and pid both come again."""
        return f"{self.host}:{pid}:{secrets.token_hex(4)}"

    def _descriptors(self) -> list[int]:
        """What a fork must close, so that the closing of a link is seen by its other end."""
        links = [c.link for c in self.children.values()] + ([self.upkeep] if self.upkeep else [])
        return [link.fileno() for link in links if link.fileno() >= 0]

    def _forget_link(self, link: Link) -> None:
        if link.fileno() >= 0:
            self.selector.unregister(link)
            link.close()


def _shares(slots: int, processes: int) -> list[int]:
    """Slots spread evenly over the children: 5 over 2 is 3 and 2."""
    return [slots // processes + (1 if i < slots % processes else 0) for i in range(processes)]


def preload() -> None:
    """Import what every child needs before the fork: a child is ready in milliseconds.

    The built-in types are ours, not the user's code; making their validators loads pydantic.
    """
    from ferryman_worker import jobs

    tracing.preload()
    for name in jobs.ferry.registry:
        job_type = jobs.ferry.registry.get(name)
        assert job_type is not None
        job_type.prepare()
