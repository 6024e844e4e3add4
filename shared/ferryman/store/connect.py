"""Connections to Redis, and which of its errors mean "not now".

redis-py's own defaults (5 s socket timeout, ten silent retries) re-send a blocking claim whose
reply was lost, which leaves ids nobody knows of; so its retries are off everywhere, and what is
safe to repeat is repeated here, knowingly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from ferryman.config import Settings, mask
from ferryman.errors import FerrymanError, MemoryFull, StoreDamaged, StoreUnavailable

BLOCK = 2.0
"""Seconds one BLMOVE waits. Well under the lease, so that a dead worker's claim ends soon."""

BLOCK_TIMEOUT = 5.0
"""Socket timeout of a blocking connection: over BLOCK, or every idle wait would be an error."""

MOST_CONNECTIONS = 10_000
"""As many as a stock server takes; redis-py's bound of 100 would fail calls of more threads."""

REFUSALS = frozenset(
    "OOM LOADING BUSY READONLY MISCONF MASTERDOWN CLUSTERDOWN TRYAGAIN UNBLOCKED NOREPLICAS NOAUTH "
    "WRONGPASS NOPERM EXECABORT MOVED ASK".split()
)
"""First words of replies that say Redis cannot do this now; the command changed nothing."""

REFUSED_SCRIPTS = ("The user executing the script can't", "ACL failure in script", "Script killed")
"""What follows ERR when a script was refused a command (Redis 7.0, Valkey), or was killed: Redis
lets nobody kill one that has written."""


def pool(settings: Settings, timeout: float) -> redis.ConnectionPool:
    """A pool whose connections wait `timeout` seconds and never retry by themselves."""
    over_tcp = not settings.redis_url.startswith("unix:")
    return redis.ConnectionPool.from_url(
        settings.redis_address,
        max_connections=MOST_CONNECTIONS,
        protocol=2,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        driver_info=None,
        **({"socket_keepalive": True} if over_tcp else {}),  # redis-py knows it for TCP only
    )


def encoded(args: Sequence[Any]) -> list[Any]:
    """A command's words as Redis takes them; an id of foreign bytes goes back as what it was."""
    return [a.encode("utf-8", "surrogateescape") if isinstance(a, str) else a for a in args]


def connection(source: redis.ConnectionPool) -> AbstractConnection:
    """One connection outside the pool's keeping, not yet connected.

    Not by `make_connection`: that counts what it makes and stops at the pool's bound, though all of
    it may be gone.
    """
    return cast(AbstractConnection, source.connection_class(**source.connection_kwargs))


@contextmanager
def redis_errors(address: str) -> Iterator[None]:
    """Turns what redis-py raises into StoreUnavailable; a fault of ours stays what it is."""
    try:
        yield
    except RedisError as error:
        unavailable = as_unavailable(error, address)
        if unavailable is None:
            raise
        raise unavailable from error


@contextmanager
def spoken_errors() -> Iterator[None]:
    """Turns an error Redis answered into a FerrymanError that says it as redis-cli does."""
    try:
        yield
    except (ResponseError, StoreDamaged) as error:
        said = error.__cause__ if isinstance(error, StoreDamaged) else error
        assert isinstance(said, ResponseError)
        word = first_word(said)
        text = str(said).removeprefix(word).strip()
        raise FerrymanError(f"(error) {word} {text}") from error


def as_unavailable(error: RedisError, address: str) -> StoreUnavailable | None:
    """The StoreUnavailable this error amounts to; None when it is not Redis' state but a bug."""
    where = mask(address)
    if isinstance(error, AuthenticationError | NoPermissionError):
        return StoreUnavailable(f"Redis at {where} refused access: {error}")
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"Redis at {where} did not answer in time")
    if isinstance(error, ResponseError):
        return _refusal(first_word(error), str(error))
    if isinstance(error, InvalidResponse):
        return StoreUnavailable(f"what answers at {where} is not a Redis server")
    if isinstance(error, ConnectionError):
        return StoreUnavailable(f"cannot reach Redis at {where}: {error}")
    return None


def first_word(error: RedisError) -> str:
    """The code of an error. redis-py takes those it knows off the text and keeps them beside it."""
    return error.status_code or str(error).split(" ", 1)[0]


def _refusal(word: str, text: str) -> StoreUnavailable | None:
    if word == "OOM":
        return MemoryFull("Redis is out of memory and takes no new jobs")
    if word == "WRONGTYPE":
        return StoreDamaged("a key holds another type than it should: see `ferryman check`")
    if word in REFUSALS or text.startswith(REFUSED_SCRIPTS):
        return StoreUnavailable(f"Redis refused: {text.removeprefix(word).strip()} ({word})")
    return None


def is_lost_connection(error: RedisError) -> bool:
    """Whether the command may or may not have run, and may be asked again if it is idempotent."""
    return isinstance(error, ConnectionError | TimeoutError) and not isinstance(
        error, AuthenticationError
    )
