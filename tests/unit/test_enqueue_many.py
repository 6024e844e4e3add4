"""Ferryman.enqueue_many: what is wrong is named by its place, and nothing half is accepted."""

from __future__ import annotations

from typing import Any

import pytest

from ferryman import Ferryman, Handle, IdempotencyConflict, InvalidJob
from ferryman.config import Settings
from ferryman.store import Store


@pytest.fixture
def ferry(settings: Settings, store: Store) -> Ferryman:
    return Ferryman(settings, store)


def test_the_handles_come_in_the_order_of_the_jobs(ferry: Ferryman) -> None:
    jobs = ({"type": "a", "payload": n, "priority": "low"} for n in range(1000))
    handles = ferry.enqueue_many(jobs)
    assert [handles[n].job().payload for n in (0, 1, 999)] == ["0", "1", "999"]
    assert all(handle.is_new for handle in handles)


def test_no_jobs_are_no_handles(ferry: Ferryman) -> None:
    assert ferry.enqueue_many([]) == []


def test_a_payload_that_is_none_is_null_and_a_missing_one_is_an_object(ferry: Ferryman) -> None:
    none, missing = ferry.enqueue_many([{"type": "a", "payload": None}, {"type": "a"}])
    assert (none.job().payload, missing.job().payload) == ("null", "{}")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"type": "a", "queue": "no queue"}, "/1/queue"),
        ({"type": "a", "que": "q"}, "/1/que"),
        ({"payload": 1}, "/1/type"),
        ({"type": "a", "payload": object()}, "/1/payload"),
        ({"type": "a", 1: 2}, "/1"),
        ("a", "/1"),
        (None, "/1"),
    ],
)
def test_a_wrong_job_is_named_and_none_is_accepted(
    ferry: Ferryman, store: Store, wrong: Any, pointer: str
) -> None:
    with pytest.raises(InvalidJob) as caught:
        ferry.enqueue_many([{"type": "a"}, wrong, {"type": "a"}])
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert store.stats().total == 0


def test_more_than_a_thousand_are_refused(ferry: Ferryman, store: Store) -> None:
    with pytest.raises(InvalidJob, match="at most 1000 jobs, got 1001"):
        ferry.enqueue_many([{"type": "a"}] * 1001)
    assert store.stats().total == 0


def test_the_same_key_again_gives_the_first_jobs(ferry: Ferryman, store: Store) -> None:
    def again(number: int = 3) -> list[Handle]:
        return ferry.enqueue_many([{"type": "a"}] * number, idempotency_key="nightly")

    first, second = again(), again()
    assert [h.id for h in first] == [h.id for h in second]
    assert not any(handle.is_new for handle in second)
    with pytest.raises(IdempotencyConflict):
        again(4)
    assert store.stats().total == 3


def test_a_key_of_its_own_under_a_key_for_all_is_refused(ferry: Ferryman, store: Store) -> None:
    jobs = [{"type": "a"}, {"type": "a", "idempotency_key": "mine"}]
    with pytest.raises(InvalidJob) as caught:
        ferry.enqueue_many(jobs, idempotency_key="all")
    assert [error.pointer for error in caught.value.errors] == ["/1"]
    assert store.stats().total == 0
