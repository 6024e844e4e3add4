"""What a job may look like: everything wrong with it is named at once, with its place."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ferryman import Backoff, ConfigError, Ferryman, InvalidJob
from ferryman.draft import MISSING, draft
from ferryman.ids import shard_of


def pointers(type: object = "t", payload: object = MISSING, **options: object) -> list[str]:
    with pytest.raises(InvalidJob) as caught:
        draft(type, payload, **options)  # type: ignore[arg-type]
    return [e.pointer for e in caught.value.errors]


def test_a_plain_job_gets_an_id_of_shard_0_and_no_digest() -> None:
    made = draft("uppercase", {"input": "x"})
    assert shard_of(made.id) == 0
    assert made.digest is None
    assert made.fields() == {"type": "uppercase", "payload": '{"input":"x"}'}


def test_everything_wrong_is_named_in_one_answer() -> None:
    found = pointers("", {}, queue="a:b", priority="urgent", delay=-1, max_attempts=0, tags="x")
    assert found == ["/type", "/queue", "/priority", "/delay", "/max_attempts", "/tags"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "has space"), ("id", "x" * 129), ("id", ""), ("queue", "x" * 65), ("queue", "a:b"),
        ("priority", []), ("queue", ""),
        ("priority", 4), ("priority", True), ("priority", "High"), ("delay", math.nan),
        ("delay", True), ("delay", "5"), ("run_at", -1), ("timeout", 0), ("timeout", math.inf),
        ("max_attempts", 1.5), ("max_attempts", 1001), ("backoff", 3), ("backoff", {"bse": 1}),
        ("backoff", {"factor": 0.5}), ("backoff", {"jitter": "half"}), ("backoff", {"base": "1"}),
        ("tags", ["ok", ""]), ("tags", [1]), ("tags", ["x"] * 21), ("tags", ["\ud800"]),
        ("meta", []), ("meta", {"x": "y" * 5000}), ("idempotency_key", ""),
        ("idempotency_key", "k" * 256), ("unique_key", "later"),
    ],
)  # fmt: skip
def test_a_bad_option_is_refused_by_name(name: str, value: object) -> None:
    assert pointers(**{name: value}) == [f"/{name}"]


@pytest.mark.parametrize("payload", [math.nan, {"a": math.inf}, "\ud800", {1, 2}, object()])
def test_a_payload_that_is_no_json_is_refused(payload: object) -> None:
    assert pointers(payload=payload) == ["/payload"]


def test_a_payload_nested_past_python_s_stack_is_refused_not_a_crash() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert pointers(payload=deep) == ["/payload"]


def test_no_payload_is_an_empty_object_and_none_is_null() -> None:
    assert (draft("t").payload, draft("t", None).payload) == ("{}", "null")


def test_delay_and_run_at_together_are_refused() -> None:
    assert pointers(delay=1, run_at=2) == ["/run_at"]


def test_big_numbers_and_text_pass_untouched() -> None:
    assert draft("t", {"n": 2**80, "s": "\u0000ä😀"}).payload == f'{{"n":{2**80},"s":"\\u0000ä😀"}}'


def test_numbers_stand_for_priorities() -> None:
    assert [draft("t", priority=n).priority for n in (3, 2, 1)] == ["high", "normal", "low"]


def test_the_digest_tells_one_body_from_another_whoever_repeats_it() -> None:
    one = draft("t", {"a": 1}, id="x", delay=5)
    assert one.digest == draft("t", {"a": 1}, id="x", delay=5).digest
    assert one.digest == draft("t", {"a": 1}, id="x", idempotency_key="k", delay=5).digest
    assert (
        draft("t", {"a": 1, "b": 2}, id="x").digest == draft("t", {"b": 2, "a": 1}, id="x").digest
    )
    others = [draft("t", {"a": 2}, id="x", delay=5), draft("t", {"a": 1}, id="x", delay=6)]
    others += [draft("t", {"a": 1}, id="y", delay=5)]
    others += [draft("u", {"a": 1}, id="x", delay=5), draft("t", {"a": 1}, id="x")]
    assert one.digest not in {o.digest for o in others}


def test_a_backoff_may_be_an_object_or_a_backoff() -> None:
    given = draft("t", backoff={"base": 2, "jitter": "full"}).backoff
    assert given == Backoff(base=2, jitter="full") == draft("t", backoff=given).backoff


def test_a_wrong_backoff_is_a_config_error_in_code() -> None:
    with pytest.raises(ConfigError, match="factor: expected 1 to 100"):
        Backoff(factor=0)


@pytest.mark.parametrize("value", ["1", None, True, [1], float("nan")])
@pytest.mark.parametrize("name", ["base", "factor", "cap", "jitter"])
def test_a_backoff_of_another_kind_is_a_config_error_that_says_what_was_expected(
    name: str, value: Any
) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=f"{name}: expected [01] to "):
        Backoff(**given)


def details(*args: Any, **options: Any) -> list[str]:
    with pytest.raises(InvalidJob) as info:
        draft(*args, **options)
    return [e.detail for e in info.value.errors]


def test_a_type_that_is_missing_is_said_to_be() -> None:
    assert details(MISSING) == ["missing; expected 1 to 128 printable characters"]
    assert details("") == ["expected 1 to 128 printable characters"]
    with pytest.raises(InvalidJob, match="/0/type: missing"):
        Ferryman().enqueue_many([{"payload": 1}])


def test_run_at_says_that_it_takes_epoch_seconds() -> None:
    said = ["expected epoch seconds, 0 to 253402300799"]
    assert details("t", run_at="tomorrow") == details("t", run_at=1e13) == said
