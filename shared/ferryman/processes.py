"""Child processes that never outlive their parent, and signals that wake a waiting loop.

Used by `embedded` (the server) and `up` (API and worker), and by the worker for its words.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

ECHO = 0.5
"""Seconds in which a second signal is the first one again: make and `timeout` pass on a signal
that the whole group has had already."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """A `preexec_fn` after which the kernel sends `number` when the parent dies; None off Linux.

    The signal is tied to the thread that starts the child: start it from one that lives as long
    as the process.
    """
    if sys.platform != "linux":
        return None
    # Everything is looked up before the fork: little may be done safely after it.
    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died between the fork and this line
            os._exit(1)

    return bind


def spawn(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own: it dies with us, and Ctrl-C reaches only us."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent(),  # noqa: PLW1509  # bind() takes no lock, so it cannot deadlock
        **options,
    )


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a `spawn`ed child and everything it left in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # The number belongs to no other session while anything of this one lives.
    for pid in _session(process.pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _session(leader: int) -> list[int]:
    """Processes of a session, in whatever group: a worker's children have groups of their own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            session = int(entry.read_text().rpartition(")")[2].split()[3])
            found += [int(entry.parent.name)] * (session == leader)
    return found


def describe_exit(code: int) -> str:
    """How a process ended, in words: "exit status 1" or "killed by SIGKILL"."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


class StopAsked(Exception):
    """SIGINT, SIGTERM or SIGHUP came; raised once for each, by `Signals.pause`."""


class Signals:
    """Signals as bytes in a pipe, so that one wait sees both the clock and them.

    No work is done in a handler, so none can interrupt a step half way. A context manager; use
    it in the main thread.
    """

    _STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __enter__(self) -> Signals:
        self._last = -math.inf
        self._reader, self._writer = os.pipe()
        for fd in (self._reader, self._writer):
            os.set_blocking(fd, False)
        self._old_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._old = {
            number: signal.signal(number, _noted)
            for number in (*self._STOP, signal.SIGCHLD)
            # nohup: whoever had SIGHUP ignored keeps it so
            if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN)
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def pause(self, seconds: float) -> None:
        """Wait, at most `seconds`; a child's end cuts it short. Raises StopAsked."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        if not ready or not any(number in self._STOP for number in os.read(self._reader, 64)):
            return
        now = time.monotonic()
        if now - self._last > ECHO:
            self._last = now
            raise StopAsked


def _noted(number: int, frame: FrameType | None) -> None:
    """Do nothing: the byte in the pipe is what counts."""
