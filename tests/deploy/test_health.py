"""The image's health check says no when the role is not doing its work."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from types import ModuleType

import pytest
from tests.deploy.tools import ROOT

from ferryman.config import Settings
from ferryman.embedded import EmbeddedServer, free_port
from ferryman.store import Store

SCRIPT = ROOT / "deploy/health.py"


@pytest.fixture
def health() -> ModuleType:
    spec = importlib.util.spec_from_file_location("health", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def redis_of_its_own(start_server, monkeypatch) -> EmbeddedServer:
    """A server on which no worker is registered, named in the environment."""
    server = start_server()
    monkeypatch.setenv("REDIS_URL", server.url)
    return server


@pytest.mark.parametrize("query", ["", "?client_name=health"], ids=["bare", "by redis-py"])
def test_a_worker_is_healthy_while_its_lease_holds(
    health, redis_of_its_own, monkeypatch, query
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_of_its_own.url + query)
    host = socket.gethostname()
    assert health.worker_is_alive() == f"no worker of {host} has a lease"
    store = Store(Settings(redis_url=redis_of_its_own.url))
    store.register(f"{host}x:1:aaaaaaaa", ["default"], {})
    assert health.worker_is_alive() == f"no worker of {host} has a lease"
    store.register(f"{host}:1:aaaaaaaa", ["default"], {})
    assert health.worker_is_alive() is None
    store.command("ZADD", store.keys("workers"), "1", f"{host}:1:aaaaaaaa")  # long over
    assert health.worker_is_alive() == f"no worker of {host} has a lease"
    store.close()


def test_the_check_uses_the_password_and_says_when_it_is_wrong(
    health, redis_of_its_own, monkeypatch, tmp_path
) -> None:
    store = Store(Settings(redis_url=redis_of_its_own.url))
    store.register(f"{socket.gethostname()}:1:aaaaaaaa", ["default"], {})
    store.command("CONFIG", "SET", "requirepass", "pa/ss")
    store.close()
    assert "NOAUTH" in health.worker_is_alive()
    (tmp_path / "secret").write_text("pa/ss")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(tmp_path / "secret"))
    assert health.worker_is_alive() is None
    monkeypatch.setenv("REDIS_PASSWORD", "wrong")
    assert "WRONGPASS" in health.worker_is_alive()


def test_a_worker_without_redis_is_not_healthy(health, monkeypatch) -> None:
    monkeypatch.setenv("REDIS_URL", f"127.0.0.1:{free_port()}")
    assert "redis" in health.worker_is_alive().lower()


def test_an_api_that_does_not_answer_is_not_healthy(health, monkeypatch) -> None:
    port = free_port()
    monkeypatch.setenv("PORT", str(port))
    assert health.api_is_ready().startswith(f"no answer on port {port}")


def test_a_container_with_another_command_is_healthy_while_it_runs() -> None:
    """Nothing called api or worker runs as the first process of this machine."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "healthy\n")
