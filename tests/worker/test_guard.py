"""A loop of ours that ends takes its process with it, and says why."""

from __future__ import annotations

import asyncio
import json
import os
import select
import time
from collections.abc import Callable

import pytest
from tests.worker.conftest import Claim

from ferryman import Context, Ferryman, logs
from ferryman.config import Settings
from ferryman.keys import Keys
from ferryman.store import Port
from ferryman_worker import guard
from ferryman_worker.board import Board
from ferryman_worker.child import Child, Post
from ferryman_worker.decide import Policy
from ferryman_worker.fork import fork
from ferryman_worker.link import Link
from ferryman_worker.run import Run
from ferryman_worker.runner import Runner


def ends(body: Callable[[], None], within: float = 20.0) -> tuple[int, list[dict[str, object]]]:
    """How a process that runs `body` and then waits ends, and what it logged."""
    reader, writer = os.pipe()

    def forked() -> None:
        os.dup2(writer, 1)
        os.close(writer)
        os.close(reader)
        logs.configure(Settings(log_format="json"))
        body()
        time.sleep(within * 2)

    pid = fork(forked)
    os.close(writer)
    said, end = b"", time.monotonic() + within
    while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
        data = os.read(reader, 65_536)
        if not data:
            break
        said += data
    os.close(reader)
    if time.monotonic() >= end:
        os.kill(pid, 9)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, [json.loads(line) for line in said.splitlines() if line.startswith(b"{")]


def broken(*_: object) -> None:
    raise RuntimeError("no")


def assert_ends_as_a_bug(body: Callable[[], None], where: str) -> None:
    code, said = ends(body)
    assert code == guard.FAULT
    [bug] = [line for line in said if line["event"] == "bug"]
    assert bug["where"] == where
    assert str(bug["exception"]).startswith("Traceback")


def test_a_loop_that_raises_ends_its_process() -> None:
    assert_ends_as_a_bug(lambda: guard.run("loop", broken), "loop")


def test_a_thread_that_raises_ends_its_process() -> None:
    assert_ends_as_a_bug(lambda: guard.thread("beat", broken), "beat")  # type: ignore[arg-type]


def handed(claim: Claim, handler: Callable[..., object]) -> Run:
    """A run of this handler."""
    ferry = Ferryman(Settings())
    ferry.job("t")(handler)
    policy = Policy(3, lambda failures, roll: 0.0, 60.0)
    context = Context("a", "t", "default", 1, 0, 3, 60.0)
    return Run(claim(), ferry.registry.get("t"), context, policy)


def runs(claim: Claim, handler: Callable[..., object], over: Callable[[Run], None]) -> None:
    runner = Runner(1, lambda run: None, over, lambda: None)
    runner.start(handed(claim, handler))
    runner.go()


async def nothing() -> None:
    pass


@pytest.mark.parametrize(("handler", "where"), [(lambda: None, "slot-1"), (nothing, "event-loop")])
def test_a_run_whose_end_cannot_be_noted_ends_its_process(
    claim: Claim, handler: Callable[..., object], where: str
) -> None:
    assert_ends_as_a_bug(lambda: runs(claim, handler, broken), where)


def test_a_handler_that_stops_the_event_loop_ends_its_process(claim: Claim) -> None:
    async def stop_all() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(60)

    assert_ends_as_a_bug(lambda: runs(claim, stop_all, lambda run: None), "event-loop")


def test_a_child_whose_limits_nobody_watches_any_more_ends(settings: Settings) -> None:
    def body() -> None:
        post = Post("w", ["pending:default:normal"], 1, alone=False)
        port = Port(settings, Keys(), "w", post.lists)
        link, _supervisors = Link.pair()
        child = Child(Ferryman(settings), settings, post, Board(1), link, port)
        child.runs["a"] = None  # type: ignore[assignment]  # what no watch can look at
        child.trouble.retry_at = time.monotonic() + 60  # its loop waits meanwhile
        child.loop()

    assert_ends_as_a_bug(body, "watch")
