"""Handlers: options checked at definition, payloads fitted to parameters."""

from __future__ import annotations

from typing import Any

import pytest
import tenacity
from pydantic import BaseModel

from ferryman import Backoff, ConfigError, Context, Ferryman, InvalidJob
from ferryman.context import BadPayload
from ferryman.draft import draft

HERE = Context("id", "t", "default", 1, 0, 3, 60.0)


class Letter(BaseModel):
    to: str
    copies: int = 1


def run(function: Any, payload: Any) -> Any:
    return Ferryman().job("t")(function).call(payload, HERE)


def test_an_object_fills_the_parameters_by_name() -> None:
    def f(url: str, width: int = 200) -> tuple[str, int]:
        return url, width

    assert run(f, {"url": "u"}) == ("u", 200)
    assert run(f, {"url": "u", "width": "7"}) == ("u", 7)


@pytest.mark.parametrize("payload", [{}, {"url": 1.5}, {"url": "u", "colour": 1}, [1], None])
def test_a_payload_that_does_not_fit_says_so(payload: Any) -> None:
    def f(url: str, width: int = 200) -> None: ...

    with pytest.raises(BadPayload, match="payload does not fit"):
        run(f, payload)


def test_any_other_value_is_the_only_parameter() -> None:
    def f(n: list[int]) -> int:
        return sum(n)

    assert run(f, [1, 2, 3]) == 6
    with pytest.raises(BadPayload):
        run(f, "text")


def test_one_model_takes_the_whole_object() -> None:
    def f(letter: Letter) -> Letter:
        return letter

    assert run(f, {"to": "x"}) == Letter(to="x")
    with pytest.raises(BadPayload, match="to"):
        run(f, {})


def test_keyword_parameters_take_what_is_left() -> None:
    def f(a: int, **rest: Any) -> dict[str, Any]:
        return {"a": a, "rest": rest}

    assert run(f, {"a": 1, "b": 2}) == {"a": 1, "rest": {"b": 2}}


def test_the_context_is_given_where_it_is_annotated() -> None:
    def f(a: int, *, ctx: Context) -> int:
        return a + ctx.attempt

    assert run(f, {"a": 1}) == 2


def test_names_that_pydantic_uses_itself_are_fine() -> None:
    def f(json: str, copy: int, model_config: int = 3) -> tuple[str, int, int]:
        return json, copy, model_config

    assert run(f, {"json": "j", "copy": 2}) == ("j", 2, 3)


def test_no_parameters_take_an_empty_payload_only() -> None:
    def f() -> str:
        return "ran"

    assert run(f, {}) == "ran"
    with pytest.raises(BadPayload):
        run(f, {"a": 1})


def test_an_unknown_option_names_the_nearest_right_one() -> None:
    with pytest.raises(ConfigError, match="unknown option 'max_attempt'; did you mean max_att"):
        Ferryman().job("t", max_attempt=3)(lambda: None)


@pytest.mark.parametrize(
    "options",
    [
        {"queue": "a:b"},
        {"queue": 5},
        {"max_attempts": 0},
        {"max_attempts": "3"},
        {"timeout": 0},
        {"timeout": "3"},
        {"backoff": 5},
    ],
)
def test_a_wrong_option_is_an_error_at_definition(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Ferryman().job("t", **options)(lambda: None)


@pytest.mark.parametrize("name", ["", "a\n", "x" * 129])
def test_a_name_no_job_could_have_is_an_error_at_definition(name: str) -> None:
    with pytest.raises(ConfigError, match="printable"):
        Ferryman().job(name)(lambda: None)


def test_an_argument_that_is_no_json_is_an_invalid_job() -> None:
    @Ferryman().job
    def show(what: object) -> None: ...

    with pytest.raises(InvalidJob, match="/payload/what"):
        show.enqueue(object())


def test_a_name_can_be_registered_once() -> None:
    ferry = Ferryman()
    ferry.job("t")(lambda: None)
    with pytest.raises(ConfigError, match="twice"):
        ferry.job("t")(lambda: None)


def test_parameters_that_have_no_name_are_refused_at_definition() -> None:
    def f(*numbers: int) -> None: ...

    with pytest.raises(ConfigError, match="by name"):
        Ferryman().job("t")(f)


def test_the_handler_stays_a_plain_function() -> None:
    @Ferryman().job
    def double(n: int) -> int:
        return 2 * n

    assert double(4) == 8
    assert double.name == "double"


def test_enqueue_is_typed_like_the_function_and_sends_its_parameters(store, settings) -> None:
    ferry = Ferryman(settings, store=store)

    @ferry.job("thumbnail", queue="images")
    def thumbnail(url: str, width: int = 200) -> None: ...

    plain = thumbnail.enqueue(url="u", width=5).job()
    assert (plain.queue, plain.payload) == ("images", '{"url":"u","width":5}')
    later = thumbnail.options(delay=30, priority="high").enqueue("u").job()
    assert (later.state, later.priority, later.payload) == ("scheduled", "high", '{"url":"u"}')


def test_a_type_asked_for_by_name_goes_to_its_queue_unless_another_is_said(store, settings) -> None:
    ferry = Ferryman(settings, store=store)
    ferry.job("thumbnail", queue="images")(lambda: None)
    asked = {"own": {}, "none": {"queue": None}, "said": {"queue": "default"}}
    one = {k: ferry.enqueue("thumbnail", **said).job().queue for k, said in asked.items()}
    assert one == {"own": "images", "none": "images", "said": "default"}
    many = ferry.enqueue_many([{"type": "thumbnail"} | said for said in asked.values()])
    assert [handle.job().queue for handle in many] == ["images", "images", "default"]
    assert ferry.enqueue("elsewhere").job().queue == "default"


def test_a_repeat_is_the_first_job_whether_or_not_its_type_is_registered(store, settings) -> None:
    ferry = Ferryman(settings, store=store)
    ferry.job("thumbnail", queue="images")(lambda: None)
    assert store.enqueue([draft("thumbnail", id="posted")]) == [("posted", True)]
    assert not ferry.enqueue("thumbnail", id="posted").is_new
    assert ferry.enqueue("thumbnail", id="asked").is_new
    assert store.enqueue([draft("thumbnail", id="asked")]) == [("asked", False)]


def test_a_model_is_sent_as_its_object(store, settings) -> None:
    ferry = Ferryman(settings, store=store)

    @ferry.job("post")
    def post(letter: Letter) -> None: ...

    assert post.enqueue(Letter(to="x")).job().payload == '{"to":"x"}'


def test_a_tenacity_wait_is_a_formula_and_never_slept() -> None:
    ferry = Ferryman()
    wait = tenacity.wait_exponential(multiplier=1, max=30)
    made = ferry.job("t", backoff=wait)(lambda: None)
    formula = made.defaults.backoff
    assert not isinstance(formula, Backoff)
    assert [formula(n, 0.5) for n in (1, 2, 3, 9)] == [1, 2, 4, 30]  # type: ignore[misc]
