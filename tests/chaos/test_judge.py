"""The judge has teeth: each kind of violation, planted in a history, is found."""

from __future__ import annotations

from typing import Any

import pytest
from judge import VIOLATIONS, Final, Report, added, judge, nothing_charged
from result import Result, percentile, verdict

PID, OTHER, PARENT = 100, 200, 50
LEASE = 3.0


def event(at: float, kind: str, job: str = "a", attempt: int = 1, pid: int = PID) -> dict[str, Any]:
    return {"at": at, "event": kind, "id": job, "attempt": attempt, "pid": pid, "parent": PARENT}


def clean(job: str = "a", attempt: int = 1, at: float = 0.0, pid: int = PID) -> list[Any]:
    asked = [event(at, "attempt", job), event(at, "ack", job)]
    return asked + run(job, attempt, at + 1, pid)


def run(job: str, attempt: int, at: float, pid: int = PID) -> list[Any]:
    steps = ("start", "effect", "end")
    return [event(at + i / 10, k, job, attempt, pid) for i, k in enumerate(steps)]


def cut_short(*, at: float = 1.0) -> list[Any]:
    """Asked for and started, never ended."""
    return [*clean()[:2], event(at, "start")]


def fault(at: float, kind: str, *pids: int, seconds: float = 0.0) -> dict[str, Any]:
    struck = {"pids": list(pids), "connections": 0, "seconds": seconds, "lease": LEASE}
    return {"at": at, "event": "fault", "kind": kind} | struck


def done(attempt: int = 1, **more: int) -> Final:
    return Final("completed", attempt, attempt, result=str(attempt), **more)


def verdict_on(events: list[Any], final: Final | None, **stats: int) -> Report:
    counts = dict.fromkeys(
        "pending scheduled running completed failed cancelled failed_total retried_total "
        "dlq_total".split(),
        0,
    )
    counts |= {"completed": 1, "created_total": 1, "processed_total": 1} | stats
    return judge(events, {} if final is None else {"a": final}, counts)


def test_a_clean_history_is_valid() -> None:
    assert verdict_on(clean(), done()).valid


@pytest.mark.parametrize("final", [None, Final(None), Final("pending"), Final("running", 1)])
def test_an_acknowledged_job_that_did_not_finish_is_lost(final: Final | None) -> None:
    assert verdict_on(clean()[:2], final).lost


def test_a_job_completed_without_effect_is_lost() -> None:
    assert verdict_on(clean()[:2], done()).lost


def test_a_job_given_up_without_three_crashes_is_lost() -> None:
    assert verdict_on(clean(), Final("failed", 1, 1, crashes=2)).lost


def test_a_job_nobody_asked_for_is_unexpected() -> None:
    assert verdict_on([*clean(), *run("b", 1, 5)], done()).unexpected == ["b"]


def test_a_job_given_up_as_planned_is_not_lost() -> None:
    events = clean()[:2]
    for n in (1, 2, 3):
        events += [event(n, "start", attempt=n), event(n + 0.5, "raise", attempt=n)]
    counts = {"completed": 0, "failed": 1, "processed_total": 0}
    totals = {"failed_total": 3, "retried_total": 2, "dlq_total": 1}
    report = verdict_on(events, Final("failed", 3, 3, failures=3), **counts, **totals)
    assert report.valid
    assert report.failed == 1


# Cancelling.


def cancelled(at: float, was: str) -> list[Any]:
    return [event(at, "cancel"), event(at + 0.1, "cancelled") | {"was": was}]


GONE = {"completed": 0, "cancelled": 1, "processed_total": 0}


def test_a_cancelled_job_is_not_lost() -> None:
    report = verdict_on([*clean()[:2], *cancelled(1, "pending")], Final("cancelled"), **GONE)
    assert report.valid
    assert report.cancelled == 1


def test_a_job_cancelled_that_nobody_asked_to_stop_is_lost() -> None:
    assert verdict_on(clean()[:2], Final("cancelled"), **GONE).lost


def test_a_job_that_starts_after_it_was_cancelled_is_unexpected() -> None:
    late = [*clean()[:2], *cancelled(1, "pending"), *run("a", 1, 3)]
    assert verdict_on(late, Final("cancelled"), **GONE).unexpected


def test_a_job_asked_to_stop_while_it_ran_may_start_again() -> None:
    again = [*clean()[:2], *cancelled(1, "running"), *run("a", 1, 3)]
    assert not verdict_on(again, Final("cancelled"), **GONE).unexpected


# A second run.


def test_a_second_run_without_a_fault_is_unexplained() -> None:
    assert verdict_on([*clean(), *run("a", 2, 5, OTHER)], done(2)).unexplained


def test_a_second_run_after_the_death_of_the_first_is_explained() -> None:
    first = [*cut_short(), fault(1.05, "child-kill", PID)]
    report = verdict_on([*first, *run("a", 2, 1.3, OTHER)], done(2, crashes=1))
    assert report.valid
    assert (report.duplicated, report.hits) == (1, {"child-kill": 1})
    assert report.recovery["child-kill"] == [pytest.approx(0.25)]


@pytest.mark.parametrize(
    "kind",
    "client-kill redis-kill outage pause stall full drop-replies delay half-close flush-scripts "
    "clock-jump".split(),
)
def test_no_other_fault_excuses_a_second_run(kind: str) -> None:
    twice = [*cut_short(), fault(1.05, kind, PID, PARENT, seconds=20), *run("a", 2, 1.3, OTHER)]
    assert verdict_on(twice, done(2)).unexplained


@pytest.mark.parametrize("kind", ["child-kill", "worker-kill", "freeze", "black-hole", "stop"])
def test_the_death_or_silence_of_another_process_excuses_nothing(kind: str) -> None:
    twice = [*cut_short(), fault(1.05, kind, 999, seconds=9), *run("a", 2, 1.3, OTHER)]
    assert verdict_on(twice, done(2)).unexplained


def test_the_death_of_a_sibling_excuses_nothing() -> None:
    twice = [*cut_short(), fault(1.05, "child-kill", PARENT), *run("a", 2, 1.3, OTHER)]
    assert verdict_on(twice, done(2)).unexplained


def test_a_death_after_the_second_run_or_long_before_the_first_excuses_nothing() -> None:
    early, late = fault(0.0, "child-kill", PID), fault(9.0, "child-kill", PID)
    twice = [*cut_short(at=3), early, late, *run("a", 2, 4, OTHER)]
    assert verdict_on(twice, done(2)).unexplained


@pytest.mark.parametrize("kind", ["child-kill", "freeze"])
def test_what_strikes_long_after_a_run_ended_excuses_no_second_one(kind: str) -> None:
    def told(at: float) -> Report:
        struck = fault(at, kind, PID, seconds=LEASE)
        return verdict_on([*clean(), struck, *run("a", 2, 50, OTHER)], done(2, crashes=1))

    assert told(9).valid
    assert told(30).unexplained


def test_a_run_cannot_be_settled_while_redis_is_away() -> None:
    def told(*outages: float) -> Report:
        away = [fault(at, "outage", seconds=5.0) for at in outages]
        killed = fault(24.0, "child-kill", PID)
        return verdict_on([*clean(), *away, killed, *run("a", 2, 50, OTHER)], done(2, crashes=1))

    assert told(2.0, 9.0).valid
    assert told(2.0).unexplained
    assert told(2.0, 30.0).unexplained, "that one came later"


@pytest.mark.parametrize("kind", ["freeze", "black-hole"])
def test_a_silence_excuses_a_second_run_only_from_a_lease_on(kind: str) -> None:
    def told(seconds: float) -> Report:
        silent = fault(1.5, kind, PARENT, PID, seconds=seconds)
        return verdict_on([*cut_short(), silent, *run("a", 2, 9, OTHER)], done(2, crashes=1))

    assert told(LEASE).valid
    assert told(LEASE - 0.1).unexplained


def test_a_stop_excuses_only_what_outlasted_the_drain() -> None:
    def told(first: list[Any], seconds: float) -> Report:
        stop = fault(1.5, "stop", PARENT, PID, seconds=seconds)
        return verdict_on([*first, stop, *run("a", 2, 12, OTHER)], done(2))

    assert told(cut_short(), 8.0).valid
    assert told(cut_short(), 2.0).unexplained
    assert told(clean(), 8.0).unexplained


def test_one_attempt_started_twice_is_never_excused() -> None:
    first = [*cut_short(), fault(1.05, "child-kill", PID)]
    assert verdict_on([*first, *run("a", 1, 1.3, OTHER)], done(1)).unexplained


def test_a_thawed_run_that_starts_after_its_successor_is_told_by_its_attempt() -> None:
    frozen = fault(1.0, "freeze", PARENT, PID, seconds=LEASE + 5)
    asked, second, first = clean()[:2], run("a", 2, 8, OTHER), run("a", 1, 9.5)
    assert verdict_on([*asked, frozen, *second, *first], done(2, crashes=1)).valid


def test_a_planned_failure_is_no_duplicate() -> None:
    raised = [*cut_short(), event(1.1, "raise")]
    final = done(2, failures=1)
    report = verdict_on([*raised, *run("a", 2, 3)], final, failed_total=1, retried_total=1)
    assert report.valid
    assert report.duplicated == 0


def test_a_snooze_is_no_duplicate() -> None:
    snoozed = [*cut_short(), event(1.1, "snooze")]
    report = verdict_on([*snoozed, *run("a", 2, 3)], done(2))
    assert report.valid
    assert report.duplicated == 0


# Results, charges, counters.


def test_a_result_of_a_superseded_attempt_is_stale() -> None:
    assert verdict_on(clean(), Final("completed", 2, 1, result="1")).stale
    assert verdict_on(clean(), Final("completed", 2, 2, result="1")).stale


def test_more_results_than_completed_jobs_are_stale() -> None:
    assert verdict_on(clean(), done(), processed_total=2).stale


def test_a_failure_that_no_handler_raised_is_a_charge() -> None:
    assert verdict_on(clean(), done(failures=1), failed_total=1, retried_total=1).charged


@pytest.mark.parametrize("final", [done(failures=1), done(crashes=1)])
def test_where_nothing_may_be_charged_each_charge_is_told(final: Final) -> None:
    assert nothing_charged({"a": final})
    assert not nothing_charged({"a": done()})


@pytest.mark.parametrize(
    "wrong", [{"pending": 1}, {"failed_total": 1}, {"created_total": 2, "pending": 1}]
)
def test_accounts_that_do_not_add_up_are_found(wrong: dict[str, int]) -> None:
    assert verdict_on(clean(), done(), **wrong).accounts


# Faults.


def test_a_fault_that_struck_nothing_does_not_count_as_a_hit() -> None:
    late = [*clean(), fault(9, "child-kill", PID)]
    assert verdict_on(late, done()).hits == {"child-kill": 0}


@pytest.mark.parametrize("kind", ["freeze", "outage"])
def test_a_silence_shorter_than_the_lease_does_not_count_as_a_hit(kind: str) -> None:
    def hits(seconds: float) -> dict[str, int]:
        struck = fault(1.05, kind, PID, seconds=seconds)
        return verdict_on([*clean(), struck], done()).hits

    assert (hits(LEASE + 1), hits(LEASE - 1)) == ({kind: 1}, {kind: 0})


def test_a_recovery_is_measured_from_the_death_that_cut_the_run_short() -> None:
    """A pid may come again: neither an earlier nor a later death of it counts."""
    deaths = [fault(at, "child-kill", PID) for at in (0.5, 1.05, 7.0)]
    report = verdict_on([*cut_short(), *deaths, *run("a", 2, 1.3, OTHER)], done(2))
    assert report.recovery["child-kill"] == [pytest.approx(0.25)]


@pytest.mark.parametrize("planned", [{"child-kill": 2}, {"freeze": 1}])
def test_fewer_faults_that_struck_than_planned_are_a_violation(planned: dict[str, int]) -> None:
    first = [*cut_short(), fault(1.05, "child-kill", PID), fault(9, "freeze", PID, seconds=9)]
    events = [*first, *run("a", 2, 1.3, OTHER)]
    stats = {"completed": 1, "created_total": 1, "processed_total": 1}
    counts = dict.fromkeys(
        "pending scheduled running failed cancelled failed_total retried_total dlq_total".split(), 0
    )
    finals = {"a": done(2, crashes=1)}
    assert judge(events, finals, counts | stats, planned={"child-kill": 1}).valid
    assert judge(events, finals, counts | stats, planned=planned).short


def test_a_finding_of_check_is_a_violation() -> None:
    assert not Report(check=["lost a: it lies in no place"]).valid


# Sums and tables.


def test_several_runs_add_up_to_one() -> None:
    one, two = Report(attempted=1, lost=["a"], hits={"x": 1}), Report(attempted=2, hits={"x": 2})
    total = added([one, two])
    assert (total.attempted, total.lost, total.hits) == (3, ["a"], {"x": 3})


@pytest.mark.parametrize("kind", VIOLATIONS)
def test_every_kind_of_violation_fails_the_act(kind: str) -> None:
    good, bad = Result("storm"), Result("storm")
    verdict(good, Report())
    verdict(bad, Report(**{kind: ["planted"]}))
    assert good.valid
    assert not bad.valid
    assert bad.violations == [f"{kind}: planted"]


def test_a_row_that_is_not_as_asked_fails_the_act() -> None:
    result = Result("stalls")
    result.none("workers held for dead", 1)
    assert not result.valid


def test_a_percentile_is_a_measured_value() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([3.0], 0.99)) == (
        50.0,
        99.0,
        3.0,
    )
