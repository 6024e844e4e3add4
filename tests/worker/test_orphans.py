"""Where no kernel says that the parent died, the closed end of a link does."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.journey.programs import until

from ferryman import Ferryman
from ferryman.config import Settings
from ferryman.keys import Keys
from ferryman.store import Port
from ferryman_worker import fork
from ferryman_worker.board import Board
from ferryman_worker.child import Child, Post
from ferryman_worker.link import Link
from ferryman_worker.upkeep import Upkeep

Start = Callable[[Settings, Link], None]


def child(settings: Settings, link: Link) -> None:
    post = Post("orphan:1:n", ["pending:orphans:normal"], 1, False)
    port = Port(settings, Keys(), post.worker, post.lists)
    Child(Ferryman(settings), settings, post, Board(1), link, port).loop()


def upkeep(settings: Settings, link: Link) -> None:
    Upkeep(settings, "orphan:0:n", link).run()


@pytest.mark.parametrize("start", [child, upkeep])
def test_a_process_whose_supervisor_is_gone_ends(
    start: Start, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork, "_die_with", lambda _: None)
    nowhere = replace(settings, redis_url="redis://127.0.0.1:1/0")  # it leaves nothing behind
    ours, theirs = Link.pair()

    def body() -> None:
        ours.close()
        start(nowhere, theirs)

    pid = fork.fork(body)
    theirs.close()
    ours.close()
    ended: list[int] = []

    def is_over() -> bool:
        gone, status = os.waitpid(pid, os.WNOHANG)
        ended.append(status)
        return gone == pid

    try:
        until(is_over, 10)
    except AssertionError:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise
    assert os.waitstatus_to_exitcode(ended[-1]) == 0
