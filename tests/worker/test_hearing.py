"""What a supervisor concludes from the words of its upkeep, and from their absence."""

from __future__ import annotations

import pytest

from ferryman_worker.hearing import GAP, LAPSE, SILENT, Hearing


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Ear:
    """A supervisor that looks four times a second."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.hearing = Hearing(self.clock)

    def pass_time(self, seconds: float, word: bool | None = None) -> None:
        """So much time, with a word each second if one is given."""
        for quarter in range(round(seconds * 4)):
            self.clock.now += 0.25
            self.hearing.look()
            if word is not None and quarter % 4 == 3:
                self.hearing.word(word)


@pytest.fixture
def ear() -> Ear:
    return Ear()


def test_an_upkeep_that_speaks_every_second_is_not_silent(ear: Ear) -> None:
    ear.pass_time(60, word=True)
    assert not ear.hearing.is_silent()
    assert ear.hearing.steady() == pytest.approx(60, abs=1)


def test_one_that_says_nothing_is_silent_after_ten_seconds(ear: Ear) -> None:
    ear.pass_time(5, word=True)
    ear.pass_time(SILENT)
    assert not ear.hearing.is_silent()
    ear.pass_time(0.5)
    assert ear.hearing.is_silent()


def test_its_successor_is_given_the_same_time(ear: Ear) -> None:
    ear.pass_time(SILENT + 1)
    ear.hearing.begin()
    ear.pass_time(SILENT)
    assert not ear.hearing.is_silent()


def test_a_supervisor_that_slept_itself_blames_nobody(ear: Ear) -> None:
    ear.pass_time(60, word=True)
    ear.clock.now += GAP + 60
    ear.hearing.look()
    assert not ear.hearing.is_silent()
    assert ear.hearing.steady() == 0


def test_redis_is_steady_only_since_it_last_failed_to_answer(ear: Ear) -> None:
    ear.pass_time(60, word=True)
    ear.hearing.word(redis=False)
    ear.pass_time(3, word=True)
    assert ear.hearing.steady() == pytest.approx(3, abs=1)


def test_nothing_is_known_of_a_time_without_words(ear: Ear) -> None:
    ear.pass_time(60, word=True)
    ear.pass_time(LAPSE + 1)
    assert ear.hearing.steady() == 0
    ear.pass_time(2, word=True)
    assert ear.hearing.steady() <= 2
