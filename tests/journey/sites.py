"""A site: a server of its own, a client, workers, and what must hold in Redis at the end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from tests.journey.programs import PATIENCE, Program, Worker, environ, run, until

from ferryman import Ferryman
from ferryman.client import Handle, draft
from ferryman.config import Settings
from ferryman.embedded import EmbeddedServer
from ferryman.store import Stats, Store

TRIES = 3
"""A promise in seconds holds when one of so many tries keeps it: something else may be running."""

LOOK = """
local jobs, places, prefix = {}, {}, ARGV[1]
local cursor = '0'
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', prefix .. '*', 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local name = string.sub(key, #prefix + 1)
    local room = string.match(name, '^%a+')
    if room == 'job' then
      jobs[#jobs + 1] = {string.sub(name, 5),
        unpack(redis.call('HMGET', key, 'state', 'worker', 'dropped', 'deleted'))}
    elseif room == 'pending' or room == 'held' or room == 'running' or name == 'dlq' then
      places[#places + 1] = {name, redis.call('LRANGE', key, 0, -1)}
    elseif name == 'scheduled' then
      places[#places + 1] = {name, redis.call('ZRANGE', key, 0, -1)}
    end
  end
until cursor == '0'
return {jobs, places, redis.call('HGETALL', prefix .. 'stats')}
"""


class Site:
    """A server, a client, and the workers a test starts."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.settings = Settings(
            redis_url=server.url, data=str(folder / "data"), files=str(folder / "files")
        )
        # It waits longer than a client would: some tests make Redis slow on purpose.
        self.store = Store(self.settings, timeout=5.0)
        self.ferry = Ferryman(self.settings, self.store)
        self.raw = redis.Redis.from_url(server.url, decode_responses=True)
        self.programs: list[Program] = []
        self._gates = 0

    def environ(self, **settings: object) -> dict[str, str]:
        """The environment of a program on this site; settings by their variables."""
        return environ(self.folder, **{"REDIS_URL": self.server.url, **settings})

    def worker(self, constants: dict[str, float] | None = None, **settings: object) -> Worker:
        """A worker that has told Redis it is there; `constants` as `hurried` takes them."""
        env = self.environ(**settings)
        worker = Worker("worker", env=env, cwd=self.folder, constants=constants)
        self.programs.append(worker)
        worker.await_ready(int(str(settings.get("FERRYMAN_PROCESSES", 1))))
        return worker

    def program(self, command: str, *args: str, **settings: object) -> Program:
        """Another command that keeps running."""
        program = Program(command, *args, env=self.environ(**settings), cwd=self.folder)
        self.programs.append(program)
        return program

    def command(self, *args: str, **settings: object) -> subprocess.CompletedProcess[str]:
        """Run a `ferryman` command to its end."""
        return run(*args, env=self.environ(**settings), cwd=self.folder)

    def enqueue(self, type: str, *payload: Any, **options: Any) -> Handle:
        return self.ferry.enqueue(type, *payload, **options)

    def enqueue_notes(self, number: int, seconds: float = 0.0, **options: Any) -> list[str]:
        """Jobs that leave a line in `notes` when they run, as many at once as one call takes."""
        path = str(self.folder / "notes")
        first = self.raw.llen("ferryman:{0}:recent")
        payloads = [
            {"path": path, "text": str(first + n), "seconds": seconds} for n in range(number)
        ]
        ids: list[str] = []
        for at in range(0, number, 1000):
            drafts = [draft("note", payload, **options) for payload in payloads[at : at + 1000]]
            ids += [accepted.id for accepted in self.store.enqueue(drafts)]
        return ids

    def notes(self) -> list[str]:
        """A line per run of a note, in the order they ended."""
        path = self.folder / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def gate(self) -> Path:
        """A file that is not there yet; the `hold` jobs that wait for it end when it is touched."""
        self._gates += 1
        return self.folder / f"gate-{self._gates}"

    def hold(self, gate: Path, type: str = "hold", **options: Any) -> Handle:
        return self.enqueue(type, {"gate": str(gate)}, **options)

    def await_running(self, *handles: Handle, attempt: int = 1, within: float = PATIENCE) -> float:
        """Seconds until all of these run, as this attempt."""
        left = {handle.id: handle for handle in handles}

        def all_running() -> bool:
            for handle in list(left.values()):
                job = handle.job()
                if job.state == "running" and job.attempt == attempt:
                    del left[handle.id]
            return not left

        return until(all_running, within)

    def await_listening(self, lists: int) -> None:
        """Wait until so many BLMOVEs and an upkeep wait in Redis."""
        until(lambda: self.raw.info("clients")["blocked_clients"] == lists + 1)

    def await_beat(self, child: str) -> None:
        """Wait until this one is heard of again: what it had begun before is charged to it."""
        lease = self.raw.zscore("ferryman:{0}:workers", child)
        until(lambda: self.raw.zscore("ferryman:{0}:workers", child) != lease)

    def await_completed(self, number: int, within: float = 60.0) -> Stats:
        """The counters, once so many jobs are completed."""
        until(lambda: self.count("completed") >= number, within)
        return self.stats()

    def count(self, state: str) -> int:
        return self.stats().states[state]  # type: ignore[index]  # a State is its word

    def event(self, name: str) -> int:
        return self.stats().events.get(name, 0)

    def stats(self) -> Stats:
        return self.store.stats()

    def workers(self) -> list[str]:
        """The roll: every child that Redis takes for alive."""
        return [str(name) for name in self.raw.zrange("ferryman:{0}:workers", 0, -1)]

    def keeps(self, seconds: float, act: Callable[[], float]) -> float:
        """The time `act` took; one of three tries must stay within `seconds`."""
        taken: list[float] = []
        for _ in range(TRIES):
            taken.append(act())
            if taken[-1] <= seconds:
                return taken[-1]
        raise AssertionError(f"promised within {seconds:g} s, took {taken}")

    def faults(self) -> list[str]:
        """What is wrong in Redis: every id in exactly one place, every counter right."""
        jobs, places, stats = self.store.command("EVAL_RO", LOOK, "0", "ferryman:{0}:")
        where: dict[str, list[str]] = {}
        for name, ids in places:
            for job_id in ids:
                where.setdefault(job_id.decode(), []).append(name.decode())
        faults = []
        states: Counter[str] = Counter()
        for raw in jobs:
            job_id, state, owner, dropped, deleted = (v and v.decode() for v in raw)
            lies_in = where.pop(job_id, [])
            states[state] += 1
            if not dropped and not deleted and not _belongs(state, owner, lies_in):
                faults.append(f"{job_id} is {state} and lies in {lies_in or 'no list'}")
        faults += [f"{job_id} lies in {lists} and is no job" for job_id, lists in where.items()]
        counted = {k.decode(): int(float(v)) for k, v in zip(stats[::2], stats[1::2], strict=True)}
        faults += [
            f"{counted.get(state, 0)} are counted as {state}, {states[state]} are"
            for state in ("pending", "scheduled", "running", "completed", "failed", "cancelled")
            if counted.get(state, 0) != states[state]
        ]
        return faults + unbalanced(self.stats())

    def server_signal(self, number: signal.Signals) -> None:
        """Send a signal to Redis."""
        os.kill(self.server.pid, number)

    def close(self) -> None:
        for program in self.programs:
            program.destroy()
        self.raw.close()
        self.store.close()


def _belongs(state: str, owner: str | None, lies_in: list[str]) -> bool:
    match state:
        case "pending":
            return len(lies_in) == 1 and lies_in[0].startswith(("pending:", "held:", "running:"))
        case "running":
            return lies_in == [f"running:{owner}"]
        case "scheduled" | "failed":
            return lies_in == [{"scheduled": "scheduled", "failed": "dlq"}[state]]
    return not lies_in


def unbalanced(stats: Stats) -> list[str]:
    """The sums that must hold in every reading, and do not."""
    events = Counter(stats.events)
    sums = {
        "failed = retried + dlq": events["failed_total"]
        == events["retried_total"] + events["dlq_total"],
        "total = created - cancelled": stats.total
        == events["created_total"] - stats.states["cancelled"],  # type: ignore[index]
        "no state is negative": min(stats.states.values()) >= 0,
    }
    return [f"{text}: not in {stats}" for text, holds in sums.items() if not holds]
