"""One connection a worker owns: scripts in one round trip, and waiting in BLMOVE.

Nothing here retries a lost reply. The caller learns that the outcome is unknown
(StoreUnavailable) and compares `running:<itself>` with its memory.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

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
from ferryman.store.records import decoded
from ferryman.store.scripts import scripts


class Wire:
    """A connection that runs several scripts in one round trip. For one thread."""

    def __init__(self, source: redis.ConnectionPool, keys: Keys, address: str) -> None:
        self._conn = connection(source)
        self._prefix, self._address = keys.prefix, address
        self._scripts = scripts()
        self._sent: deque[Sequence[Call]] = deque()
        self._early: deque[list[Any]] = deque()  # replies read before their turn

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """The replies in order. A script that failed gives its StoreUnavailable in its place.

        Raises StoreUnavailable when the connection failed: then each may have run or not.
        """
        self.send(calls)
        return self.receive()

    def send(self, calls: Sequence[Call]) -> None:
        """The first half of `run`. More may be sent before the first answer is received; no plain
        command may be asked for before the last."""
        with redis_errors(self._address):
            self._conn.connect()
            self._write([evalsha(self._prefix, call) for call in calls])
        self._sent.append(calls)

    def receive(self) -> list[Any]:
        """The second half of `run`, for what was sent first."""
        calls = self._sent.popleft()
        with redis_errors(self._address):
            replies = self._early.popleft() if self._early else self._read_all(len(calls))
            missing = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if missing:
                while len(self._early) < len(self._sent):
                    self._early.append(self._read_all(len(self._sent[len(self._early)])))
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
        self._sent.clear()
        self._early.clear()
        self._conn.disconnect()

    def _load_and_run(self, calls: Sequence[Call]) -> list[Any]:
        # NOSCRIPT means the command did nothing (a restart, SCRIPT FLUSH): it may be sent again.
        self._send([("SCRIPT", "LOAD", script.text) for script in self._scripts.values()])
        return self._send([evalsha(self._prefix, call) for call in calls])

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
        return judged(reply, self._address)


def evalsha(prefix: str, call: Call) -> tuple[Any, ...]:
    """The command that runs a script by its name."""
    return ("EVALSHA", scripts()[call.verb].sha, 1, prefix, *call.args)


def judged(reply: Any, address: str) -> Any:
    """The reply; an error of Redis as the StoreUnavailable it means."""
    if not isinstance(reply, RedisError):
        return reply
    return as_unavailable(reply, address) or StoreUnavailable(f"script failed: {reply}")


def packed(command: tuple[Any, ...]) -> bytes:
    """A command as Redis reads it; an id of foreign bytes goes back as what it was."""
    try:
        return bytes(pack_command(command))
    except UnicodeEncodeError:
        return bytes(pack_command(tuple(encoded(command))))


class Delivery(NamedTuple):
    """What a wait brought: the id, None when it ended empty; and the answer of the claim that was
    sent along, None when there was none. Errors of Redis are given in their place."""

    id: str | StoreUnavailable | None
    claim: Any


class Listener:
    """One list watched by a blocked BLMOVE, LEFT to RIGHT into `running:<worker>`.

    A claim may be sent along: Redis runs it as soon as the wait is over, so that the job comes with
    its id and a round trip is saved (0.3 of 0.5 ms between processes that have to be woken).
    """

    def __init__(
        self, source: redis.ConnectionPool, keys: Keys, name: str, worker: str, address: str
    ) -> None:
        self.name = name
        self.armed = False
        self._conn: AbstractConnection = connection(source)
        self._wait = packed(
            ("BLMOVE", keys.prefix + name, keys.running(worker), "LEFT", "RIGHT", BLOCK)
        )
        self._claims = False
        self._client_id = 0
        self._address = address
        self._armed_at = 0.0

    def arm(self, claim: bytes = b"") -> None:
        """Start waiting, with the packed command of a claim sent along."""
        with redis_errors(self._address):
            try:
                if not self._conn.is_connected:
                    self._conn.connect()
                    self._conn.send_command("CLIENT", "ID", check_health=False)
                    self._client_id = int(self._conn.read_response())
                self._conn.send_packed_command([self._wait + claim], check_health=False)
            except BaseException:
                self.close()
                raise
        self.armed, self._claims, self._armed_at = True, bool(claim), time.monotonic()

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
    def client_id(self) -> int:
        """The connection's id in Redis, to unblock it by."""
        return self._client_id

    def take(self) -> Delivery:
        """What arrived. Call it when readable; StoreUnavailable when the connection failed."""
        self.armed = False
        with redis_errors(self._address):
            try:
                found = self._read()
                claim = self._read() if self._claims else None
            except BaseException:
                self.close()
                raise
        if isinstance(found, bytes):
            found = decoded(found)
        return Delivery(found, claim)

    def _read(self) -> Any:
        try:
            return self._conn.read_response()
        except ResponseError as error:  # an answer, such as OOM: the connection is whole
            return judged(error, self._address)

    def close(self) -> None:
        """Disconnect; `arm` connects again."""
        self.armed = False
        self._conn.disconnect()
