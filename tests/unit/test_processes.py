"""Children that do not outlive their parent, and signals that wake a waiting loop."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from ferryman import processes
from ferryman.processes import Signals, StopAsked, describe_exit, kill_session, spawn


@pytest.fixture
def signals() -> Iterator[Signals]:
    # Under nohup SIGHUP comes ignored, and stays so: not what these tests are about.
    was = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with Signals() as signals:
        yield signals
    signal.signal(signal.SIGHUP, was)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_pause(signals: Signals, number: signal.Signals) -> None:
    started = time.monotonic()
    child = subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -{number.value} {os.getpid()}"])
    with pytest.raises(StopAsked):
        signals.pause(30)
    assert time.monotonic() - started < 5
    child.wait()


def test_a_signal_that_came_between_two_pauses_is_not_lost(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(StopAsked):
        signals.pause(30)


def test_a_signal_passed_on_at_once_counts_once(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(StopAsked):
        signals.pause(30)
    os.kill(os.getpid(), signal.SIGTERM)
    signals.pause(0.1)


def test_a_second_signal_counts_again(signals: Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "ECHO", 0.0)
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(StopAsked):
            signals.pause(30)


def test_the_end_of_a_child_cuts_a_pause_short(signals: Signals) -> None:
    started = time.monotonic()
    child = spawn(["sleep", "0.1"])
    signals.pause(30)
    assert time.monotonic() - started < 5
    assert child.wait() == 0


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_in_the_terminal_does_not_reach_a_child() -> None:
    child = spawn(["sleep", "60"])
    assert os.getpgid(child.pid) == child.pid
    assert os.getsid(child.pid) == child.pid
    kill_session(child)
    assert child.returncode == -signal.SIGKILL


def test_what_a_child_left_behind_is_killed_with_its_group() -> None:
    # The grandchild holds the pipe: reading to its end returns once it is gone too.
    child = spawn(["sh", "-c", "sleep 60 & echo started; exit 0"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout as output:
        assert output.readline() == b"started\n"
        assert child.wait() == 0
        kill_session(child)
        assert output.read() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="sessions are read from /proc")
def test_what_it_left_behind_in_another_group_of_its_session_is_killed_too() -> None:
    script = (
        "import os, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setpgid(0, 0); print('started', flush=True); time.sleep(60)"
    )
    child = spawn([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout as output:
        assert output.readline() == b"started\n"
        kill_session(child)
        assert output.read() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    script = (
        "import time; from ferryman.processes import spawn; "
        "spawn(['sleep', '60']); print('started', flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent, parent.stdout as output:
        assert output.readline() == b"started\n"
        parent.kill()
        assert select.select([output], [], [], 15)[0], "the child lives on"
        assert output.read() == b""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit status 0"),
        (3, "exit status 3"),
        (-9, "killed by SIGKILL"),
        (-250, "killed by signal 250"),
    ],
)
def test_an_exit_is_told_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
