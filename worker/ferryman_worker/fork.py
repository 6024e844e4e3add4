"""What happens between a fork and the first claim."""

from __future__ import annotations

import ctypes
import importlib
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from ferryman import logs, tracing
from ferryman.backoff import Backoff
from ferryman.client import Ferryman
from ferryman.config import Settings
from ferryman.errors import ConfigError, StoreUnavailable
from ferryman.job import backoff_fields
from ferryman.keys import Keys
from ferryman.registry import Options
from ferryman.store import Port
from ferryman_worker import guard
from ferryman_worker.board import Board
from ferryman_worker.child import LEASE_LOST, Child, Post
from ferryman_worker.link import Link

BROKEN_APP = 78
"""Exit status of a child whose application cannot be imported (EX_CONFIG)."""

_PR_SET_PDEATHSIG = 1

log = structlog.get_logger()


def fork(body: Callable[[], None], own_group: bool = False) -> int:
    """Fork a process that runs `body` and never returns; its pid. Call it in one thread only.

    With `own_group` it leads a process group, so that what it forks can be killed with it.
    """
    sys.stdout.flush()
    parent = os.getpid()
    # A signal that came between the fork and the child's own handlers would run the parent's.
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    pid = os.fork()
    if pid:
        if own_group:
            with suppress(OSError):  # it has done so itself, and may be gone again
                os.setpgid(pid, pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
        return pid
    try:
        _die_with(parent)
        if own_group:
            _lead_group()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the supervisor
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
        body()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(guard.FAULT)


def _lead_group() -> None:
    os.setpgid(0, 0)
    # A terminal stops groups in the background that read from it or, if told so, write to it.
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def _die_with(parent: int) -> None:
    # Linux kills us when the parent dies; elsewhere its closed link says so a moment later.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def load_app(path: str) -> Ferryman:
    """The Ferryman at module:name; ConfigError says what is wrong with the path or the module."""
    module, _, name = path.partition(":")
    if not name:
        raise ConfigError(f"FERRYMAN_APP: expected module:name, got {path!r}")
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"FERRYMAN_APP: {path}: {type(error).__name__}: {error}") from error
    if not isinstance(found, Ferryman):
        raise ConfigError(f"FERRYMAN_APP: {path}: expected a Ferryman, got {type(found).__name__}")
    return found


def serve_child(
    settings: Settings, post: Post, board: Board, link: Link, close: Sequence[int]
) -> None:
    """The body of a forked child: load the application, register, work. Never returns."""
    for fd in close:
        os.close(fd)
    try:
        ferry = load_app(settings.app)
    except ConfigError as error:
        log.error(logs.APP_BROKEN, error=str(error))
        os._exit(BROKEN_APP)
    ferry.configure(settings)
    tracing.start(as_parent=bool(settings.trace_parent))
    port = Port(settings, Keys(), post.worker, post.lists)
    child = Child(ferry, settings, post, board, link, port)
    signal.signal(signal.SIGTERM, child.terminate)
    link.send("named", worker=post.worker)
    register(ferry, settings, post, board)
    link.send("ready", types=describe(ferry))
    guard.run("loop", child.loop)
    tracing.stop(child.limits.time_left(tracing.FLUSH))
    sys.stdout.flush()
    os._exit(0)


def register(ferry: Ferryman, settings: Settings, post: Post, board: Board) -> None:
    """Put the child on the roll, as long as it takes Redis to answer."""
    about: dict[str, Any] = {
        "host": post.worker.split(":")[0],
        "pid": os.getpid(),
        "supervisor": os.getppid(),
        "queues": ",".join(settings.queues),
        "types": ",".join(sorted(ferry.registry)),
        "slots": post.slots,
        "busy": 0,
    }
    board.hear()  # from here on it is to
    while True:
        board.tick()
        try:
            if not ferry.store.register(post.worker, settings.queues, about):
                os._exit(LEASE_LOST)
            return board.hear()
        except StoreUnavailable:
            time.sleep(random.uniform(0.1, 1.0))


def describe(ferry: Ferryman) -> dict[str, Any]:
    """What upkeep must know of each type to decide about a run it had to kill."""
    described = {}
    for name in ferry.registry:
        job_type = ferry.registry.get(name)
        if job_type is not None:
            described[name] = _options(job_type.defaults)
    return described


def _options(options: Options) -> dict[str, Any]:
    wait = options.backoff
    return {
        "max_attempts": options.max_attempts,
        "timeout": options.timeout,
        "backoff": backoff_fields(wait) if isinstance(wait, Backoff) else None,
    }
