"""How an idle child waits: in one BLMOVE per list, asleep until there is something to do.

It wakes when a list has a job, when its supervisor says something, and when it is nudged, as by a
run that ends.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from ferryman.errors import StoreUnavailable
from ferryman.store import Port, Turn
from ferryman_worker.link import Link
from ferryman_worker.trouble import POLL

REFUSED = 1.0
"""Seconds without BLMOVE after Redis refused one, or its connection broke."""


class Wait:
    """The waits of one child. For the thread that has the loop; `nudge` is for any."""

    def __init__(self, port: Port, link: Link) -> None:
        self.is_asleep = False
        self._port, self._link = port, link
        self._listen_at = self._poll_at = 0.0
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)

    def listen(self, room: int) -> None:
        """Wait in BLMOVE on every list, with room for a job, unless that was just refused."""
        if room and time.monotonic() >= self._listen_at:
            self._port.listen(room)

    def is_poll_due(self) -> bool:
        """Whether to claim by script, as long as BLMOVE is refused; True once every POLL."""
        now = time.monotonic()
        if now >= self._listen_at or now < self._poll_at:
            return False
        self._poll_at = now + POLL
        return True

    def sleep(self, longest: Callable[[], float]) -> tuple[bool, list[Any]]:
        """Sleep until there is something to do, at most so many seconds.

        Tells whether the link has a message, and which listeners have an answer, the best
        priority first. `longest` is called when a nudge can no longer be missed.
        """
        with selectors.PollSelector() as selector:  # poll: registering costs no system call
            selector.register(self._wake, selectors.EVENT_READ)
            selector.register(self._link, selectors.EVENT_READ)
            armed = [listener for listener in self._port.listeners if listener.armed]
            for listener in armed:
                selector.register(listener, selectors.EVENT_READ)
            self.is_asleep = True  # before the look at what there is to do: see nudge
            seconds = longest()
            if time.monotonic() < self._listen_at:
                seconds = min(seconds, POLL)
            ready = {key.fileobj for key, _ in selector.select(seconds)}
            self.is_asleep = False
        if self._wake in ready:
            self._drain_wake()
        return self._link in ready, [listener for listener in armed if listener in ready]

    def take(self, ready: Sequence[Any]) -> Iterator[tuple[list[str], Turn, bool]]:
        """What each of these listeners brought, as `Port.take` gives it, and whether it is overdue.

        An answer that lay there for so long may have begun what is another's by now.
        Raises StoreUnavailable when a connection failed: reset the port, and reconcile.
        """
        for listener in ready:
            if not listener.armed:
                continue  # a stop has taken what it brought
            is_overdue = listener.overdue
            try:
                ids, turn = self._port.take(listener)
            except StoreUnavailable:
                self._listen_at = time.monotonic() + REFUSED
                raise
            if turn.refusal:
                self._listen_at = time.monotonic() + REFUSED
            yield ids, turn, is_overdue

    def nudge(self) -> None:
        """Wake the loop, if it sleeps."""
        if not self.is_asleep:
            return  # the loop is awake and looks before it sleeps: no system call
        self.is_asleep = False
        with suppress(BlockingIOError):  # full: it will wake anyway
            self._waker.send(b"x")

    def _drain_wake(self) -> None:
        with suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass
