"""A contender's programs at work: its producer, its worker, and the notes its jobs leave."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.contenders import Contender
from bench.environments import ADAPTERS, Environment
from bench.servers import Server, pinned
from ferryman.processes import kill_session, spawn

RECORD = struct.Struct("<dq")
MEMORY = Path("/dev/shm")  # noqa: S108  # notes must not wait for a disk; the folder is ours
PATIENCE = 120.0
"""Seconds without a single new note before a sample is given up."""


class Failed(Exception):
    """A sample that came to nothing, with what the program said."""


@dataclass(frozen=True)
class Notes:
    """When each job ran, in order, and in which process."""

    times: list[float]
    pids: list[int]

    def lanes(self) -> dict[int, list[float]]:
        """The times of each process."""
        lanes: dict[int, list[float]] = {}
        for when, pid in zip(self.times, self.pids, strict=True):
            lanes.setdefault(pid, []).append(when)
        return lanes


def parse(data: bytes) -> Notes:
    """The notes of a file, by time."""
    whole = data[: len(data) // RECORD.size * RECORD.size]
    records = sorted(RECORD.iter_unpack(whole))
    return Notes([when for when, _ in records], [pid for _, pid in records])


@dataclass
class Crew:
    """One contender at one server."""

    contender: Contender
    environment: Environment
    server: Server
    folder: Path
    core: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def act(self, *words: object, timeout: float = 300.0) -> dict[str, Any]:
        """Run the adapter's producer; what it printed last."""
        runners = {".py": self.environment.python, ".js": "node", ".rb": "ruby"}
        argv = [runners[Path(self.contender.adapter).suffix], self.contender.adapter]
        done = subprocess.run(
            [*pinned(self.core), *argv, *map(str, words)],
            cwd=ADAPTERS, env=self._env(), capture_output=True, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"{words[0]}: {_tail(done.stderr)}")
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    @contextlib.contextmanager
    def worker(self, command: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """The contender's worker, its output in a file; stopped afterwards."""
        filled = (command or self.contender.work).format(
            bin=self.environment.bin, python=self.environment.python
        )
        with self.log.open("ab") as log:
            process = spawn(
                [*pinned(self.core), *shlex.split(filled)],
                cwd=ADAPTERS, env=self._env(), stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield process
        finally:
            _stop(process)

    def await_notes(self, number: int, process: subprocess.Popen[bytes]) -> Notes:
        """The notes once there are so many; Failed when none comes for two minutes."""
        seen, last = 0, time.monotonic()
        while (now := self.count()) < number:
            if now > seen:
                seen, last = now, time.monotonic()
            if process.poll() is not None or time.monotonic() - last > PATIENCE:
                raise Failed(f"{seen} of {number} jobs ran; {_tail(self.log.read_text())}")
            time.sleep(0.01)
        return self.notes()

    def notes(self) -> Notes:
        """What has been noted so far."""
        return parse(self._notes.read_bytes() if self._notes.exists() else b"")

    def count(self) -> int:
        """How many notes there are."""
        return self._notes.stat().st_size // RECORD.size if self._notes.exists() else 0

    @property
    def log(self) -> Path:
        """The worker's output."""
        return self.folder / "worker.log"

    @property
    def _notes(self) -> Path:
        return self.folder / "notes"

    def _env(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("FERRYMAN_")}
        mine = {
            "BENCH_URL": self.server.url, "REDIS_URL": self.server.url,
            "BENCH_NOTES": str(self._notes), "BENCH_VARIANT": self.contender.variant,
            "BENCH_HANDLER": self.contender.handler, "PYTHONPATH": str(ADAPTERS),
            "FERRYMAN_MAX_PENDING": "2000000", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        return clean | mine | self.environment.variables | dict(self.settings)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder in shared memory, where there is one."""
    where = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="bench-", dir=where) as made:
        yield Path(made)


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def cpu(pid: int) -> float:
    """Seconds of processor the processes of a tree have used, to the nanosecond."""
    total = 0.0
    for process in tree(pid):
        with contextlib.suppress(OSError, psutil.Error):
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0]) / 1e9
    return total


def until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something holds; Failed when it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:g} s")
        time.sleep(0.005)


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(3)
    kill_session(process)


def _tail(text: str, lines: Sequence[int] = (-3, -2, -1)) -> str:
    found = text.strip().splitlines()[lines[0] :]
    return " / ".join(found)[-500:] or "it said nothing"
