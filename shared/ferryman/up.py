"""`ferryman up`: a server, the API and a worker in one terminal, kept running until Ctrl-C.

The server is the one REDIS_URL names, or else the embedded one. Each part is a process in a
session of its own, so that Ctrl-C reaches only this one, which then stops them in order: first
API and worker, then the server under them.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import NoReturn, Protocol

import structlog

from ferryman import logs
from ferryman.address import family, reachable, trouble
from ferryman.config import Settings, mask
from ferryman.embedded import EmbeddedServer
from ferryman.errors import ConfigError, StoreUnavailable
from ferryman.processes import Signals, StopAsked, describe_exit, kill_session, spawn

PORT_TAKEN = 1
BAD_SETTING = 2
"""A child that ends with this says that starting it again cannot help."""
NO_REDIS = 3
INTERRUPTED = 130

START_PATIENCE = 30.0
"""Seconds until the API must be ready."""

STOP_PATIENCE = 12.0
"""Seconds API and worker may take to end: the drain of 8 s, and the kill and release after it."""

RESTART_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before a part is started again, by how often it ended in a row."""

STABLE = 10.0
"""A part that ran this many seconds counts as well again."""

LOOK_EVERY = 1.0
"""Seconds between two looks at the parts; the end of one wakes the loop at once."""

Pause = Callable[[float], None]


class _GivenUp(Exception):
    """`up` cannot go on; the message is for the user, `code` the exit code."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


def run_up(settings: Settings) -> int:
    """Run everything until SIGINT or SIGTERM; the exit code.

    0 stopped as asked, 1 the port is taken or a part did not start, 3 no answer from REDIS_URL,
    130 a second Ctrl-C. Raises ConfigError when the embedded server cannot start, or the one of
    REDIS_URL is too old.
    """
    logs.configure(settings)
    with Signals() as signals:
        up = _Up(settings, signals.pause)
        try:
            up.start()
            up.keep()
        except StopAsked:
            _say("stopping; Ctrl-C again stops at once")
            return 0 if up.stop() else INTERRUPTED
        except _GivenUp as reason:
            _complain(str(reason))
            up.stop()
            return reason.code
        except BaseException:
            up.stop()
            raise


class _Part(Protocol):
    """What can be started, looked at, and started again."""

    name: str

    def start(self, pause: Pause) -> object: ...
    def exit_code(self) -> int | None: ...


class _Role:
    """One of our own commands as a child process."""

    def __init__(self, name: str, environ: dict[str, str]) -> None:
        self.name, self._environ = name, environ
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, pause: Pause) -> None:
        if self.process is not None:
            kill_session(self.process)  # what the last one left behind holds the port, or the jobs
        self.process = spawn([sys.executable, "-m", "ferryman", self.name], env=self._environ)

    def exit_code(self) -> int | None:
        return self.process.poll() if self.process else None

    def ask_to_stop(self) -> None:
        if self.process is not None:
            self.process.terminate()

    def kill(self) -> None:
        if self.process is not None:
            kill_session(self.process)


class _Server(EmbeddedServer):
    """The embedded server as a part."""

    name = "server"


class _Kept:
    """A part that is started again, ever more slowly, when it ends by itself."""

    def __init__(self, part: _Part) -> None:
        self._part = part
        self._failures, self._since, self._due = 0, 0.0, 0.0

    def start(self, pause: Pause) -> None:
        self._since, self._due = time.monotonic(), 0.0
        self._part.start(pause)

    def look(self, pause: Pause) -> float:
        """Start the part again if it is time to; seconds until the next look."""
        code = self._part.exit_code()
        if code is None:
            return LOOK_EVERY
        if code == BAD_SETTING:
            raise _GivenUp(code, f"the {self._part.name} refused its settings; see the line above")
        if not self._due:
            self._due = self._plan(describe_exit(code))
        if time.monotonic() >= self._due:
            self._again(pause)
        return max(0.0, min(LOOK_EVERY, self._due - time.monotonic()))

    def _plan(self, how: str) -> float:
        now = time.monotonic()
        self._failures = 1 if now - self._since > STABLE else self._failures + 1
        wait = RESTART_DELAYS[min(self._failures, len(RESTART_DELAYS)) - 1]
        log = structlog.get_logger()
        log.warning(logs.PART_ENDED, part=self._part.name, how=how, again_in_s=wait)
        return now + wait

    def _again(self, pause: Pause) -> None:
        try:
            self.start(pause)
        except ConfigError as error:  # the embedded server did not come back; its data is there
            self._due = self._plan(str(error))


class _Up:
    """The parts of one `ferryman up`, from the first to the last."""

    def __init__(self, settings: Settings, pause: Pause) -> None:
        self._settings, self._pause = settings, pause
        self._server = None if _names_server(settings) else _Server(settings.data)
        self._roles: list[_Role] = []
        self._kept: list[_Kept] = []

    def start(self) -> None:
        """Start the parts, each on top of the one before, and say where everything is."""
        _check_port(self._settings)
        if self._server is None:
            _check_redis(self._settings)
        else:
            self._keep_part(self._server)
            # A password in the environment is meant for another server; this one asks for none.
            self._settings = replace(
                self._settings,
                redis_url=self._server.url,
                redis_password="",
                redis_password_file="",
            )
        environ = _environ(self._settings)
        self._roles = [_Role("api", environ), _Role("worker", environ)]
        for role in self._roles:
            self._keep_part(role)
        self._await_ready()
        print(banner(self._settings, self._server is not None), flush=True)

    def keep(self) -> NoReturn:
        """Keep every part running, until a signal raises StopAsked."""
        while True:
            self._pause(min(part.look(self._pause) for part in self._kept))

    def stop(self) -> bool:
        """End every part in order; False when it was hurried by a second signal."""
        try:
            in_time = self._stop_roles()
        finally:
            for role in self._roles:
                role.kill()
            if self._server is not None:
                self._server.stop()
        return in_time

    def _stop_roles(self) -> bool:
        for role in self._roles:
            role.ask_to_stop()
        end = time.monotonic() + STOP_PATIENCE
        try:
            while time.monotonic() < end and any(r.exit_code() is None for r in self._running()):
                self._pause(0.1)
        except StopAsked:
            return False
        return True

    def _running(self) -> list[_Role]:
        return [role for role in self._roles if role.process is not None]

    def _keep_part(self, part: _Part) -> None:
        kept = _Kept(part)
        kept.start(self._pause)
        self._kept.append(kept)

    def _await_ready(self) -> None:
        end = time.monotonic() + START_PATIENCE
        while not _ready(self._settings):
            for role in self._roles:
                code = role.exit_code()
                if code is not None:
                    how = describe_exit(code)
                    raise _GivenUp(max(code, 1), f"the {role.name} ended while starting: {how}")
            if time.monotonic() > end:
                raise _GivenUp(1, f"the API is not ready after {START_PATIENCE:g} s")
            self._pause(0.05)


def _names_server(settings: Settings) -> bool:
    return bool(os.environ.get("REDIS_URL")) or settings.redis_url != Settings().redis_url


def _check_port(settings: Settings) -> None:
    """Refuse a port that is taken before anything has been started."""
    try:
        with socket.socket(family(settings)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        raise _GivenUp(PORT_TAKEN, trouble(settings, error)) from None


def _check_redis(settings: Settings) -> None:
    """Refuse a server that does not answer; ConfigError when it is too old for the scripts."""
    from ferryman.store import Store

    store = Store(settings, timeout=2.0)
    try:
        store.check_server()
    except StoreUnavailable as error:
        raise _GivenUp(NO_REDIS, f"REDIS_URL: {error}") from None
    finally:
        store.close()


def _environ(settings: Settings) -> dict[str, str]:
    """The environment of the children: ours, with every setting in force, flags among them."""
    values = {spec.metadata["env"]: getattr(settings, spec.name) for spec in fields(Settings)}
    texts = {k: ",".join(v) if isinstance(v, tuple) else str(v) for k, v in values.items()}
    return os.environ | texts


def _ready(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(reachable(settings.host), settings.port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def banner(settings: Settings, embedded: bool) -> str:
    """What a newcomer reads first: where everything is, and how to post and read a job."""
    host = reachable(settings.host)
    host = "localhost" if host == "127.0.0.1" else f"[{host}]" if ":" in host else host
    base = f"http://{host}:{settings.port}"
    kept = f"embedded, data in {Path(settings.data).absolute()}" if embedded else "REDIS_URL"
    queues = ", ".join(settings.queues)
    return f"""
Ferryman is up. Ctrl-C stops everything; accepted jobs stay.

  API      {base}
           POST /jobs  POST /jobs/bulk  GET /jobs  GET /jobs/{{id}}  DELETE /jobs/{{id}}
           POST /jobs/{{id}}/retry  GET /dlq  GET /stats  GET /health  GET /metrics
           GET /openapi.json: all of them, described
  Worker   {settings.num_workers} jobs at a time from: {queues}
  Redis    {mask(settings.redis_url)} ({kept})

  Post a first job:
    curl -XPOST {base}/jobs -H 'content-type: application/json' \\
      -d '{{"type":"uppercase","payload":{{"input":"hello world"}}}}'
  Read it, with the job_id of the answer:
    curl {base}/jobs/JOB_ID
"""


def _say(line: str) -> None:
    print(f"ferryman: {line}", flush=True)


def _complain(line: str) -> None:
    print(f"ferryman: {line}", file=sys.stderr, flush=True)
