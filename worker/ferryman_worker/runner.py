"""Where and when runs are called: threads for functions, one event loop for coroutines.

A run has a slot from its beginning to its end, and there are `slots` of them. Functions that are
brief run in the thread of the child's loop itself, while Redis answers: to wake another thread
costs up to 90 us here, more than all the rest of such a job. One that turns out not to be brief is
left to its thread, and the loop goes on in another (`look`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from ferryman_worker import guard, traced
from ferryman_worker.outcome import Stopped
from ferryman_worker.run import Run, await_, call, failed

BRIEF = 0.001
"""Seconds. Runs shorter than this on average are brief."""

RELIEF = 0.005
"""Seconds a run may hold up the loop."""

CALM = 0.1
"""Seconds after such a run in which the loop's thread runs none: 5 % of its time are lost at most.
On a busy machine any run may take so long, and threads cost twice as much a job."""

DOZE = 1.0
"""Seconds without a run until the watch dozes."""

Hook = Callable[[Run], None]


class Runner:
    """Runs in at most `slots` slots; threads and event loop start when first needed.

    `begin` is called with a run when it gets its slot, `over` when it has left it, both in the
    run's own thread. Then it lies in `outcomes`, and `done` is called.
    """

    def __init__(self, slots: int, begin: Hook, over: Hook, done: Callable[[], None]) -> None:
        self.outcomes: deque[Run] = deque()
        self.here = False
        """Functions run in the thread of the loop, and are watched."""
        self._slots, self._free = slots, list(range(slots))
        self._begin_hook, self._over_hook, self._done = begin, over, done
        self._functions: deque[Run] = deque()
        self._coroutines: deque[Run] = deque()
        self._idle: list[threading.Lock] = []
        self._threads = 0
        self._mean = BRIEF
        self._begun = self._seen = 0
        self._calm_until = self._active_at = self._held_at = 0.0
        self.dozes = False
        """No run has begun for a while; the next one stirs the watch out of its `rest`."""
        self._stirred = threading.Event()
        # The run in the loop's thread: whoever takes it out, thread or watch, has the loop.
        self._seated: set[Run] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_telling = False
        self._starting = threading.Lock()

    @property
    def capacity(self) -> int:
        """Runs that may be claimed and not over. While they run here the next ones are fetched
        before these are done: else Redis would wait for them, and they for Redis."""
        return self._slots * (2 if self.here else 1)

    @property
    def is_waited_for(self) -> bool:
        """Whether functions wait for `run_here`, and have a slot."""
        return self.here and bool(self._functions and self._free)

    def start(self, run: Run) -> None:
        """Hand over a run; it waits for `go` or `run_here`."""
        (self._coroutines if run.handler.is_async else self._functions).append(run)

    def go(self) -> None:
        """Let begin what `start` was given, except what the loop's thread runs itself."""
        if self._coroutines:
            loop = self._loop or self._start_loop()
            loop.call_soon_threadsafe(self._create_tasks)
        if self._functions and not self.here:
            self._wake()

    def run_here(self) -> bool:
        """Run the functions that wait, if they are brief; False: this thread was relieved."""
        while self.here and (run := self._take(self._functions)) is not None:
            self._seated.add(run)
            traced.call(run) if run.is_traced else call(run)
            is_relieved = not self._unseat(run)
            self._over(run)
            if is_relieved:
                return False
        return True

    def observe(self, run: Run) -> None:
        """Note how long a run took."""
        self._mean += (run.duration - self._mean) * 0.1
        if self._mean >= BRIEF and self.here:
            self._leave()

    def look(self) -> bool:
        """For the watch, after each `rest`: whether the loop needs a thread."""
        now = time.monotonic()
        if self._begun != self._seen:
            self._seen, self._active_at = self._begun, now
        if not self._waiting():
            self._held_at = now
        since = now - self._active_at
        self.dozes = since >= DOZE
        if self._begun != self._seen:  # one has just begun, perhaps without stirring the watch
            self.dozes = False
        # Also while not `here`: a run may have been about to begin when that ended.
        is_relieved = any(self._unseat(run) for run in self._late(now))
        held = now - max(self._active_at, self._held_at)
        if is_relieved or (self.here and held >= RELIEF):
            self._mean, self._calm_until = BRIEF, now + CALM
            self._leave()
        elif not self.here:
            self.here = self._mean < BRIEF and now >= self._calm_until
        return is_relieved

    def rest(self, longest: float) -> None:
        """For the watch: sleep until the next `look`, at most `longest` seconds. Without runs it
        dozes, and the first one stirs it: that costs a run 5 us, to wake another thread for the
        run itself 50."""
        if self.here and not self.dozes:
            time.sleep(RELIEF)
        else:
            self._stirred.wait(longest)
            self._stirred.clear()

    def surplus(self) -> list[Run]:
        """Runs that wait for more slots than are free, the latest first: they are not to begin."""
        out: list[Run] = []
        if self.here:
            return out
        for _ in range(self._waiting() - len(self._free)):
            try:
                out.append((self._functions or self._coroutines).pop())
            except IndexError:  # it has just begun
                break
            out[-1].outcome = Stopped()
        return out

    def _waiting(self) -> int:
        return len(self._functions) + len(self._coroutines)

    def _late(self, now: float) -> list[Run]:
        """The run in the loop's thread, if it holds the loop up."""
        return [run for run in tuple(self._seated) if now - run.started >= RELIEF]

    def _unseat(self, run: Run) -> bool:
        try:
            self._seated.remove(run)
        except KeyError:
            return False
        return True

    def _leave(self) -> None:
        self.here = False
        self.go()

    # Threads.

    def _wake(self) -> None:
        try:
            self._idle.pop().release()
        except IndexError:
            if self._threads < self._slots:
                self._threads += 1
                name = f"slot-{self._threads}"
                guard.thread(name, self._work)

    def _work(self) -> None:
        asleep = threading.Lock()
        asleep.acquire()
        while True:
            run = self._take(self._functions)
            if run is None:
                self._idle.append(asleep)
                if self._functions and self._free:  # came between the look and the nap
                    self._wake()
                asleep.acquire()
                continue
            # One thread is woken, and each that takes a run wakes the next while there are more.
            self.go()
            traced.call(run) if run.is_traced else call(run)
            self._over(run)

    def _take(self, waiting: deque[Run]) -> Run | None:
        """The next run, with a slot for it; None when there is no run or no slot."""
        try:
            run = waiting.popleft()
        except IndexError:
            return None
        try:
            run.slot = self._free.pop()
        except IndexError:
            waiting.appendleft(run)
            return None
        self._begun += 1
        if self.dozes:
            self.dozes = False
            self._stirred.set()
        run.started = time.monotonic()
        self._begin_hook(run)
        return run

    def _over(self, run: Run) -> None:
        self._leave_slot(run)
        self._slot_left()

    def _leave_slot(self, run: Run) -> None:
        run.duration = time.monotonic() - run.started
        self._over_hook(run)
        self._free.append(run.slot)
        self.outcomes.append(run)

    def _slot_left(self) -> None:
        if self._coroutines or self._functions:  # one of them may have waited for the slot
            self.go()
        self._done()

    # Coroutines.

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:  # `go` is called in many threads
            if self._loop is None:
                self._loop = loop = asyncio.new_event_loop()
                guard.thread("event-loop", lambda: _turn_for_ever(loop))
            return self._loop

    def _create_tasks(self) -> None:
        # The loop only reports what its callbacks raise; here it would be a run without an end.
        guard.run("event-loop", self._create_free)

    def _create_free(self) -> None:
        assert self._loop is not None
        while (run := self._take(self._coroutines)) is not None:
            body = traced.await_(run) if run.is_traced else await_(run)
            task = self._loop.create_task(body)
            run.enter(task)
            task.add_done_callback(partial(self._task_over, run))
        if self._coroutines and self._free:  # came free between the look and here
            self.go()

    def _task_over(self, run: Run, _: object) -> None:
        if run.outcome is None:  # cancelled by another handler before its first step
            run.outcome = failed(asyncio.CancelledError(), run)
            run.leave()
        guard.run("event-loop", lambda: self._task_left(run))

    def _task_left(self, run: Run) -> None:
        # Tasks that end in one turn of the event loop are told of at once: to wake the child's
        # loop for each would cost more than the task, and make a round trip of each.
        assert self._loop is not None
        self._leave_slot(run)
        if not self._is_telling:
            self._is_telling = True
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._is_telling = False
        guard.run("event-loop", self._slot_left)


def _turn_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    # SystemExit in a task that a handler started ends the loop: the others need it still.
    while _ended_by_error(loop):
        pass
    raise RuntimeError("the event loop was stopped, which only a handler can have done")


def _ended_by_error(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        loop.run_forever()
    except BaseException:
        return True
    return False
