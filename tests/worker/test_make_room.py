"""Upkeep while Redis is nearly full: finished jobs go before their time, said once."""

import time

import pytest
from structlog.testing import capture_logs

from ferryman.config import Settings
from ferryman.decision import Finish
from ferryman.job import Draft
from ferryman.store import Port, Store, calls
from ferryman_worker.upkeep import Upkeep


@pytest.fixture
def store(start_server):
    """A store on a server of its own, with three jobs that ended."""
    store = Store(Settings(redis_url=start_server().url))
    store.command("SETRANGE", "ballast", str(64 << 20), "x")
    store.register("w", ["default"], {"host": "h"})
    store.enqueue([Draft(id=i, type="noop") for i in "abc"])
    port = Port(store.settings, store.keys, "w", ["pending:default:normal"])
    port.turn([Finish(j.id, j.attempt, None, 0.1) for j in port.turn([], 3).jobs], 0)
    port.reset()
    yield store
    store.close()


def test_forgetting_begins_and_ends_with_a_line(store, monkeypatch):
    monkeypatch.setattr(calls, "KEEP_NEWEST", 0)
    monkeypatch.setattr(calls, "KEEP_SECONDS", -60.0)
    upkeep = Upkeep(store.settings, "sup", None)

    def told():
        with capture_logs() as lines:
            upkeep._make_room()
        return [(line["event"], line.get("forgotten")) for line in lines]

    assert told() == []
    info = store.command("INFO", "memory").decode().splitlines()
    used = next(int(line.split(":")[1]) for line in info if line.startswith("used_memory:"))
    store.command("CONFIG", "SET", "maxmemory", str(int(used / 0.95)))
    assert told() == [("memory.short", None)]
    assert told() == []
    long_ago = str(time.time() - 60)
    store.command("HSET", store.keys("meta"), "memory_gate", long_ago)
    assert told() == [("memory.forgetting", None)]
    assert store.get_many(["a", "b", "c"]) == []
    assert told() == []
    store.command("CONFIG", "SET", "maxmemory", "0")
    assert told() == [("memory.free", 3)]
    assert told() == []
