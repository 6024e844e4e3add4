"""Short JSON messages between a supervisor and the processes it forked, over a socket pair."""

from __future__ import annotations

import json
import select
import socket
from typing import Any

Message = dict[str, Any]


class Link:
    """One end of the pair. Its closing is a message too: the other side is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self.closed = False

    @classmethod
    def pair(cls) -> tuple[Link, Link]:
        """Two connected ends."""
        one, two = socket.socketpair()
        return cls(one), cls(two)

    def fileno(self) -> int:
        """The socket, for a selector."""
        return self._sock.fileno()

    def send(self, kind: str, wait: bool = True, **content: Any) -> None:
        """Send a message; a peer that is gone is found out by its own end, not here.

        Without `wait` it is dropped while the peer reads nothing: for what is told again anyway.
        """
        if not (wait or self._has_room()):
            return
        try:
            self._sock.sendall(json.dumps({"kind": kind} | content).encode() + b"\n")
        except OSError:
            self.closed = True

    def receive(self, wait: bool = True) -> list[Message]:
        """The messages that have arrived, waiting for the first; then `closed` tells the rest."""
        try:
            data = self._sock.recv(65_536, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        self.closed = self.closed or not data
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def _has_room(self) -> bool:
        # Linux says so while three quarters of the buffer are free, more than one message takes.
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close this end."""
        self._sock.close()
