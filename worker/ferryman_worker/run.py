"""Runs handlers: threads for functions, one event loop for coroutines.

A run has one slot from `start` to its outcome. At its time limit it is interrupted: an exception
raised in the thread, or the coroutine cancelled. What does not heed that is killed with the whole
child by the supervisor. Next on the way of a job: `decide`.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ferryman import registry
from ferryman.context import BadPayload, Bury, Context, Interrupt, Retry, Snooze
from ferryman.job import encode
from ferryman.registry import JobType
from ferryman.store import Claimed
from ferryman_worker import guard
from ferryman_worker.decide import Policy
from ferryman_worker.outcome import Cancelled, Failed, Outcome, Returned, Snoozed, Stopped

RESULT_LIMIT = 65_536
"""Bytes of JSON a result may have."""

BRIEF = 0.001
"""Seconds. Runs shorter than this on average are reported when the waiting ones are done too, not
each by itself: 0.11 round trips a job instead of 0.32 (no-op jobs, 10 slots, nothing pinned)."""


class _Timeout(Interrupt):
    reason = "timeout"


class _Cancel(Interrupt):
    reason = "cancel"


class _Stop(Interrupt):
    reason = "stop"


_INTERRUPTS: dict[str, type[Interrupt]] = {c.reason: c for c in (_Timeout, _Cancel, _Stop)}
_OURS = {__file__, registry.__file__}
_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc


@dataclass(eq=False)
class Run:
    """One attempt under way in one slot."""

    job: Claimed
    job_type: JobType[Any, Any] | None
    """None: unknown here; the run fails without being started."""
    context: Context
    limits: Policy
    slot: int
    started: float = 0.0
    limit_at: float = 0.0
    duration: float = 0.0
    outcome: Outcome | None = None
    interrupted: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: int | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def handler(self) -> JobType[Any, Any]:
        """The job's type, for a run that is started."""
        assert self.job_type is not None
        return self.job_type

    def interrupt(self, reason: str) -> bool:
        """Ask the handler to stop, once: "timeout", "cancel" or "stop"."""
        with self._lock:
            if self.interrupted or (self._thread is None and self._task is None):
                return False
            self.interrupted = reason
            if self._task is not None:
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)
            elif self._thread is not None:
                _raise_in(ctypes.c_ulong(self._thread), ctypes.py_object(_INTERRUPTS[reason]))
            return True

    def enter(self, task: asyncio.Task[None] | None = None) -> None:
        """The handler is about to be called: from here on it can be interrupted."""
        with self._lock:
            self.started = time.monotonic()
            self._task = task
            self._thread = None if task else threading.get_ident()

    def leave(self) -> None:
        """The handler is over: an interrupt that has not struck yet never will."""
        with self._lock:
            if self._thread is not None and self.interrupted:
                _raise_in(ctypes.c_ulong(self._thread), None)
            self._thread = self._task = None


class Runner:
    """T threads and an event loop; both start when first needed.

    When a run is over `over` is called with it, in its own thread; then it lies in `outcomes` and
    `done` is called, at once or, for brief runs, once for several.
    """

    def __init__(self, slots: int, over: Callable[[Run], None], done: Callable[[], None]) -> None:
        self.outcomes: deque[Run] = deque()
        self._over_hook, self._done, self._slots = over, done, slots
        self._waiting: deque[Run] = deque()
        self._idle: list[threading.Lock] = []
        self._threads = 0
        self._mean = BRIEF
        self.brief = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, run: Run) -> None:
        """Hand over a run; a function waits for `go`."""
        run.limit_at = time.monotonic() + run.limits.timeout
        if run.handler.is_async:
            loop = self._loop or self._start_loop()
            loop.call_soon_threadsafe(self._create, loop, run)
            return
        self._waiting.append(run)

    def go(self) -> None:
        """Let the threads at what `start` was given.

        One thread is woken, and each that takes a run wakes the next while there are more: very
        short runs then follow each other in one thread, without a switch between threads for each.
        """
        if not self._waiting:
            return
        if not self._idle and self._threads < self._slots:
            self._threads += 1
            name = f"slot-{self._threads}"
            guard.thread(name, self._work)
        else:
            self._wake_one()

    def _wake_one(self) -> None:
        try:
            self._idle.pop().release()
        except IndexError:
            return  # every thread is at work and looks here when it is done

    def _work(self) -> None:
        asleep = threading.Lock()
        asleep.acquire()
        while True:
            try:
                run = self._waiting.popleft()
            except IndexError:
                self._idle.append(asleep)
                if self._waiting:  # came between the look and the nap
                    self._wake_one()
                asleep.acquire()
                continue
            self.go()
            _call(run)
            self._over(run)

    def _over(self, run: Run) -> None:
        run.duration = time.monotonic() - run.started
        self._over_hook(run)
        self.outcomes.append(run)
        if not (self.brief and self._waiting):
            self._done()

    def observe(self, duration: float) -> None:
        """Note how long a run took. While runs are brief, their outcomes are told in batches."""
        self._mean += (duration - self._mean) * 0.1
        self.brief = self._mean < BRIEF

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.new_event_loop()
        guard.thread("event-loop", lambda: _turn_for_ever(loop))
        return loop

    def _create(self, loop: asyncio.AbstractEventLoop, run: Run) -> None:
        # The loop only reports what its callbacks raise; here it would be a run without an end.
        guard.run("event-loop", lambda: self._begin(loop, run))

    def _begin(self, loop: asyncio.AbstractEventLoop, run: Run) -> None:
        task = loop.create_task(_await(run))
        run.enter(task)
        task.add_done_callback(lambda _: guard.run("event-loop", lambda: self._over(run)))


def _turn_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    raise RuntimeError("the event loop was stopped, which only a handler can have done")


def _call(run: Run) -> None:
    try:
        try:
            run.enter()
            value = run.handler.call(json.loads(run.job.payload), run.context)
            run.outcome = returned(value)
        except BaseException as error:
            run.outcome = failed(error, run)
        run.leave()
    except Interrupt as late:
        # It struck between the handler's end and leave(), the one place left for it.
        run.leave()
        run.outcome = run.outcome or failed(late, run)


async def _await(run: Run) -> None:
    try:
        run.outcome = returned(await run.handler.call(json.loads(run.job.payload), run.context))
    except BaseException as error:
        run.outcome = failed(error, run)
    run.leave()


def returned(value: Any) -> Outcome:
    """The outcome of a value; one that is no JSON or too large fails for good."""
    if value is None:
        return Returned(None)
    try:
        text = encode(value)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        return Failed(f"result is not JSON: {error}", final=True)
    if size > RESULT_LIMIT:
        return Failed(f"result has {size} bytes; at most {RESULT_LIMIT} are kept", final=True)
    return Returned(text)


def failed(error: BaseException, run: Run) -> Outcome:
    """The outcome of what a handler raised."""
    match error:
        case Snooze():
            return Snoozed(error.delay)
        case Bury():
            return Failed(_text(error.reason), final=True)
        case Retry():
            return Failed(_text(error.reason), delay=error.delay)
        case BadPayload():
            return Failed(_text(error), final=True)
        case Interrupt() | asyncio.CancelledError() if run.interrupted:
            return _interrupted(run)
    return Failed(_describe(error), _trace(error))


def _interrupted(run: Run) -> Outcome:
    if run.interrupted == "cancel":
        return Cancelled()
    if run.interrupted == "stop":
        return Stopped()
    return Failed(f"timeout: ran longer than {run.limits.timeout:g} s")


def _text(said: object) -> str:
    # str() of what a handler raised is code of its own, and may itself raise anything.
    try:
        return str(said)
    except BaseException as second:
        return f"(its text cannot be had: {type(second).__name__})"


def _describe(error: BaseException) -> str:
    text = _text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _trace(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in _OURS:
        trace = trace.tb_next  # it begins where the handler does
    try:
        return "".join(traceback.format_exception(type(error), error, trace, limit=-20))
    except Exception:
        return ""
