"""docs/redis.md: what a whole life leaves in Redis is what the page says, and its commands work."""

import contextlib
import re
import shlex
from pathlib import Path

import pytest

from ferryman.backoff import Backoff
from ferryman.errors import MemoryFull
from ferryman.lifecycle import State
from ferryman.store.audit import Audit
from ferryman.traceparent import Trace

PAGE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()


def section(title):
    """The lines of one section."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0].splitlines()


def words(title):
    """Everything set as code in the first column, or in the text, of a section."""
    lines = [line.strip("| ").split(" | ")[0] for line in section(title)]
    return {word for line in lines for word in re.findall(r"`([^`]+)`", line)}


def matches(name, told):
    """Whether a name is one of those a word with <places> stands for."""
    return re.fullmatch(re.sub(r"<\w+>", ".+", told), name) is not None


@pytest.fixture
def life(world):
    """A namespace that has seen everything."""
    store = world.store
    world.enqueue(*"abcdefghi", digest="d", backoff=Backoff(), tags=("t",), meta={"k": 1})
    world.enqueue("keyed", idempotency_key="k", digest="d", max_attempts=3, timeout=5.0, queue="q")
    world.enqueue("late", delay=60.0, expires_at=9e9, priority="high")
    world.enqueue("due", delay=60.0, trace=Trace(f"00-{'1' * 32}-{'2' * 16}-01", "a=1"))
    world.enqueue("gone", expires_at=1.0, priority="high")
    hand = world.worker("h:1:x")
    assert [job.id for job in hand.claim(7)] == list("abcdefg")
    store.progress("h:1:x", "a", 1, 0.5, "half")
    hand.finish("a", result="1")
    hand.retry("b")
    hand.bury("c")
    hand.snooze("d")
    hand.release("e")
    store.cancel("f")
    store.beat("sup", {"h:1:x": 1}, ["default"])
    store.cancel("h")
    store.delete("i")
    assert not hand.finish("b", 7)
    world.make_due("due")
    store.promote()
    world.enqueue("alone", queue="z", priority="low")
    world.worker("h:2:x", ("z",)).claim()
    world.recover("h:2:x")
    store.pause("z")
    store.tally("a", {"2026-01-01": {"click": 1}})
    store.command("RPUSH", store.keys.pending("default", "high"), "ghost", "late")
    for job_id in ("ghost", "late"):
        assert hand.deliver("high") == job_id
    hand.begin("ghost", "late")
    store.revive("a")
    store.command("SET", store.keys("wake"), "by hand")
    world.enqueue("soon", delay=1.0)
    with contextlib.closing(Audit(store.settings, store.keys)) as audit:
        audit.note(1.0, 0)
    now = store.command("TIME")[0].decode()
    store.command("HSET", store.keys("meta"), "memory_gate", now, "memory_seen", now)
    with pytest.raises(MemoryFull):
        world.enqueue("refused")
    store.command("HSET", store.keys("stats"), "forgotten_total", "1")
    return world


def test_every_key_is_in_the_catalogue_with_its_type(life):
    rows = [line.strip("| ").split(" | ") for line in section("Keys") if line.startswith("| `")]
    told = {row[0].strip("`"): row[1] for row in rows}
    seen = {}
    for name, entry in life.snapshot().keys.items():
        found = [key for key in told if matches(name, key)]
        assert found, f"{name} is not in the catalogue"
        assert told[found[0]] in (entry.kind, "any"), name
        seen[found[0]] = name
    assert set(seen) == set(told), "the catalogue has keys that nothing writes"


@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("Fields of `job:<id>`", "job:<id>"),
        ("Fields of `worker:<worker>`", "worker:<worker>"),
        ("Fields of `stats`", "stats"),
        ("Fields of `metrics:<queue>:<type>`", "metrics:<queue>:<type>"),
        ("Fields of `meta` and `audit`", "meta"),
        ("Fields of `meta` and `audit`", "audit"),
    ],
)
def test_every_field_is_in_the_catalogue(life, title, key):
    told = words(title)
    hashes = life.snapshot().of_kind("hash")
    fields = {f for name, fields in hashes.items() if matches(name, key) for f in fields}
    assert fields
    assert not {f for f in fields if not any(matches(f, word) for word in told)}


def test_a_queues_fields_are_its_states_and_what_the_catalogue_names(life):
    hashes = life.snapshot().of_kind("hash")
    fields = {f for name, fields in hashes.items() if name.startswith("queue:") for f in fields}
    assert fields <= {state.value for state in State} | {"paused", "max_pending"}


def test_the_commands_of_the_page_work(life):
    named = {"ferryman:{0}:": life.store.keys.prefix, "ID": "c", "WORKER": "h:1:x"}
    lines = [line for line in section("Looking") if line.startswith("    redis-cli ")]
    assert len(lines) > 10
    for line in lines:
        command = line
        for word, meant in named.items():
            command = command.replace(word, meant)
        argv = [word for word in shlex.split(command)[1:] if not word.startswith("--")]
        reply = life.store.command(*argv)
        assert reply not in (None, []) or argv[0] == "LPOS", line


def test_a_dead_letter_is_read_as_the_page_says(life):
    store = life.store
    [job_id] = store.command("LRANGE", store.keys("dlq"), "0", "9")
    flat = store.command("HGETALL", store.keys.job(job_id.decode()))
    job = dict(zip(flat[::2], flat[1::2], strict=True))
    assert (job[b"state"], job[b"error"], job[b"failures"]) == (b"failed", b"boom", b"1")
