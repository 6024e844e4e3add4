"""check: every kind of violation is found and mended, and a healthy system shows none."""

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
from itertools import islice

import pytest

from ferryman.backoff import Backoff
from ferryman.check import KINDS, inspect
from ferryman.config import Settings
from ferryman.errors import IdempotencyConflict, JobNotFound, WrongState
from ferryman.job import Draft
from ferryman.store import Store
from ferryman.store.audit import Audit

NORMAL, HIGH, LOW = (f"pending:default:{level}" for level in ("normal", "high", "low"))

TRIES = 3
"""A busy machine makes any command slow now and then; one that is slow is slow in every try."""


def test_a_healthy_system_has_no_findings(town):
    with town.world.changes() as changed:
        report = town.inspect()
    assert report.findings == report.notes == []
    assert report.jobs == 18
    assert changed == {}


# What is planted -> kind and subject of the finding; the commands that plant it, a word that begins
# with / being a key.
PLANTS = {
    # A live job in no place.
    "pending in no list": ("lost p1", "LREM /pending:default:normal 1 p1"),
    "running in no list": ("lost run", "LREM /running:w 1 run"),
    "scheduled in no set": ("lost later", "ZREM /scheduled later"),
    "claimed in no list": ("lost claimed", "LREM /running:w 1 claimed"),
    "held in no list": ("lost h1", "LREM /held:other:normal 1 h1"),
    # State and place disagree.
    "running in a pending list": ("misplaced p1", "HSET /job:p1 state running worker w attempt 1"),
    "scheduled in a pending list": ("misplaced p1", "HSET /job:p1 state scheduled"),
    "pending in the set": ("misplaced later", "HSET /job:later state pending"),
    "running in the list of another": ("misplaced run", "HSET /job:run worker other"),
    "in a list of another level": (
        "misplaced urgent",
        "LMOVE /pending:default:high /pending:default:low LEFT LEFT",
    ),
    "in a list of another queue": (
        "misplaced h1",
        "LMOVE /held:other:normal /pending:default:normal LEFT LEFT",
    ),
    # More entries than there may be.
    "twice in its list": ("extra p1", "RPUSH /pending:default:normal p1"),
    "in two lists": ("extra p1", "RPUSH /pending:default:low p1"),
    "pending and claimed": ("extra p1", "RPUSH /running:w p1"),
    "running and pending": ("extra run", "RPUSH /pending:default:normal run"),
    "pending and scheduled": ("extra p1", "ZADD /scheduled 9e9 p1"),
    "scheduled and pending": ("extra later", "RPUSH /pending:default:normal later"),
    "twice among the dead": ("extra failed", "LPUSH /dlq failed"),
    "alive among the dead": ("extra p1", "LPUSH /dlq p1"),
    # Finished, yet in a place of live ones.
    "completed in a list": ("leftover done", "RPUSH /pending:default:normal done"),
    "completed in the set": ("leftover done", "ZADD /scheduled 9e9 done"),
    "failed in a list": ("leftover failed", "RPUSH /running:w failed"),
    "cancelled twice in its list": (
        "leftover cancelled",
        "RPUSH /pending:default:normal cancelled",
    ),
    # `dropped`.
    "dropped says too much": ("miscounted cancelled", "HSET /job:cancelled dropped 3"),
    "dropped without an entry": (
        "miscounted cancelled",
        "LREM /pending:default:normal 1 cancelled",
    ),
    "a stub without an entry": ("miscounted deleted", "LREM /pending:default:normal 1 deleted"),
    "pending and dropped": ("miscounted p1", "HSET /job:p1 dropped 1"),
    # The dead-letter list.
    "failed, not among the dead": ("unlisted failed", "LREM /dlq 1 failed"),
    # Entries without a job.
    "a foreign id in a list": ("orphan ghost", "RPUSH /pending:default:normal ghost"),
    "foreign bytes in a list": ("orphan \udcff", "RPUSH /pending:default:low \udcff"),
    "a foreign id twice": ("orphan ghost", "RPUSH /pending:default:low ghost ghost"),
    "a foreign id claimed": ("orphan ghost", "RPUSH /running:w ghost"),
    "a foreign id scheduled": ("orphan ghost", "ZADD /scheduled 9e9 ghost"),
    "a foreign id among the dead": ("orphan ghost", "RPUSH /dlq ghost"),
    # The record.
    "a waiting job that expires": ("expiring p1", "EXPIRE /job:p1 600"),
    "a dead letter that expires": ("expiring failed", "EXPIRE /job:failed 600"),
    "a dropped job that expires": ("expiring cancelled", "EXPIRE /job:cancelled 600"),
    "a finished job for ever": ("immortal done", "PERSIST /job:done"),
    "too many crashes": ("number p1", "HSET /job:p1 crashes 4"),
    "crashes of no number": ("number p1", "HSET /job:p1 crashes x"),
    "too many failures": ("number p1", "HSET /job:p1 failures 4"),
    "attempt of no number": ("number p1", "HSET /job:p1 attempt 1.5"),
    "attempt of too many digits": ("number p1", "HSET /job:p1 attempt 999999999999999999999"),
    "a run of no attempt": ("number run", "HDEL /job:run attempt"),
    "dropped of no number": ("number p1", "HSET /job:p1 dropped x"),
    "no state, in a list": ("corrupt p1", "HDEL /job:p1 state"),
    "a foreign state, in the set": ("corrupt later", "HSET /job:later state sleeping"),
    "no state, among the dead": ("corrupt failed", "HDEL /job:failed state"),
    "a queue of no proper name": ("corrupt p1", "HSET /job:p1 queue a:b"),
    "a queue of no name": ("corrupt p1", "HSET /job:p1 queue "),
    "a priority there is not": ("corrupt p1", "HSET /job:p1 priority urgent"),
    # Keys.
    "a record that is a string": ("wrong_type job:odd", "SET /job:odd x"),
    "stats that is a string": ("wrong_type stats", "SET /stats x"),
    "recent that is a set": ("wrong_type recent", "DEL /recent; SADD /recent x"),
    "an idempotency key that is a list": ("wrong_type idem:odd", "RPUSH /idem:odd x"),
    "a list of nobody": (
        "ownerless running:ghost",
        "LMOVE /pending:default:normal /running:ghost LEFT RIGHT",
    ),
    "held though not paused": (
        "stranded held:default:normal",
        "RENAME /pending:default:normal /held:default:normal",
    ),
    "pending though paused": (
        "stranded pending:other:normal",
        "RENAME /held:other:normal /pending:other:normal",
    ),
    "held and pending": (
        "stranded held:default:normal",
        "LMOVE /pending:default:normal /held:default:normal LEFT LEFT",
    ),
    "a queue nobody knows": ("unknown_queue other", "SREM /queues other"),
    "a queue only a job knows": ("unknown_queue new", "HSET /job:later queue new"),
    "the record of no worker": ("stray ghost", "HSET /worker:ghost beat 1"),
    "stop requests to no worker": ("stray ghost", "RPUSH /cancel:ghost a"),
    "a lease without end": ("lease w", "ZADD /workers 9e9 w"),
    "a key to no job": ("idempotency k", "SET /idem:k ghost EX 99"),
    "a key for ever": ("idempotency key", "PERSIST /idem:key"),
    # Counters.
    "a counter of no number": ("number stats running", "HSET /stats running x"),
    "a queue's counter out of range": (
        "number queue:default pending",
        "HSET /queue:default pending 9999999999999999999999",
    ),
    "a sum of no number": ("number stats duration_sum", "HSET /stats duration_sum nan"),
    "pending of a queue": (
        "counter queue:default pending",
        "HINCRBY /queue:default pending 2; HINCRBY /stats pending 2",
    ),
    "running of a queue": (
        "counter queue:default running",
        "HINCRBY /queue:default running -2; HINCRBY /stats running -2",
    ),
    "scheduled of a queue": ("counter queue:default scheduled", "HSET /queue:default scheduled 9"),
    "a total of stats": ("counter stats completed", "HINCRBY /stats completed 3"),
    "created": ("counter stats created_total - cancelled", "HINCRBY /stats created_total 3"),
    "failed runs": ("counter stats failed_total", "HSET /stats failed_total 77"),
}


planted = pytest.mark.parametrize("plant", PLANTS, ids=lambda name: name.replace(" ", "-"))


@planted
def test_a_violation_is_found_and_mended(town, plant):
    told, commands = PLANTS[plant]
    kind, subject = told.split(" ", 1)
    for command in commands.split("; "):
        town.redis(*command.split(" "))
    report = town.inspect()
    assert (kind, subject) in {(f.kind, f.subject) for f in report.findings}
    if kind not in ("wrong_type", "counter"):  # these take others with them
        assert {f.kind for f in report.findings} == {kind}
    with town.world.changes() as changed:
        town.inspect()
    assert changed == {}, "a look changes nothing"
    mended, after = town.repair()
    assert (kind, subject) in {(f.kind, f.subject) for f in mended}
    assert after.findings == [], "mended, and nothing else came of it"


def test_every_kind_is_planted_here_or_tested_with_the_repairs():
    elsewhere = {"overlong", "schema"}
    assert {told.split()[0] for told, _ in PLANTS.values()} | elsewhere == set(KINDS)


def test_a_job_that_moves_between_the_two_sightings_is_no_finding(town):
    """It was wrong once, and differently wrong the second time."""
    town.redis("LREM", "/dlq", 1, "failed")
    looks = []

    class Moving(Audit):
        def survey(self, ids):
            if b"failed" in ids:
                looks.append(len(ids))
            if len(looks) == 4:  # the scan, then twice at each sighting
                self._command("HINCRBY", self.keys.job("failed"), "attempt", 1)
            return super().survey(ids)

    moving = Moving(town.audit.settings, town.audit.keys)
    assert inspect(moving, settle=0.0).findings == []
    assert len(looks) == 5
    assert [f.kind for f in town.findings()] == ["unlisted"]


def test_a_job_that_comes_right_before_the_last_look_is_no_finding(town):
    town.redis("LREM", f"/{NORMAL}", 1, "p1")

    class Late(Audit):
        def mend(self, job_id, evidence, acts):
            self._command("RPUSH", self.keys(NORMAL), job_id)
            return super().mend(job_id, evidence, acts)

    assert inspect(Late(town.audit.settings, town.audit.keys), settle=0.0).findings == []


def test_a_list_is_walked_whole_while_it_moves(town):
    """Whatever comes and goes at its ends meanwhile: every id that stays is seen, each once."""
    ids = [f"j{n:05}" for n in range(6_000)]
    for start in range(0, len(ids), 1000):
        town.redis("RPUSH", f"/{LOW}", *ids[start : start + 1000])
    seen = []
    for n, window in enumerate(town.audit.walk(LOW)):
        seen += window
        town.redis("RPUSH", f"/{LOW}", *(f"new{n}-{m}" for m in range(300)))
        town.redis("LPOP", f"/{LOW}", 100)
    found = [i.decode() for i in seen]
    assert len(found) == len(set(found))
    assert set(ids[1_000:]) <= set(found)


def test_a_list_is_walked_whole_while_ids_are_taken_out_of_its_middle(town):
    ids = [f"j{n:05}" for n in range(6_000)]
    for start in range(0, len(ids), 1000):
        town.redis("RPUSH", f"/{LOW}", *ids[start : start + 1000])
    victims, seen = iter(ids[::-37]), set()
    for window in town.audit.walk(LOW):
        seen |= set(window)
        for victim in islice(victims, 20):
            town.redis("LREM", f"/{LOW}", -1, victim)
    assert {i.encode() for i in town.world.list(LOW)} <= seen


def test_cancelling_during_a_check_is_no_drift(town):
    """`dropped` was summed up before; by how much it may have moved since is known."""
    numbers = iter(range(1_000))

    class Cancelling(Audit):
        def census(self, queues):
            store, ids = town.world.store, [f"j{next(numbers)}" for _ in range(50)]
            town.world.enqueue(*ids)
            for job_id in ids[:40]:
                store.cancel(job_id)
            for job_id in ids[:10]:
                store.revive(job_id)
            for job_id in ids[40:45]:
                store.delete(job_id)
            return super().census(queues)

    cancelling = Cancelling(town.audit.settings, town.audit.keys)
    assert inspect(cancelling, settle=0.0).findings == []
    for key in ("/queue:default", "/stats"):
        town.redis("HINCRBY", key, "pending", 500)
    found = {f.subject: f.what for f in inspect(cancelling, settle=0.0).findings}
    assert re.fullmatch(r"it is \d+, counted \d+ \(within \d+\)", found["queue:default pending"])


def test_a_new_job_in_the_place_of_a_deleted_one_is_no_drift(town):
    class Reusing(Audit):
        def census(self, queues):
            town.world.enqueue("deleted")
            return super().census(queues)

    assert inspect(Reusing(town.audit.settings, town.audit.keys), settle=0.0).findings == []


def test_more_claimed_ids_than_one_script_may_look_at_are_not_compared(town):
    ids = [f"j{n}" for n in range(2_100)]
    for start in range(0, len(ids), 1000):
        town.world.enqueue(*ids[start : start + 1000])
    for number in range(11):
        town.world.worker(f"w{number}").claim(200)
    town.redis("HINCRBY", "/queue:default", "running", 1)
    town.redis("HINCRBY", "/stats", "running", 1)
    town.redis("HINCRBY", "/stats", "created_total", 1)
    report = town.inspect()
    assert report.findings == []
    assert report.notes == ["pending and running were not compared: too much is claimed at a time"]


def test_a_retention_shorter_than_a_day_leaves_keys_behind(settings, keys, make_world):
    short = Settings(redis_url=settings.redis_url, retention=3600.0)
    world = make_world(Store(short, keys))
    world.store.command("SET", keys.idem("k"), "gone", "EX", "99")
    report = inspect(Audit(short, keys), settle=0.0)
    assert report.findings == []
    assert report.notes == ["idempotency keys may outlive their jobs: the retention is under a day"]


# A system at work.


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
        roll, store = random.Random(seed), Store(self.settings, timeout=5.0)
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
        ends = time.monotonic() + 12
        while time.monotonic() < ends:
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
    tries = []
    for _ in range(TRIES):
        audit._command("SLOWLOG", "RESET")
        assert [f.subject for f in inspect(audit, settle=0.0).findings] == ["j9000"]
        slow = audit._command("SLOWLOG", "GET", 100)
        tries.append({tuple(entry[3]): entry[2] for entry in slow})
    assert set.intersection(*map(set, tries)) == set(), tries


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
