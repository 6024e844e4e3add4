"""The commands: what they print where, and their exit codes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.journey.sites import Site


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The address of a port that is ours and at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{taken.getsockname()[1]}/0"


@pytest.fixture
def worked(site: Site) -> Site:
    """A site with a worker."""
    site.worker()
    return site


def one_clear_line(result: Any) -> str:
    """The only thing a failed command says, on stderr."""
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert "Traceback" not in line
    return str(line)


# Jobs.


def test_enqueue_prints_the_id_alone(site: Site) -> None:
    result = site.command("enqueue", "uppercase", '{"input":"hello"}', "--priority", "high")
    assert (result.returncode, result.stderr) == (0, "")
    job = site.store.get(result.stdout.strip())
    assert (job.payload, job.priority, job.state) == ('{"input":"hello"}', "high", "pending")


@pytest.mark.parametrize(("said", "meant"), [("3", "high"), ("2", "normal"), ("1", "low")])
def test_enqueue_takes_a_number_for_a_priority_as_http_does(
    site: Site, said: str, meant: str
) -> None:
    result = site.command("enqueue", "uppercase", "--priority", said)
    assert site.store.get(result.stdout.strip()).priority == meant


def test_enqueue_and_wait_prints_the_job_and_says_how_it_ended(worked: Site) -> None:
    good = worked.command("enqueue", "uppercase", '{"input":"hello"}', "--wait", "20")
    assert good.returncode == 0
    view = json.loads(good.stdout)
    assert (view["status"], view["result"], view["attempt"]) == ("completed", "HELLO", 1)
    bad = worked.command("enqueue", "fail", "--max-attempts", "1", "--wait", "20")
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["error"] == "RuntimeError: asked to fail"


def test_a_wait_that_takes_too_long_has_a_code_of_its_own(site: Site) -> None:
    result = site.command("enqueue", "uppercase", "--wait", "0.2", "--id", "mine")
    assert result.returncode == 6
    assert "mine is still pending" in one_clear_line(result)


def test_enqueue_refuses_what_is_no_json_and_what_is_no_job(site: Site) -> None:
    broken = site.command("enqueue", "uppercase", "{")
    assert broken.returncode == 2
    assert "expected JSON" in broken.stderr
    assert "Traceback" not in broken.stderr
    wrong = site.command("enqueue", "uppercase", "--timeout", "-1")
    assert wrong.returncode == 2
    assert "/timeout" in one_clear_line(wrong)
    assert site.stats().total == 0


def test_job_show_tells_everything_and_that_there_is_none(worked: Site) -> None:
    dead = worked.enqueue("fail", {"message": "no\x1b[2J"}, max_attempts=1, id="mine").wait(20)
    shown = worked.command("job", "show", "mine", "--json")
    assert shown.returncode == 0
    view = json.loads(shown.stdout)
    assert view["status"] == "failed"
    assert view["payload"] == {"message": "no\x1b[2J"}
    assert view["errors"][0]["attempt"] == 1
    table = worked.command("job", "show", "mine")
    assert dead.worker in table.stdout
    assert "\x1b" not in table.stdout, "nothing a job says may steer a terminal"
    missing = worked.command("job", "show", "yours")
    assert missing.returncode == 4
    assert "'yours'" in one_clear_line(missing)


def test_dlq_list_shows_the_newest_first(worked: Site) -> None:
    assert worked.command("dlq", "list").returncode == 0
    ids = [
        worked.enqueue("fail", {"message": m}, max_attempts=1).wait(20).id for m in ("one", "two")
    ]
    table = worked.command("dlq", "list").stdout.splitlines()
    assert [line.split()[0] for line in table[1:]] == ids[::-1]
    assert "RuntimeError: two" in table[1]
    long = worked.enqueue("fail", {"message": "x" * 500}, max_attempts=1).wait(20)
    first = worked.command("dlq", "list").stdout.splitlines()[1]
    assert first.endswith("xxx…")
    assert long.error.startswith(first.split("  ")[-1][:-1])
    ids.append(long.id)
    listed = json.loads(worked.command("dlq", "list", "--json", "--limit", "1").stdout)
    assert [job["id"] for job in listed] == ids[-1:]


def test_stats_counts_by_state_and_by_queue(worked: Site) -> None:
    worked.enqueue("uppercase", {"input": "x"}).wait(20)
    worked.enqueue("uppercase", {"input": "x"}, queue="elsewhere")
    stats = json.loads(worked.command("stats", "--json").stdout)
    assert (stats["completed"], stats["pending"], stats["total"]) == (1, 1, 2)
    assert (stats["workers"], stats["dlq_size"]) == (1, 0)
    assert stats["queues"]["elsewhere"]["pending"] == 1
    lines = [line.split() for line in worked.command("stats").stdout.splitlines()]
    by_queue = {line[0]: dict(zip(lines[0], line, strict=False)) for line in lines[1:]}
    assert by_queue["all"]["PENDING"] == "1"
    assert by_queue["default"]["COMPLETED"] == "1"


def test_stats_say_which_queue_is_paused(site: Site) -> None:
    site.enqueue("uppercase", queue="idle")
    site.store.pause("idle")
    assert "idle (paused)" in site.command("stats").stdout


def test_dead_letters_are_read_with_the_redis_command_too(worked: Site) -> None:
    dead = worked.enqueue("fail", max_attempts=1).wait(20)
    ids = worked.command("redis", "LRANGE", "ferryman:{0}:dlq", "0", "9")
    assert ids.stdout.split() == [dead.id]
    fields = worked.command("redis", "HGETALL", f"ferryman:{{0}}:job:{dead.id}").stdout.splitlines()
    pairs = dict(zip(fields[::2], fields[1::2], strict=False))
    assert (pairs["type"], pairs["state"]) == ("fail", "failed")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("NOSUCH",), "(error) ERR unknown command 'NOSUCH'"),
        (("GET",), "(error) ERR wrong number of arguments for 'get' command"),
        (("LLEN", "a-text"), "(error) WRONGTYPE Operation against a key"),
    ],
)
def test_what_redis_refuses_is_said_as_redis_cli_does(
    site: Site, command: tuple[str, ...], said: str
) -> None:
    site.raw.set("a-text", "x")
    result = site.command("redis", *command)
    assert result.returncode == 1
    assert said in one_clear_line(result)


# Settings and what is not there.


def test_config_names_every_variable_its_value_and_where_that_is_from(site: Site) -> None:
    result = site.command("config", "--json", NUM_WORKERS=7, SMTP_URL="smtp://u:hush-7@h")
    rows = {row["env"]: row for row in json.loads(result.stdout)}
    assert (rows["NUM_WORKERS"]["value"], rows["NUM_WORKERS"]["origin"]) == ("7", "environment")
    assert (rows["FERRYMAN_LEASE"]["value"], rows["FERRYMAN_LEASE"]["origin"]) == (
        "12.0",
        "default",
    )
    assert "hush-7" not in result.stdout
    assert "FERRYMAN_DRAIN" in site.command("config").stdout


@pytest.mark.parametrize(
    "command",
    [("worker",), ("stats",), ("enqueue", "uppercase"), ("dlq", "list"), ("redis", "GET")],
)
def test_an_unreachable_redis_is_one_clear_line_and_exit_code_3(
    site: Site, nowhere: str, command: tuple[str, ...]
) -> None:
    result = site.command(*command, REDIS_URL=nowhere)
    assert result.returncode == 3
    assert f"cannot reach Redis at {nowhere.removesuffix('/0')}" in one_clear_line(result)


def test_a_password_is_not_printed_when_redis_is_unreachable(site: Site, nowhere: str) -> None:
    result = site.command("stats", REDIS_URL=nowhere.replace("//", "//me:secret@"))
    assert "***" in one_clear_line(result)
    assert "secret" not in result.stderr


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("NUM_WORKERS", "many", "a whole number from 1 to 1000, got 'many'"),
        ("FERRYMAN_LEASE", "1", "a number of seconds from 3 to 3600, got '1'"),
        ("REDIS_URL", "http://x", "redis://host:port/db"),
        ("FERRYMAN_QUEUES", "a b", "queue names"),
        ("FERRYMAN_APP", "nothing", "module:name, got 'nothing'"),
        ("FERRYMAN_APP", "no_such_module:ferry", "No module named 'no_such_module'"),
        ("FERRYMAN_PROCESSES", "6", "at most NUM_WORKERS (5), got 6"),
    ],
)
def test_a_bad_setting_is_refused_by_its_name_with_exit_code_2(
    site: Site, variable: str, value: str, expected: str
) -> None:
    result = site.command("worker", **{variable: value})
    assert result.returncode == 2
    said = result.stdout + result.stderr
    assert f"{variable}: " in said
    assert expected in said
    assert "Traceback" not in said


def test_flags_win_over_the_environment(site: Site) -> None:
    worker = site.program("worker", "--slots", "2", "--queues", "a,b", NUM_WORKERS=9)
    started = worker.await_event("worker.started")
    assert (started["slots"], started["queues"]) == (2, "a,b")
