"""The connections of a store: as many as there are calls at a time, each kept for the next call.

redis-py's pool asks the operating system about a socket before each use, and its client wraps each
command in retries of its own: 11 us of an enqueue's 49. Here a connection that died meanwhile
shows when it is used; then all that were kept go, and whoever asks again gets a new one.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import redis
from redis.connection import AbstractConnection
from redis.exceptions import ResponseError

from ferryman.store.connect import connection
from ferryman.store.wire import packed


class Connections:
    """One command at a time on each. Safe to use from many threads, and after a fork."""

    def __init__(self, source: redis.ConnectionPool) -> None:
        self._source = source
        self._kept: deque[AbstractConnection] = deque()
        self._pid = os.getpid()

    def ask(self, command: tuple[Any, ...]) -> Any:
        """The reply to a command; raises what redis-py raises, an error in the reply too."""
        if " " in command[0]:
            command = (*command[0].split(), *command[1:])
        conn = self._take()
        try:
            if not conn.is_connected:
                conn.connect()
            conn.send_packed_command([packed(command)], check_health=False)
            reply = conn.read_response()
        except ResponseError:
            self._kept.append(conn)  # an answer: the connection is whole
            raise
        except BaseException:
            conn.disconnect()  # a half-read connection must never be used again
            self.close()
            raise
        self._kept.append(conn)
        return reply

    def close(self) -> None:
        """Drop every connection that is kept; the next call connects again."""
        while self._kept:
            try:
                self._kept.pop().disconnect()
            except IndexError:  # another thread has taken it
                return

    def _take(self) -> AbstractConnection:
        if self._pid != os.getpid():  # those are the parent's: two processes in one conversation
            self._kept, self._pid = deque(), os.getpid()
        try:
            return self._kept.pop()
        except IndexError:
            return connection(self._source)
