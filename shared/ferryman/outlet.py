"""Where log lines go: stdout, written so that a reader who takes nothing stops nobody.

A plain write to a full pipe waits for ever, and with it the loop that wrote. Here a line waits
half a second for room once; while the reader goes on taking nothing, lines are dropped at once and
counted. O_NONBLOCK is never set on stdout itself, which is shared with whoever started us.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator

PATIENCE = 0.5
"""Seconds a line waits for room; after one that waited in vain, none until there is room again."""

_Write = Callable[[bytes], int]


_held = threading.local()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """The lines this thread logs meanwhile are written at the end, several with one system call."""
    held: list[tuple[Outlet, str]] = []
    _held.lines = held
    try:
        yield
    finally:
        _held.lines = None
        for outlet, lines in _whole(held):
            outlet._tell("\n".join(lines), len(lines))


def _whole(held: list[tuple[Outlet, str]]) -> Iterator[tuple[Outlet, list[str]]]:
    """Lines that a pipe takes in one piece; more of them might be torn by another writer's."""
    lines: list[str] = []
    size, last = 0, None
    for outlet, line in held:
        if lines and (outlet is not last or size + len(line) >= select.PIPE_BUF):
            assert last is not None
            yield last, lines
            lines, size = [], 0
        lines.append(line)
        size, last = size + len(line) + 1, outlet
    if last is not None:
        yield last, lines


class Outlet:
    """Writes each line with one system call: no torn lines, and no lock held over a fork.

    When the reader has gone or the disk is full the log is lost, and the program goes on.
    """

    def __init__(self, say_dropped: Callable[[int], str], fd: int = 1) -> None:
        self._say_dropped, self._fd = say_dropped, fd
        self._file: tuple[int, int] | None = None
        self._own = -1
        """Once opened, the same number for ever."""
        self._write: _Write = lambda data: os.write(fd, data)
        self._dropped = 0
        self._patience = PATIENCE
        self._torn = False
        self._count, self._opening = threading.Lock(), threading.Lock()
        os.register_at_fork(after_in_child=self._after_fork)

    def msg(self, line: str) -> None:
        """Write a line, or drop and count it."""
        held = getattr(_held, "lines", None)
        if held is None:
            self._tell(line)
        else:
            held.append((self, line))

    def _tell(self, text: str, lines: int = 1) -> None:
        with contextlib.suppress(OSError):
            self._open()
            told = not self._dropped or self._confess()
            if not (told and self._put(text)):
                self._drop(lines)

    debug = info = warning = error = critical = fatal = exception = msg

    def _after_fork(self) -> None:
        self._count, self._opening = threading.Lock(), threading.Lock()
        self._dropped = 0  # those are told by the parent

    def _drop(self, lines: int) -> None:
        with self._count:
            self._dropped += lines

    def _confess(self) -> bool:
        """Say how many lines were dropped, first thing when there is room again."""
        with self._count:
            number, self._dropped = self._dropped, 0
        if self._put(self._say_dropped(number)):
            return True
        with self._count:
            self._dropped += number
        return False

    def _put(self, line: str) -> bool:
        text = f"\n{line}\n" if self._torn else f"{line}\n"
        data = text.encode("utf-8", "backslashreplace")
        whole, end = len(data), time.monotonic() + self._patience
        while data:
            try:
                data = data[self._write(data) :]
            except BlockingIOError:
                if not self._has_room(end):
                    self._patience = 0.0
                    self._torn = self._torn or len(data) < whole
                    return False
        self._patience, self._torn = PATIENCE, False
        return True

    def _has_room(self, end: float) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(max(0.0, end - time.monotonic()) * 1000))

    # A way to write to the same pipe, socket or terminal that never waits.

    def _open(self) -> None:
        status = os.fstat(self._fd)
        file = status.st_dev, status.st_ino
        # While one thread opens, the others write where they did. Nobody waits here: it might be
        # for a thread that a signal has just stopped in order to log.
        if file == self._file or not self._opening.acquire(blocking=False):
            return
        try:
            self._write, self._file = self._writer(status.st_mode), file
        finally:
            self._opening.release()

    def _writer(self, mode: int) -> _Write:
        is_pipe_like = stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
        if is_pipe_like and self._reopen():
            own = self._own
            return lambda data: os.write(own, data)
        self._let_go()
        if stat.S_ISSOCK(mode):
            sock = socket.socket(fileno=os.dup(self._fd))
            return lambda data: sock.send(data, socket.MSG_DONTWAIT)
        if is_pipe_like:
            return self._when_there_is_room
        return lambda data: os.write(self._fd, data)  # a file never makes anybody wait

    def _reopen(self) -> bool:
        """Opened anew by its name under /proc it has flags of its own; elsewhere there is none."""
        try:
            new = os.open(f"/proc/self/fd/{self._fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return False
        if self._own < 0:
            self._own = new
            return True
        # The number is never closed: another thread may be about to write to it, and freed it
        # would be the next one's to open anything, a connection to Redis even.
        os.dup2(new, self._own, inheritable=False)
        os.close(new)
        return True

    def _let_go(self) -> None:
        """Hold what stdout was before no longer open: its reader waits for the end."""
        if self._own >= 0:
            os.dup2(self._fd, self._own, inheritable=False)

    def _when_there_is_room(self, data: bytes) -> int:
        # A pipe with any room takes so much without waiting, unless others are faster.
        if not self._has_room(0.0):
            raise BlockingIOError
        return os.write(self._fd, data[: select.PIPE_BUF])
