"""Where runs are called: in threads, in the loop's own thread while brief, never past the slots."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ferryman import Ferryman
from ferryman.backoff import Backoff
from ferryman.config import Settings
from ferryman_worker import runner as runner_module
from ferryman_worker.decide import Policy
from ferryman_worker.outcome import Failed, Returned, Stopped
from ferryman_worker.run import Run
from ferryman_worker.runner import BRIEF, RELIEF, Runner

PATIENCE = 10.0


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.001)


class Bench:
    """A runner without the child around it, and handlers that wait for a gate."""

    def __init__(self, claim: Callable[..., Any], slots: int) -> None:
        self._claim, self._number = claim, 0
        self.gate = threading.Event()
        self.threads: list[str] = []
        self.begun: list[int] = []
        self.told = 0
        ferry = Ferryman(Settings())
        self.brief = ferry.job("brief")(self._brief)
        self.held = ferry.job("held")(self._held)
        self.runner = Runner(
            slots, lambda run: self.begun.append(run.slot), lambda _: None, self._tell
        )

    def _brief(self) -> str:
        self.threads.append(threading.current_thread().name)
        return "x"

    def _held(self) -> None:
        self.threads.append(threading.current_thread().name)
        assert self.gate.wait(PATIENCE)

    def _tell(self) -> None:
        self.told += 1

    def start(self, handler: Any, number: int = 1) -> list[Run]:
        limits = Policy(max_attempts=3, delay=Backoff().delay, timeout=60.0)
        runs = []
        for _ in range(number):
            self._number += 1
            run = Run(self._claim(id=str(self._number)), handler, None, limits)
            self.runner.start(run)
            runs.append(run)
        return runs

    def over(self) -> list[Run]:
        out = list(self.runner.outcomes)
        self.runner.outcomes.clear()
        for run in out:
            self.runner.observe(run)
        return out

    def become_brief(self) -> None:
        """Run some in threads; then the watch lets them run in the loop's."""

        def are_brief() -> bool:
            self.start(self.brief, 20)
            self.runner.go()
            until(lambda: len(self.runner.outcomes) == 20)
            self.over()
            assert not self.runner.look()
            return self.runner.here

        until(are_brief)
        self.threads.clear()
        self.begun.clear()


@pytest.fixture
def bench(claim: Any) -> Callable[[int], Bench]:
    benches: list[Bench] = []

    def make(slots: int) -> Bench:
        benches.append(Bench(claim, slots))
        return benches[-1]

    yield make
    for made in benches:
        made.gate.set()


def test_brief_runs_are_called_in_the_thread_of_the_loop_in_order(bench: Any) -> None:
    b = bench(4)
    b.become_brief()
    runs = b.start(b.brief, 6)
    b.runner.go()
    assert not b.threads, "nobody else is woken for them"
    assert b.runner.run_here()
    assert b.threads == [threading.current_thread().name] * 6
    assert b.over() == runs
    assert all(run.outcome == Returned('"x"') for run in runs)


def test_nothing_runs_in_the_loop_before_the_watch_looks_after_it(bench: Any) -> None:
    b = bench(1)
    b.start(b.brief, 20)
    assert b.runner.run_here()
    assert not b.threads
    b.runner.go()
    until(lambda: len(b.runner.outcomes) == 20)
    b.over()
    assert not b.runner.here
    assert b.runner.capacity == 1


def test_a_run_that_is_not_brief_keeps_its_thread_and_the_loop_gets_another(bench: Any) -> None:
    b = bench(2)
    b.become_brief()
    [held] = b.start(b.held)
    behind = b.start(b.brief)
    kept: list[bool] = []
    loop = threading.Thread(target=lambda: kept.append(b.runner.run_here()))
    loop.start()
    until(lambda: held.started)
    until(lambda: not b.runner.here or b.runner.look())
    assert not b.runner.here
    until(lambda: behind[0].outcome)  # in a thread of its own
    b.gate.set()
    loop.join(PATIENCE)
    assert kept == [False]
    until(lambda: held in b.runner.outcomes)
    assert b.told


def test_after_a_run_that_was_not_brief_the_loop_is_left_alone_for_a_while(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(1)
    b.become_brief()
    b.start(b.held)
    threading.Thread(target=b.runner.run_here).start()
    until(b.runner.look)
    b.gate.set()
    until(lambda: b.runner.outcomes)
    monkeypatch.setattr(b.runner, "_mean", BRIEF / 2)
    assert not b.runner.look()
    assert not b.runner.here
    monkeypatch.setattr(b.runner, "_calm_until", 0.0)
    assert not b.runner.look()
    assert b.runner.here


def test_runs_that_become_long_on_average_go_back_to_threads(bench: Any) -> None:
    b = bench(2)
    b.become_brief()
    waiting = b.start(b.brief)
    long = b.start(b.brief)[0]
    long.duration = 1.0
    b.runner.observe(long)
    assert not b.runner.here
    until(lambda: waiting[0].outcome)
    assert b.threads[-1].startswith("slot-")


def test_an_idle_loop_is_watched_again_when_a_run_begins(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "DOZE", 0.05)
    b = bench(1)
    b.become_brief()
    time.sleep(0.1)
    assert not b.runner.look()
    assert b.runner.here, "the next one still runs in the loop's thread"
    rests: list[float] = []
    watch = threading.Thread(target=lambda: rests.append(_timed(b.runner.rest, PATIENCE)))
    watch.start()
    time.sleep(0.1)
    assert not rests, "it dozes instead of waking 200 times a second"
    b.start(b.brief)
    b.runner.run_here()
    watch.join(PATIENCE)
    assert rests[0] < PATIENCE / 2


def test_a_run_that_has_just_come_to_an_idle_loop_does_not_hold_it_up(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "DOZE", 0.05)
    b = bench(1)
    b.become_brief()
    time.sleep(0.1)
    b.runner.look()
    b.start(b.brief)
    b.runner.look()
    assert b.runner.here


def test_what_waits_while_the_loop_is_held_up_elsewhere_goes_to_threads(bench: Any) -> None:
    b = bench(1)
    b.become_brief()
    b.runner.look()
    [run] = b.start(b.brief)
    time.sleep(3 * RELIEF)  # the loop waits for Redis, say
    assert not b.runner.look()
    assert not b.runner.here
    until(lambda: run.outcome)


def _timed(call: Callable[[float], None], seconds: float) -> float:
    began = time.monotonic()
    call(seconds)
    return time.monotonic() - began


@pytest.mark.parametrize("slots", [1, 3])
def test_no_more_runs_than_slots_are_under_way_whatever_their_kind(bench: Any, slots: int) -> None:
    b = bench(slots)
    inside, most, lock = 0, 0, threading.Lock()

    async def coroutine() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        inside -= 1

    def function() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.002)
        with lock:
            inside -= 1

    ferry = Ferryman(Settings())
    kinds = [ferry.job("f")(function), ferry.job("c")(coroutine)]
    for n in range(40):
        b.start(kinds[n % 2])
    b.runner.go()
    until(lambda: len(b.runner.outcomes) == 40)
    assert len(b.begun) == 40
    assert set(b.begun) <= set(range(slots))
    assert most <= slots


def test_while_brief_as_many_again_are_claimed_and_given_back_when_there_is_no_slot(
    bench: Any,
) -> None:
    b = bench(2)
    assert b.runner.capacity == 2
    b.become_brief()
    assert b.runner.capacity == 4
    runs = b.start(b.held, 4)
    assert b.runner.surplus() == [], "they will be brief, one after the other"
    threading.Thread(target=b.runner.run_here).start()
    until(lambda: runs[0].started)
    until(b.runner.look)
    until(lambda: runs[1].started)
    given_back = b.runner.surplus()
    assert given_back == [runs[3], runs[2]]
    assert all(run.outcome == Stopped() and not run.started for run in given_back)
    assert b.runner.surplus() == []
    assert b.runner.capacity == 2


def test_functions_that_wait_for_slots_of_long_coroutines_are_given_back(bench: Any) -> None:
    b = bench(2)
    b.become_brief()
    release = threading.Event()

    async def long() -> None:
        while not release.is_set():
            await asyncio.sleep(0.005)

    longs = b.start(Ferryman(Settings()).job("long")(long), 2)
    b.runner.go()
    until(lambda: all(run.started for run in longs))
    waiting = b.start(b.brief, 2)
    assert not b.runner.is_waited_for, "the loop would turn without a pause"
    assert b.runner.run_here()
    assert not any(run.outcome for run in waiting)
    until(lambda: not b.runner.look() and not b.runner.here)
    assert b.runner.surplus() == [waiting[1], waiting[0]]
    release.set()
    until(lambda: len(b.runner.outcomes) == 2)


def test_a_run_that_began_just_as_the_loop_was_to_be_left_alone_is_relieved_too(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(1)
    b.become_brief()

    def leave(run: Run) -> None:
        b.begun.append(run.slot)
        # The watch, between the thread's look at `here` and its call.
        b.runner._mean, b.runner._calm_until = BRIEF, time.monotonic() + PATIENCE
        b.runner._leave()

    monkeypatch.setattr(b.runner, "_begin_hook", leave)
    b.start(b.held)
    kept: list[bool] = []
    loop = threading.Thread(target=lambda: kept.append(b.runner.run_here()))
    loop.start()
    until(b.runner.look)
    b.gate.set()
    loop.join(PATIENCE)
    assert kept == [False]


def test_threads_that_start_the_event_loop_at_once_start_one(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[asyncio.AbstractEventLoop] = []
    make = asyncio.new_event_loop

    def slowly() -> asyncio.AbstractEventLoop:
        time.sleep(0.05)
        made.append(make())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", slowly)
    b = bench(1)

    async def coroutine() -> None:
        pass

    [run] = b.start(Ferryman(Settings()).job("c")(coroutine))
    threads = [threading.Thread(target=b.runner.go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    until(lambda: run in b.runner.outcomes)
    assert len(made) == 1


def test_a_coroutine_cancelled_before_it_began_has_an_outcome(bench: Any) -> None:
    b = bench(2)

    async def selfish() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    runs = b.start(Ferryman(Settings()).job("selfish")(selfish), 2)
    b.runner.go()
    until(lambda: len(b.runner.outcomes) == 2)
    assert runs[0].outcome == Returned(None)
    assert isinstance(runs[1].outcome, Failed)
    assert not runs[1].interrupt("timeout"), "it is over"


def test_a_slot_that_comes_free_while_a_coroutine_looks_for_one_is_not_missed(bench: Any) -> None:
    b = bench(1)

    class Free(list[int]):
        def pop(self, *_: Any) -> int:
            if self:
                return super().pop()
            self.append(0)  # another run ends now, and sees no coroutine that waits
            raise IndexError

    async def coroutine() -> None:
        pass

    b.runner._free = Free()
    [run] = b.start(Ferryman(Settings()).job("c")(coroutine))
    b.runner.go()
    until(lambda: run.outcome)
