"""Loops that must not end: when one does, its process ends with it, and another takes its place.

A thread that dies by itself would leave a process that looks alive and does half its work.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import structlog

from ferryman import logs

FAULT = 70
"""Exit status after an error of ours (EX_SOFTWARE): jobs are recovered, another is forked."""

log = structlog.get_logger()


def run(name: str, body: Callable[[], None]) -> None:
    """Run `body`; what it raises is logged as a bug and ends the process."""
    try:
        body()
    except BaseException:
        log.exception(logs.BUG, where=name)
        os._exit(FAULT)


def thread(name: str, body: Callable[[], None]) -> threading.Thread:
    """The same in a thread of its own, started."""
    started = threading.Thread(target=run, args=(name, body), name=name, daemon=True)
    started.start()
    return started
