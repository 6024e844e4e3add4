"""`ferryman` commands as real processes: started, listened to, signalled, and their families."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

APPS = Path(__file__).parent / "apps"
"""Where `handlers` is, the application the workers serve."""

PATIENCE = 20.0
"""Seconds for what is promised without a number; a busy machine is slow."""

TRIES = 3
"""A promise in seconds holds when one of so many tries keeps it: something else may be running."""


def until(condition: Callable[[], Any], within: float = PATIENCE) -> float:
    """Seconds until the condition holds; fails when that takes longer than `within`."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within, f"not so after {within:g} s"
        time.sleep(0.005)
    return time.monotonic() - started


def environ(folder: Path, **settings: object) -> dict[str, str]:
    """The environment of a program at work in this folder; settings by their variables."""
    path = os.pathsep.join(filter(None, [str(APPS), os.environ.get("PYTHONPATH")]))
    usual = {
        "PYTHONPATH": path,
        "FERRYMAN_APP": "handlers:ferry",
        "FERRYMAN_DATA": str(folder / "data"),
        "FERRYMAN_FILES": str(folder / "files"),
    }
    return {**os.environ, **usual, **{k: str(v) for k, v in settings.items()}}


def run(*args: str, env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a `ferryman` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ferryman", *args],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Program:
    """A `ferryman` command that keeps running, in a session of its own, and its log."""

    def __init__(
        self,
        command: str,
        *args: str,
        env: Mapping[str, str],
        cwd: Path,
        constants: Mapping[str, float] | None = None,
    ) -> None:
        main = (
            [str(APPS / "hurried.py"), json.dumps(constants)] if constants else ["-m", "ferryman"]
        )
        self.process = subprocess.Popen(
            [sys.executable, *main, command, *args],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()

    def events(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """The log lines of this event that have these fields."""
        logged = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [e for e in logged if e["event"] == name and fields.items() <= e.items()]

    def await_event(
        self, name: str, number: int = 1, within: float = PATIENCE, **fields: Any
    ) -> dict[str, Any]:
        """The `number`-th line of this event, once it is there."""
        with self._news:
            came = self._news.wait_for(lambda: len(self.events(name, **fields)) >= number, within)
        assert came, f"no {name} {fields} in the log:\n{self.text}"
        return self.events(name, **fields)[number - 1]

    def await_line(self, text: str, within: float = PATIENCE) -> None:
        """Wait until it has printed a line with this text."""
        with self._news:
            came = self._news.wait_for(lambda: any(text in line for line in self.lines), within)
        assert came, f"never said {text!r}:\n{self.text}"

    @property
    def text(self) -> str:
        """Everything it has said so far."""
        return "\n".join(self.lines)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program itself."""
        self.process.send_signal(number)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the program and everything it started, itself first."""
        for pid in sorted(self.group(), key=lambda pid: pid != self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def ended(self, within: float = PATIENCE) -> int:
        """Its exit code, once it has ended and said its last."""
        code = self.process.wait(within)
        self._reader.join(within)
        return code

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def group(self) -> list[int]:
        """The living processes of its session, orphans among them."""
        return [pid for pid, state, session, _ in _processes()
                if session == self.pid and state != "Z"]  # fmt: skip

    def family(self) -> list[int]:
        """The living processes that descend from it, in whatever group, and itself."""
        parents = {pid: parent for pid, state, _, parent in _processes() if state != "Z"}
        found = [self.pid]
        for pid in found:
            found += [p for p, parent in parents.items() if parent == pid]
        return [pid for pid in found if pid in parents]

    def cpu_seconds(self) -> float:
        """CPU time its session has used so far."""
        ticks = 0
        for pid in self.group():
            fields = _stat(pid)
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def destroy(self) -> None:
        """End the whole session at once."""
        while self.group():
            self.signal_all(signal.SIGKILL)
        self.process.wait()
        self._reader.join(PATIENCE)


class Worker(Program):
    """`ferryman worker`, ready to work."""

    def await_ready(self, processes: int = 1) -> None:
        self.await_event("child.started", number=processes)

    @property
    def children(self) -> list[str]:
        """Every child it ever had, by the names they have in Redis."""
        return [e["worker"] for e in self.events("child.started")]

    @property
    def upkeep_pid(self) -> int:
        """The living process of the session that is neither the supervisor nor a child."""
        known = {self.pid, *(pid_of(name) for name in self.children)}
        [pid] = [p for p in self.group() if p not in known]
        return pid


def pid_of(worker: str | None) -> int:
    """The process id in a child's name, host:pid:nonce."""
    assert worker is not None
    return int(worker.rsplit(":", 2)[1])


def _stat(pid: int | str) -> list[str]:
    """The fields of /proc/PID/stat from the state on; `Z` when there is none any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["Z", *"0" * 20]


def _processes() -> list[tuple[int, str, int, int]]:
    """(pid, state, session, parent) of everything that runs here."""
    pids = [p.name for p in Path("/proc").iterdir() if p.name.isdigit()]
    stats = [(int(pid), _stat(pid)) for pid in pids]
    return [(pid, stat[0], int(stat[3]), int(stat[1])) for pid, stat in stats]


def is_alive(pid: int) -> bool:
    """Whether a process lives; one nobody has waited for yet does not."""
    return _stat(pid)[0] != "Z"
