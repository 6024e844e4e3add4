"""doctor on real servers: what it can see, what it may not ask, and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ferryman.config import Settings
from ferryman.doctor import Level, diagnose
from ferryman.store.audit import Audit
from ferryman.store.facts import facts


@pytest.fixture
def server(start_server, redis_kind):
    """A server of this test's own, as durable as the embedded one is by default."""
    return start_server(binary="redis-server" if redis_kind == "redis" else None, persist=True)


def topics(store):
    """topic -> the worst level said about it."""
    order = list(Level)
    said = {}
    for advice in diagnose(facts(store)):
        said[advice.topic] = max(said.get(advice.topic, Level.OK), advice.level, key=order.index)
    return said


def test_a_server_as_ferryman_starts_it_has_no_problem(server, redis_kind):
    said = topics(Audit(Settings(redis_url=server.url)))
    assert Level.PROBLEM not in said.values()
    assert {said[t] for t in ("version", "persistence", "eviction", "clients", "clock")} == {"ok"}
    assert said["hole"] == ("ok" if redis_kind == "valkey" else "warning")


def test_settings_that_cost_jobs_are_problems(server):
    store = Audit(Settings(redis_url=server.url))
    for name, value in {
        "appendonly": "no", "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru",
        "maxmemory-clients": "1mb", "hash-max-listpack-value": "64",
    }.items():  # fmt: skip
        store.command("CONFIG", "SET", name, value)
    said = topics(store)
    assert (said["persistence"], said["eviction"]) == ("problem", "problem")
    assert (said["clients"], said["compactness"]) == ("warning", "note")


def test_what_lies_about_is_seen(server, make_world):
    store = Audit(Settings(redis_url=server.url))
    world = make_world(store)
    world.running("a", "b").bury("a")
    world.recover()
    world.enqueue("c")
    store.command("LMOVE", store.keys.pending("default", "normal"), store.keys.running("ghost"),
                  "LEFT", "LEFT")  # fmt: skip
    store.command("RPUSH", store.keys.running("w"), "late")
    store.command("LPUSH", store.keys("quarantine"), "{}")
    found = facts(store)
    assert (found.ownerless, found.left, found.quarantine, found.dlq) == (["ghost"], 1, 1, 1)
    assert found.waiting == 2
    assert found.oldest_dead == pytest.approx(found.roll.now, abs=5)
    said = topics(store)
    assert (said["lists"], said["workers"], said["dead letters"]) == ("problem", "warning", "note")


def test_a_host_that_forbids_config_and_info_is_not_called_bad_for_it(server):
    Audit(Settings(redis_url=server.url)).command(
        "ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-config", "-info"
    )
    url = server.url.replace("redis://", "redis://app:secret@")
    found = facts(Audit(Settings(redis_url=url)))
    assert (found.config, found.info) == (None, {})
    assert {a.level for a in diagnose(found)} == {Level.OK, Level.NOTE}
    assert topics(Audit(Settings(redis_url=url)))["configuration"] == "note"


def doctor(url, *args):
    """Run the command."""
    command = [sys.executable, "-m", "ferryman", "--redis-url", url, "doctor", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_ends_with_1_only_when_there_is_a_problem(server):
    done = doctor(server.url)
    assert done.returncode == 0, done.stdout
    assert "ok       persistence: appendonly" in done.stdout
    Audit(Settings(redis_url=server.url)).command("CONFIG", "SET", "appendonly", "no")
    done = doctor(server.url, "--json")
    assert done.returncode == 1
    [advice] = [a for a in json.loads(done.stdout) if a["level"] == "problem"]
    assert advice["topic"] == "persistence"
    assert advice["fix"].startswith("ferryman redis CONFIG SET appendonly yes")
    assert set(advice) == {"level", "topic", "what", "why", "fix"}


def test_the_command_says_when_redis_cannot_be_reached():
    done = doctor("redis://127.0.0.1:1/0")
    assert (done.returncode, done.stdout) == (3, "")
