"""What the API's tests share: a client that holds every answer against /openapi.json, and a hand
that does what a worker would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from ferryman.config import Settings
from ferryman.decision import Bury, Decision, Finish, Retry
from ferryman.keys import LEVELS
from ferryman.store import Claimed, Port, Store
from ferryman_api.app import create_app
from ferryman_api.context import Api

WORKER = "host:1:abc"
SILENT = Settings(redis_url="redis://127.0.0.1:1/0")
"""Nobody listens there."""


class CheckedClient(FlaskClient):
    """A test client; an answer the description does not foresee fails the test."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        answer = super().open(*args, **kwargs)
        check(self.application, answer)
        return answer


def check(app: Api, answer: TestResponse) -> None:
    """The answer's status, media type and body are those of the description."""
    path, method = answer.request.path, answer.request.method.lower()
    try:
        rule, _ = app.url_map.bind("").match(path, method.upper(), return_rule=True)
    except HTTPException:
        assert answer.status_code in {404, 405}
        assert answer.content_type == "application/problem+json"
        return
    template = re.sub(r"<(\w+)>", r"{\1}", rule.rule)
    operation = app.api_doc["paths"][template]["get" if method == "head" else method]
    documented = operation["responses"]
    assert str(answer.status_code) in documented, f"{method} {path}: {answer.status} {answer.text}"
    content = documented[str(answer.status_code)].get("content", {})
    kind = (answer.content_type or "").split(";")[0]
    if content and method != "head":
        assert kind in content or kind == "application/openmetrics-text"
    if kind.endswith("json") and "schema" in content.get(kind, {}) and answer.data:
        fits_description(app, content[kind]["schema"], answer.json)


def fits_description(app: Api, schema: dict[str, Any], value: Any) -> None:
    """The value fits the schema, references into the description included."""
    Draft202012Validator(schema | {"components": app.api_doc["components"]}).validate(value)


@pytest.fixture
def validate() -> Callable[[Api, dict[str, Any], Any], None]:
    """Raises ValidationError when a value does not fit a schema of the description."""
    return fits_description


@pytest.fixture
def app(settings: Settings, store: Store) -> Api:
    """The API on this test's namespace."""
    return make(settings, store)


def make(settings: Settings, store: Store | None = None) -> Api:
    """An API whose test client checks every answer."""
    app = create_app(settings, store)
    app.test_client_class = CheckedClient
    return app


@pytest.fixture
def make_client(settings: Settings, store: Store) -> Callable[..., FlaskClient]:
    """Makes a client of an API with other settings: make_client(max_pending=2)."""

    def make_client(**changes: Any) -> FlaskClient:
        changed = replace(settings, **changes)
        return make(changed, Store(changed, store.keys)).test_client()

    return make_client


@pytest.fixture
def client(app: Api) -> FlaskClient:
    """A client of the API."""
    return app.test_client()


@pytest.fixture
def deaf() -> FlaskClient:
    """A client of an API whose Redis is away."""
    return make(SILENT).test_client()


@pytest.fixture
def post(client: FlaskClient) -> Callable[..., str]:
    """Posts a job of type "a" with these fields; gives its id."""

    def post(**fields: Any) -> str:
        answer = client.post("/jobs", json={"type": "a"} | fields)
        assert answer.status_code in {200, 201}, answer.text
        return str(answer.json["job_id"])

    return post


class Hand:
    """A worker's hand: begins jobs of the queue `default` and settles them."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.store = store
        store.register(WORKER, ["default"], {"host": "host", "pid": 1})
        lists = [store.keys.pending_name("default", level) for level in LEVELS]
        self._port = Port(settings, store.keys, WORKER, lists)

    def begin(self, number: int = 1) -> list[Claimed]:
        """Begin up to so many jobs."""
        return self._port.turn([], number).jobs

    def settle(self, *decisions: Decision) -> None:
        """Settle attempts; all must still be ours."""
        assert not self._port.turn(decisions, 0).fenced

    def finish(self, job: Claimed, result: Any = None, seconds: float = 0.01) -> None:
        text = None if result is None else json.dumps(result)
        self.settle(Finish(job.id, job.attempt, text, seconds))

    def retry(self, job: Claimed, error: str = "boom", delay: float = 60.0) -> None:
        self.settle(Retry(job.id, job.attempt, delay, error, self._entry(job, error)))

    def bury(self, job: Claimed, error: str = "boom") -> None:
        self.settle(Bury(job.id, job.attempt, error, self._entry(job, error)))

    def close(self) -> None:
        self._port.reset()

    @staticmethod
    def _entry(job: Claimed, error: str) -> str:
        return json.dumps({"attempt": job.attempt, "error": error, "worker": WORKER})


@pytest.fixture
def hand(settings: Settings, store: Store) -> Iterator[Hand]:
    """A hand on this test's jobs."""
    hand = Hand(settings, store)
    yield hand
    hand.close()


@pytest.fixture
def finished(hand: Hand, post: Callable[..., str]) -> Callable[..., str]:
    """Makes a job that has come to its end: "completed", "failed" or "cancelled"; gives its id."""

    def finished(state: str = "completed", **fields: Any) -> str:
        job_id = post(**fields)
        if state == "cancelled":
            hand.store.cancel(job_id)
            return job_id
        (job,) = hand.begin()
        hand.finish(job) if state == "completed" else hand.bury(job)
        return job_id

    return finished
