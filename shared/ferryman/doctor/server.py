"""Rules about the server: its version, what it keeps, what it throws away, its clock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ferryman.doctor.advice import Advice, config_set, note, ok, problem, warning
from ferryman.doctor.holes import HOLES, Version
from ferryman.doctor.host import Host
from ferryman.store.facts import Facts

LEAST = {"redis": (7, 0), "valkey": (7, 2)}
"""The oldest releases that can run the scripts."""

NAMES = {"redis": "Redis", "valkey": "Valkey"}

FULL = 0.8
"""Share of the memory from which there is little room left."""

LISTPACK = 1024
"""Bytes up to which a field may keep a job compact."""

SKEW = 1.0
"""Seconds of difference between the clocks that matter to nobody."""


def version(facts: Facts, _: Host) -> Iterator[Advice]:
    """Old servers cannot run the scripts."""
    server, release = named(facts.info)
    if release is None:
        yield note("version", "the server does not say its version", "holes cannot be looked up")
        return
    what = f"{NAMES[server]} {dotted(release)}"
    if release[:2] < LEAST[server]:
        wanted = dotted(LEAST[server])
        yield problem(
            "version",
            f"{what} is too old",
            "workers refuse it: the scripts need functions it does not have",
            f"upgrade to {NAMES[server]} {wanted} or newer",
        )
    else:
        yield ok("version", what)


def holes(facts: Facts, _: Host) -> Iterator[Advice]:
    """Known holes of this release; those that need a setting only where it is set."""
    server, release = named(facts.info)
    if release is None:
        return
    eviction = (facts.config or {}).get("maxmemory-clients")
    clear = True
    for hole in HOLES:
        if not hole.is_open(server, release) or (hole.needs_eviction and eviction == "0"):
            continue
        clear = False
        fix = f"upgrade to {NAMES[server]} {hole.upgrade(server, release)} or newer"
        if not hole.is_closed_in_line(server, release):
            fix += "; a distribution's package may have it closed under this number"
        why = f"with {hole.means} whoever may log in can run any code on the server"
        if hole.needs_eviction and eviction is None:
            yield note("hole", f"{hole.name}, if maxmemory-clients is set", why, fix)
        else:
            yield warning("hole", hole.name, why, fix)
    if clear:
        yield ok("hole", f"none of the {len(HOLES)} this version of ferryman knows")


def persistence(facts: Facts, _: Host) -> Iterator[Advice]:
    """What an accepted job is worth after a restart of Redis."""
    info, config = facts.info, facts.config or {}
    on = info.get("aof_enabled", {"yes": "1", "no": "0"}.get(config.get("appendonly", ""), ""))
    fix = config_set("appendonly", "yes")
    if on == "1":
        yield _fsync(config.get("appendfsync"))
    elif on == "":
        yield note("persistence", "the server does not say whether it keeps its data")
    elif config.get("save") == "":
        why = "every accepted job is lost when Redis ends"
        yield problem("persistence", "appendonly is no and save is empty", why, fix)
    else:
        why = (
            "when Redis ends, what came after the last snapshot is lost and what it did runs again"
        )
        yield warning("persistence", "appendonly is no: only snapshots are kept", why, fix)
    yield from _write_errors(info)


def _fsync(policy: str | None) -> Advice:
    if policy == "no":
        why = "a power failure may cost the jobs of half a minute"
        return warning(
            "persistence", "appendfsync is no", why, config_set("appendfsync", "everysec")
        )
    told = {
        "everysec": "appendonly, written every second: a power failure may cost the last second",
        "always": "appendonly, written before each answer",
    }
    return ok("persistence", told.get(policy or "", "appendonly is on"))


def _write_errors(info: Mapping[str, str]) -> Iterator[Advice]:
    failing = {
        "aof_last_write_status": "the last write of the append-only file failed",
        "rdb_last_bgsave_status": "the last snapshot failed",
    }
    for name, what in failing.items():
        if info.get(name, "ok") != "ok":
            why = "Redis refuses new jobs until it can write (MISCONF), and what it has is not safe"
            yield problem("persistence", what, why, "df -h, then look at the server's log")
    if info.get("aof_last_bgrewrite_status", "ok") != "ok":
        why = "the append-only file grows until the disk is full"
        fix = "df -h; free -m; then: ferryman redis BGREWRITEAOF"
        yield warning("persistence", "the last rewrite of the append-only file failed", why, fix)


def eviction(facts: Facts, _: Host) -> Iterator[Advice]:
    """A server that throws keys away throws jobs away."""
    policy = facts.info.get("maxmemory_policy", "")
    if policy in ("", "noeviction"):
        yield ok("eviction", policy or "unknown")
        return
    why = "a full server throws away jobs and counters as if they were cache entries"
    say = problem if facts.info.get("maxmemory", "0") != "0" else warning
    yield say(
        "eviction",
        f"maxmemory-policy is {policy}",
        why,
        config_set("maxmemory-policy", "noeviction"),
    )


def memory(facts: Facts, _: Host) -> Iterator[Advice]:
    """Full, Redis takes no new jobs; without a limit the kernel ends it."""
    used, limit = _bytes(facts.info, "used_memory"), _bytes(facts.info, "maxmemory")
    whole = _bytes(facts.info, "total_system_memory")
    room = limit or whole
    if not used or not room:
        yield note("memory", "unknown")
        return
    what = f"{_size(used)} of {_size(room)} used"
    if used > FULL * room:
        why = "a full server takes no new jobs (503); what is accepted still runs"
        fix = "a machine with more memory; or fewer jobs: FERRYMAN_MAX_PENDING, FERRYMAN_RETENTION"
        if limit and 2 * limit < FULL * whole:
            fix = config_set("maxmemory", _size(2 * limit))
        yield warning("memory", what, why, fix)
    elif not limit:
        why = "without a limit the kernel ends Redis when the machine runs out of memory"
        fix = config_set("maxmemory", _size(int(FULL * whole)))
        yield note("memory", f"{what}; maxmemory is not set", why, fix)
    else:
        yield ok("memory", what)


def clients(facts: Facts, _: Host) -> Iterator[Advice]:
    """Workers wait in blocked connections; they must be let in and left alone."""
    setting = (facts.config or {}).get("maxmemory-clients")
    if setting not in (None, "0"):
        why = "Redis may drop workers that wait; many releases can be made to crash or worse by it"
        fix = config_set("maxmemory-clients", "0")
        yield warning("clients", f"maxmemory-clients is {setting}", why, fix)
    now, most = _bytes(facts.info, "connected_clients"), _bytes(facts.info, "maxclients")
    if most and now > FULL * most:
        why = "a worker needs a connection for every list it serves, and would be refused"
        what = f"{now} of {most} connections are used"
        yield warning("clients", what, why, config_set("maxclients", str(2 * most)))
    elif setting in (None, "0"):
        yield ok("clients", f"{now} connected")


def compactness(facts: Facts, _: Host) -> Iterator[Advice]:
    """Small jobs take half the memory when Redis keeps their fields in one piece."""
    text = (facts.config or {}).get("hash-max-listpack-value", "")
    if not text.isdigit():
        return
    if int(text) < LISTPACK:
        why = "one longer field makes a job bulky: 384 bytes instead of 208 with a payload of 100"
        fix = config_set("hash-max-listpack-value", str(LISTPACK))
        yield note("compactness", f"hash-max-listpack-value is {text}", why, fix)
    else:
        yield ok("compactness", f"hash-max-listpack-value is {text}")


def clock(facts: Facts, _: Host) -> Iterator[Advice]:
    """All times are by the clock of Redis; only times that clients name are by theirs."""
    side = "ahead of" if facts.skew > 0 else "behind"
    what = f"Redis is {abs(facts.skew):.3f} s {side} this machine"
    if abs(facts.skew) > SKEW + facts.doubt:
        why = "run_at and expires_at that a client names come early or late by as much"
        yield warning("clock", what, why, "timedatectl set-ntp true   (on both machines)")
    else:
        yield ok("clock", what)


def replication(facts: Facts, _: Host) -> Iterator[Advice]:
    """A replica takes no writes; a server without one is a single point of failure."""
    info = facts.info
    if info.get("role") == "slave":
        why = "a replica takes no writes: nothing can be enqueued or run"
        address = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        yield problem(
            "replication", "this server is a replica", why, f"REDIS_URL=redis://{address}"
        )
        return
    number = _bytes(info, "connected_slaves")
    least = (facts.config or {}).get("min-replicas-to-write", "")
    if not number:
        yield note("replication", "no replica", "the data is as safe as this one machine")
    elif least == "0":
        what = f"{number} replicas, min-replicas-to-write is 0"
        why = "a failover may cost what no replica had yet"
        yield note("replication", what, why, config_set("min-replicas-to-write", "1"))
    else:
        yield ok("replication", f"{number} replicas")


def system(facts: Facts, host: Host) -> Iterator[Advice]:
    """Settings of the kernel that matter when Redis forks to write its data."""
    if host.overcommit == "0":
        why = "a snapshot or rewrite needs to fork, which fails when memory is short"
        fix = "sudo sysctl vm.overcommit_memory=1"
        yield note("system", "vm.overcommit_memory is 0", why, fix)
    if host.huge_pages == "always" and (facts.config or {}).get("disable-thp") == "no":
        why = "after a fork each write copies 2 MB: latency and memory rise"
        fix = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
        yield note("system", "transparent huge pages are always on", why, fix)


def configuration(facts: Facts, _: Host) -> Iterator[Advice]:
    """Managed hosts hide their configuration; then some of the above is unknown."""
    if facts.config is None:
        why = "CONFIG is forbidden here; appendfsync, save and client limits are unknown"
        fix = "look them up with whoever runs the server"
        yield note("configuration", "unknown", why, fix)


def named(info: Mapping[str, str]) -> tuple[str, Version | None]:
    """Which server this is, and its release."""
    server = "valkey" if "valkey_version" in info else "redis"
    found = re.match(r"(\d+)\.(\d+)\.?(\d*)", info.get(f"{server}_version", ""))
    return server, tuple(int(n or 0) for n in found.groups()) if found else None


def dotted(version: Version) -> str:
    return ".".join(map(str, version))


def _bytes(info: Mapping[str, str], name: str) -> int:
    text = info.get(name, "")
    return int(text) if text.isdigit() else 0


def _size(number: int) -> str:
    """Megabytes as Redis reads them."""
    return f"{max(1, number // (1 << 20))}mb"
