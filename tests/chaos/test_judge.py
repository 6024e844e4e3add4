"""The judge has teeth: each kind of violation, planted in a history, is found."""

from __future__ import annotations

from typing import Any

import pytest
from judge import Final, Report, judge

PID, OTHER = 100, 200


def event(at: float, kind: str, job: str = "a", attempt: int = 1, pid: int = PID) -> dict[str, Any]:
    return {"at": at, "event": kind, "id": job, "attempt": attempt, "pid": pid}


def clean(job: str = "a", attempt: int = 1, at: float = 0.0, pid: int = PID) -> list[Any]:
    asked = [event(at, "attempt", job), event(at, "ack", job)]
    return asked + run(job, attempt, at + 1, pid)


def run(job: str, attempt: int, at: float, pid: int = PID) -> list[Any]:
    steps = ("start", "effect", "end")
    return [event(at + i / 10, k, job, attempt, pid) for i, k in enumerate(steps)]


def fault(at: float, kind: str, *pids: int) -> dict[str, Any]:
    return {"at": at, "event": "fault", "kind": kind, "pids": list(pids), "connections": 0}


def verdict(events: list[Any], final: Final | None, **stats: int) -> Report:
    counts = dict.fromkeys(
        "pending scheduled running completed failed cancelled failed_total retried_total "
        "dlq_total".split(),
        0,
    )
    counts |= {"completed": 1, "created_total": 1, "processed_total": 1} | stats
    return judge(events, {} if final is None else {"a": final}, counts)


def test_a_clean_history_is_valid() -> None:
    assert verdict(clean(), Final("completed", 1, 1)).valid


@pytest.mark.parametrize("final", [None, Final(None), Final("pending"), Final("running", 1)])
def test_an_acknowledged_job_that_did_not_finish_is_lost(final: Final | None) -> None:
    assert verdict(clean()[:2], final).lost


def test_a_job_completed_without_effect_is_lost() -> None:
    assert verdict(clean()[:2], Final("completed", 1, 1)).lost


def test_a_job_given_up_without_three_crashes_is_lost() -> None:
    assert verdict(clean(), Final("failed", 1, 1, crashes=2)).lost


def test_a_job_nobody_asked_for_is_unexpected() -> None:
    assert verdict([*clean(), *run("b", 1, 5)], Final("completed", 1, 1)).unexpected == ["b"]


def test_a_second_run_without_a_fault_is_unexplained() -> None:
    twice = [*clean(), *run("a", 2, 5, OTHER)]
    assert verdict(twice, Final("completed", 2, 2)).unexplained


def test_a_second_run_after_the_death_of_the_first_is_explained() -> None:
    first = [*clean()[:3], fault(1.05, "child-kill", PID)]
    report = verdict([*first, *run("a", 2, 1.3, OTHER)], Final("completed", 2, 2))
    assert report.valid
    assert (report.duplicated, report.hits) == (1, {"child-kill": 1})
    assert report.recovery["child-kill"] == [pytest.approx(0.25)]


@pytest.mark.parametrize("kind", ["client-kill", "redis-kill", "outage", "pause", "drop-replies"])
def test_no_other_fault_excuses_a_second_run(kind: str) -> None:
    twice = [*clean(), fault(1.05, kind, PID), *run("a", 2, 1.3, OTHER)]
    assert verdict(twice, Final("completed", 2, 2)).unexplained


def test_the_death_of_another_process_excuses_nothing() -> None:
    twice = [*clean(), fault(1.05, "child-kill", 999), *run("a", 2, 1.3, OTHER)]
    assert verdict(twice, Final("completed", 2, 2)).unexplained


def test_a_planned_failure_is_no_duplicate() -> None:
    asked = clean()[:2]
    raised = [event(1, "start"), event(1.1, "raise")]
    final = Final("completed", 2, 2, failures=1)
    report = verdict([*asked, *raised, *run("a", 2, 3)], final, failed_total=1, retried_total=1)
    assert report.valid
    assert report.duplicated == 0


def test_a_result_of_a_superseded_attempt_is_stale() -> None:
    assert verdict(clean(), Final("completed", 2, 1)).stale


def test_more_results_than_completed_jobs_are_stale() -> None:
    assert verdict(clean(), Final("completed", 1, 1), processed_total=2).stale


@pytest.mark.parametrize(
    "wrong", [{"pending": 1}, {"failed_total": 1}, {"created_total": 2, "pending": 1}]
)
def test_accounts_that_do_not_add_up_are_found(wrong: dict[str, int]) -> None:
    assert verdict(clean(), Final("completed", 1, 1), **wrong).accounts


def test_a_fault_that_struck_nothing_does_not_count_as_a_hit() -> None:
    late = [*clean(), fault(9, "child-kill", PID)]
    assert verdict(late, Final("completed", 1, 1)).hits == {"child-kill": 0}
