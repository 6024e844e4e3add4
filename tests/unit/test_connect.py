"""Which errors of Redis mean "not now". No server behaviour matters here, so fakeredis serves."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

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
from ferryman.config import Settings
from ferryman.errors import ConfigError
from ferryman.keys import Keys
from ferryman.store import Store
from ferryman.store.connect import (
    BLOCK,
    BLOCK_TIMEOUT,
    REFUSALS,
    as_unavailable,
    pool,
    redis_errors,
)
from ferryman.store.wire import Wire

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


@pytest.mark.parametrize("tries", [1, 2])
@pytest.mark.parametrize("call", [Store.ping, lambda store: store.get_many(["a"])])
def test_a_call_is_sent_as_often_as_it_was_told_and_never_again(
    call: Callable[[Store], object], tries: int
) -> None:
    """redis-py would send it ten times more; a claim sent again takes a second job."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        served: list[bytes] = []

        def is_last(words: bytes) -> bool:
            return b"PING" in words or b"HGETALL" in words

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        while (words := client.recv(4096)) and not is_last(words):
                            client.sendall(b"+OK\r\n" * words.count(b"*"))
                        served.append(words)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        with contextlib.closing(Store(Settings(redis_url=url), tries=tries)) as store:
            with pytest.raises(StoreUnavailable):
                call(store)
            assert len(served) == tries


def test_a_wait_ends_before_its_connection_is_given_up_and_both_before_a_lease() -> None:
    assert BLOCK + 1 < BLOCK_TIMEOUT < Settings().lease / 2


@pytest.mark.parametrize(
    ("version", "valkey", "serves"),
    [
        ("6.2.14", None, False),
        ("7.0.0", None, True),
        ("10.0.1", None, True),
        ("7.2.4", "7.1.9", False),
        ("7.2.4", "7.2.5", True),
        ("7.2.4", "9.1.2", True),
    ],
)
def test_a_server_too_old_for_the_scripts_is_refused_by_its_version(
    monkeypatch: pytest.MonkeyPatch, version: str, valkey: str | None, serves: bool
) -> None:
    told = {"redis_version": version} | ({"valkey_version": valkey} if valkey else {})
    monkeypatch.setattr(Store, "server", lambda _: told)
    with contextlib.closing(Store(Settings())) as store:
        if serves:
            store.check_server()
            return
        with pytest.raises(ConfigError, match=valkey or version):
            store.check_server()


def test_a_script_that_fails_costs_its_own_answer_and_not_the_turn() -> None:
    """The other scripts of the round trip have run: their answers must be heard."""
    wire = Wire(pool(Settings(), 1.0), Keys(), ADDRESS)
    judged = wire._judge(ResponseError("user_script:3: attempt to compare nil with number"))
    assert isinstance(judged, StoreUnavailable)
    assert wire._judge([1, 0]) == [1, 0]
