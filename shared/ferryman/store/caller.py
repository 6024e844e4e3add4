"""How a call reaches Redis, and what a store does when it cannot.

Calls wait at most `timeout` seconds a try. What is safe to repeat is tried once more after a lost
connection: every verb of a store is, by its id, its attempt or its state. After a failure calls
fail at once for half a second, so that a Redis that hangs does not hang its callers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.exceptions import NoScriptError, RedisError

from ferryman.config import Settings, mask
from ferryman.errors import ConfigError, StoreUnavailable
from ferryman.keys import Keys
from ferryman.store.calls import Call, Calls
from ferryman.store.connect import as_unavailable, encoded, first_word, is_lost_connection, pool
from ferryman.store.connections import Connections
from ferryman.store.scripts import scripts

PAUSE = 0.5
"""Seconds calls fail at once after a failure."""


class Caller:
    """A way to one server, and to its keys under one prefix. Safe to use from many threads."""

    def __init__(
        self,
        settings: Settings,
        keys: Keys | None = None,
        *,
        timeout: float = 0.7,
        tries: int = 2,
    ) -> None:
        self.settings, self.keys = settings, keys or Keys()
        self.address = settings.redis_address
        self.calls = Calls(self.keys, settings)
        self.pool = pool(settings, timeout)
        self._connections = Connections(self.pool)
        self._redis = redis.Redis(connection_pool=self.pool)
        # Replies as Redis gives them: redis-py's callbacks decode some commands and not others.
        self._redis.response_callbacks.clear()
        self._tries = tries
        self._down_until = 0.0
        self._trial = threading.Lock()

    def close(self) -> None:
        """Drop every connection; the next call connects again."""
        self._connections.close()
        self.pool.disconnect()

    def ping(self) -> None:
        """Return when Redis answers; StoreUnavailable when it does not."""
        self._command("PING")

    def server(self) -> dict[str, str]:
        """The fields of INFO server."""
        lines = self._command("INFO", "server")
        return dict(line.split(":", 1) for line in lines.decode().splitlines() if ":" in line)

    def check_server(self) -> None:
        """Return when the server can serve; ConfigError when it is too old for the scripts."""
        server = self.server()
        is_valkey = "valkey_version" in server
        version = server.get("valkey_version") or server.get("redis_version", "0")
        least = (7, 2) if is_valkey else (7, 0)
        if tuple(int(part) for part in version.split(".")[:2]) < least:
            name = "Valkey" if is_valkey else "Redis"
            raise ConfigError(
                f"REDIS_URL: expected Redis 7.0 or Valkey 7.2 and newer, got {name} {version} "
                f"at {mask(self.address)}"
            )

    def command(self, *args: str) -> Any:
        """Any Redis command, its reply undecoded: for `ferryman redis`."""
        return self._command(*args)

    # How a call reaches Redis.

    def _run(self, call: Call) -> Any:
        script = scripts()[call.verb]
        args = (script.sha, 1, self.keys.prefix, *call.args)
        try:
            return self._command("EVALSHA", *args)
        except NoScriptError:
            self._command("SCRIPT LOAD", script.text)
            return self._command("EVALSHA", *args)

    def _command(self, *args: Any) -> Any:
        return self._attempt(lambda: self._connections.ask(args))

    def _pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies in order; a command that met a key of another type gives its error."""

        def send() -> Any:
            with self._redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*encoded(command))
                replies = pipe.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, RedisError) and first_word(reply) != "WRONGTYPE":
                    raise reply
            return replies

        replies: list[Any] = self._attempt(send)
        return replies

    def _attempt(self, send: Callable[[], Any]) -> Any:
        if not self._down_until:
            return self._tried(send, self._tries)
        # After a failure one call at a time looks whether Redis is back, once; the others, which
        # would hold a thread each until they time out, fail at once.
        if time.monotonic() < self._down_until or not self._trial.acquire(blocking=False):
            raise StoreUnavailable("Redis did not answer a moment ago")
        try:
            return self._tried(send, 1)
        finally:
            self._trial.release()

    def _tried(self, send: Callable[[], Any], tries: int) -> Any:
        while True:
            try:
                reply = send()
            except RedisError as error:
                tries -= 1
                lost = is_lost_connection(error)
                if lost and tries:
                    continue
                self._down_until = time.monotonic() + PAUSE if lost else 0.0
                unavailable = as_unavailable(error, self.address)
                if unavailable is None:
                    raise
                raise unavailable from error
            self._down_until = 0.0
            return reply
