"""Servers, settings and stores for every test.

Each pytest process starts servers of its own: the embedded Valkey and, for tests under
tests/store and those marked `both_servers`, Debian's redis-server too where it is installed.
Nothing here ever touches REDIS_URL.

    FERRYMAN_TEST_SERVER=valkey|redis   every test on this server only
    FERRYMAN_TEST_REDIS_URL=redis://... every test on that server, refused unless it is empty
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import settings as hypothesis_settings

from ferryman.config import Settings
from ferryman.embedded import EmbeddedServer
from ferryman.keys import Keys
from ferryman.store import Store

BINARIES = {"valkey": None, "redis": "redis-server"}

# Nothing a developer has set may reach a test or the processes it starts.
_USUAL = "REDIS_URL REDIS_PASSWORD REDIS_PASSWORD_FILE PORT NUM_WORKERS SMTP_URL MAIL_FROM".split()
for _name in list(os.environ):
    if _name in _USUAL or (
        _name.startswith(("FERRYMAN_", "OTEL_")) and not _name.startswith("FERRYMAN_TEST_")
    ):
        del os.environ[_name]

GIVEN_URL = os.environ.get("FERRYMAN_TEST_REDIS_URL")
GIVEN_KIND = os.environ.get("FERRYMAN_TEST_SERVER")

# A server's answer takes as long as the machine is busy; the whole test has its timeout.
hypothesis_settings.register_profile("ferryman", deadline=None)
hypothesis_settings.load_profile("ferryman")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse settings under which the tests would lie or do harm; once, before any worker."""
    if GIVEN_KIND not in {None, *BINARIES}:
        pytest.exit(f"FERRYMAN_TEST_SERVER: expected valkey or redis, got {GIVEN_KIND!r}", 4)
    if GIVEN_URL and not hasattr(config, "workerinput"):
        trouble = _trouble(GIVEN_URL)
        if trouble:
            pytest.exit(f"FERRYMAN_TEST_REDIS_URL: {trouble}; nothing was run", 4)


def _trouble(url: str) -> str | None:
    """Why the tests may not use this server; None when they may."""
    try:
        with contextlib.closing(redis.Redis.from_url(url)) as client:
            return "that server is not empty" if client.dbsize() else None
    except (redis.RedisError, ValueError) as error:
        return str(error)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of the store's promises run once on each kind of server there is."""
    if "redis_kind" in metafunc.fixturenames:
        metafunc.parametrize("redis_kind", _kinds(metafunc), indirect=True, scope="session")


def _kinds(metafunc: pytest.Metafunc) -> list[str]:
    if GIVEN_URL:
        return ["given"]
    if GIVEN_KIND:
        return [GIVEN_KIND]
    both = metafunc.definition.path.parent.name == "store" or any(
        metafunc.definition.iter_markers("both_servers")
    )
    return ["valkey", "redis"] if both and shutil.which("redis-server") else ["valkey"]


@pytest.fixture(scope="session")
def redis_kind(request: pytest.FixtureRequest) -> str:
    """Which server this test runs on: valkey, redis or given."""
    return str(request.param)


@pytest.fixture(scope="session")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, EmbeddedServer]]:
    """The servers this pytest process has started so far, by kind."""
    servers: dict[str, EmbeddedServer] = {}
    yield servers
    for server in servers.values():
        server.stop()


@pytest.fixture(scope="session")
def redis_server(
    redis_kind: str,
    _servers: dict[str, EmbeddedServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> EmbeddedServer | None:
    """The shared server of this pytest process; None when FERRYMAN_TEST_REDIS_URL is used.

    It is shared: a test that stops, freezes or fills a server takes `start_server`.
    """
    if redis_kind == "given":
        return None
    if redis_kind not in _servers:
        server = EmbeddedServer(
            tmp_path_factory.mktemp(redis_kind), binary=BINARIES[redis_kind], persist=False
        )
        server.start()
        _servers[redis_kind] = server
    return _servers[redis_kind]


@pytest.fixture(scope="session")
def redis_url(redis_server: EmbeddedServer | None) -> str:
    """The address of the shared server."""
    return redis_server.url if redis_server else str(GIVEN_URL)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., EmbeddedServer]]:
    """Starts servers that belong to one test: it may stop, freeze or fill them."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> EmbeddedServer:
            data = options.pop("data", tmp_path / f"server-{uuid.uuid4().hex[:8]}")
            options = {"binary": BINARIES[GIVEN_KIND or "valkey"], "persist": False} | options
            return stack.enter_context(EmbeddedServer(data, **options))

        yield start


@pytest.fixture
def namespace(redis_url: str) -> Iterator[str]:
    """A key namespace only this test has; its keys are gone afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    yield name
    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        for keys in _batches(client.scan_iter(f"{name}:*", count=1000), 1000):
            client.unlink(*keys)


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


@pytest.fixture
def keys(namespace: str) -> Keys:
    """The keys of this test's own namespace."""
    return Keys(namespace=namespace)


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """The defaults, with the test's server and folders."""
    return Settings(redis_url=redis_url, data=str(tmp_path / "data"), files=str(tmp_path / "files"))


@pytest.fixture
def store(settings: Settings, keys: Keys) -> Iterator[Store]:
    """A store on the test's server and namespace."""
    store = Store(settings, keys)
    yield store
    store.close()


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """The server itself, replies as text: to look at every list whole, or to do harm."""
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    yield client
    client.close()
