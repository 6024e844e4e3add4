"""A server that is there and refuses: nothing changes, and afterwards work goes on."""

from collections.abc import Callable
from typing import Any

import pytest

from ferryman.config import Settings
from ferryman.errors import StoreUnavailable
from ferryman.store import Store


@pytest.fixture
def world(redis_kind, start_server, make_world):
    """A world on a server of its own, which may be made to refuse."""
    server = start_server(binary="redis-server" if redis_kind == "redis" else None)
    made = make_world(Store(Settings(redis_url=server.url)))
    made.server = server
    return made


def cannot_save(world: Any) -> Callable[[], None]:
    """The disk of the server fails: MISCONF."""
    ask = world.store.command
    (world.server.data / "dump.rdb").mkdir()  # a folder stands where the file should go
    ask("CONFIG", "SET", "save", "3600 1000000")
    ask("BGSAVE")
    while b"rdb_last_bgsave_status:err" not in ask("INFO", "persistence"):
        pass
    return lambda: ask("CONFIG", "SET", "save", "")


def may_not_run_scripts(world: Any) -> Callable[[], None]:
    """Somebody has changed the rights of the user: NOPERM."""
    ask = world.store.command
    ask("ACL", "SETUSER", "default", "-evalsha", "-eval")
    return lambda: ask("ACL", "SETUSER", "default", "+evalsha", "+eval")


@pytest.mark.parametrize("harm", [cannot_save, may_not_run_scripts])
def test_a_refusal_is_told_changes_nothing_and_passes(world, harm):
    hand = world.running("a")
    world.enqueue("b")
    heal = harm(world)
    before = {name: world.list(name) for name in ("pending:default:normal", "running:w")}
    with pytest.raises(StoreUnavailable):
        world.enqueue("c")
    with pytest.raises(StoreUnavailable):
        hand.finish("a")
    turn = hand.turn(1)
    assert (turn.jobs, turn.lease_lost) == ([], False)
    assert turn.refusal
    assert {name: world.list(name) for name in before} == before
    heal()
    assert hand.finish("a")
    assert [job.id for job in hand.claim()] == ["b"]
    world.enqueue("c")
