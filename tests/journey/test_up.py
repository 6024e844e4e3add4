"""`ferryman up`: everything from one command, and nothing left of it afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.journey.houses import House
from tests.journey.programs import Program, is_alive, until
from tests.journey.sites import Site


def post(house: House, type: str = "uppercase", **payload: Any) -> str:
    """Post a job; its id."""
    body = {"type": type, "payload": payload or {"input": "hello world"}}
    return str(house.request("POST", "/jobs", body)["job_id"])


def result(house: House, job_id: str) -> Any:
    """The result of a job, once it is completed."""
    until(lambda: house.request("GET", f"/jobs/{job_id}")["status"] == "completed")
    return house.request("GET", f"/jobs/{job_id}")["result"]


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def only_line(program: Program) -> str:
    """All that a refused `up` says."""
    [line] = program.lines
    assert line.startswith("ferryman: ")
    return str(line)


def test_the_banner_says_where_everything_is_and_a_first_job_completes(house: House) -> None:
    up = house.up()
    for text in (f"http://localhost:{house.port}", str(house.folder / "data"), "5 jobs at a time"):
        assert text in up.text
    [body] = re.findall(r"-d '(\{.*\})'", up.text)
    assert body == '{"type":"uppercase","payload":{"input":"hello world"}}'
    assert result(house, post(house)) == "HELLO WORLD"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_cleanly(house: House, number: signal.Signals) -> None:
    up = house.up()
    family = up.family()
    assert len(family) >= 5  # itself, server, API, worker, child
    job = post(house, "sleep", seconds=1)
    until(lambda: house.request("GET", f"/jobs/{job}")["status"] == "running")
    up.signal(number)
    assert up.ended() == 0
    assert not any(is_alive(pid) for pid in family)
    assert port_is_free(house.port)
    assert "Traceback" not in up.text
    assert up.events("job.completed"), "a running job may end"


def test_jobs_are_there_again_at_the_next_start(house: House) -> None:
    up = house.up()
    done = post(house)
    assert result(house, done) == "HELLO WORLD"
    later = house.request("POST", "/jobs", {"type": "uppercase", "delay": 600})["job_id"]
    assert up.stop() == 0
    house.up()
    assert result(house, done) == "HELLO WORLD"
    assert house.request("GET", f"/jobs/{later}")["status"] == "scheduled"
    assert house.request("GET", "/stats")["total_jobs"] == 2


def test_other_commands_find_the_server_that_up_started(house: House) -> None:
    up = house.up()
    printed = house.command("enqueue", "uppercase", '{"input":"x"}', "--wait", "20")
    assert printed.returncode == 0
    assert '"result": "X"' in printed.stdout
    rows = json.loads(house.command("config", "--json").stdout)
    [row] = [row for row in rows if row["env"] == "REDIS_URL"]
    assert row["origin"].endswith("redis.url")
    assert up.stop() == 0
    assert not (house.folder / "data" / "redis.url").exists()


def test_a_port_that_is_taken_is_one_clear_line(house: House) -> None:
    with socket.create_server(("127.0.0.1", house.port)):
        up = house.up(ready=False)
        assert up.ended() == 1
    assert f"port {house.port} is taken by another program" in only_line(up)
    assert not (house.folder / "data").exists()


def test_a_second_one_in_the_same_folder_is_refused(house: House) -> None:
    first = house.up()
    second = house.up(ready=False, PORT=house.port + 1)
    assert second.ended() == 2
    assert "is in use by another Ferryman" in only_line(second)
    assert result(house, post(house)) == "HELLO WORLD"
    assert first.stop() == 0


def test_a_redis_that_does_not_answer_is_one_clear_line(house: House) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
        up = house.up(ready=False, REDIS_URL=url)
        assert up.ended() == 3
    assert "REDIS_URL: cannot reach Redis" in only_line(up)


def test_the_server_of_redis_url_is_used_instead(house: House, site: Site) -> None:
    up = house.up(REDIS_URL=site.server.url)
    job = post(house)
    assert result(house, job) == "HELLO WORLD"
    assert site.store.get(job).state == "completed"
    assert not (house.folder / "data" / "redis.url").exists()
    assert up.stop() == 0
    site.raw.ping()


def test_killed_it_leaves_no_process_and_no_locked_folder(house: House) -> None:
    up = house.up()
    job = post(house)
    assert result(house, job) == "HELLO WORLD"
    family = up.family()
    up.signal(signal.SIGKILL)
    until(lambda: not any(is_alive(pid) for pid in family), within=15)
    house.up()
    assert result(house, job) == "HELLO WORLD"


@pytest.mark.parametrize("part", ["worker", "api", "server"])
def test_a_part_that_dies_is_started_again(house: House, part: str) -> None:
    up = house.up()
    assert result(house, post(house)) == "HELLO WORLD"
    os.kill(part_pid(house, up, part), signal.SIGKILL)
    up.await_event("part.ended")
    until(lambda: works(house), within=40)


def part_pid(house: House, up: Program, part: str) -> int:
    """The process of one part."""
    if part == "server":
        return int((house.folder / "data" / "lock").read_text())
    words = [part.encode(), b""]
    [pid] = [
        pid
        for pid in up.family()
        if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2:] == words
        and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == str(up.pid)
    ]
    return pid


def works(house: House) -> bool:
    try:
        return bool(result(house, post(house)) == "HELLO WORLD")
    except OSError:
        return False
