"""README.md: its example runs as it stands, and what it names is there."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ferryman import Context, Handle, Settings
from ferryman.store import Store
from ferryman_api.serve import ENDPOINTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "README.md").read_text("utf-8")
DOCS = ROOT / "docs"


def test_the_jobs_of_the_example_lie_in_queues_its_worker_serves_and_fit_its_handler(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    types, calls = re.findall("```python\n(.*?)```", PAGE, re.DOTALL)
    [served] = re.findall(r"ferryman worker --app myproject\.jobs:ferry --queues (\S+)", PAGE)
    names: dict[str, Any] = {"urls": ["https://example.org/a", "https://example.org/b"]}
    monkeypatch.setattr(Handle, "wait", lambda *_, **__: None)  # nobody works here
    exec(types, names)  # noqa: S102  (our own page)
    monkeypatch.setitem(names["ferry"].__dict__, "store", store)
    exec(calls, names)  # noqa: S102
    jobs = store.get_many([job_id for _, job_id in store.recent(None, 10)])
    assert len(jobs) == 4
    assert {job.queue for job in jobs} <= set(served.split(","))
    for job in jobs:
        context = Context(job.id, job.type, job.queue, 1, 0, 5, 30.0)
        result = names["thumbnail"].call(json.loads(job.payload), context)
        assert result["width"] in (200, 400)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_route_is_named(endpoint: str) -> None:
    assert endpoint.split()[1] in PAGE


def test_the_settings_it_names_exist() -> None:
    known = {spec.metadata["env"] for spec in fields(Settings)}
    assert set(re.findall(r"\b(?:FERRYMAN|SMTP|REDIS)_[A-Z_]+", PAGE)) <= known


def test_the_figures_it_gives_are_those_of_the_pages() -> None:
    """The pages are made by the commands; these are typed by hand."""
    given = {  # what README says, the page, and the row of the page: rounded it must be the same
        r"\| ([\d,]+) jobs under": ("reliability", r"\| jobs \| ([\d,]+) \|"),
        r"killed child running again \| p99 ([\d.]+) s": (
            "reliability",
            r"kill -9 of a child: p99 \| ([\d.]+) s",
        ),
        r"running on another \| p99 ([\d.]+) s": (
            "reliability",
            r"kill -9 of a worker: p99 \| ([\d.]+) s",
        ),
        r"\| ([\d,]+) hostile bodies": ("fuzz", r"\| bodies \| ([\d,]+) bodies"),
        r"\| ([\d,]+) sequences": ("fuzz", r"\| sequences \| ([\d,]+) cases"),
        r"model, ([\d,]+) damaged states": ("fuzz", r"\| states \| ([\d,]+) cases"),
        r"process \| ([\d,]+) jobs/s": ("benchmarks", r"\| ferryman \| ([\d,]+)"),
        r"jobs/s: ([\d.]+) x BullMQ": ("benchmarks", r"drain, free \| BullMQ \| [^|]+ \| ([\d.]+)"),
        r"BullMQ, ([\d.]+) x the best durable": ("benchmarks", r"Python peer \| [^|]+ \| ([\d.]+)"),
        r"one core ([\d.]+) x Sidekiq": ("benchmarks", r"\| Sidekiq \| [^|]+ \| ([\d.]+)"),
        r"Sidekiq, ([\d.]+) x BullMQ": ("benchmarks", r"pinned \| BullMQ \| [^|]+ \| ([\d.]+)"),
        r"bulk` \| ([\d,]+) jobs/s": (
            "benchmarks",
            r"/bulk \| [^|]+\| [^|]+ \| ([\d,]+)",
        ),
    }
    for said, (page, row) in given.items():
        [ours] = re.findall(said, PAGE)
        found = re.search(row, (DOCS / f"{page}.md").read_text("utf-8"))
        assert found, row
        assert _rounded(found[1], like=ours) == ours, (said, found[1])


def _rounded(text: str, like: str) -> str:
    """A figure to as many digits as another has: one with a point, or one that ends in zeros."""
    value = float(text.replace(",", ""))
    if "." in like:
        return f"{value:.{len(like.partition('.')[2])}f}"
    zeros = len(like) - len(like.rstrip("0"))
    return f"{round(value, -min(zeros, 2)):,.0f}"
