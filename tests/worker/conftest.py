"""What the worker's tests share: a job as a child gets it, and a proxy before the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.worker.proxy import Proxy

from ferryman.store import Claimed

Claim = Callable[..., Claimed]


@pytest.fixture(scope="session")
def claim() -> Claim:
    """Makes a begun job; fields not given are at their defaults."""

    def make(**fields: object) -> Claimed:
        defaults: dict[str, object] = {
            "id": "a",
            "attempt": 1,
            "type": "t",
            "payload": "{}",
            "queue": "default",
            "priority": "normal",
            "failures": 0,
            "crashes": 0,
            "max_attempts": None,
            "timeout": None,
            "backoff": None,
            "tags": None,
            "meta": None,
        }
        return Claimed(**(defaults | fields))  # type: ignore[arg-type]

    return make


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    """A proxy before the test's server."""
    proxy = Proxy(redis_url)
    yield proxy
    proxy.close()
