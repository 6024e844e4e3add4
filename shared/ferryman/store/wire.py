"""One connection a worker owns: scripts in one round trip, and waiting in BLMOVE.

Nothing here retries a lost reply. The caller learns that the outcome is unknown
(StoreUnavailable) and compares `running:<itself>` with its memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from hiredis import pack_command
from redis.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from ferryman.errors import StoreUnavailable
from ferryman.keys import Keys
from ferryman.store.calls import Call
from ferryman.store.connect import (
    BLOCK,
    BLOCK_TIMEOUT,
    as_unavailable,
    connection,
    encoded,
    redis_errors,
)
from ferryman.store.scripts import scripts


class Wire:
    """A connection that runs several scripts in one round trip. For one thread."""

    def __init__(self, source: redis.ConnectionPool, keys: Keys, address: str) -> None:
        self._conn = connection(source)
        self._prefix, self._address = keys.prefix, address
        self._scripts = scripts()
        self._sent: Sequence[Call] = ()

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """The replies in order. A script that failed gives its StoreUnavailable in its place.

        Raises StoreUnavailable when the connection failed: then each may have run or not.
        """
        self.send(calls)
        return self.receive()

    def send(self, calls: Sequence[Call]) -> None:
        """The first half of `run`: nothing else may be asked before `receive`."""
        with redis_errors(self._address):
            self._conn.connect()
            self._write([self._evalsha(call) for call in calls])
        self._sent = calls

    def receive(self) -> list[Any]:
        """The second half of `run`."""
        calls, self._sent = self._sent, ()
        with redis_errors(self._address):
            replies = self._read_all(len(calls))
            missing = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if missing:
                again = self._load_and_run([calls[i] for i in missing])
                for i, reply in zip(missing, again, strict=True):
                    replies[i] = reply
        return [self._judge(reply) for reply in replies]

    def command(self, *args: str | int | float) -> Any:
        """One plain command."""
        with redis_errors(self._address):
            self._conn.connect()
            return self._judge(self._send([args])[0])

    def close(self) -> None:
        """Disconnect; the next use connects again."""
        self._sent = ()
        self._conn.disconnect()

    def _evalsha(self, call: Call) -> tuple[Any, ...]:
        return ("EVALSHA", self._scripts[call.verb].sha, 1, self._prefix, *call.args)

    def _load_and_run(self, calls: Sequence[Call]) -> list[Any]:
        # NOSCRIPT means the command did nothing (a restart, SCRIPT FLUSH): it may be sent again.
        self._send([("SCRIPT", "LOAD", script.text) for script in self._scripts.values()])
        return self._send([self._evalsha(call) for call in calls])

    def _send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        self._write(commands)
        return self._read_all(len(commands))

    def _write(self, commands: Sequence[tuple[Any, ...]]) -> None:
        with self._whole():
            self._conn.send_packed_command([packed(c) for c in commands], check_health=False)

    def _read_all(self, number: int) -> list[Any]:
        with self._whole():
            return [self._read() for _ in range(number)]

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            # A half-read connection must never be used again.
            self._conn.disconnect()
            raise

    def _read(self) -> Any:
        try:
            return self._conn.read_response()
        except ResponseError as error:
            return error

    def _judge(self, reply: Any) -> Any:
        if not isinstance(reply, RedisError):
            return reply
        return as_unavailable(reply, self._address) or StoreUnavailable(f"script failed: {reply}")


def packed(command: tuple[Any, ...]) -> bytes:
    """A command as Redis reads it; an id of foreign bytes goes back as what it was."""
    try:
        return bytes(pack_command(command))
    except UnicodeEncodeError:
        return bytes(pack_command(tuple(encoded(command))))


class Listener:
    """One list watched by a blocked BLMOVE, LEFT to RIGHT into `running:<worker>`."""

    def __init__(
        self, source: redis.ConnectionPool, keys: Keys, name: str, worker: str, address: str
    ) -> None:
        self.name = name
        self.armed = False
        self._conn: AbstractConnection = connection(source)
        self._command = (
            "BLMOVE", keys.prefix + name, keys.running(worker), "LEFT", "RIGHT", BLOCK,
        )  # fmt: skip
        self._client_id = 0
        self._address = address
        self._armed_at = 0.0

    def arm(self) -> None:
        """Start waiting; the id arrives on the socket."""
        with redis_errors(self._address):
            try:
                if not self._conn.is_connected:
                    self._conn.connect()
                    self._conn.send_command("CLIENT", "ID", check_health=False)
                    self._client_id = int(self._conn.read_response())
                self._conn.send_command(*self._command, check_health=False)
            except BaseException:
                self.close()
                raise
        self.armed, self._armed_at = True, time.monotonic()

    @property
    def overdue(self) -> bool:
        """Redis answers within BLOCK; one that has not by now is behind a connection that died
        without a word, and would wait for ever."""
        return self.armed and time.monotonic() - self._armed_at > BLOCK_TIMEOUT

    def fileno(self) -> int:
        """The socket, for a selector."""
        sock = self._conn._get_socket()
        return -1 if sock is None else sock.fileno()

    @property
    def connected(self) -> bool:
        """False after the connection failed; a refusal by Redis leaves it up."""
        return bool(self._conn.is_connected)

    @property
    def client_id(self) -> int:
        """The connection's id in Redis, to unblock it by."""
        return self._client_id

    def take(self) -> str | None:
        """The id that arrived, or None when the wait ended empty. Call it when readable."""
        self.armed = False
        with redis_errors(self._address):
            try:
                reply = self._conn.read_response()
            except ResponseError:
                raise  # an answer, such as OOM: the connection is whole
            except BaseException:
                self.close()
                raise
        return None if reply is None else reply.decode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Disconnect; `arm` connects again."""
        self.armed = False
        self._conn.disconnect()
