"""The application under test: each run says when it starts, takes effect and ends."""

from __future__ import annotations

import os
import time

from history import History

from ferryman import Context, Ferryman

ferry = Ferryman()
_history: list[History] = []


def note(event: str, ctx: Context) -> None:
    """One history per child: opened at the first job, after the fork."""
    if not _history:
        _history.append(History(os.environ["CHAOS_HISTORY"], "handler"))
    _history[0].note(event, id=ctx.job_id, attempt=ctx.attempt, parent=os.getppid())


@ferry.job("work", timeout=120.0)
def work(seconds: float = 0.0, fail: int = 0, *, ctx: Context) -> int:
    """Takes `seconds`, raises on its first `fail` failures, and has one effect."""
    note("start", ctx)
    time.sleep(seconds)
    if ctx.failures < fail:
        note("raise", ctx)
        raise RuntimeError("as planned")
    note("effect", ctx)
    note("end", ctx)
    return ctx.attempt
