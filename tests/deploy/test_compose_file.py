"""The compose file keeps what its page and its users count on; each health check means health."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.tools import ROOT

from ferryman.config import Settings
from ferryman.doctor import Level, diagnose
from ferryman.embedded import find_binary
from ferryman.processes import kill_session, spawn
from ferryman.store.audit import Audit
from ferryman.store.facts import facts

FILE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = ("api", "worker")
BASE = ("redis", "api", "worker", "prometheus")


class Tagged(yaml.SafeLoader):
    """Reads the overlays: !reset and !override count as what follows them."""


def _plain(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    kinds = {"scalar": loader.construct_scalar, "sequence": loader.construct_sequence}
    return kinds.get(node.id, loader.construct_mapping)(node)  # type: ignore[arg-type]


Tagged.add_multi_constructor("!", _plain)


def overlay(name: str) -> dict[str, dict[str, Any]]:
    """The services of another compose file."""
    services = yaml.load((ROOT / name).read_text(), Tagged)["services"]  # noqa: S506
    assert isinstance(services, dict)
    return services


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def test_the_plain_command_starts_four_services_and_profiles_the_rest() -> None:
    assert tuple(n for n, s in SERVICES.items() if "profiles" not in s) == BASE
    profiles = {n: s["profiles"] for n, s in SERVICES.items() if "profiles" in s}
    assert profiles == {"grafana": ["dashboards"], "mail": ["mail"], "demo": ["demo"]}


def test_every_port_is_published_on_this_machine_only() -> None:
    ports = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}
    for published in ports.values():
        assert all(port.startswith("127.0.0.1:") for port in published)
    defaults = {n: re.sub(r"\$\{\w+:-(\d+)\}", r"\1", p[0]) for n, p in ports.items()}
    assert defaults == {
        "redis": "127.0.0.1:6379:6379",
        "api": "127.0.0.1:8081:8081",
        "prometheus": "127.0.0.1:9090:9090",
        "grafana": "127.0.0.1:3000:3000",
        "mail": "127.0.0.1:8025:8025",
    }


def test_the_known_variables_and_volumes_are_there() -> None:
    assert {"REDIS_URL": "redis:6379", "PORT": 8081}.items() <= SERVICES["api"][
        "environment"
    ].items()
    assert SERVICES["worker"]["environment"]["NUM_WORKERS"] == "${NUM_WORKERS:-5}"
    assert all("REDIS_PASSWORD" in SERVICES[name]["environment"] for name in OURS)
    assert {"redis_data", "prometheus_data"} <= set(FILE["volumes"])
    assert "redis_data:/data" in SERVICES["redis"]["volumes"]
    assert SERVICES["prometheus"]["command"] == [
        "--config.file=/etc/prometheus/prometheus.yml",
        "--storage.tsdb.path=/prometheus",
    ]


def test_everything_comes_back_by_itself_and_starts_when_what_it_needs_is_healthy() -> None:
    assert {s["restart"] for s in SERVICES.values()} == {"unless-stopped"}
    for name in OURS:
        assert SERVICES[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert SERVICES["prometheus"]["depends_on"] == {"api": {"condition": "service_healthy"}}


def test_a_container_has_longer_to_stop_than_a_worker_to_drain() -> None:
    for name in OURS:
        assert seconds(SERVICES[name]["stop_grace_period"]) >= Settings().drain + 2 + 3


@pytest.mark.parametrize("reply", ["PONG", "NOAUTH Authentication required.", "LOADING", ""])
@pytest.mark.parametrize("file", ["docker-compose.yml", "compose.secure.yml"])
def test_only_pong_is_health(tmp_path: Path, file: str, reply: str) -> None:
    """redis-cli ends with 0 whatever the server answers."""
    command = tmp_path / "redis-cli"
    command.write_text(f"#!/bin/sh\necho '{reply}'\n")
    command.chmod(0o755)
    test = (SERVICES if file == "docker-compose.yml" else overlay(file))["redis"]["healthcheck"][
        "test"
    ]
    shell = test[1].replace("$$", "$").replace("/run/secrets/redis_password", "/dev/null")
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert (subprocess.run(["sh", "-c", shell], env=path).returncode == 0) == (reply == "PONG")  # noqa: PLW1510


def test_redis_is_asked_as_often_as_promised() -> None:
    check = SERVICES["redis"]["healthcheck"]
    assert {k: check[k] for k in ("interval", "timeout", "retries")} == {
        "interval": "5s",
        "timeout": "3s",
        "retries": 5,
    }


def test_doctor_finds_nothing_wrong_with_the_settings_shipped(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    own = ["--dir", str(tmp_path), "--port", "0", "--unixsocket", str(socket)]
    given = ["--maxmemory", "1gb"]
    log = (tmp_path / "log").open("wb")
    command = [str(find_binary()), str(ROOT / "deploy/redis.conf"), *own, *given]
    process = spawn(command, stdout=log, stderr=log)
    try:
        store = Audit(Settings(redis_url=f"unix://{socket}"))
        while not socket.exists():
            assert process.poll() is None, (tmp_path / "log").read_text()
        advice = [a for a in diagnose(facts(store)) if a.level in (Level.PROBLEM, Level.WARNING)]
        ours = {"persistence", "eviction", "memory", "clients", "compactness"}
        said = {a.topic for a in diagnose(facts(store)) if a.level is Level.NOTE} & ours
        store.close()
    finally:
        kill_session(process)
        log.close()
    assert [(a.topic, a.what) for a in advice] == []
    assert said == set()


def test_the_image_gets_every_file_it_copies_and_no_secret() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    for name in " ".join(copied).split():
        assert any(fnmatch.fnmatch(name, pattern) for pattern in sent)
        assert (ROOT / name).exists()
    assert not any(fnmatch.fnmatch("secrets/redis_password", pattern) for pattern in sent)


def test_the_image_needs_nothing_that_has_to_be_fetched_to_be_built() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "# syntax=" not in text
    assert "<<" not in text
    assert re.search(r"^USER 10001", text, re.MULTILINE)
    assert text.count('ENTRYPOINT ["ferryman"]') == 1  # no shell: SIGTERM reaches the program


def test_the_secure_file_hardens_every_service() -> None:
    secure = overlay("compose.secure.yml")
    assert set(secure) == set(SERVICES)
    for service in secure.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert secure["redis"]["ports"] == []
    for name in OURS:
        assert secure[name]["environment"]["REDIS_PASSWORD_FILE"] == "/run/secrets/redis_password"


def test_the_units_and_the_procfile_start_commands_there_are() -> None:
    from ferryman.cli import cli

    text = (ROOT / "deploy/Procfile").read_text() + "".join(
        path.read_text() for path in (ROOT / "deploy/systemd").glob("*.service")
    )
    used = re.findall(r"\bferryman (\w+)$", text, re.MULTILINE)
    assert sorted(used) == ["api", "api", "worker", "worker"]
    assert set(used) <= set(cli.commands)


def test_the_units_give_a_worker_longer_than_its_drain() -> None:
    for path in (ROOT / "deploy/systemd").glob("*.service"):
        [stop] = re.findall(r"^TimeoutStopSec=(\d+)$", path.read_text(), re.MULTILINE)
        assert int(stop) >= Settings().drain + 2 + 3
