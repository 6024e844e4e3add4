"""Loading the application, and what a parent may rely on about the processes it forks."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import tenacity

from ferryman import Ferryman
from ferryman.backoff import Backoff
from ferryman.config import Settings
from ferryman.errors import ConfigError
from ferryman_worker import fork as fork_module
from ferryman_worker.fork import describe, fork, load_app

Module = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Writes a module into the current directory; its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])

    def write(source: str) -> str:
        name = f"app_{uuid.uuid4().hex}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


def test_an_application_is_found_in_the_current_directory(module: Module) -> None:
    name = module("from ferryman import Ferryman\nferry = Ferryman()")
    assert isinstance(load_app(f"{name}:ferry"), Ferryman)


@pytest.mark.parametrize(
    ("source", "attribute", "expected"),
    [
        ("x = 1", "ferry", "AttributeError: module"),
        ("x = 1", "x", "expected a Ferryman, got int"),
        ("import no_such_module_anywhere", "ferry", "ModuleNotFoundError: No module named"),
        ("raise RuntimeError('no licence')", "ferry", "RuntimeError: no licence"),
        ("import sys; sys.exit('no licence')", "ferry", "SystemExit: no licence"),
        ("def broken(:", "ferry", "SyntaxError: invalid syntax"),
    ],
)
def test_an_application_that_does_not_load_is_refused_with_the_reason(
    module: Module, source: str, attribute: str, expected: str
) -> None:
    path = f"{module(source)}:{attribute}"
    with pytest.raises(ConfigError) as caught:
        load_app(path)
    assert str(caught.value).startswith(f"FERRYMAN_APP: {path}: ")
    assert expected in str(caught.value)


@pytest.mark.parametrize("path", ["", "myproject.jobs", "myproject.jobs:"])
def test_a_path_without_a_name_is_refused_with_what_was_expected(path: str) -> None:
    with pytest.raises(ConfigError, match="FERRYMAN_APP: expected module:name, got"):
        load_app(path)


def test_a_module_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="no_such_module_anywhere"):
        load_app("no_such_module_anywhere:ferry")


def test_upkeep_is_told_the_defaults_of_each_type() -> None:
    ferry = Ferryman(Settings())
    ferry.job("plain")(lambda: None)
    ferry.job("own", max_attempts=7, timeout=2.5, backoff=Backoff(base=3))(lambda: None)
    ferry.job("formula", backoff=tenacity.wait_fixed(3))(lambda: None)
    assert describe(ferry) == {
        "plain": {"max_attempts": None, "timeout": None, "backoff": None},
        "own": {
            "max_attempts": 7,
            "timeout": 2.5,
            "backoff": {"base": 3, "factor": 2.0, "cap": 30.0, "jitter": 0.1},
        },
        "formula": {"max_attempts": None, "timeout": None, "backoff": None},
    }


def ended(pid: int) -> int:
    """How a process of ours ended, once it has."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_body_that_returns_or_raises_ends_its_process_and_never_the_parents_code() -> None:
    def broken() -> None:
        raise RuntimeError("no")

    assert ended(fork(lambda: None)) == 70
    assert ended(fork(broken)) == 70
    assert ended(fork(lambda: os._exit(0))) == 0


def test_a_forked_process_leaves_ctrl_c_to_its_parent_and_ends_by_sigterm() -> None:
    reader, writer = os.pipe()

    def body() -> None:
        os.write(writer, b"x")
        while True:
            time.sleep(60)

    pid = fork(body)
    os.read(reader, 1)
    os.kill(pid, signal.SIGINT)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.kill(pid, signal.SIGTERM)
    assert ended(pid) == -signal.SIGTERM


def test_a_stop_that_comes_before_a_forked_process_is_ready_still_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before it has its own handlers the one of its parent would take the signal, and forget it."""
    monkeypatch.setattr(fork_module, "_die_with", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    usual = signal.signal(signal.SIGTERM, lambda *_: None)

    def body() -> None:
        time.sleep(2)
        os._exit(0)

    try:
        assert ended(fork(body)) == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, usual)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does it")
def test_a_forked_process_dies_with_its_parent() -> None:
    reader, writer = os.pipe()
    told, tell = os.pipe()

    def grandchild() -> None:
        os.write(tell, b"x")
        time.sleep(60)

    def child() -> None:
        fork(grandchild)
        os.read(told, 1)  # it is there: one that is not yet would see that its parent has gone
        os.kill(os.getpid(), signal.SIGKILL)

    assert ended(fork(child)) == -signal.SIGKILL
    os.close(writer)
    # The pipe ends when the last process that holds its other end is gone.
    assert select.select([reader], [], [], 5)[0]
    assert os.read(reader, 1) == b""
