"""The doctor's rules, on servers made up: what each finds, how bad it is, and that it has a fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ferryman.check import KINDS
from ferryman.doctor import Advice, Host, Level, diagnose, this_host
from ferryman.doctor.holes import HOLES
from ferryman.store.audit import Roll
from ferryman.store.facts import Facts

INFO = {
    "redis_version": "7.2.4",
    "valkey_version": "9.1.2",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "maxmemory": "1000000000",
    "maxmemory_policy": "noeviction",
    "used_memory": "100000000",
    "total_system_memory": "8000000000",
    "role": "master",
    "connected_slaves": "1",
    "connected_clients": "7",
    "maxclients": "10000",
}
CONFIG = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-clients": "0",
    "hash-max-listpack-value": "1024",
    "min-replicas-to-write": "1",
    "disable-thp": "yes",
}
ROLL = Roll(now=1_000_000.0, leases={"w": 1_000_012.0})


def examine(
    info: dict[str, str] | None = None,
    config: dict[str, str] | None = None,
    host: Host | None = None,
    **found: Any,
) -> list[Advice]:
    """What is said about a good server on which this differs, but for what is in order."""
    known: dict[str, Any] = {"roll": ROLL, "audit": {"at": "999000", "violations": "0"}}
    facts = Facts(info=INFO | (info or {}), config=CONFIG | (config or {}), **(known | found))
    return [a for a in diagnose(facts, host) if a.level is not Level.OK]


def redis(version: str) -> list[Advice]:
    """The same of a Redis of this version."""
    info = {k: v for k, v in INFO.items() if k != "valkey_version"} | {"redis_version": version}
    facts = Facts(info=info, config=CONFIG, roll=ROLL, audit={"at": "999000", "violations": "0"})
    return [a for a in diagnose(facts) if a.level is not Level.OK]


def test_a_good_server_is_told_so_topic_by_topic():
    facts = Facts(info=INFO, config=CONFIG, roll=ROLL, audit={"at": "999000", "violations": "0"})
    assert {a.topic: a.what for a in diagnose(facts)} == {
        "version": "Valkey 9.1.2",
        "hole": "none of the 3 this version of ferryman knows",
        "persistence": "appendonly, written every second: a power failure may cost the last second",
        "eviction": "noeviction",
        "memory": "95mb of 953mb used",
        "clients": "7 connected",
        "compactness": "hash-max-listpack-value is 1024",
        "clock": "Redis is 0.000 s behind this machine",
        "replication": "1 replicas",
        "workers": "1 alive",
        "lists": "nothing lies where nobody looks",
        "dead letters": "none",
        "check": "all was well 17 min ago",
    }
    assert {a.level for a in diagnose(facts)} == {Level.OK}


WRONG: dict[str, tuple[str, str, dict[str, Any]]] = {
    "too old": ("problem", "version", {"info": {"valkey_version": "7.1.9"}}),
    "nothing kept": (
        "problem", "persistence", {"info": {"aof_enabled": "0"}, "config": {"save": ""}},
    ),
    "only snapshots": (
        "warning", "persistence", {"info": {"aof_enabled": "0"}, "config": {"save": "3600 1"}},
    ),
    "fsync never": ("warning", "persistence", {"config": {"appendfsync": "no"}}),
    "cannot write": ("problem", "persistence", {"info": {"aof_last_write_status": "err"}}),
    "cannot snapshot": ("problem", "persistence", {"info": {"rdb_last_bgsave_status": "err"}}),
    "cannot rewrite": ("warning", "persistence", {"info": {"aof_last_bgrewrite_status": "err"}}),
    "evicts": ("problem", "eviction", {"info": {"maxmemory_policy": "allkeys-lru"}}),
    "would evict": (
        "warning", "eviction",
        {"info": {"maxmemory_policy": "volatile-ttl", "maxmemory": "0", "used_memory": "0"}},
    ),
    "nearly full": ("warning", "memory", {"info": {"used_memory": "810000000"}}),
    "no limit": ("note", "memory", {"info": {"maxmemory": "0"}}),
    "no limit, machine full": (
        "warning", "memory", {"info": {"maxmemory": "0", "used_memory": "7000000000"}},
    ),
    "evicts clients": ("warning", "clients", {"config": {"maxmemory-clients": "5%"}}),
    "few connections left": ("warning", "clients", {"info": {"connected_clients": "9000"}}),
    "bulky jobs": ("note", "compactness", {"config": {"hash-max-listpack-value": "64"}}),
    "clock ahead": ("warning", "clock", {"skew": 4.0, "doubt": 0.5}),
    "clock behind": ("warning", "clock", {"skew": -4.0, "doubt": 0.5}),
    "a replica": ("problem", "replication", {"info": {"role": "slave", "master_host": "m"}}),
    "no replica": ("note", "replication", {"info": {"connected_slaves": "0"}}),
    "replicas may lag": ("note", "replication", {"config": {"min-replicas-to-write": "0"}}),
    "overcommit": ("note", "system", {"host": Host(overcommit="0")}),
    "huge pages": (
        "note", "system", {"host": Host(huge_pages="always"), "config": {"disable-thp": "no"}},
    ),
    "no workers": ("note", "workers", {"roll": Roll(now=1_000_000.0)}),
    "no workers, jobs wait": ("warning", "workers", {"roll": Roll(now=1_000_000.0), "waiting": 3}),
    "all workers late": ("warning", "workers", {"roll": Roll(1_000_000.0, {"w": 999_000.0})}),
    "one worker late": (
        "note", "workers", {"roll": Roll(1_000_000.0, {"w": 999_000.0, "v": 1_000_001.0})},
    ),
    "lists of nobody": ("problem", "lists", {"ownerless": ["ghost"]}),
    "lists of the dead": ("note", "lists", {"left": 2}),
    "quarantine": ("warning", "lists", {"quarantine": 2}),
    "wake": ("note", "lists", {"wake": 20}),
    "dead letters": ("note", "dead letters", {"dlq": 2, "oldest_dead": 740_000.0}),
    "violations": ("warning", "check", {"audit": {"at": "999000", "violations": "4"}}),
    "never checked": ("note", "check", {"audit": {}}),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG, ids=lambda name: name.replace(" ", "-"))
def test_what_is_wrong_is_told_with_its_reason(case):
    level, topic, facts = WRONG[case]
    [advice] = [a for a in examine(**facts) if a.topic == topic]
    assert advice.level == level
    assert advice.what
    assert advice.why
    assert advice.fix or advice.level is Level.NOTE


def test_one_is_one_and_not_ones():
    alone = Roll(now=1_000_000.0)
    one = examine(ownerless=["ghost"], left=1, quarantine=1, roll=alone, waiting=1)
    assert {a.what for a in one if a.topic in ("lists", "workers")} == {
        "1 list of workers nobody knows",
        "1 id in lists of dead workers",
        "1 element in quarantine",
        "none alive, 1 job waiting",
    }
    [last] = examine(audit={"at": "999000", "violations": "1"})
    assert last.what.startswith("1 violation 1")
    assert "2 elements in quarantine" in {a.what for a in examine(quarantine=2)}


def test_a_difference_the_measurement_may_have_made_is_none():
    assert examine(skew=1.4, doubt=0.5) == []


def test_the_age_of_the_oldest_dead_letter_is_told():
    [advice] = examine(dlq=2, oldest_dead=740_000.0)
    assert advice.what == "2, the oldest 3 d old"
    [advice] = examine(dlq=2)
    assert advice.what == "2"


def test_a_server_that_hides_its_configuration_is_not_called_bad_for_it():
    known = {"roll": ROLL, "audit": {"at": "999000", "violations": "0"}}
    found = [a for a in diagnose(Facts(info=INFO, config=None, **known)) if a.level is not Level.OK]
    assert [(a.level, a.topic) for a in found] == [("note", "configuration")]


def test_a_server_that_hides_everything_is_a_list_of_unknowns():
    found = diagnose(Facts(info={}, config=None))
    assert {a.level for a in found} <= {Level.OK, Level.NOTE}
    assert {"version", "persistence", "memory", "configuration"} <= {a.topic for a in found}


LUA, UNBLOCK, STREAM = (hole.name for hole in HOLES)


@pytest.mark.parametrize(
    ("version", "holes"),
    [
        ("7.0.15", {LUA: "7.2.11", STREAM: "7.2.15"}),
        ("7.2.10", {LUA: "7.2.11", STREAM: "7.2.15"}),
        ("7.2.11", {STREAM: "7.2.15"}),
        ("7.2.15", {}),
        ("7.4.9", {STREAM: "7.4.10"}),
        ("7.4.10", {}),
        ("8.0.3", {LUA: "8.0.4", STREAM: "8.2.8"}),
        ("8.2.1", {LUA: "8.2.2", STREAM: "8.2.8"}),
        ("8.4.0", {STREAM: "8.4.5"}),
        ("8.6.5", {}),
        ("8.8.0", {}),
        ("9.0", {}),
    ],
)
def test_the_holes_of_a_redis_are_those_its_release_has(version, holes):
    found = {a.what: a.fix for a in redis(version)}
    assert set(found) == set(holes)
    for name, fixed in holes.items():
        assert f"Redis {fixed} or newer" in found[name]
    assert {a.level for a in redis(version)} <= {Level.WARNING}


@pytest.mark.parametrize(
    ("version", "holes"),
    [
        ("7.2.10", {LUA, STREAM}),
        ("8.0.6", {STREAM}),
        ("8.1.3", {LUA, STREAM}),
        ("8.1.4", {STREAM}),
        ("9.0.0", {STREAM}),
        ("9.1.1", set()),
        ("9.1.2", set()),
    ],
)
def test_the_holes_of_a_valkey_are_those_its_release_has(version, holes):
    assert {a.what for a in examine({"valkey_version": version})} == holes


@pytest.mark.parametrize(
    ("version", "is_open"),
    [("7.0.15", False), ("7.2.4", True), ("7.2.14", False), ("8.0.6", True), ("8.6.2", True),
     ("8.6.3", False), ("8.8.0", False)],
)  # fmt: skip
def test_the_hole_of_evicted_clients_is_open_only_where_clients_are_evicted(version, is_open):
    assert UNBLOCK not in {a.what for a in redis(version)}
    hole = next(h for h in HOLES if h.needs_eviction)
    assert hole.is_open("redis", tuple(map(int, version.split(".")))) == is_open
    info = {k: v for k, v in INFO.items() if k != "valkey_version"} | {"redis_version": version}
    evicting = diagnose(Facts(info=info, config=CONFIG | {"maxmemory-clients": "1mb"}))
    assert (UNBLOCK in {a.what for a in evicting}) == is_open
    hidden = diagnose(Facts(info=info, config=None))
    assert (f"{UNBLOCK}, if maxmemory-clients is set" in {a.what for a in hidden}) == is_open


def test_the_kernel_is_looked_at_only_where_the_server_may_run_on_it(tmp_path: Path):
    pages = tmp_path / "sys/kernel/mm/transparent_hugepage/enabled"
    pages.parent.mkdir(parents=True)
    pages.write_text("[always] madvise never\n")
    memory = tmp_path / "proc/sys/vm/overcommit_memory"
    memory.parent.mkdir(parents=True)
    memory.write_text("0\n")
    here = Host(overcommit="0", huge_pages="always")
    assert this_host("redis://localhost:6379/0", tmp_path) == here
    assert this_host("redis://:secret@127.0.0.1/0", tmp_path) == here
    assert this_host("unix:///run/redis.sock", tmp_path) == here
    assert this_host("rediss://redis.example.org:6379/0", tmp_path) == Host()
    assert this_host("redis://localhost", tmp_path / "elsewhere") == Host()


PAGE = (Path(__file__).parents[2] / "docs" / "check.md").read_text()


def test_the_page_names_every_kind_of_finding_in_the_words_of_the_program():
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
    assert {row[0].strip("`"): row[1] for row in rows} == KINDS


def test_the_page_names_every_topic_and_how_bad_it_may_be():
    header = "| topic | problem | warning | note |"
    lines = PAGE.split(header)[1].split("\n\n")[0].splitlines()[2:]
    rows = {cells[1].strip(): cells[2:5] for cells in (line.split("|") for line in lines)}
    told = {
        (topic, level)
        for topic, cells in rows.items()
        for level, cell in zip(("problem", "warning", "note"), cells, strict=True)
        if cell.strip()
    }
    shown = {(topic, level) for level, topic, _ in WRONG.values()}
    shown |= {("hole", "warning"), ("hole", "note"), ("configuration", "note")}
    shown |= {("version", "note"), ("persistence", "note")}
    assert told == shown


def test_the_page_names_every_hole():
    assert all(hole.name.split()[0] in PAGE for hole in HOLES)
