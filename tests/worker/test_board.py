"""The shared memory between a child and its supervisor."""

from __future__ import annotations

import os
import time

import pytest

from ferryman_worker.board import Board


def past() -> float:
    return time.monotonic() - 0.001


def future() -> float:
    return time.monotonic() + 60


def test_a_new_board_is_free_and_has_just_ticked() -> None:
    board = Board(3)
    assert (board.busy(), board.overran()) == (0, [])
    assert board.silence() < 1


def test_a_slot_is_busy_from_begin_to_end() -> None:
    board = Board(3)
    board.begin(0, "a", 1, future())
    board.begin(2, "b", 1, future())
    assert board.busy() == 2
    board.end(0)
    assert board.busy() == 1


def test_a_run_past_its_deadline_is_named_with_its_attempt() -> None:
    board = Board(3)
    board.begin(0, "in-time", 1, future())
    board.begin(1, "a", 999_999_999_999_999, past())
    board.begin(2, "z" * 128, 2, past())
    assert board.overran() == [("a", 999_999_999_999_999), ("z" * 128, 2)]


def test_a_run_that_ended_late_is_no_longer_over_its_limit() -> None:
    board = Board(1)
    board.begin(0, "a", 1, past())
    board.end(0)
    assert board.overran() == []


def test_a_slot_shows_its_latest_run_only() -> None:
    board = Board(1)
    board.begin(0, "a-long-id-that-was-here-before", 1, past())
    board.end(0)
    board.begin(0, "b", 2, past())
    assert board.overran() == [("b", 2)]


def test_a_tick_ends_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    board = Board(1)
    monkeypatch.setattr(time, "monotonic", lambda: now + 40)
    assert board.silence() >= 39
    board.tick()
    assert board.silence() == 0


def test_what_redis_says_ends_the_age_of_the_last_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    board = Board(1)
    monkeypatch.setattr(time, "monotonic", lambda: now + 40)
    board.tick()
    assert board.claim_age() >= 39
    board.hear()
    assert board.claim_age() == 0


def test_runs_are_counted_as_they_begin() -> None:
    board = Board(2)
    for n in range(3):
        board.begin(n % 2, "a", n, future())
    assert board.begun == 3


def test_what_a_child_writes_is_read_by_its_parent_even_after_its_death() -> None:
    board = Board(2)
    pid = os.fork()
    if not pid:
        board.begin(1, "a", 3, past())
        time.sleep(0.01)
        board.hear()
        os._exit(9)
    started = time.monotonic()
    os.waitpid(pid, 0)
    assert board.overran() == [("a", 3)]
    assert board.claim_age() <= time.monotonic() - started


@pytest.mark.parametrize("job_id", ["\udcff", "a" + "\u00e9" * 100], ids=["bytes", "cut"])
def test_no_id_stops_the_child_that_writes_it_or_its_parent_that_reads_it(job_id: str) -> None:
    board = Board(1)
    board.begin(0, job_id, 1, past())
    [(shown, _)] = board.overran()
    raw = job_id.encode("utf-8", "surrogateescape")
    assert shown.encode("utf-8", "surrogateescape") == raw[:128]


def test_the_end_of_a_run_that_kept_the_loop_from_ticking_is_a_sign_of_life() -> None:
    board = Board(1)
    board.begin(0, "a", 1, time.monotonic() + 60)
    time.sleep(0.2)
    before = board.silence()
    board.end(0)
    assert before >= 0.2
    assert board.silence() < before
