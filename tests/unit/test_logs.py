"""Log lines: one event list, JSON that nothing can forge, levels, and a log that never stops us."""

import ast
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ferryman import logs, outlet

NAMES = {
    name: value
    for name, value in vars(logs).items()
    if name.isupper() and isinstance(value, str) and name[0] != "_"
}
NASTY = '\n{"level": "info", "event": "forged"}\r\x00\x1b[2J\x85\u2028\u2029\N{FERRY}\ud800'

SCRIPT = """
import sys, structlog
from ferryman import config, logs
logs.configure(config.load({}, log_format=sys.argv[1], log_level=sys.argv[2]))
log = structlog.get_logger()
"""


def run(script, form="json", level="info", **options):
    """What a process prints that runs `script` after its log is configured."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = [sys.executable, "-c", SCRIPT + script, form, level]
    return subprocess.run(command, check=False, timeout=60, **options)


def lines(script, **options):
    """The same as JSON objects."""
    done = run(script, **options)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_line_has_its_time_its_level_and_its_event_first():
    (line,) = lines("log.warning(logs.REDIS_LOST, worker='w', tries=2)")
    assert list(line) == ["ts", "level", "event", "worker", "tries"]
    assert (line["level"], line["event"], line["worker"]) == ("warning", "redis.lost", "w")
    at = datetime.strptime(line["ts"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert timedelta(0) <= datetime.now(UTC) - at < timedelta(minutes=1)


@pytest.mark.parametrize("nasty", [NASTY, NASTY[:-1]], ids=["no UTF-8", "UTF-8"])
def test_nothing_a_client_sends_begins_a_line_of_its_own(nasty):
    text = logs.as_json(None, "info", {"event": "request", "path": nasty, nasty: 1})
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["path"] == nasty
    assert json.loads(text)["event"] == "request"


def test_on_a_terminal_control_characters_are_shown_not_sent():
    shown = run(f"log.info(logs.REQUEST, path={NASTY!r}, error='a\\x1bb')", form="console").stdout
    (line,) = shown.decode().splitlines()
    assert "\x1b[2J" not in line
    assert "a\\x1bb" in line


def test_what_json_has_no_word_for_is_shown_as_text():
    line = json.loads(logs.as_json(None, "info", {"event": "x", "path": Path("/a"), "set": {1}}))
    assert (line["path"], line["set"]) == ("/a", "{1}")


def test_a_traceback_stays_in_its_line():
    (line,) = lines("try: 1 / 0\nexcept ZeroDivisionError: log.exception(logs.BUG)")
    assert (line["level"], line["event"]) == ("error", "bug")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_lines_under_the_level_are_left_out(level):
    levels = ["debug", "info", "warning", "error"]
    script = "".join(f"log.{name}('x'); " for name in levels)
    assert [line["level"] for line in lines(script, level=level)] == levels[levels.index(level) :]


def test_auto_is_json_unless_stdout_is_a_terminal():
    (line,) = lines("log.info('x')", form="auto")
    assert line["event"] == "x"


def test_parallel_lines_stay_whole():
    script = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda n: log.info("x", n=n, text="y" * 500), range(2000)))
"""
    assert {line["n"] for line in lines(script)} == set(range(2000))


def test_a_reader_that_went_away_does_not_stop_the_program():
    script = """
import os
reader, writer = os.pipe()
os.dup2(writer, 1)
os.close(reader)
log.info("x")
os.close(1)
log.info("y")
print("still here", file=sys.stderr)
"""
    done = run(script)
    assert done.returncode == 0
    assert b"still here" in done.stderr


def test_a_full_disk_does_not_stop_the_program():
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    with full.open("wb") as out:
        assert run("log.info('x')", stdout=out).returncode == 0


# A reader that takes nothing.

FLOOD = """
for n in range(2000):
    log.info("x", n=n, text="y" * 500)
print("done", file=sys.stderr, flush=True)
sys.stdin.read()
log.info("after")
"""


def ends(kind):
    """(reading end, writing end) of a pipe, or of a pair of sockets."""
    if kind == "pipe":
        reader, writer = os.pipe()
        return os.fdopen(reader, "rb"), os.fdopen(writer, "wb")
    one, two = socket.socketpair()
    return one.makefile("rb"), two


def flooding(out, before=""):
    command = [sys.executable, "-c", before + SCRIPT + FLOOD, "json", "info"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=out, stdin=pipe, stderr=pipe)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_reader_that_takes_nothing_stops_nobody_and_learns_what_it_missed(kind):
    reader, writer = ends(kind)
    with reader, writer, flooding(writer) as program:
        if not select.select([program.stderr], [], [], 30)[0]:
            program.kill()
            pytest.fail("it waits for somebody to read")
        assert program.stderr.readline() == b"done\n"  # it ended its work, though nobody read
        taken = threading.Thread(target=lambda: got.extend(reader))
        got = []
        taken.start()
        # Half the flood would not fit: what is there is taken before the last line is written.
        until(lambda: got and not select.select([reader], [], [], 0)[0])
        program.stdin.close()
        assert program.wait(30) == 0
        writer.close()
        taken.join(30)
    seen = [json.loads(line) for line in b"".join(got).splitlines() if line]
    assert seen[-1]["event"] == "after"
    dropped = [line for line in seen if line["event"] == "log.dropped"]
    assert dropped
    assert dropped[0]["level"] == "warning"
    kept = [line["n"] for line in seen if line["event"] == "x"]
    assert len(kept) + sum(line["lines"] for line in dropped) == 2000
    assert kept == sorted(set(kept))


def until(condition, within=30):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_line_that_only_partly_fitted_is_ended_before_the_next(monkeypatch):
    monkeypatch.setattr(outlet, "PATIENCE", 0.05)
    reader, writer = os.pipe()
    try:
        out = outlet.Outlet(lambda number: f"dropped {number}", writer)
        out.msg("x" * (1 << 20))
        torn = os.read(reader, 1 << 20)
        assert set(torn) == {ord("x")}
        out.msg("next")
        assert os.read(reader, 1 << 20) == b"\ndropped 1\nnext\n"
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_slow_reader_loses_nothing(kind):
    reader, writer = ends(kind)
    patient = "from ferryman import outlet; outlet.PATIENCE = 30.0"  # this machine may be slower
    with reader, writer, flooding(writer, patient) as program:
        writer.close()
        program.stdin.close()
        text = b""
        while data := reader.read1(8192):
            time.sleep(0.001)
            text += data
    seen = [json.loads(line) for line in text.splitlines()]
    assert [line["n"] for line in seen if line["event"] == "x"] == list(range(2000))


def test_stdout_stays_as_whoever_started_us_has_it():
    reader, writer = ends("pipe")
    with reader, writer:
        run("log.info('x')", stdout=writer)
        assert reader.readline()
        assert os.get_blocking(writer.fileno())


# A stdout that is replaced while the program runs.


@pytest.fixture
def stdout():
    """(an outlet, its descriptor, the reading end)."""
    reader, writer = ends("pipe")
    with reader, writer:
        yield outlet.Outlet(lambda number: f"dropped {number}", writer.fileno()), writer, reader


@pytest.fixture(params=["pipe", "socket", "file"])
def other(request, tmp_path):
    """(something to write to, a way to read what came)."""
    if request.param == "file":
        path = tmp_path / "log"
        with path.open("wb") as file:
            yield file, path.read_bytes
        return
    reader, writer = ends(request.param)
    with reader, writer:
        yield writer, lambda: reader.read1(1 << 16)


def test_a_line_on_its_way_while_stdout_is_replaced_gets_into_no_file_of_others(
    stdout, other, tmp_path, monkeypatch
):
    out, writer, _ = stdout
    file, read = other
    out.msg("first")
    close, write = os.close, os.write
    foreign = [(tmp_path / "foreign").open("wb")]

    def close_and_lose(number):  # another thread opens something at once, and has this number
        close(number)
        foreign.append((tmp_path / "foreign").open("wb"))

    def too_late(number, data):  # another thread has logged meanwhile, to the new stdout
        monkeypatch.setattr(os, "write", write)
        os.dup2(file.fileno(), writer.fileno())
        monkeypatch.setattr(os, "close", close_and_lose)
        out.msg("second")
        monkeypatch.setattr(os, "close", close)
        return write(number, data)

    monkeypatch.setattr(os, "write", too_late)
    out.msg("late")
    assert (tmp_path / "foreign").read_bytes() == b""
    assert read() == b"second\nlate\n"
    for opened in foreign:
        opened.close()


def test_what_is_stdout_no_longer_is_let_go(stdout, other):
    out, writer, reader = stdout
    file, read = other
    out.msg("first")
    os.dup2(file.fileno(), writer.fileno())
    out.msg("second")
    assert read() == b"second\n"
    assert reader.readline() == b"first\n"
    os.set_blocking(reader.fileno(), False)
    assert reader.raw.read(1) == b""  # the end; it would be None if there were just nothing now


def test_event_names_are_lower_case_words_each_used_once():
    assert len(set(NAMES.values())) == len(NAMES)
    for value in NAMES.values():
        assert all(word.isalpha() and word.islower() for word in value.split("."))


def calls(path):
    """The first argument of every `log.<level>(...)` in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            target = node.func.value
            if isinstance(target, ast.Name) and target.id == "log":
                yield node.args[0]


def test_every_line_of_the_program_has_its_event_from_the_list():
    root = Path(logs.__file__).parents[2]
    for folder in ("shared/ferryman", "worker/ferryman_worker", "api/ferryman_api"):
        for path in (root / folder).rglob("*.py"):
            for event in calls(path):
                named = isinstance(event, ast.Attribute | ast.Name)
                assert named, f"{path.name}:{event.lineno}: an event that is not in logs"
                if isinstance(event, ast.Attribute) and ast.unparse(event.value) == "logs":
                    assert event.attr in NAMES, f"{path.name}:{event.lineno}"
