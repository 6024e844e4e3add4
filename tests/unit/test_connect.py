"""Which errors of Redis mean "not now". No server behaviour matters here, so fakeredis serves."""

from __future__ import annotations

import fakeredis
import pytest
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    InvalidResponse,
    ResponseError,
    TimeoutError,
)

from ferryman import StoreUnavailable
from ferryman.store.connect import REFUSALS, as_unavailable, redis_errors

ADDRESS = "redis://user:secret@here:6379/0"


def test_a_server_that_is_gone_is_unavailable_and_its_cause_is_kept() -> None:
    server = fakeredis.FakeServer()
    server.connected = False
    with (
        pytest.raises(StoreUnavailable, match="cannot reach Redis") as caught,
        redis_errors(ADDRESS),
    ):
        fakeredis.FakeRedis(server=server).ping()
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_a_wrong_command_is_a_fault_of_ours_and_stays_one() -> None:
    client = fakeredis.FakeRedis()
    with pytest.raises(ResponseError, match="wrong number"), redis_errors(ADDRESS):
        client.execute_command("LPUSH", "list")


@pytest.mark.parametrize("word", sorted(REFUSALS))
def test_every_refusal_is_unavailable(word: str) -> None:
    assert as_unavailable(ResponseError(f"{word} because"), ADDRESS) is not None


@pytest.mark.parametrize(
    "error", [TimeoutError("t"), AuthenticationError("a"), InvalidResponse("i"), ConnectionError()]
)
def test_no_message_shows_the_password(error: Exception) -> None:
    unavailable = as_unavailable(error, ADDRESS)  # type: ignore[arg-type]
    assert "secret" not in str(unavailable)
