"""Redis at maxmemory: no new work is taken, and everything that was taken still gets done."""

import pytest

from ferryman.config import Settings
from ferryman.errors import StoreUnavailable
from ferryman.lifecycle import TABLE
from ferryman.store import Store, calls

LIFE = {verb.name for verb in TABLE} - {"expire"}  # expire is a part of claim and promote
LIFE |= {"register", "beat", "sweep", "pause", "resume", "progress", "tally", "stats", "delete"}


class Recording(Store):
    """A store that notes which verbs it ran."""

    def __init__(self, *args):
        super().__init__(*args)
        self.verbs = set()

    def _run(self, call):
        self.verbs.add(call.verb)
        return super()._run(call)


@pytest.fixture
def full(redis_kind, start_server, make_world):
    """A world on a server of its own, and a switch that fills its memory."""
    server = start_server(binary="redis-server" if redis_kind == "redis" else None)
    world = make_world(Recording(Settings(redis_url=server.url)))
    world.fill = lambda: world.store.command("CONFIG", "SET", "maxmemory", "1")
    return world


def test_enqueue_is_refused_and_changes_nothing(full):
    full.enqueue("a")
    full.fill()
    with full.changes() as changed, pytest.raises(StoreUnavailable, match="out of memory") as error:
        full.enqueue("b")
    assert changed == {}
    assert error.value.retry_after >= 1


def test_every_other_verb_works_while_memory_is_full(full):
    store = full.store
    full.enqueue("a", "b", "c", "d", "e", "f", "g", "h")
    full.enqueue("later", delay=60.0)
    full.make_due("later")
    hand = full.worker()
    store.verbs.clear()
    full.fill()
    assert store.register("w2", ["default"], {"host": "h"})
    assert store.pause("default")
    assert store.resume("default")
    assert len(hand.claim(6)) == 6
    assert store.progress("w", "a", 1, 0.5, "half")
    assert hand.finish("a")
    assert hand.retry("b")
    assert hand.bury("c")
    assert hand.snooze("d")
    assert hand.release("e")
    assert store.cancel("f") == "running"
    assert store.beat("sup", {"w": 1}, ["default"]).cancels == [("w", "f")]
    assert hand.cancel("f")
    assert store.promote().promoted == 1
    assert store.cancel("g") == "pending"
    assert store.delete("h") == "pending"
    assert store.revive("c") == "failed"
    assert store.tally("a", {"d": {"n": 1}}) == {"d": {"n": 1}}
    assert [job.id for job in hand.claim(1)] == ["e"]
    assert full.recover().recovered == 1
    assert store.sweep() == (1, [])
    assert store.stats().states["completed"] == 1
    assert store.verbs | {"claim"} >= LIFE - {"enqueue"}


def test_room_is_made_while_memory_is_full(full, monkeypatch):
    monkeypatch.setattr(calls, "PRESSED", -1.0)
    monkeypatch.setattr(calls, "KEEP_NEWEST", 0)
    monkeypatch.setattr(calls, "KEEP_SECONDS", -1.0)
    full.running("a").finish("a")
    full.fill()
    assert full.store.forget() == (True, 1)
    assert full.store.get_many(["a"]) == []


def test_a_backlog_drains_while_memory_is_full(full):
    ids = [f"j{n}" for n in range(500)]
    full.enqueue(*ids)
    hand = full.worker()
    full.fill()
    done = []
    while jobs := hand.claim(50):
        for job in jobs:
            assert hand.finish(job.id, result='"done"')
            done.append(job.id)
    assert done == ids


def test_a_blocked_move_that_is_refused_leaves_the_job_where_it_is(full):
    """Then the child claims by script until BLMOVE works again."""
    full.enqueue("a")
    hand = full.worker()
    full.fill()
    listener = hand.port.listeners[1]
    listener.arm()
    assert isinstance(listener.take().id, StoreUnavailable)
    listener.arm()  # a refusal is an answer: the connection is whole
    assert isinstance(listener.take().id, StoreUnavailable)
    assert full.list("pending:default:normal") == ["a"]
    assert [job.id for job in hand.claim()] == ["a"]
