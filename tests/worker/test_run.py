"""Runs: a value or an exception out of every handler, its time limit kept, its thread kept."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from ferryman import Bury, Context, Ferryman, Retry, Snooze
from ferryman.backoff import Backoff
from ferryman.config import Settings
from ferryman.context import Interrupt
from ferryman_worker.decide import Policy
from ferryman_worker.outcome import Cancelled, Failed, Outcome, Returned, Snoozed, Stopped
from ferryman_worker.run import RESULT_LIMIT, Run
from ferryman_worker.runner import Runner

PATIENCE = 10.0


class Bench:
    """A runner of one slot, without the child around it."""

    def __init__(self, claim: Callable[..., Any]) -> None:
        self._claim = claim
        self._ended = threading.Semaphore(0)
        self.runner = Runner(1, lambda run: None, lambda run: None, self._ended.release)

    def start(self, handler: Any, payload: str = "{}", timeout: float = 60.0) -> Run:
        job = self._claim(payload=payload)
        job_type = Ferryman(Settings()).job("t")(handler)
        context = Context("a", "t", "default", 1, 0, 3, timeout)
        limits = Policy(max_attempts=3, delay=Backoff().delay, timeout=timeout)
        run = Run(job, job_type, context, limits)
        self.runner.start(run)
        self.runner.go()
        return run

    def end(self) -> Run:
        assert self._ended.acquire(timeout=PATIENCE), "the run did not end"
        return self.runner.outcomes.popleft()

    def outcome(self, handler: Any, payload: str = "{}") -> Outcome | None:
        run = self.start(handler, payload)
        assert self.end() is run
        return run.outcome


@pytest.fixture
def bench(claim: Any) -> Bench:
    return Bench(claim)


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """What strikes in a finalizer or a callback of the collector is swallowed: none runs."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads take turns every microsecond: what can come between two steps does."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def interrupt_when_possible(run: Run, reason: str) -> None:
    end = time.monotonic() + PATIENCE
    while not run.interrupt(reason):
        assert time.monotonic() < end
        time.sleep(0.001)


def thread_name() -> str:
    return threading.current_thread().name


# How a run ends.


def test_a_value_is_returned_as_json(bench: Bench) -> None:
    def handler(n: int, name: str = "é") -> Any:
        return {"n": n, "name": name, "list": [None, True, 1.5]}

    expected = '{"n":2,"name":"é","list":[null,true,1.5]}'
    assert bench.outcome(handler, '{"n":2}') == Returned(expected)


def test_a_coroutine_runs_on_the_event_loop(bench: Bench) -> None:
    async def handler() -> str:
        await asyncio.sleep(0)
        return thread_name()

    assert bench.outcome(handler) == Returned('"event-loop"')


def test_nothing_returned_is_no_result(bench: Bench) -> None:
    assert bench.outcome(lambda: None) == Returned(None)


def test_an_exception_fails_with_its_type_text_and_the_handlers_traceback(bench: Bench) -> None:
    def handler() -> None:
        raise ValueError("no such cat")

    outcome = bench.outcome(handler)
    assert isinstance(outcome, Failed)
    assert outcome.error == "ValueError: no such cat"
    assert outcome.traceback.splitlines()[1].endswith("in handler")
    assert (outcome.final, outcome.delay) == (False, None)


def test_an_exception_without_a_text_fails_with_its_type(bench: Bench) -> None:
    def handler() -> None:
        raise TimeoutError

    outcome = bench.outcome(handler)
    assert isinstance(outcome, Failed)
    assert outcome.error == "TimeoutError"


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        (Bury("gone"), Failed("gone", final=True)),
        (Retry("busy", delay=60), Failed("busy", delay=60)),
        (Retry(), Failed("asked to be retried")),
        (Snooze(5), Snoozed(5)),
        (Bury(ValueError("gone")), Failed("gone", final=True)),  # type: ignore[arg-type]
        (Retry(KeyError("k")), Failed("'k'")),  # type: ignore[arg-type]
    ],
)
def test_a_signal_says_what_becomes_of_the_job(
    bench: Bench, signal: Exception, expected: Outcome
) -> None:
    def handler() -> None:
        raise signal

    async def coroutine() -> None:
        raise signal

    assert bench.outcome(handler) == expected
    assert bench.outcome(coroutine) == expected


class TooFull(Exception):
    pass


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (Bury("gone"), "Bury"),
        (Retry(), "Retry"),
        (TooFull(), "TooFull"),
        (SystemExit(), "SystemExit"),
    ],
)
def test_a_failure_has_a_kind_by_which_spans_can_be_counted(
    bench: Bench, raised: BaseException, kind: str
) -> None:
    def handler() -> None:
        raise raised

    outcome = bench.outcome(handler)
    assert isinstance(outcome, Failed)
    assert outcome.kind == kind


def test_a_failure_that_is_no_exception_of_the_handler_has_a_kind_too(bench: Bench) -> None:
    def handler(n: int) -> object:
        return object() if n else "x" * 70_000

    kinds = [bench.outcome(handler, payload) for payload in ("[]", '{"n":0}', '{"n":1}')]
    assert [failed.kind for failed in kinds if isinstance(failed, Failed)] == [
        "BadPayload", "result", "result",
    ]  # fmt: skip


def test_a_payload_that_does_not_fit_fails_for_good_and_names_the_field(bench: Bench) -> None:
    def handler(url: str, width: int = 200) -> None:
        raise AssertionError("must not be called")

    outcome = bench.outcome(handler, '{"url":"x","width":"wide"}')
    assert isinstance(outcome, Failed)
    assert outcome.final
    assert "width" in outcome.error


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), b"bytes", "\ud800"])
def test_a_result_that_is_no_json_fails_for_good(bench: Bench, value: object) -> None:
    outcome = bench.outcome(lambda: value)
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("result is not JSON: ")
    assert outcome.final


def test_a_result_that_holds_itself_fails_for_good(bench: Bench) -> None:
    loop: list[Any] = []
    loop.append(loop)
    outcome = bench.outcome(lambda: loop)
    assert isinstance(outcome, Failed)
    assert outcome.final


def test_a_result_of_64_kib_is_kept_and_a_larger_one_fails_for_good(bench: Bench) -> None:
    fits = "x" * (RESULT_LIMIT - 2)  # two bytes are the quotes
    assert bench.outcome(lambda: fits) == Returned(f'"{fits}"')
    expected = f"result has {RESULT_LIMIT + 1} bytes; at most {RESULT_LIMIT} are kept"
    assert bench.outcome(lambda: fits + "x") == Failed(expected, final=True)
    assert bench.outcome(lambda: "é" * RESULT_LIMIT).final  # type: ignore[union-attr]


class Hostile(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise self.args[0]


@pytest.mark.parametrize("inner", [RuntimeError("no"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("outer", [Hostile, lambda inner: Bury(Hostile(inner))])  # type: ignore
def test_an_exception_whose_text_raises_is_an_ordinary_failure(
    bench: Bench, outer: Any, inner: BaseException
) -> None:
    def handler() -> None:
        raise outer(inner)

    outcome = bench.outcome(handler)
    assert isinstance(outcome, Failed)
    assert type(inner).__name__ in outcome.error
    assert bench.outcome(lambda: "next") == Returned('"next"')


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Interrupt()]
)
def test_what_would_end_a_program_only_fails_the_run(bench: Bench, error: BaseException) -> None:
    def handler() -> None:
        raise error

    async def coroutine() -> None:
        raise error

    for one in (handler, coroutine):
        outcome = bench.outcome(one)
        assert isinstance(outcome, Failed)
        assert outcome.error.startswith(type(error).__name__)
    assert bench.outcome(thread_name) == Returned('"slot-1"')


def scream(*_: object) -> Any:
    raise SystemExit("you asked")


class Slippery(str):
    """A text with code of its own in it."""

    encode = __format__ = __str__ = __len__ = __getitem__ = scream


class Evasive(float):
    """A number with code of its own in it."""

    __lt__ = __gt__ = __float__ = __format__ = scream


def own(kind: type, **body: object) -> Any:
    """A class of the application's own, made without calling what it comes from."""
    return type("Own", (kind,), {"__init__": lambda self, *_: None} | body)


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (own(Exception, __class__=property(scream)), "Failed"),
        (own(Exception, __class__=property(lambda _: Snooze)), "Failed"),
        (own(Exception, __getattribute__=scream), "Failed"),
        (own(Exception, __traceback__=property(scream)), "Failed"),
        (own(Exception, __str__=lambda _: Slippery("no")), "Failed"),
        (own(Bury), "Failed"),
        (own(Bury, reason=Slippery("no")), "Failed"),
        (own(Retry, reason="no", delay=Evasive(5)), "Failed"),
        (own(Snooze), "Snoozed"),
        (own(Snooze, delay=property(scream)), "Snoozed"),
        (own(Snooze, delay=Evasive(5)), "Snoozed"),
    ],
)
def test_what_is_raised_may_be_code_and_only_plain_values_leave_the_run(
    bench: Bench, raised: type[BaseException], outcome: str
) -> None:
    def handler() -> None:
        raise raised

    async def coroutine() -> None:
        raise raised

    for way in (handler, coroutine):
        found = bench.outcome(way)
        assert type(found).__name__ == outcome
        if isinstance(found, Failed):
            assert type(found.error) is type(found.traceback) is str
        assert type(getattr(found, "delay", None)) in (float, type(None))


def test_a_text_of_any_length_leaves_the_run_cut(bench: Bench) -> None:
    def handler() -> None:
        raise ValueError("x" * 1_000_000)

    found = bench.outcome(handler)
    assert isinstance(found, Failed)
    assert max(len(found.error), len(found.traceback)) <= 8192 + len("ValueError: ") + 1


def test_a_task_of_a_handler_that_exits_does_not_end_the_event_loop(bench: Bench) -> None:
    async def leave() -> None:
        raise SystemExit(1)

    async def handler() -> str:
        task = asyncio.create_task(leave())
        await asyncio.wait([task])
        return "still here"

    assert bench.outcome(handler) == Returned('"still here"')
    assert bench.outcome(handler) == Returned('"still here"')


def test_a_coroutine_that_cancels_itself_fails_and_the_loop_lives_on(bench: Bench) -> None:
    async def handler() -> None:
        raise asyncio.CancelledError

    outcome = bench.outcome(handler)
    assert isinstance(outcome, Failed)
    assert outcome.error == "CancelledError"

    async def sane() -> str:
        return "fine"

    assert bench.outcome(sane) == Returned('"fine"')


# Interrupts: the time limit, a cancel, a stop.

MEANING = {
    "timeout": Failed("timeout: ran longer than 60 s"),
    "cancel": Cancelled(),
    "stop": Stopped(),
}


def forever() -> None:
    while True:
        pass


async def asleep() -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize("reason", MEANING)
@pytest.mark.parametrize("handler", [forever, asleep])
def test_an_interrupt_ends_a_handler_within_a_second(
    bench: Bench, handler: Any, reason: str
) -> None:
    run = bench.start(handler)
    interrupt_when_possible(run, reason)
    asked = time.monotonic()
    assert bench.end().outcome == MEANING[reason]
    assert time.monotonic() - asked < 1
    assert bench.outcome(lambda: "next") == Returned('"next"')


def test_a_handler_may_clean_up_when_it_is_interrupted(bench: Bench) -> None:
    cleaned: list[str] = []

    def handler() -> None:
        try:
            forever()
        except Interrupt as interrupt:
            cleaned.append(interrupt.reason)
            raise
        finally:
            cleaned.append("closed")

    interrupt_when_possible(bench.start(handler), "stop")
    assert bench.end().outcome == Stopped()
    assert cleaned == ["stop", "closed"]


def test_except_exception_does_not_swallow_an_interrupt(bench: Bench) -> None:
    within = threading.Event()

    def handler() -> None:
        while True:
            with suppress(Exception):
                within.set()
                forever()

    run = bench.start(handler)
    assert within.wait(PATIENCE)
    interrupt_when_possible(run, "timeout")
    assert bench.end().outcome == MEANING["timeout"]


def test_a_handler_that_answers_an_interrupt_with_a_value_has_returned(bench: Bench) -> None:
    def handler() -> str:
        with suppress(Interrupt):
            forever()
        return "saved"

    interrupt_when_possible(bench.start(handler), "timeout")
    assert bench.end().outcome == Returned('"saved"')


def test_a_handler_that_fails_while_it_cleans_up_has_failed(bench: Bench) -> None:
    def handler() -> None:
        try:
            forever()
        except Interrupt:
            raise ValueError("half done") from None

    interrupt_when_possible(bench.start(handler), "timeout")
    outcome = bench.end().outcome
    assert isinstance(outcome, Failed)
    assert outcome.error == "ValueError: half done"


def test_a_run_is_interrupted_only_once(bench: Bench) -> None:
    run = bench.start(forever)
    interrupt_when_possible(run, "cancel")
    assert not run.interrupt("timeout")
    assert bench.end().outcome == Cancelled()


def test_a_run_that_is_over_cannot_be_interrupted(bench: Bench) -> None:
    run = bench.start(lambda: "x")
    bench.end()
    assert not run.interrupt("timeout")
    assert bench.outcome(thread_name) == Returned('"slot-1"')


@pytest.mark.usefixtures("impatient")
def test_an_interrupt_as_the_handler_ends_never_costs_the_thread(bench: Bench) -> None:
    # The exception may strike anywhere from the handler's last line to the end of leave(). One
    # run in two is left alone: nothing meant for the run before may reach it.
    rng = random.Random(11)
    ends: set[Outcome | None] = set()
    for n in range(1500):
        # A few are long enough to be struck however busy the machine is.
        rounds = rng.randrange(60) if n % 150 else 3_000_000
        run = bench.start(spin, f'{{"rounds":{rounds}}}')
        spin(rng.randrange(400))
        run.interrupt("timeout")
        assert bench.end() is run
        ends.add(run.outcome)
        assert bench.outcome(thread_name) == Returned('"slot-1"')
    assert ends == {Returned("7"), MEANING["timeout"]}


def test_an_interrupt_between_the_handlers_end_and_ours_keeps_its_result(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = Run.leave

    def struck(run: Run) -> None:
        monkeypatch.setattr(Run, "leave", leave)
        raise Interrupt

    monkeypatch.setattr(Run, "leave", struck)
    assert bench.outcome(lambda: 7) == Returned("7")
    assert bench.outcome(thread_name) == Returned('"slot-1"')


@pytest.mark.usefixtures("impatient")
def test_an_interrupt_as_the_handler_fails_never_costs_the_thread(bench: Bench) -> None:
    def handler(rounds: int) -> None:
        spin(rounds)
        raise ValueError("no")

    rng = random.Random(12)
    errors = set()
    for _ in range(1000):
        run = bench.start(handler, f'{{"rounds":{rng.randrange(30)}}}')
        spin(rng.randrange(600))
        run.interrupt("timeout")
        outcome = bench.end().outcome
        assert isinstance(outcome, Failed)
        errors.add(outcome.error)
        assert bench.outcome(thread_name) == Returned('"slot-1"')
    assert errors <= {"ValueError: no", "timeout: ran longer than 60 s"}
    assert "ValueError: no" in errors


@pytest.mark.usefixtures("impatient")
def test_an_interrupt_as_a_coroutine_ends_never_costs_the_loop(bench: Bench) -> None:
    async def handler(rounds: int = 0) -> int:
        for _ in range(rounds):
            await asyncio.sleep(0)
        return 7

    async def plain() -> str:
        return "fine"

    rng = random.Random(13)
    for _ in range(500):
        run = bench.start(handler, f'{{"rounds":{rng.randrange(6)}}}')
        spin(rng.randrange(4000))
        run.interrupt("timeout")
        assert bench.end().outcome in (Returned("7"), MEANING["timeout"])
        assert bench.outcome(plain) == Returned('"fine"')


def spin(rounds: int) -> int:
    for _ in range(rounds):
        pass
    return 7
