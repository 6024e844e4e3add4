"""Act four: the append-only file cut at every byte.

A real server writes the log of some jobs' whole lives. For every length of it a server is started
on the cut file, as after a power failure, and must hold what it held after the last verb that is
whole: not half a verb, not a job less. The length after each acknowledged verb is known, so which
jobs must be there is known too.
"""

from __future__ import annotations

import bisect
import os
import random
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.lanes import Keyspace, Lane, apart
from tests.store.conftest import World

from ferryman.check import inspect
from ferryman.config import Settings
from ferryman.embedded import EmbeddedServer
from ferryman.job import Draft
from ferryman.keys import LEVELS, Keys
from ferryman.store import Store
from ferryman.store.audit import Audit

JOBS = 10
"""Jobs in the log beside three that are claimed by nobody: every way through the states once."""


@dataclass
class Log:
    """The folder a server left, and what it held at every length its log had."""

    data: Path
    lengths: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    wholes: list[frozenset[bytes]] = field(default_factory=list)
    jobs: list[frozenset[bytes]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        """The part of the log that grows."""
        (found,) = (self.data / "appendonlydir").glob("*.incr.aof")
        return found

    def at(self, length: int) -> int:
        """Which moment a log of this length must show."""
        return bisect.bisect_right(self.lengths, length) - 1


class Writer:
    """Lives jobs through, and notes the length of the log after each verb."""

    def __init__(self, server: EmbeddedServer, chance: random.Random) -> None:
        self.log, self.chance = Log(server.data), chance
        self.keyspace = Keyspace(apart(server))
        # Else a sync under way may hold a write back for two seconds, past its acknowledgement.
        self.keyspace.redis.config_set("appendfsync", "no")
        self.store = Store(Settings(redis_url=apart(server)))
        self.world = World(self.store)
        self.note()

    def note(self) -> None:
        """What there is now, and how long the log is."""
        keys = self.keyspace.redis.keys(self.store.keys.job("*"))
        self.log.lengths.append(self.log.file.stat().st_size)
        self.log.digests.append(self.keyspace.digest())
        self.log.wholes.append(self.keyspace.whole())
        self.log.jobs.append(frozenset(keys))

    def write(self, jobs: int) -> Log:
        """The whole log."""
        hand = self.world.worker("w1")
        self.note()
        for n in range(jobs):
            job_id = f"j{n}"
            level = LEVELS[n % 3]
            keyed = {"idempotency_key": f"k{n}", "digest": "d"} if n % 4 == 0 else {}
            delay = 5.0 if n % 7 == 3 else None
            self.store.enqueue(
                [Draft(job_id, "a", '{"n":1}', priority=level, delay=delay, **keyed)]
            )
            self.note()
            self.live(hand, job_id, n)
        self.store.enqueue([Draft(f"last{n}", "a") for n in range(3)])
        self.note()
        self.world.recover("w1")
        self.note()
        self.world.close()
        self.store.close()
        return self.log

    def live(self, hand: object, job_id: str, n: int) -> None:
        """One way through the states."""
        ways = ["finish", "bury", "retry", "snooze", "release", "cancel", "delete", "pause", "run"]
        way = ways[n % len(ways)]
        self.world.make_due(job_id)
        self.note()
        self.store.promote()
        self.note()
        if way in ("cancel", "delete"):
            getattr(self.store, way)(job_id)
        elif way == "pause":
            self.store.pause("default")
            self.note()
            self.store.resume("default")
        else:
            self.claim(hand, way)
        self.note()

    def claim(self, hand: object, way: str) -> None:
        """Begun by BLMOVE or by script, then settled; what was buried is revived."""
        delivered = hand.deliver(self.chance.choice(LEVELS))  # type: ignore[attr-defined]
        self.note()
        jobs = hand.begin(delivered) if delivered else hand.claim(1)  # type: ignore[attr-defined]
        self.note()
        for job in jobs:
            if way != "run":
                hand.settle_by(way, job.id, job.attempt)  # type: ignore[attr-defined]
                self.note()
            if way == "bury":
                self.store.revive(job.id)


def cases(log: Log, scale: float) -> list[int]:
    """The lengths to try: every one, or some from end to end and the last twenty."""
    length = log.file.stat().st_size
    return sorted({*range(0, length + 1, round(1 / scale)), *range(length - 20, length + 1)})


def write(folder: Path, seed: int, jobs: int = JOBS) -> Log:
    """A log in this folder."""
    with EmbeddedServer(folder / "written") as server:
        return Writer(server, random.Random(seed)).write(jobs)


def act(lane: Lane, log: Log) -> None:
    """Each case is one length of the log."""
    whole = log.file.read_bytes()
    data = lane.folder / "cut"
    for case, _ in lane.each():
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(log.data / "appendonlydir", data / "appendonlydir")
        (data / "appendonlydir" / log.file.name).write_bytes(whole[:case])
        try:
            with EmbeddedServer(data) as server:
                look(lane, log, case, apart(server))
                os.kill(server.pid, signal.SIGKILL)  # asked to end it would take 0.1 s
        except Exception as error:
            lane.report.broke(case, f"{type(error).__name__}: {error}")


def look(lane: Lane, log: Log, case: int, url: str) -> None:
    """What came up must be what was there."""
    keyspace, moment = Keyspace(url), log.at(case)
    there = frozenset(keyspace.redis.keys(Keys().job("*")))
    missing = log.jobs[moment] - there
    if missing:
        lane.report.broke(case, f"acknowledged jobs are missing: {sorted(missing)[:3]}")
    digest = keyspace.digest()
    if digest != log.digests[moment]:
        differs = sorted(keyspace.whole() ^ log.wholes[moment])
        lane.report.broke(case, f"it is not what was there after verb {moment}: {differs[:4]}")
    keyspace.redis.close()
    lane.report.counts["servers started"] += 1
    lane.report.counts["jobs acknowledged and there"] += len(there)
    if digest not in lane.seen:
        lane.seen.add(digest)
        lane.report.counts["states checked"] += 1
        audited(lane, case, url)


def audited(lane: Lane, case: int, url: str) -> None:
    """`ferryman check` on what came up; once for each state, for equal ones have one answer."""
    audit = Audit(Settings(redis_url=url))
    for finding in inspect(audit, settle=0.0).findings:
        lane.report.broke(case, f"{finding.kind} {finding.subject}: {finding.what}")
    audit.close()
