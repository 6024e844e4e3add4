"""Single steps of a child and of an upkeep whose loops are not running."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest

from ferryman import Ferryman
from ferryman.config import Settings
from ferryman.embedded import EmbeddedServer
from ferryman.errors import StoreUnavailable
from ferryman.job import Draft
from ferryman.store import Port, Store
from ferryman_worker.board import Board
from ferryman_worker.child import Child, Post, Question
from ferryman_worker.link import Link
from ferryman_worker.trouble import Trouble
from ferryman_worker.upkeep import STALE, Gone, Upkeep


@pytest.fixture
def child(store: Store) -> Iterator[Child]:
    """A child whose loop is not running."""
    post = Post("w:1:n", ["pending:default:normal"], 1, False)
    port = Port(store.settings, store.keys, post.worker, post.lists)
    ours, theirs = Link.pair()
    yield Child(Ferryman(store=store), store.settings, post, Board(1), theirs, port)
    ours.close()
    theirs.close()


def pauses(number: int) -> list[float]:
    """The pauses after so many errors in a row."""
    trouble = Trouble("w:1:n", Board(1))
    found = []
    for _ in range(number):
        now = time.monotonic()
        trouble.lost(StoreUnavailable("away"))
        found.append(trouble.retry_at - now)
    return found


def test_a_pause_is_random_and_at_most_5_seconds() -> None:
    found = pauses(200)
    assert all(0 < wait < 5.5 for wait in found)
    late = found[10:]
    assert min(late) < 1.5
    assert max(late) > 3.5, "they come back spread over the whole time, not together"


def test_the_first_pauses_are_short() -> None:
    assert all(pause < 0.3 for pause in pauses(1))
    assert all(pause < 1.0 for pause in pauses(2))


def test_a_note_of_progress_is_cut_to_200_characters(child: Child, store: Store) -> None:
    store.enqueue([Draft(id="a", type="t")])
    assert store.register("w:1:n", ["default"], {"slots": 1})
    [job] = child.port.turn([], 1).jobs
    child.progress(job.id, job.attempt, 0.5, "x" * 1000)
    assert store.get("a").progress_note == "x" * 200


def test_what_was_asked_for_takes_room_and_what_is_being_settled_takes_none(
    store: Store, child: Child
) -> None:
    store.enqueue([Draft(id=name, type="unknown") for name in "abcd"])
    assert store.register("w:1:n", ["default"], {"slots": 1})
    assert child._room() == 1
    child._ask([])
    assert (child._room(), len(child.asked)) == (0, 1)
    child._hear()  # a job of an unknown type is over at once
    assert child._room() == 0
    child._ask([])
    assert ([len(q.settles) for q in child.asked], child._room()) == ([1], 0)
    child._hear()
    assert [list(child.runs), len(child.unsettled)] == [["b"], 0]


def test_an_order_waits_until_every_question_is_answered(store: Store, child: Child) -> None:
    """A stop asks Redis to wake the listeners: its answer must not be taken for another."""
    assert store.register("w:1:n", ["default"], {"slots": 1})
    child.port.listen(1)
    child._ask([])
    child.terminate()
    assert child._await_delivery() == []
    assert child.limits.stop_at
    assert child.port.answer() is None
    assert child.port.running() == []


@pytest.mark.parametrize(("number", "is_heard"), [(1, False), (2, True)])
def test_with_something_to_do_the_second_open_question_is_waited_for_and_not_the_first(
    child: Child, monkeypatch: pytest.MonkeyPatch, number: int, is_heard: bool
) -> None:
    heard: list[None] = []
    monkeypatch.setattr(child, "_hear_first", lambda: heard.append(None))
    child.runner.outcomes.append(Mock())
    child.asked.extend(Question([], 1, adopt=False) for _ in range(number))
    child._hear()
    assert bool(heard) is is_heard


def test_runs_begin_before_the_child_sleeps(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were started by an answer that came after the turn's question had been asked."""
    done: list[str] = []
    monkeypatch.setattr(child.runner, "go", lambda: done.append("go"))
    monkeypatch.setattr(child.wait, "sleep", lambda _: done.append("sleep") or (False, []))
    child._await_delivery()
    assert done == ["go", "sleep"]


def test_what_two_lost_answers_were_to_settle_is_settled_again(child: Child) -> None:
    pairs: list[Any] = [("run", "first"), ("run", "second")]
    child.asked.extend(Question([pair], 1, adopt=False) for pair in pairs)
    child._lost(StoreUnavailable("away"))
    assert child.unsettled == pairs
    assert not child.asked


def test_upkeep_beats_no_more_for_a_supervisor_that_is_frozen(
    start_server: Callable[..., EmbeddedServer],
) -> None:
    """Nobody would kill a run past its limit: its worker must not go on looking alive."""
    settings = Settings(redis_url=start_server().url)
    ours, theirs = Link.pair()
    upkeep = Upkeep(settings, "w:0:n", theirs)
    store = Store(settings)
    assert store.register("w:1:n", ["default"], {"slots": 1})
    upkeep.busy = {"w:1:n": 1}
    worker = store.keys("worker:w:1:n")
    upkeep.heard = time.monotonic() - STALE - 1
    upkeep._beat()
    assert store.command("HGET", worker, "beat") == b"1"
    upkeep.heard = time.monotonic()
    upkeep._beat()
    assert store.command("HGET", worker, "beat") == b"2"
    store.close()
    ours.close()
    theirs.close()


def test_a_recovery_that_redis_refuses_is_tried_until_it_is_done(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the jobs of a dead child would wait for its lease to end."""
    upkeep = Upkeep(settings, "w:0:n", Link.pair()[0])
    tries: list[Gone] = []

    def recover(gone: Gone) -> None:
        tries.append(gone)
        if len(tries) < 3:
            raise StoreUnavailable("away")

    monkeypatch.setattr(upkeep, "_recover", recover)
    gone = Gone("w:1:n", "crashed", "it died")
    upkeep._until_done(gone)
    assert tries == [gone, gone, gone]


def test_a_recovery_goes_on_until_the_list_is_empty(
    start_server: Callable[..., EmbeddedServer],
) -> None:
    """One script moves 200 at most."""
    settings = Settings(redis_url=start_server().url)
    store = Store(settings)
    ids = [f"j{n}" for n in range(250)]
    store.enqueue([Draft(id=i, type="t") for i in ids])
    assert store.register("w:1:n", ["default"], {"slots": 1})
    store.command("RENAME", store.keys.pending("default", "normal"), store.keys.running("w:1:n"))
    Upkeep(settings, "w:0:n", Link.pair()[0])._recover(Gone("w:1:n", "crashed", "it died"))
    assert store.running("w:1:n") == []
    moved = store.command("LRANGE", store.keys.pending("default", "normal"), "0", "-1")
    assert [i.decode() for i in moved] == ids
    store.close()


def test_who_leads_makes_room_after_it_promoted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep = Upkeep(settings, "w:0:n", Link.pair()[0])
    steps: list[str] = []

    def promote() -> float:
        steps.append("promote")
        return 60.0

    def await_wake(_: float) -> bool:
        raise EOFError  # that is enough

    monkeypatch.setattr(upkeep, "_promote", promote)
    monkeypatch.setattr(upkeep, "_make_room", lambda: steps.append("make room"))
    monkeypatch.setattr(upkeep.store, "await_wake", await_wake)
    upkeep.leads.set()
    with pytest.raises(EOFError):
        upkeep._promote_loop()
    assert steps == ["promote", "make room"]
