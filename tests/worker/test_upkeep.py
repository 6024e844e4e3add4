"""What upkeep tells its supervisor, and how it finds back to Redis."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.worker.proxy import Proxy

from ferryman.config import Settings
from ferryman.errors import StoreUnavailable
from ferryman.store import Store
from ferryman_worker import upkeep as upkeep_module
from ferryman_worker.link import Link, Message
from ferryman_worker.upkeep import STUCK, Upkeep

PATIENCE = 20.0


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upkeep speaks and beats every 20 ms."""
    monkeypatch.setattr(upkeep_module, "TICK", 0.02)


def begin(loop: Callable[[], None]) -> None:
    threading.Thread(target=loop, daemon=True).start()


def next_word(supervisor: Link, within: float = PATIENCE) -> Message | None:
    """What it says next; None when it says nothing."""
    return supervisor.receive()[0] if select.select([supervisor], [], [], within)[0] else None


@pytest.mark.usefixtures("brisk")
def test_it_speaks_as_long_as_every_loop_turns(settings: Settings) -> None:
    supervisor, own = Link.pair()
    upkeep = Upkeep(settings, "sup", own, instance="these")
    upkeep.rounds = {"beat": time.monotonic(), "promote": time.monotonic() - STUCK - 1}
    begin(upkeep._speak_loop)
    assert next_word(supervisor, within=0.5) is None, "a loop is stuck"
    upkeep.rounds["promote"] = time.monotonic()
    assert next_word(supervisor) == {"kind": "word", "redis": False, "instance": "these"}


@pytest.mark.usefixtures("brisk")
def test_it_says_whether_redis_answers_its_beats(settings: Settings, store: Store) -> None:
    supervisor, own = Link.pair()
    upkeep = Upkeep(settings, "sup", own)
    upkeep.beats = store
    upkeep.answered = time.monotonic() - upkeep_module.FRESH - 1
    begin(upkeep._speak_loop)
    word = next_word(supervisor)
    assert word is not None
    assert not word["redis"]
    upkeep._beat()
    end = time.monotonic() + PATIENCE
    while not (word := next_word(supervisor)) or not word["redis"]:
        assert time.monotonic() < end


@pytest.mark.usefixtures("brisk")
def test_it_leaves_a_server_that_refuses_for_the_one_that_is_there_now(
    start_server: Any, settings: Settings
) -> None:
    old, new = (Store(replace(settings, redis_url=start_server().url)) for _ in range(2))
    proxy = Proxy(old.address)
    for store in (old, new):
        assert store.register("w", ("default",), {"host": "h"})
    _supervisor, own = Link.pair()
    upkeep = Upkeep(replace(settings, redis_url=proxy.url), "sup", own)
    upkeep.busy = {"w": 0}
    begin(upkeep._beat_loop)
    await_beats(old)
    proxy.lead_to(new.address)
    old.command("REPLICAOF", "127.0.0.1", "1")  # a failover: it lives on, and takes no writes
    await_beats(new)
    upkeep.heard = 0.0  # it beats no more
    for part in (proxy, old, new):
        part.close()


def test_it_says_once_that_redis_is_lost_and_once_that_it_is_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _supervisor, own = Link.pair()
    upkeep, said = Upkeep(settings, "sup", own), []
    for level in ("warning", "info"):
        monkeypatch.setattr(upkeep_module.log, level, lambda event, **_: said.append(event))
    for _ in range(3):
        upkeep._lose_redis(StoreUnavailable("away"))
    for _ in range(3):
        upkeep._hear_redis()
    assert said == ["redis.lost", "redis.back"]


def await_beats(store: Store) -> None:
    end = time.monotonic() + PATIENCE
    while int(store.command("HGET", store.keys("worker:w"), "beat")) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
