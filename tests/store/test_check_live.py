"""check on live systems: nothing is found while all is well, and the command's own behaviour."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator

import pytest

from ferryman.backoff import Backoff
from ferryman.check import inspect
from ferryman.config import Settings
from ferryman.errors import IdempotencyConflict, JobNotFound, WrongState
from ferryman.job import Draft
from ferryman.store import Store
from ferryman.store.audit import Audit

NORMAL, HIGH = "pending:default:normal", "pending:default:high"

TRIES = 12
"""A busy machine makes any command slow now and then; one that is slow is slow in every try."""


@pytest.fixture
def start_worker(tmp_path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts `ferryman worker` on a server, in a group of its own."""
    started = []
    for folder in ("data", "files"):
        (tmp_path / folder).mkdir()

    def start(url: str, **settings: object) -> subprocess.Popen[bytes]:
        own = {
            "REDIS_URL": url,
            "FERRYMAN_DATA": tmp_path / "data",
            "FERRYMAN_FILES": tmp_path / "files",
        }
        environ = os.environ | {name: str(value) for name, value in (own | settings).items()}
        with (tmp_path / f"worker{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ferryman", "worker"],
                env=environ, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Traffic:
    """Clients that do everything a client may, until told to stop."""

    def __init__(self, url: str) -> None:
        self.settings = Settings(redis_url=url, max_pending=1_000_000)
        self.stopping = threading.Event()
        self.acts: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(3)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert self.errors == []

    def _run(self, seed: int) -> None:
        roll, store = random.Random(seed), Store(self.settings, timeout=20.0)
        ids: deque[str] = deque(maxlen=400)
        try:
            while not self.stopping.wait(0.005):
                if store.stats().waiting < 3_000:
                    self._act(roll, store, ids)
        except BaseException as error:
            self.errors.append(error)
        finally:
            store.resume("q1")
            store.close()

    def _act(self, roll: random.Random, store: Store, ids: deque[str]) -> None:
        drafts = []
        for _ in range(roll.randint(1, 40)):
            kind, payload = roll.choice(
                [("uppercase", '{"input":"a"}')] * 12
                + [("fail", "{}"), ("sleep", '{"seconds":0.05}'), ("nobody", "{}")]
            )
            drafts.append(
                Draft(
                    id=str(uuid.uuid4()), type=kind, payload=payload,
                    queue=roll.choice(["default", "default", "q1"]),
                    priority=roll.choice(["high", "normal", "low"]),
                    delay=roll.choice([None, None, None, 0.2]), max_attempts=2,
                    backoff=Backoff(0.05, 1, 0.1, 0.1),
                    idempotency_key=str(uuid.uuid4()), digest="d",
                    expires_at=roll.choice([None, None, None, None, time.time() + 0.05]),
                )
            )  # fmt: skip
        store.enqueue(drafts)
        ids.extend(d.id for d in drafts)
        verb = roll.choice(["cancel", "delete", "revive", "pause", "resume", "again", "again"])
        self.acts[verb] += 1
        with contextlib.suppress(JobNotFound, WrongState):
            if verb in ("pause", "resume"):
                getattr(store, verb)("q1")
            elif verb == "again":
                gone = roll.choice(ids)
                with contextlib.suppress(IdempotencyConflict):
                    store.enqueue([Draft(id=gone, type="uppercase", payload='{"input":"b"}')])
            else:
                getattr(store, verb)(roll.choice(ids))


@pytest.mark.parametrize("deaths", [False, True], ids=["all is well", "workers die"])
def test_a_busy_system_has_no_findings(start_server, start_worker, redis_kind, deaths):
    """Three clients, two workers, retries, cancels, a queue paused and resumed; perhaps deaths."""
    server = start_server(binary="redis-server" if redis_kind == "redis" else None)
    audit = Audit(Settings(redis_url=server.url))
    workers = [
        start_worker(server.url, NUM_WORKERS=8, FERRYMAN_PROCESSES=2, FERRYMAN_QUEUES="default,q1")
        for _ in range(2)
    ]
    traffic = Traffic(server.url)
    try:
        reports = []
        began = time.monotonic()
        while time.monotonic() < began + 12 or (
            time.monotonic() < began + 60  # a busy machine needs longer for as much
            and (len(reports) < 3 or audit.sums()[0].get("processed_total", 0) <= 100)
        ):
            reports.append(inspect(audit, settle=0.3))
            if deaths and workers and len(reports) == 3:
                os.killpg(workers.pop().pid, signal.SIGKILL)
    finally:
        traffic.stop()
    assert [f for r in reports for f in r.findings] == []
    assert len(reports) >= 3
    assert audit.sums()[0]["processed_total"] > 100, "nothing ran"
    assert len(traffic.acts) == 6
    assert inspect(audit, settle=0.3).findings == []


def test_a_large_system_is_checked_in_small_pieces(start_server, redis_kind, make_world):
    """No command of a check of 20,000 jobs takes Redis more than 5 ms."""
    server = start_server(binary="redis-server" if redis_kind == "redis" else None)
    settings = Settings(redis_url=server.url)
    world = make_world(Store(settings, timeout=5.0))
    audit = Audit(settings)
    for start in range(0, 20_000, 1000):
        world.enqueue(
            *(f"j{n}" for n in range(start, start + 1000)),
            priority="high" if start % 4000 else "low", delay=60.0 if start % 5000 == 0 else None,
        )  # fmt: skip
    hand = world.worker()
    for job in hand.claim(200):
        hand.bury(job.id)
    audit._command("LREM", audit.keys(HIGH), 1, "j9000")  # so that it looks twice
    audit._command("CONFIG", "SET", "slowlog-log-slower-than", 5_000)
    slow = None
    for _ in range(TRIES):
        audit._command("SLOWLOG", "RESET")
        assert [f.subject for f in inspect(audit, settle=0.0).findings] == ["j9000"]
        took = {tuple(entry[3]): entry[2] for entry in audit._command("SLOWLOG", "GET", 1_000)}
        slow = {command: took[command] for command in took if slow is None or command in slow}
        if not slow:
            break
    assert slow == {}


# The command.


def ferryman(url: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command on a server."""
    return subprocess.run(
        [sys.executable, "-m", "ferryman", "--redis-url", url, *args],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_finds_says_what_it_would_do_and_does_it(start_server, make_world):
    server = start_server()
    world = make_world(Store(Settings(redis_url=server.url)))
    world.running("a", "b")
    world.enqueue("c")
    done = ferryman(server.url, "check", "--settle", "0")
    assert (done.returncode, done.stdout) == (0, "")
    assert "all is well: 3 jobs checked" in done.stderr
    assert world.snapshot().value("audit", {})["violations"] == "0"

    world.store.command("LREM", world.store.keys.running("w"), "1", "a")
    for args in ([], ["--repair"]):
        done = ferryman(server.url, "check", "--settle", "0", *args)
        assert done.returncode == 1
        assert re.search(r"^lost +a +it is running and lies in no place", done.stdout, re.MULTILINE)
        assert ("would: push it to the head of its list" in done.stdout) == bool(args)
        assert world.snapshot().value("audit", {})["violations"] == "1"
    assert world.list(NORMAL) == ["c"]

    done = ferryman(server.url, "check", "--settle", "0", "--json")
    [violation] = json.loads(done.stdout)["violations"]
    assert violation == {
        "kind": "lost", "subject": "a", "what": "it is running and lies in no place",
        "repairable": True,
        "remedy": "push it to the head of its list; its state becomes pending",
    }  # fmt: skip

    done = ferryman(server.url, "check", "--settle", "0", "--repair", "--yes", "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["healthy"], [m["subject"] for m in told["mended"]]) == (True, ["a"])
    assert world.list(NORMAL) == ["a", "c"]
    assert world.snapshot().value("audit", {})["violations"] == "0"


def test_the_command_says_when_redis_cannot_be_reached():
    done = ferryman("redis://127.0.0.1:1/0", "check", "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "cannot reach Redis" in done.stderr


def test_yes_without_repair_is_refused(redis_url):
    assert ferryman(redis_url, "check", "--yes").returncode == 2
