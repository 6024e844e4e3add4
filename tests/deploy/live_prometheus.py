"""Rules and dashboards on a real Prometheus that watches a system at work.

`make check-deploy` runs this file; its name keeps it out of `make test`, which needs no Prometheus.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.deploy.tools import ROOT, find
from tests.journey.programs import until
from tests.journey.sites import Site

from ferryman.embedded import EmbeddedServer, free_port
from ferryman.processes import kill_session, spawn

PATIENCE = 60.0

FLAT = {
    "Crashes and late results",
    "Moves per second: snoozed",
    "Moves per second: revived",
    "Moves per second: deleted",
    "Moves per second: expired",
    "Moves per second: released",
    "Moves per second: returned",
    "Paused",
    "Runs taken from silent workers",
    "Memory of Redis: at most",
}
"""What stays at zero while all goes well; every other line of every panel has to move."""


RESTLESS = {
    "ferryman_scrape_duration_seconds",
    "ferryman_redis_used_memory_bytes",
    "ferryman_dlq_oldest_seconds",
    "ferryman_worker_claim_age_seconds",
}
"""What moves while nothing happens."""

Labels = frozenset[tuple[str, str]]


def key(labels: dict[str, str]) -> Labels:
    """A sample's name and labels, without those Prometheus adds."""
    return frozenset((k, v) for k, v in labels.items() if k not in {"job", "instance"})


class Watched:
    """A site with an API and a worker, the demo, and a Prometheus that looks every second."""

    def __init__(self, folder: Path, server: EmbeddedServer) -> None:
        self.site = Site(server, folder)
        self.port, self.prometheus = free_port(), f"http://127.0.0.1:{free_port()}"
        self.settings = {"FERRYMAN_APP": "ferryman_worker.jobs:ferry", "PORT": self.port}
        self.api = f"http://127.0.0.1:{self.port}"
        self.site.program("api", **self.settings).await_event("api.started", within=PATIENCE)
        self.worker = self.site.worker(**self.settings)
        self._process = self._watch(folder)

    def _watch(self, folder: Path) -> subprocess.Popen[bytes]:
        """Prometheus with our files, only quicker: every second, alerts after one."""
        config = yaml.safe_load((ROOT / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [self._quick_rules(folder, name) for name in config["rule_files"]]
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [f"127.0.0.1:{self.port}"]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            find("prometheus") or "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={self.prometheus.removeprefix('http://')}",
        ]
        with (folder / "prometheus.log").open("wb") as log:
            return spawn(command, stdout=log, stderr=log)

    def _quick_rules(self, folder: Path, name: str) -> str:
        rules = yaml.safe_load((ROOT / name).read_text())
        for rule in rules["groups"][0]["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
        (folder / Path(name).name).write_text(yaml.safe_dump(rules))
        return Path(name).name

    def demo(self, seconds: float) -> None:
        """The demo's mix of jobs, for so long."""
        options = ["--url", self.api, "--rate", "25", "--seconds", str(seconds)]
        command = [sys.executable, str(ROOT / "deploy/demo.py"), *options]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
        assert done.stdout.endswith(" 0 of them refused\n")

    def post(self, type: str, **payload: Any) -> None:
        body = json.dumps({"type": type, "payload": payload}).encode()
        headers = {"Content-Type": "application/json"}
        urlopen(Request(f"{self.api}/jobs", body, headers), timeout=10).close()

    def ask(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of Prometheus's own API; None before it listens."""
        try:
            with urlopen(f"{self.prometheus}/api/v1/{path}?{urlencode(parameters)}") as answer:
                return json.load(answer)["data"]
        except ConnectionError:
            return None
        except OSError as error:
            if isinstance(getattr(error, "reason", None), ConnectionError):
                return None
            raise AssertionError(getattr(error, "read", error.__str__)()) from error

    def query(self, query: str) -> list[tuple[dict[str, str], float]]:
        """What a query gives now: (labels, value) each."""
        data = self.ask("query", query=query)
        return [(r["metric"], float(r["value"][1])) for r in data["result"]] if data else []

    def metrics(self) -> dict[Labels, float]:
        """What /metrics says, without the figures that differ at every look."""
        with urlopen(f"{self.api}/metrics", timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        samples = [sample for family in families for sample in family.samples]
        found = {key({"__name__": s.name, **s.labels}): s.value for s in samples}
        return {sample: n for sample, n in found.items() if not RESTLESS & {*dict(sample).values()}}

    def alert(self, name: str) -> str:
        """inactive, pending or firing."""
        [rule] = [rule for rule in self.rules() if rule["name"] == name]
        return str(rule["state"])

    def rules(self) -> list[Any]:
        data = self.ask("rules") or {"groups": []}
        return [rule for group in data["groups"] for rule in group["rules"]]

    def close(self) -> None:
        kill_session(self._process)
        self.site.close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with EmbeddedServer(folder / "server", persist=False) as server:
        watched = Watched(folder, server)
        try:
            yield watched
        finally:
            watched.close()


def panels() -> Iterator[tuple[str, str]]:
    """(panel and legend, query) of everything any dashboard shows."""
    for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                legend = target["legendFormat"]
                name = (
                    f"{panel['title']}: {legend}" if len(panel["targets"]) > 1 else panel["title"]
                )
                query = target["expr"].replace("$__rate_interval", "30s").replace("$queue", ".*")
                yield name, query


def test_every_panel_moves_and_every_rule_is_without_error(watched: Watched) -> None:
    still = {name for name, _ in panels()}
    empty = set(still)
    watched.demo(4)

    def all_move() -> bool:
        for _ in range(20):  # more than there are slots, so that some wait while we look
            watched.post("sleep", seconds=0.5)
        watched.demo(1)
        for name, query in panels():
            values = [value for _, value in watched.query(query)]
            empty.difference_update({name} if values else ())
            still.difference_update({name} if any(value > 0 for value in values) else ())
        return not empty and all(n in FLAT or n.split(":")[0] in FLAT for n in still)

    try:
        until(all_move, PATIENCE)
    except AssertionError:
        raise AssertionError(f"no data: {sorted(empty)}; do not move: {sorted(still)}") from None
    assert [(r["name"], r.get("lastError")) for r in watched.rules() if r["health"] != "ok"] == []


def test_prometheus_has_the_values_of_metrics(watched: Watched) -> None:
    until(lambda: watched.site.count("running") == 0, PATIENCE)
    here: dict[Labels, float] = {}
    there: dict[Labels, float] = {}

    def same() -> bool:
        here.update(watched.metrics())
        there.update((key(labels), v) for labels, v in watched.query('{job="ferryman"}'))
        return all(there.get(sample) == value for sample, value in here.items())

    until(same, PATIENCE)
    assert len(here) > 50


def test_an_alert_fires_without_workers_and_resolves_when_one_comes(watched: Watched) -> None:
    assert watched.alert("FerrymanNoWorkers") == "inactive"
    assert watched.worker.stop() == 0
    watched.post("uppercase", input="hello")
    until(lambda: watched.alert("FerrymanNoWorkers") == "firing", PATIENCE)
    watched.site.worker(**watched.settings)
    until(lambda: watched.alert("FerrymanNoWorkers") == "inactive", PATIENCE)
    until(lambda: watched.site.stats().waiting == 0, PATIENCE)
