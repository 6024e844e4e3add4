"""The application the journeys' workers serve: the built-in types, some that leave a trace of each
run, and some that do what no handler should."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import resource
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ferryman import Context, Ferryman, Retry
from ferryman_worker.jobs import register

ferry = Ferryman()
register(ferry)


def append(path: str, line: str) -> None:
    """One write, so that lines of several processes do not mix."""
    with Path(path).open("ab", buffering=0) as file:
        file.write(line.encode() + b"\n")


@ferry.job("note")
def note(path: str, text: str, seconds: float = 0.0) -> None:
    time.sleep(seconds)
    append(path, text)


@ferry.job("hold")
def hold(gate: str, again: str = "", *, ctx: Context) -> int:
    """Runs until the file `gate` is there; attempts after the first until `again` is."""
    wanted = Path(again if again and ctx.attempt > 1 else gate)
    while not wanted.exists():
        time.sleep(0.01)
    return ctx.attempt


@ferry.job("hold_async")
async def hold_async(gate: str) -> str:
    while not Path(gate).exists():
        await asyncio.sleep(0.01)
    return "held"


@ferry.job("newcomer")
def newcomer(succeed_at: int, *, ctx: Context) -> int:
    """Fails until its attempt number `succeed_at`."""
    if ctx.attempt < succeed_at:
        raise RuntimeError(f"attempt {ctx.attempt}")
    return ctx.attempt


@ferry.job("exit")
def leave(after: float = 0.2) -> None:
    time.sleep(after)
    os._exit(9)


@ferry.job("segfault")
def segfault(after: float = 0.2) -> None:
    time.sleep(after)
    ctypes.string_at(0)


@ferry.job("spin")
def spin(path: str = "") -> None:
    try:
        while True:
            pass
    finally:
        if path:
            append(path, "stopped")


@ferry.job("stuck")
def stuck(seconds: float = 60.0) -> None:
    time.sleep(seconds)


@ferry.job("stuck_async")
async def stuck_async(seconds: float = 60.0) -> None:
    time.sleep(seconds)  # that is what makes it stuck: the loop stands still


@ferry.job("stubborn")
def stubborn() -> None:
    while True:
        with suppress(BaseException):
            while True:
                pass


@ferry.job("hog")
def hog() -> None:
    """Holds the interpreter's lock for years: no other thread of the process ever runs."""
    re.match("(a+)+$", "a" * 60 + "b")


_kept: list[object] = []


@ferry.job("leak")
def leak(mib: int) -> int:
    """Keeps so much more memory each time; gives the process it ran in."""
    _kept.append(os.urandom(1 << 20) * mib)
    return os.getpid()


@ferry.job("gorge")
def gorge(mib: int) -> None:
    """Takes so much memory, and dies as by the hand of a kernel that has none left."""
    taken = os.urandom(1 << 20) * mib
    os.kill(os.getpid(), signal.SIGKILL)
    del taken


@ferry.job("exhaust")
def exhaust() -> None:
    """Leaves its process without a file descriptor to open, even when others are closed."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
    with suppress(OSError):
        while True:
            _kept.append(Path(os.devnull).open("rb"))  # noqa: SIM115


@ferry.job("spawn")
def spawn(number: int, path: str) -> None:
    """Enqueues so many notes, each by a thread of its own, with the client every run shares."""
    texts = [f"{os.getpid()}-{time.monotonic_ns()}-{n}" for n in range(number)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: note.enqueue(path=path, text=text), texts))


@ferry.job("litter")
def litter(path: str) -> None:
    """Leaves a process behind that holds everything this one has open, and never returns."""
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    append(path, str(pid))
    time.sleep(60)


@ferry.job("relay")
def relay(*, ctx: Context) -> dict[str, str | None]:
    """Enqueues another job; its first attempt fails after that."""
    sent = ferry.enqueue("uppercase", {"input": "x"})
    if ctx.attempt == 1:
        raise Retry("once more", delay=0.01)
    return {"sent": sent.id, "trace_id": ctx.trace_id, "traceparent": ctx.traceparent}


@ferry.job("observed")
def observed() -> str:
    """Makes a span of its own, as a handler does that uses OpenTelemetry."""
    from opentelemetry import trace

    with trace.get_tracer("of the application").start_as_current_span("inside"):
        return "seen"


@ferry.job("imported")
def imported() -> list[str]:
    """What its process has imported."""
    return list(sys.modules)


@ferry.job("relay_async")
async def relay_async(*, ctx: Context) -> dict[str, str | None]:
    await asyncio.sleep(0.01)
    sent = ferry.enqueue("uppercase", {"input": "x"})
    return {"sent": sent.id, "trace_id": ctx.trace_id, "traceparent": ctx.traceparent}
