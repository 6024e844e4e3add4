"""docs/jobs.md: every example runs and gives what the page says."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ferryman import Context, Ferryman, Settings
from ferryman.store import Store
from ferryman_worker.jobs import register

PAGE = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text(encoding="utf-8")
SECTIONS = {
    part.split("\n", 1)[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
}
NOT_ALWAYS_THE_SAME = {"bytes", "message_id", "written"}


@pytest.fixture
def ferry(settings: Settings, store: Store) -> Ferryman:
    ferry = Ferryman(settings, store)
    register(ferry)
    return ferry


def posted(section: str) -> tuple[str, Any]:
    """The type and payload in a section's curl command."""
    found = re.search(r"-d '(\{.*?\})'$", section, re.DOTALL | re.MULTILINE)
    assert found
    body = json.loads(found[1])
    assert set(body) == {"type", "payload"}
    return body["type"], body["payload"]


def promised(section: str) -> Any:
    """The first indented block after the command that is JSON and no command itself."""
    blocks = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    return json.loads(next(block for block in blocks if "curl" not in block))


def same(value: Any) -> Any:
    """The value without what differs from run to run and machine to machine."""
    if isinstance(value, dict):
        return {k: k if k in NOT_ALWAYS_THE_SAME else same(v) for k, v in value.items()}
    return value


def run(ferry: Ferryman, type: str, payload: Any) -> Any:
    job_type = ferry.registry.get(type)
    assert job_type is not None
    value = job_type.call(payload, Context("0197", type, "default", 1, 0, 3, 60.0))
    return asyncio.run(value) if inspect.iscoroutine(value) else value


def test_every_built_in_type_has_its_section(ferry: Ferryman) -> None:
    assert set(SECTIONS) == set(ferry.registry)


@pytest.mark.parametrize("type", [name for name in SECTIONS if name != "fail"])
def test_an_example_gives_the_result_the_page_shows(
    ferry: Ferryman, settings: Settings, type: str
) -> None:
    Path(settings.files).mkdir()
    Image.new("RGB", (600, 400)).save(Path(settings.files) / "cat.png")
    named, payload = posted(SECTIONS[type])
    assert named == type
    assert same(run(ferry, type, payload)) == same(promised(SECTIONS[type]))


def test_the_example_of_fail_fails_as_the_page_shows(ferry: Ferryman) -> None:
    with pytest.raises(RuntimeError) as caught:
        run(ferry, *posted(SECTIONS["fail"]))
    assert f"    RuntimeError: {caught.value}\n" in SECTIONS["fail"]
