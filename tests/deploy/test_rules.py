"""Alerts, recording rules and dashboards: each alert has its page, each name in a query exists."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.deploy.tools import ROOT

from ferryman.lifecycle import State
from ferryman.store import Store
from ferryman.store.meters import EVENTS, OUTCOMES, WAIT
from ferryman_api.exposition import le
from ferryman_api.marks import Marks
from ferryman_api.metrics import Scrape
from ferryman_api.traffic import Traffic

RUNBOOKS = ROOT / "docs/runbooks"
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
WORDS = set(
    """
    by on and or unless absent count deriv histogram_quantile increase le max min_over_time rate
    sum queue state instance job type event outcome method route
    """.split()
)
"""What a query has besides the names of metrics: PromQL's words, and the labels we use."""


ENDS = {"gauge": ("",), "counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
"""What the samples of a family are called."""


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((ROOT / f"deploy/prometheus/{name}.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = rules("alerts")
RECORDED = {rule["record"] for rule in rules("recording")}


def queries() -> Iterator[str]:
    yield from (rule["expr"] for rule in ALERTS + rules("recording"))
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            yield from (target["expr"] for target in panel["targets"])


def names(query: str) -> set[str]:
    """The metrics a query asks for."""
    without = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", "", query)
    return set(re.findall(r"[a-zA-Z_][a-zA-Z0-9_:]*", without)) - WORDS


@pytest.mark.parametrize("alert", ALERTS, ids=lambda a: a["alert"])
def test_an_alert_has_a_page_that_says_what_it_means_and_what_to_do(alert: dict[str, Any]) -> None:
    page = ROOT / alert["annotations"]["runbook"]
    assert page == RUNBOOKS / f"{alert['alert']}.md"
    text = page.read_text()
    assert text.startswith(f"# {alert['alert']}\n**Means**: ")
    assert "**Look**" in text
    assert "**Do**" in text
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["annotations"]["summary"]


def test_every_page_has_its_alert_and_every_alert_its_test() -> None:
    alerts = {alert["alert"] for alert in ALERTS}
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == alerts
    tests = (ROOT / "deploy/prometheus/tests.yml").read_text()
    assert {name for name in alerts if name not in tests} == set()


def test_every_name_a_query_asks_for_exists(store: Store) -> None:
    families = Scrape(store, Marks()).families()
    there = {name + end for name, kind, _, _ in families for end in ENDS[kind]} | RECORDED | {"up"}
    of_processes = [(f.name, f.type) for f in Traffic().registry.collect()]
    there |= {name + end for name, kind in of_processes for end in ENDS[kind]}
    asked = set().union(*map(names, queries()))
    assert "jobs_created_total" in asked
    assert asked - there == set()


def test_every_state_a_query_asks_for_exists() -> None:
    asked = {word for query in queries() for word in re.findall(r'state=~?"([^"]+)"', query)}
    states = {state for word in asked for state in word.split("|")}
    assert states - {*State, "dlq", "busy", "idle", "stopping", "lost"} == set()


def test_every_event_and_outcome_a_query_asks_for_exists() -> None:
    asked = {
        (label, word)
        for query in queries()
        for label, text in re.findall(r'(event|outcome)=~?"([^"]+)"', query)
        for word in text.split("|")
    }
    there = {("event", e) for e in (*EVENTS, ".+")} | {("outcome", o) for o in OUTCOMES}
    assert asked
    assert asked <= there


def test_the_bound_the_wait_alerts_ask_for_is_one_of_the_histogram() -> None:
    asked = {bound for query in queries() for bound in re.findall(r'le="([^"]+)"', query)}
    assert asked
    assert asked <= {le(bound) for bound in WAIT}


def test_the_dashboards_are_what_the_script_makes() -> None:
    spec = importlib.util.spec_from_file_location("make", ROOT / "deploy/grafana/make.py")
    assert spec
    assert spec.loader
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    made = dict(make.dashboards())
    assert sorted(made) == DASHBOARDS
    assert {path: path.read_text() for path in DASHBOARDS} == made


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_the_panels_of_a_dashboard_fill_their_rows_and_use_our_datasource(path: Any) -> None:
    board = json.loads(path.read_text())
    source = yaml.safe_load(
        (ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"][0]
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + dx, place["y"] + dy)
            for dx in range(place["w"])
            for dy in range(place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for part in (panel, *panel["targets"]):
            assert part["datasource"]["uid"] == source["uid"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
