"""One run: a handler called under its time limit; its outcome is a value or an exception.

At its limit a run is interrupted: an exception raised in the thread, or the coroutine cancelled.
What does not heed that is killed with the whole child by the supervisor. `runner` says where and
when a run is called. Next on the way of a job: `decide`.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from ferryman import registry
from ferryman.context import BadPayload, Bury, Context, Interrupt, Retry, Snooze
from ferryman.job import encode
from ferryman.registry import JobType
from ferryman.store import Claimed
from ferryman.traceparent import Trace
from ferryman_worker.decide import ERROR_LIMIT, Policy
from ferryman_worker.outcome import Cancelled, Failed, Outcome, Returned, Snoozed, Stopped

T = TypeVar("T")

RESULT_LIMIT = 65_536
"""Bytes of JSON a result may have."""


class _Timeout(Interrupt):
    reason = "timeout"


class _Cancel(Interrupt):
    reason = "cancel"


class _Stop(Interrupt):
    reason = "stop"


_OWN_INTERRUPTS = (_Timeout, _Cancel, _Stop)
_INTERRUPTS: dict[str, type[Interrupt]] = {c.reason: c for c in _OWN_INTERRUPTS}
_OURS = {__file__, registry.__file__}
_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc


@dataclass(eq=False, slots=True)
class Run:
    """One attempt: claimed, then under way in a slot, then over."""

    job: Claimed
    job_type: JobType[Any, Any] | None
    """None: unknown here; the run fails without being started."""
    context: Context | None
    """None when the handler does not ask for one."""
    limits: Policy
    trace: Trace | None = None
    """Which request asked for the job; None: it named none."""
    is_traced: bool = False
    """It has a trace, or a span of its own."""
    slot: int = -1
    """-1 until it begins."""
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


def call(run: Run) -> None:
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


async def await_(run: Run) -> None:
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
    except Exception as error:  # a subclass of dict or float brings code of its own
        return Failed(f"result is not JSON: {_text(error)}", final=True, kind="result")
    if size > RESULT_LIMIT:
        said = f"result has {size} bytes; at most {RESULT_LIMIT} are kept"
        return Failed(said, final=True, kind="result")
    return Returned(text)


# Whatever a handler raised may be code of its own, down to what it says of its class: it is asked
# here, in the handler's thread, and only plain texts and numbers go on to the child's loop.


def failed(error: BaseException, run: Run) -> Outcome:
    """The outcome of what a handler raised."""
    raised: Any = error
    kind = type(error)
    if issubclass(kind, Snooze):
        return Snoozed(_number(lambda: raised.delay))
    if issubclass(kind, Bury):
        return Failed(_text(_had(lambda: raised.reason, "")), final=True, kind="Bury")
    if issubclass(kind, Retry):
        text, delay = _text(_had(lambda: raised.reason, "")), _number(lambda: raised.delay)
        return Failed(text, delay=delay, kind="Retry")
    if issubclass(kind, BadPayload):
        return Failed(_text(error), final=True, kind="BadPayload")
    if issubclass(kind, Interrupt | asyncio.CancelledError) and run.interrupted:
        return _interrupted(run)
    return Failed(_describe(error), _trace(error), kind=_name(error))


def _interrupted(run: Run) -> Outcome:
    if run.interrupted == "cancel":
        return Cancelled()
    if run.interrupted == "stop":
        return Stopped()
    return Failed(f"timeout: ran longer than {run.limits.timeout:g} s", kind="timeout")


def _had(read: Callable[[], T], otherwise: T) -> T:
    """What the handler's own code says; `otherwise` when it raises, which may be anything."""
    try:
        return read()
    except _OWN_INTERRUPTS:
        raise
    except BaseException:
        return otherwise


def _number(read: Callable[[], Any]) -> float | None:
    """A plain number, or None where there is none; a subclass may do anything when compared."""

    def plain() -> float | None:
        value = read()
        if issubclass(type(value), int):
            return int(value)
        return float(value) if issubclass(type(value), float) else None

    return _had(plain, None)


def _text(said: object) -> str:
    """As many characters of it as may be kept, and one more, by which `cut` knows it was longer."""
    try:
        return str.__str__(str(said))[: ERROR_LIMIT + 1]
    except _OWN_INTERRUPTS:
        raise
    except BaseException as second:
        return f"(its text cannot be had: {_name(second)})"


def _describe(error: BaseException) -> str:
    text = _text(error)
    return f"{_name(error)}: {text}" if text else _name(error)


def _name(error: BaseException) -> str:
    # Not __name__: a metaclass may say otherwise, or raise.
    name: str = type.__dict__["__name__"].__get__(type(error))
    return name


def _trace(error: BaseException) -> str:
    trace: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    while trace is not None and trace.tb_frame.f_code.co_filename in _OURS:
        trace = trace.tb_next  # it begins where the handler does

    def plain() -> str:
        lines = traceback.format_exception(type(error), error, trace, limit=-20)
        return "".join(lines)[-ERROR_LIMIT - 1 :]

    return _had(plain, "")
