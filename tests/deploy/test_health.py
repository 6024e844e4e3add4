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


def test_a_worker_is_healthy_while_its_lease_holds(health, redis_of_its_own) -> None:
    host = socket.gethostname()
    assert health.worker_is_alive() == f"no worker of {host} has a lease"
    store = Store(Settings(redis_url=redis_of_its_own.url))
    store.register(f"{host}x:1:aaaaaaaa", ["default"], {})
    assert health.worker_is_alive() == f"no worker of {host} has a lease"
    store.register(f"{host}:1:aaaaaaaa", ["default"], {})
    assert health.worker_is_alive() is None
    key = store.keys("workers")
    store.command("ZADD", key, "1", f"{host}:1:aaaaaaaa")  # long over
    assert health.worker_is_alive() == f"no worker of {host} has a lease"
    store.close()


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
