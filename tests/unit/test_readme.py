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

PAGE = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


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
