"""What happens to a job after a run: every outcome, every limit and whose word holds."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ferryman.backoff import Backoff
from ferryman.config import Settings
from ferryman.decision import Bury, Cancel, Finish, Release, Retry, Snooze
from ferryman.registry import Options
from ferryman_worker.decide import ERROR_LIMIT, Policy, cut, decide, history, policy
from ferryman_worker.outcome import Cancelled, Failed, Returned, Snoozed, Stopped

ROLL = st.floats(0, 1, exclude_max=True)
DELAY = st.floats() | st.integers() | st.booleans() | st.text() | st.none()
LIMITS = Policy(max_attempts=3, delay=Backoff().delay, timeout=60.0)


def decided(job: Any, outcome: Any, limits: Policy = LIMITS, roll: float = 0.5) -> Any:
    return decide(job, outcome, limits, "w", 0.25, roll)


def test_a_value_finishes_with_its_duration(claim: Any) -> None:
    assert decided(claim(attempt=4), Returned('"x"')) == Finish("a", 4, '"x"', 0.25)


def test_no_value_finishes_without_a_result(claim: Any) -> None:
    assert decided(claim(), Returned(None)).result is None


@pytest.mark.parametrize("failures", [0, 2, 99])
def test_a_snooze_a_stop_and_a_cancel_charge_nothing(claim: Any, failures: int) -> None:
    job = claim(attempt=7, failures=failures)
    assert decided(job, Snoozed(12.5)) == Snooze("a", 7, 12.5)
    assert decided(job, Stopped()) == Release("a", 7)
    assert decided(job, Cancelled()) == Cancel("a", 7)


@pytest.mark.parametrize(
    ("failures", "max_attempts", "kind"),
    [(0, 1, Bury), (0, 2, Retry), (1, 2, Bury), (1, 3, Retry), (2, 3, Bury), (5, 3, Bury)],
)
def test_the_last_allowed_failure_buries(
    claim: Any, failures: int, max_attempts: int, kind: type
) -> None:
    limits = replace(LIMITS, max_attempts=max_attempts)
    assert type(decided(claim(failures=failures), Failed("no"), limits)) is kind


def test_attempts_that_charged_nothing_are_not_counted(claim: Any) -> None:
    assert isinstance(decided(claim(attempt=50, failures=1), Failed("no")), Retry)


def test_a_final_failure_buries_whatever_is_left(claim: Any) -> None:
    assert isinstance(decided(claim(), Failed("no", final=True)), Bury)


def test_a_delay_that_was_asked_for_replaces_the_backoff(claim: Any) -> None:
    assert decided(claim(), Failed("later", delay=90.0)).delay == 90
    assert decided(claim(), Failed("now", delay=0.0)).delay == 0
    assert isinstance(decided(claim(failures=2), Failed("later", delay=90.0)), Bury)


@pytest.mark.parametrize(("failures", "middle"), [(0, 1.0), (1, 2.0)])
def test_the_defaults_wait_1_and_2_seconds_within_a_tenth(
    claim: Any, failures: int, middle: float
) -> None:
    job = claim(failures=failures)
    assert decided(job, Failed("no"), roll=0.0).delay == pytest.approx(0.9 * middle)
    assert decided(job, Failed("no"), roll=0.5).delay == pytest.approx(middle)
    assert decided(job, Failed("no"), roll=0.999).delay == pytest.approx(1.1 * middle, rel=0.001)


@given(failures=st.integers(0, 1000), roll=ROLL)
def test_a_retry_never_waits_longer_than_the_cap_and_a_tenth(
    claim: Any, failures: int, roll: float
) -> None:
    limits = replace(LIMITS, max_attempts=2000)
    assert 0.9 <= decided(claim(failures=failures), Failed("no"), limits, roll).delay <= 33


@given(delay=DELAY, by_hand=st.booleans())
@example(delay=10**400, by_hand=True)
def test_a_retry_is_always_due_within_ten_years(claim: Any, delay: Any, by_hand: bool) -> None:
    # Redis has no rollback: a due time it cannot keep would lose the job half way.
    limits = LIMITS if by_hand else replace(LIMITS, delay=lambda failures, roll: delay)
    decision = decided(claim(), Failed("no", delay=delay if by_hand else None), limits)
    assert isinstance(decision.delay, float)
    assert 0 <= decision.delay <= 315_360_000


@given(delay=DELAY)
@example(delay=math.nan)
def test_a_snooze_is_always_due_within_ten_years(claim: Any, delay: Any) -> None:
    decision = decided(claim(), Snoozed(delay))
    assert isinstance(decision.delay, float)
    assert 0 <= decision.delay <= 315_360_000


def test_a_backoff_that_raises_falls_back_to_the_default_one(claim: Any) -> None:
    def broken(failures: int, roll: float) -> float:
        raise ZeroDivisionError

    assert decided(claim(failures=1), Failed("no"), replace(LIMITS, delay=broken)).delay == 2


# Whose word holds: the job's own, else its type's, else the settings'.

OWN = Backoff(base=5, jitter=0.0)
OF_TYPE = Backoff(base=7, jitter=0.0)


@pytest.mark.parametrize(
    ("own", "of_type", "expected"),
    [(2, 4, (2, None)), (2, None, (2, None)), (None, 4, (4, 4)), (None, None, (9, None))],
)
def test_max_attempts_and_what_is_noted_for_readers(
    claim: Any, own: int | None, of_type: int | None, expected: tuple[int, int | None]
) -> None:
    limits = policy(
        claim(max_attempts=own), Options(max_attempts=of_type), Settings(max_attempts=9)
    )
    assert (limits.max_attempts, limits.noted_attempts) == expected


@pytest.mark.parametrize(
    ("own", "of_type", "expected"), [(2.5, 4.0, 2.5), (None, 4.0, 4.0), (None, None, 9.0)]
)
def test_the_time_limit(
    claim: Any, own: float | None, of_type: float | None, expected: float
) -> None:
    limits = policy(claim(timeout=own), Options(timeout=of_type), Settings(timeout=9.0))
    assert limits.timeout == expected


@pytest.mark.parametrize(
    ("own", "of_type", "expected"), [(OWN, OF_TYPE, 5), (None, OF_TYPE, 7), (None, None, 3)]
)
def test_the_backoff(
    claim: Any, own: Backoff | None, of_type: Backoff | None, expected: float
) -> None:
    text = None if own is None else '{"base":5,"factor":2,"cap":30,"jitter":0}'
    settings = Settings(backoff_base=3.0, backoff_jitter=0.0)
    limits = policy(claim(backoff=text), Options(backoff=of_type), settings)
    assert limits.delay(1, 0.7) == expected


def test_a_formula_of_tenacity_is_a_types_word_too(claim: Any) -> None:
    limits = policy(claim(), Options(backoff=lambda failures, roll: 11.0), Settings())
    assert limits.delay(1, 0.5) == 11


@pytest.mark.parametrize("last", [False, True])
def test_a_failure_carries_the_limit_in_force_for_readers(claim: Any, last: bool) -> None:
    limits = replace(LIMITS, noted_attempts=3)
    assert decided(claim(failures=2 if last else 0), Failed("no"), limits).max_attempts == 3


# The history of failed runs.


def test_an_entry_says_attempt_worker_error_and_traceback(claim: Any) -> None:
    decision = decided(claim(attempt=2), Failed("ValueError: no", "Traceback..."))
    assert decision.error == "ValueError: no"
    assert json.loads(decision.entry) == {
        "attempt": 2,
        "worker": "w",
        "error": "ValueError: no",
        "traceback": "Traceback...",
    }


def test_an_entry_without_an_attempt_is_for_recover_to_complete() -> None:
    assert json.loads(history(None, "w", "gone")) == {"worker": "w", "error": "gone"}


@given(st.text(st.characters(exclude_categories=[]), max_size=200), st.booleans())
def test_short_texts_are_kept_and_always_valid_utf8(text: str, tail: bool) -> None:
    kept = cut(text, tail)
    kept.encode()
    assert kept == text.encode("utf-8", "backslashreplace").decode()


@given(st.integers(-5, 40), st.sampled_from(["x", "é", "€", "🚢", "\ud800"]), st.booleans())
def test_long_texts_are_cut_to_8_kib_of_valid_utf8(over: int, character: str, tail: bool) -> None:
    text = "y" * over + character * ERROR_LIMIT
    kept = cut(text, tail)
    assert len(kept.encode()) <= ERROR_LIMIT
    assert len(kept.encode()) > ERROR_LIMIT - 12


def test_the_beginning_of_an_error_is_kept_and_the_end_of_a_traceback() -> None:
    text = "first " + "x" * ERROR_LIMIT + " last"
    assert cut(text).startswith("first ")
    assert cut(text).endswith("...")
    assert cut(text, tail=True).startswith("...")
    assert cut(text, tail=True).endswith(" last")


@given(st.text(st.characters(exclude_categories=[])))
def test_an_entry_is_one_line_of_json_whatever_the_error(error: str) -> None:
    entry = history(1, "w", error, error)
    assert "\n" not in entry
    entry.encode()
    assert json.loads(entry)["worker"] == "w"
