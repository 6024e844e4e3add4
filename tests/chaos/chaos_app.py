"""The application under test: each run says when it starts, takes effect and ends."""

from __future__ import annotations

import asyncio
import math
import os
import re
import time

from history import History

from ferryman import Context, Ferryman, Snooze

ferry = Ferryman()
_history: list[History] = []


def note(event: str, ctx: Context, **more: float) -> None:
    """One history per child: opened at the first job, after the fork."""
    if not _history:
        _history.append(History(os.environ["CHAOS_HISTORY"], "handler"))
    _history[0].note(event, id=ctx.job_id, attempt=ctx.attempt, parent=os.getppid(), **more)


@ferry.job("work", timeout=120.0)
def work(
    seconds: float = 0.0,
    fail: int = 0,
    snooze: int = 0,
    step: float = 120.0,
    pad: str = "",
    *,
    ctx: Context,
) -> int:
    """Takes `seconds`, in naps of `step`, snoozes on its first `snooze` attempts, raises on its
    first `fail` failures, and has one effect."""
    note("start", ctx)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, step))
    return _finish(fail, snooze, ctx)


@ferry.job("await", timeout=120.0)
async def wait(seconds: float = 0.0, fail: int = 0, snooze: int = 0, *, ctx: Context) -> int:
    """The same on the event loop."""
    note("start", ctx)
    await asyncio.sleep(seconds)
    return _finish(fail, snooze, ctx)


def _finish(fail: int, snooze: int, ctx: Context) -> int:
    if ctx.attempt <= snooze:
        note("snooze", ctx)
        raise Snooze(0.3)
    if ctx.failures < fail:
        note("raise", ctx)
        raise RuntimeError("as planned")
    note("effect", ctx)
    note("end", ctx)
    return ctx.attempt


@ferry.job("hog", timeout=600.0)
def hog(seconds: float, *, ctx: Context) -> int:
    """Burns about `seconds` in one call of C that never lets go of the GIL."""
    note("start", ctx)
    doublings = math.log2(max(seconds, 0.1) / _backtrack(20))
    held = _backtrack(20 + max(0, round(doublings)))
    note("effect", ctx)
    note("end", ctx, held=round(held, 1))
    return ctx.attempt


def _backtrack(length: int) -> float:
    """Seconds a hopeless match took; each letter more doubles them."""
    started = time.monotonic()
    re.match(r"(?:a|a)+$", "a" * length + "b")
    return max(time.monotonic() - started, 1e-6)
