"""When a supervisor ends a child, and when it lets one alone."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ferryman_worker.board import Board
from ferryman_worker.hearing import Hearing
from ferryman_worker.kept import DEAF, SILENCE, ChildProcess
from ferryman_worker.link import Link


class Case:
    """A child on the roll, and how long ago it ticked and heard Redis."""

    def __init__(self) -> None:
        self.board = Board(2)
        self.child = ChildProcess(0, "w", self.board, Link.pair()[0], 2, alone=False, ready=True)
        self.hearing = Hearing()
        self.steady = self.ticked = self.heard = 0.0
        self.board.silence = lambda: self.ticked  # type: ignore[method-assign]
        self.board.claim_age = lambda: self.heard  # type: ignore[method-assign]
        self.hearing.steady = lambda: self.steady  # type: ignore[method-assign]

    def run(self, seconds_left: float) -> None:
        self.board.begin(0, "a", 1, time.monotonic() + seconds_left)


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_child_that_ticks_and_hears_is_let_alone(case: Case) -> None:
    case.steady = 1000
    case.run(60)
    assert case.child.verdict() is None
    assert case.child.deaf(case.hearing) is None


def test_a_run_past_its_hard_limit_is_named(case: Case) -> None:
    case.run(-1)
    verdict = case.child.verdict()
    assert verdict is not None
    assert (verdict.how, list(verdict.overran)) == ("killed", [("a", 1)])


def test_a_loop_that_stopped_is_ended_once_no_run_explains_it(case: Case) -> None:
    case.ticked = SILENCE + 1
    case.run(60)  # a handler that never lets go of the interpreter looks like this
    assert case.child.verdict() is None
    case.board.end(0)
    verdict = case.child.verdict()
    assert verdict is not None
    assert verdict.reason == "its loop stopped"


def test_one_that_loads_its_application_may_take_its_time(case: Case) -> None:
    case.child.ready = False
    case.ticked = SILENCE + 1
    assert case.child.verdict() is None


def test_a_child_that_hears_nothing_while_upkeep_does_is_deaf(case: Case) -> None:
    case.heard = case.steady = DEAF + 1
    deaf = case.child.deaf(case.hearing)
    assert deaf is not None
    assert deaf.how == "released", "nobody is to blame"


def just_forked(case: Case) -> None:
    case.child.worker = ""  # it has not said that it is about to register


def redis_away(case: Case) -> None:
    case.steady = DEAF - 1


def just_heard(case: Case) -> None:
    case.heard = 10


@pytest.mark.parametrize("excuse", [just_forked, redis_away, just_heard])
def test_a_child_with_an_excuse_is_not_deaf(case: Case, excuse: Callable[[Case], None]) -> None:
    case.heard = case.steady = DEAF + 1
    excuse(case)
    assert case.child.deaf(case.hearing) is None
