"""What every act of the fuzz run shares: cases by number, lanes beside each other, a report.

A case is known by the run's seed, its act and its number, so one case can be run again alone:

    python -m tests.fuzz --seed 7 --only bodies --case 4711
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from ferryman import logs
from ferryman.config import Settings
from ferryman.embedded import EmbeddedServer

STALL = 10.0
"""Seconds a store waits for its server here: the machine may be busy, and that breaks nothing."""

MOST_TOLD = 50
"""Violations kept in full for each act; the others are only counted."""


@dataclass
class Report:
    """What an act did, counted, and what broke a promise."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def broke(self, case: object, what: str) -> None:
        """Note a violation."""
        self.counts["violations"] += 1
        if len(self.violations) < MOST_TOLD:
            self.violations.append(f"case {case}: {what[:1000]}")

    def add(self, other: Report) -> None:
        """Take in the report of another lane."""
        self.counts += other.counts
        self.violations += other.violations
        self.seconds = max(self.seconds, other.seconds)


@dataclass
class Lane:
    """One process of an act, with a server, a folder and a share of the cases of its own."""

    act: str
    seed: int
    cases: Sequence[int]
    folder: Path
    tell: Callable[[int], None] = lambda _: None
    report: Report = field(default_factory=Report)
    seen: set[object] = field(default_factory=set)
    """What an act has looked at already."""

    def each(self) -> Iterator[tuple[int, random.Random]]:
        """Every case of this lane with its own chance."""
        for case in self.cases:
            yield case, random.Random(f"{self.seed}:{self.act}:{case}")
            self.report.counts["cases"] += 1
            self.tell(1)

    @contextmanager
    def server(self, **options: Any) -> Iterator[Settings]:
        """A server for this lane alone; settings that lead to it."""
        data = self.folder / f"server-{len(list(self.folder.iterdir()))}"
        with EmbeddedServer(data, **({"persist": False} | options)) as server:
            yield Settings(
                redis_url=apart(server),
                data=str(self.folder / "data"),
                files=str(self.folder / "files"),
                log_format="json",
            )


def apart(server: EmbeddedServer) -> str:
    """The address of a database nobody else knows: a worker left over from another test, whose
    server had this port before, would serve database 0."""
    return server.url.removesuffix("/0") + "/7"


Act = Callable[[Lane], None]


def alone(act: Act, name: str, seed: int, cases: Sequence[int], folder: Path) -> Report:
    """Run these cases here, in this process."""
    lane = Lane(name, seed, cases, folder)
    act(lane)
    return lane.report


def beside(
    act: Act, name: str, seed: int, cases: Sequence[int], lanes: int, show: Callable[[int], None]
) -> Report:
    """Run these cases in lanes beside each other; `show` is told how many are done."""
    context = multiprocessing.get_context("fork")
    news: Any = context.SimpleQueue()
    processes = [
        context.Process(target=_lane, args=(act, name, seed, cases[n::lanes], news))
        for n in range(lanes)
    ]
    for process in processes:
        process.start()
    whole, done, running = Report(), 0, lanes
    while running:
        if news.empty() and not any(process.is_alive() for process in processes):
            whole.broke("?", "a lane was killed")
            break
        if news.empty():
            time.sleep(0.05)
            continue
        kind, what = news.get()
        if kind == "done":
            done += what
            show(done)
        else:
            whole.add(what)
            running -= 1
    for process in processes:
        process.join()
    return whole


def _lane(act: Act, name: str, seed: int, cases: Sequence[int], news: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    told = 0

    def tell(n: int) -> None:
        nonlocal told
        told += n
        if told >= 20:
            news.put(("done", told))
            told = 0

    with tempfile.TemporaryDirectory(prefix="ferryman-fuzz-") as folder:
        lane = Lane(name, seed, cases, Path(folder), tell)
        started = time.monotonic()
        try:
            act(lane)
        except BaseException:
            lane.report.broke("?", "the lane itself ended: " + traceback.format_exc()[-900:])
        lane.report.seconds = time.monotonic() - started
    news.put(("done", told))
    news.put(("report", lane.report))


@contextmanager
def log_file(settings: Settings, path: Path) -> Iterator[Path]:
    """What this process logs goes to a file, for a look at every line."""
    logs.configure(settings)
    kept = os.dup(1)
    with path.open("ab") as file:  # append: the file may be emptied between two lines
        os.dup2(file.fileno(), 1)
    try:
        yield path
    finally:
        os.dup2(kept, 1)
        os.close(kept)


# By their elements, not by DUMP: a hash table that grows is walked in another order.
DIGEST = """
local out, cursor = {}, '0'

local function read(kind, key)
  if kind == 'list' then return redis.call('LRANGE', key, 0, -1) end
  if kind == 'zset' then return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  if kind == 'string' then return {redis.call('GET', key)} end
  local found = redis.call(kind == 'hash' and 'HGETALL' or 'SMEMBERS', key)
  if kind == 'hash' then
    for i = 1, #found / 2 do
      found[i] = found[2 * i - 1] .. '\\0' .. found[2 * i]
    end
    for i = #found, #found / 2 + 1, -1 do found[i] = nil end
  end
  table.sort(found)
  return found
end
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local kind = redis.call('TYPE', key).ok
    local parts = read(kind, key)
    out[#out + 1] = key .. ' ' .. kind .. ' ' .. redis.call('PEXPIRETIME', key) .. ' '
      .. #parts .. ' ' .. table.concat(parts, '\\1')
  end
until cursor == '0'
table.sort(out)
return ARGV[1] == 'whole' and out or redis.sha1hex(table.concat(out, '\\2'))
"""


class Keyspace:
    """Everything in a database, as one digest: two that are equal hold the same to the last bit."""

    def __init__(self, url: str) -> None:
        self.redis = redis.Redis.from_url(url)
        self._digest = self.redis.register_script(DIGEST)

    def digest(self) -> bytes:
        return bytes(self._digest())

    def whole(self) -> frozenset[bytes]:
        """Each key with what it holds, as the digest is made of."""
        return frozenset(self._digest(args=["whole"]))

    def clear(self) -> None:
        self.redis.flushdb()
