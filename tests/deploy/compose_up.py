"""The compose file brought up for real, used, and hurt. `make test-compose` runs it.

It takes the Docker engine that DOCKER_HOST names, a project and ports of its own, and a copy of
what a clone would have; everything is gone afterwards. An engine without a bridge network gets
compose.host.yml on top, with the usual ports.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from tests.deploy.tools import ROOT, compose, said
from tests.journey.programs import until

from ferryman.embedded import free_port

PROJECT = "ferryman-test"
PATIENCE = 90.0
RECOVERY = 17.0
"""Seconds in which the jobs of a killed worker are given to another: what the README promises."""


def run(*command: str, cwd: Path = ROOT, **environ: object) -> str:
    """Run a command; its output. What it said is in the error when it failed."""
    env = os.environ | {name: str(value) for name, value in environ.items()}
    code, text = said(command, cwd=cwd, env=env)
    assert code == 0, f"{' '.join(command)} ended with {code}:\n{text[-4000:]}"
    return text


@pytest.fixture(scope="module")
def has_bridge() -> bool:
    """Whether the engine has a network of its own; the whole module ends when there is none."""
    if not compose():
        pytest.exit("make test-compose cannot run: Docker Compose v2 is missing", 3)
    if not shutil.which("docker"):
        pytest.exit("make test-compose cannot run: the command docker is missing", 3)
    code, text = said(["docker", "version", "--format", "{{.Server.Version}}"])
    if code:
        pytest.exit(f"make test-compose cannot run: no Docker engine answers: {text.strip()}", 3)
    return said(["docker", "network", "inspect", "bridge"])[0] == 0


class System:
    """The compose project: its commands, its ports."""

    def __init__(self, folder: Path, files: list[str], environ: dict[str, object]) -> None:
        self.folder, self.environ = folder, environ
        named = [arg for name in files for arg in ("-f", name)]
        self.command = [*(compose() or []), "-p", PROJECT, *named]
        self.api = f"http://127.0.0.1:{environ.get('PORT', 8081)}"
        self.prometheus = f"http://127.0.0.1:{environ.get('PROMETHEUS_PORT', 9090)}"
        self.redis_url = f"redis://127.0.0.1:{environ.get('REDIS_PORT', 6379)}/0"

    def compose(self, *args: str) -> str:
        return run(*self.command, *args, cwd=self.folder, **self.environ)

    def up(self, *args: str) -> float:
        """Bring it up and wait until all is healthy; the seconds that took."""
        began = time.monotonic()
        self.compose("up", "-d", "--wait", "--wait-timeout", "300", *args)
        return time.monotonic() - began

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "-q", service).split()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.api}{path}", data, headers, method=method)
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def post(self, type: str, payload: Any, **options: Any) -> str:
        return str(
            self.ask("POST", "/jobs", {"type": type, "payload": payload, **options})["job_id"]
        )

    def job(self, job_id: str) -> dict[str, Any]:
        found = self.ask("GET", f"/jobs/{job_id}")
        assert isinstance(found, dict)
        return found

    def await_status(self, status: str, *ids: str) -> None:
        left = set(ids)

        def reached() -> bool:
            left.difference_update([i for i in left if self.job(i)["status"] == status])
            return not left

        until(reached, PATIENCE)

    def query(self, query: str) -> list[Any]:
        """What Prometheus answers to a query."""
        with urlopen(f"{self.prometheus}/api/v1/query?{urlencode({'query': query})}") as answer:
            return list(json.load(answer)["data"]["result"])

    def rules(self) -> list[Any]:
        with urlopen(f"{self.prometheus}/api/v1/rules") as answer:
            return [r for group in json.load(answer)["data"]["groups"] for r in group["rules"]]

    def redis(self, *words: str) -> str:
        """What redis-cli on the host prints; `ferryman redis` where there is none."""
        port = self.redis_url.split(":")[2].split("/")[0]
        if shutil.which("redis-cli"):
            return run("redis-cli", "-p", port, *words)
        return run(sys.executable, "-m", "ferryman", "redis", *words, REDIS_URL=self.redis_url)


@contextmanager
def project(folder: Path, files: list[str], environ: dict[str, object]) -> Iterator[System]:
    """A copy of what a clone would have, with the project that is gone at the end."""
    names = run("git", "ls-files", "-co", "--exclude-standard").splitlines()
    for name in names:
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    system = System(folder, files, environ)
    try:
        yield system
    finally:
        print(system.compose("logs", "--tail", "200")[-20_000:])
        system.compose("down", "-v", "--timeout", "15")


def ports() -> dict[str, object]:
    return {
        "PORT": free_port(),
        "REDIS_PORT": free_port(),
        "PROMETHEUS_PORT": free_port(),
        "FERRYMAN_IMAGE": PROJECT,
    }


@pytest.fixture(scope="module")
def system(has_bridge: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    environ = ports() if has_bridge else {"FERRYMAN_IMAGE": PROJECT}
    files = ["docker-compose.yml", *([] if has_bridge else ["compose.host.yml"])]
    with project(tmp_path_factory.mktemp("clone"), files, environ) as system:
        print(f"built and healthy after {system.up('--build'):.1f} s")
        yield system


class Load:
    """Jobs at a steady rate from a client that tries again, under the same id, when refused."""

    def __init__(self, system: System, rate: float) -> None:
        self.system, self.rate = system, rate
        self.accepted: list[str] = []
        self.refused = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(n,)) for n in range(4)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _post(self, number: int) -> None:
        for n in range(1_000_000):
            job_id = f"load-{number}-{n}-{secrets.token_hex(4)}"
            while not self._taken(job_id):
                self.refused += 1
                if self._stop.wait(0.2):
                    return
            self.accepted.append(job_id)
            if self._stop.wait(len(self._threads) / self.rate):
                return

    def _taken(self, job_id: str) -> bool:
        try:
            self.system.post("uppercase", {"input": "x"}, id=job_id)
        except (OSError, ValueError):  # away, or starting anew
            return False
        return True


def test_a_job_posted_to_the_published_port_completes(system: System) -> None:
    job_id = system.post("uppercase", {"input": "hello world"})
    system.await_status("completed", job_id)
    assert system.job(job_id)["result"] == "HELLO WORLD"


def test_a_file_a_job_writes_is_there_after_its_container(system: System) -> None:
    rows = {"rows": [{"a": 1}], "group_by": [], "aggregates": {"a": "sum"}, "target": "sum.csv"}
    system.await_status("completed", system.post("report", rows))
    system.compose("up", "-d", "--wait", "--force-recreate", "--no-deps", "worker")
    assert "a_sum" in system.compose("exec", "-T", "worker", "cat", "/data/files/sum.csv")


def test_redis_cli_lists_a_dead_letter(system: System) -> None:
    job_id = system.post("fail", {"message": "no luck"}, max_attempts=1)
    system.await_status("failed", job_id)
    assert job_id in system.redis("LRANGE", "ferryman:{0}:dlq", "0", "9")
    assert "RuntimeError: no luck" in system.redis("HGETALL", f"ferryman:{{0}}:job:{job_id}")


def test_prometheus_has_the_right_values_and_no_rule_in_error(system: System) -> None:
    stats = system.ask("GET", "/stats")
    wanted = {
        "jobs_created_total": stats["total_jobs"],
        "jobs_processed_total": stats["successful"],
        "jobs_failed_total": stats["failed"],
        "jobs_dlq_total": 1,
        'queue_size{state="dlq"}': 1,
        'ferryman_workers{state="running"}': 1,
        "ferryman_redis_up": 1,
    }

    def agrees() -> bool:
        found = {query: [float(r["value"][1]) for r in system.query(query)] for query in wanted}
        return found == {query: [float(value)] for query, value in wanted.items()}

    until(agrees, PATIENCE)  # a scrape comes every 15 s
    until(lambda: all(rule["health"] == "ok" for rule in system.rules()), PATIENCE)


def test_an_alert_fires_without_workers_and_resolves(system: System) -> None:
    def state() -> str:
        return str(next(r["state"] for r in system.rules() if r["name"] == "FerrymanNoWorkers"))

    assert state() == "inactive"
    system.compose("stop", "worker")
    job_id = system.post("uppercase", {"input": "waits"})
    fired = until(lambda: state() == "firing", 2 * PATIENCE)
    system.up("--no-build")
    system.await_status("completed", job_id)
    resolved = until(lambda: state() == "inactive", 2 * PATIENCE)
    print(f"the alert fired after {fired:.0f} s and resolved {resolved:.0f} s after the job ran")


def test_redis_killed_and_started_again_loses_nothing(system: System) -> None:
    [container] = system.containers("redis")
    with Load(system, 50) as load:
        until(lambda: len(load.accepted) > 100, PATIENCE)
        run("docker", "kill", container)
        until(lambda: load.refused > 4, PATIENCE)
        run("docker", "start", container)
        had = len(load.accepted)
        until(lambda: len(load.accepted) > had + 100, PATIENCE)
    system.await_status("completed", *load.accepted)
    assert system.ask("GET", "/health") == {"status": "healthy"}


def test_three_workers_share_the_work_and_a_killed_ones_jobs_return(system: System) -> None:
    system.up("--no-build", "--scale", "worker=3")
    until(lambda: system.ask("GET", "/stats")["workers"] == 3, PATIENCE)
    ids = [system.post("sleep", {"seconds": 6}) for _ in range(15)]
    system.await_status("running", *ids)
    jobs = [system.job(job_id) for job_id in ids]
    by_worker = {job["worker"] for job in jobs}
    assert len(by_worker) == 3
    dead = jobs[0]["worker"]
    its = [job["id"] for job in jobs if job["worker"] == dead]
    assert len(its) == 5
    before = system.ask("GET", "/stats")["recovered_jobs"]
    run("docker", "kill", container_of(system, dead))
    took = until(
        lambda: system.ask("GET", "/stats")["recovered_jobs"] == before + len(its), PATIENCE
    )
    print(f"the jobs of the killed worker were given to others after {took:.1f} s")
    assert took <= RECOVERY
    system.await_status("completed", *ids)
    system.up("--no-build", "--scale", "worker=3")


def container_of(system: System, worker: str) -> str:
    """The container a child runs in: its log says so."""
    for container in system.containers("worker"):
        if worker in run("docker", "logs", container):
            return container
    raise AssertionError(f"no container has {worker}")


def test_a_rolling_restart_under_load_loses_nothing(system: System) -> None:
    with Load(system, 50) as load:
        until(lambda: len(load.accepted) > 100, PATIENCE)
        for container in [*system.containers("worker"), *system.containers("api")]:
            run("docker", "restart", "-t", "15", container)
            had = len(load.accepted)
            until(lambda had=had: len(load.accepted) > had + 50, PATIENCE)  # type: ignore[misc]
    system.await_status("completed", *load.accepted)
    accepted = len(load.accepted)
    print(f"{accepted} jobs accepted over four restarts, {load.refused} tries refused, 0 lost")


def test_stopping_everything_takes_under_ten_seconds(system: System) -> None:
    """With jobs under way, which end or are given back. One of three tries keeps it."""
    taken: list[float] = []
    while not taken or (taken[-1] >= 10 and len(taken) < 3):
        for _ in range(3):
            system.post("sleep", {"seconds": 2})
        began = time.monotonic()
        system.compose("stop")
        taken.append(time.monotonic() - began)
        for container in system.compose("ps", "-aq", "api", "worker").split():
            assert run("docker", "inspect", "-f", "{{.State.ExitCode}}", container).strip() == "0"
        system.up("--no-build")
    print(f"stopped after {taken} s")
    assert taken[-1] < 10
    until(lambda: system.ask("GET", "/stats")["running_jobs"] == 0, PATIENCE)


def test_nothing_is_wrong_in_redis_after_all_that(system: System) -> None:
    until(lambda: system.ask("GET", "/stats")["pending_jobs"] == 0, PATIENCE)
    assert "all is well" in system.compose("exec", "-T", "worker", "ferryman", "check")


def test_the_image_serves_with_nothing_to_write_to_and_is_not_root(
    has_bridge: bool, system: System
) -> None:
    network = f"{PROJECT}_default" if has_bridge else "host"
    redis = "redis:6379" if has_bridge else "127.0.0.1:6379"
    options = ["--read-only", "--network", network, "-e", f"REDIS_URL={redis}"]
    container = run(
        "docker", "run", "-d", *options, "-e", f"PORT={free_port()}", PROJECT, "api"
    ).strip()
    try:
        until(lambda: not said(["docker", "exec", container, "ferryman-health"])[0], PATIENCE)
        assert run("docker", "exec", container, "id", "-u").strip() == "10001"
    finally:
        run("docker", "rm", "-f", container)
    size = int(run("docker", "image", "inspect", "-f", "{{.Size}}", PROJECT))
    base = int(run("docker", "image", "inspect", "-f", "{{.Size}}", "python:3.12-slim"))
    print(f"image: {size / 1e6:.0f} MB, {(size - base) / 1e6:.0f} MB of them over its base")


def test_the_secure_file_keeps_others_out_and_works(
    has_bridge: bool, system: System, tmp_path: Path
) -> None:
    if not has_bridge:
        print("compose.secure.yml was not tried: it needs a bridge network")
        return
    system.compose("down", "-v")
    with project(tmp_path, ["docker-compose.yml", "compose.secure.yml"], ports()) as secure:
        (tmp_path / "secrets").mkdir(mode=0o700)
        (tmp_path / "secrets/redis_password").write_text(secrets.token_hex(24))
        secure.up()
        secure.await_status("completed", secure.post("uppercase", {"input": "x"}))
        assert "6379" not in secure.compose("ps", "redis", "--format", "{{.Ports}}").replace(
            "6379/tcp", ""
        )
        said_inside = secure.compose("exec", "-T", "redis", "redis-cli", "ping")
        assert "NOAUTH" in said_inside
        with pytest.raises(AssertionError, match="Read-only file system"):
            secure.compose("exec", "-T", "worker", "touch", "/opt/x")
        with pytest.raises(AssertionError, match="Read-only file system"):
            secure.compose("exec", "-T", "redis", "touch", "/usr/x")
