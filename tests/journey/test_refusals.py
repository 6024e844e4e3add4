"""Redis is there but refuses: workers wait, go on by themselves, and charge nobody."""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from tests.journey.programs import until
from tests.journey.sites import Site

from ferryman.embedded import find_binary
from ferryman.errors import StoreUnavailable

HARM = 1.5
"""Seconds for which Redis refuses."""


def busy(site: Site) -> None:
    """A script runs for long; everybody else is told BUSY."""
    site.raw.config_set("busy-reply-threshold", 50)
    spin = """
    local function now() local t = redis.call('TIME'); return t[1] + t[2] / 1000000 end
    local e = now() + tonumber(ARGV[1])
    while now() < e do end
    """
    site.raw.eval(spin, 0, str(HARM))


def readonly(site: Site) -> None:
    """It follows another server, as after a failover; what waits in it is thrown out."""
    site.raw.execute_command("REPLICAOF", "127.0.0.1", "1")
    time.sleep(HARM)
    site.raw.execute_command("REPLICAOF", "NO", "ONE")


def misconf(site: Site) -> None:
    """Its snapshot failed: it takes no writes."""
    site.raw.config_set("save", "3600 1000000")
    shutil.rmtree(site.server.data)
    site.raw.bgsave()
    until(lambda: site.raw.info("persistence")["rdb_last_bgsave_status"] == "err")
    time.sleep(HARM)
    site.raw.config_set("save", "")


def unblocked(site: Site) -> None:
    """Every wait is ended by an error, again and again."""
    end = time.monotonic() + HARM
    while time.monotonic() < end:
        for client in site.raw.client_list():
            if "b" in client["flags"]:
                site.raw.execute_command("CLIENT", "UNBLOCK", client["id"], "ERROR")
        time.sleep(0.05)


def noperm(site: Site) -> None:
    """The user of the workers loses its rights, and has them back."""
    site.raw.execute_command("ACL", "SETUSER", "keeper", "on", ">secret", "~*", "&*", "+@all")
    url = site.server.url.replace("//", "//keeper:secret@")
    with redis.Redis.from_url(url) as keeper:
        keeper.execute_command("ACL", "SETUSER", "default", "-blmove", "-evalsha", "-lrange")
        time.sleep(HARM)
        keeper.execute_command("ACL", "SETUSER", "default", "+@all")


def loading(site: Site) -> None:
    """It loads its data anew, 5 ms a key, and answers LOADING meanwhile."""
    for name, value in {
        "key-load-delay": 5000,
        "loading-process-events-interval-bytes": 1024,
    }.items():
        site.raw.config_set(name, value)
    site.raw.execute_command("DEBUG", "RELOAD")
    site.raw.config_set("key-load-delay", 0)


@pytest.fixture
def debuggable(tmp_path: Path) -> str:
    """A server that obeys DEBUG."""
    path = tmp_path / "debuggable"
    path.write_text(f'#!/bin/sh\nexec "{find_binary()}" "$@" --enable-debug-command yes\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize("harm", [busy, readonly, misconf, unblocked, noperm, loading])
def test_work_goes_on_when_redis_refused_for_a_while(
    make_site: Callable[..., Site], debuggable: str, harm: Callable[[Site], None]
) -> None:
    site = make_site(binary=debuggable) if harm is loading else make_site()
    worker = site.worker()
    gate = site.gate()
    held = site.hold(gate)
    site.await_running(held)
    roll = site.workers()
    ids = site.enqueue_notes(200, seconds=0.02)
    until(lambda: site.count("completed") >= 10)
    errors = refusals(site)
    harm(site)
    until(lambda: completed(site) == 200, within=60)
    assert refusals(site) > errors, "it was meant to refuse"
    gate.touch()
    assert held.wait(20).attempt == 1
    assert sorted(site.notes(), key=int) == [str(n + 1) for n in range(200)]
    assert all((j.attempt, j.crashes) == (1, 0) for j in site.store.get_many(ids))
    assert (site.workers(), worker.children) == (roll, roll)
    assert not worker.events("child.died"), "neither a child nor upkeep"
    assert not worker.events("bug")
    # Idle again, it hears of a job at once.
    site.await_listening(3)
    assert site.enqueue("uppercase", {"input": "x"}).wait(20).state == "completed"


def refusals(site: Site) -> int:
    """How often Redis has answered with an error."""
    return int(site.raw.info("stats")["total_error_replies"])


def completed(site: Site) -> int:
    with suppress(StoreUnavailable):
        return int(site.count("completed"))
    return 0
