"""The Lua files as they are: named by verb, explained, safe on a full Redis."""

from __future__ import annotations

import re

import pytest

from ferryman.lifecycle import TABLE
from ferryman.store.scripts import scripts

ALL = sorted(scripts().values(), key=lambda s: s.verb)


@pytest.mark.parametrize("script", ALL, ids=lambda s: s.verb)
def test_a_script_begins_with_its_flags_and_explains_itself(script) -> None:
    first, second = script.text.splitlines()[:2]
    assert first.startswith("#!lua")
    assert second.startswith(f"-- {script.verb}: ")
    header = script.text.split("\n\n")[0]
    assert "-- KEYS[1] prefix" in header
    assert "-- ARGV" in header
    assert "-- Returns" in header


@pytest.mark.parametrize("script", ALL, ids=lambda s: s.verb)
def test_only_enqueue_is_refused_when_memory_is_full(script) -> None:
    assert ("allow-oom" in script.text.splitlines()[0]) == (script.verb != "enqueue")


@pytest.mark.parametrize("script", ALL, ids=lambda s: s.verb)
def test_no_script_walks_the_keyspace_or_decodes_a_payload(script) -> None:
    assert not re.search(r"'(KEYS|SCAN|HSCAN)'|cjson\.decode", script.text)


def test_every_include_is_put_in() -> None:
    assert [s.verb for s in ALL if "@include" in s.text] == []


def test_every_verb_of_the_lifecycle_but_expire_is_a_script() -> None:
    # expire happens where a job would start: inside claim and promote.
    assert {v.name for v in TABLE} - {"expire"} <= set(scripts())
