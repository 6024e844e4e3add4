"""check: every kind of violation is found and mended, and a healthy system shows none."""

from __future__ import annotations

import re
from itertools import islice

import pytest

from ferryman.check import KINDS, inspect
from ferryman.config import Settings
from ferryman.store import Store
from ferryman.store.audit import Audit

NORMAL, LOW = "pending:default:normal", "pending:default:low"


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
    "an attempt before one that was settled": ("number snoozed", "HSET /job:snoozed attempt 0"),
    "a run of no attempt": ("number run", "HDEL /job:run attempt"),
    "dropped of no number": ("number p1", "HSET /job:p1 dropped x"),
    "no state, in a list": ("corrupt p1", "HDEL /job:p1 state"),
    "a foreign state, in the set": ("corrupt later", "HSET /job:later state sleeping"),
    "no state, among the dead": ("corrupt failed", "HDEL /job:failed state"),
    "a queue of no proper name": ("corrupt p1", "HSET /job:p1 queue a:b"),
    "a queue of no name": ("corrupt p1", "HSET /job:p1 queue "),
    "a priority there is not": ("corrupt p1", "HSET /job:p1 priority urgent"),
    "a job marked deleted": ("corrupt p1", "HSET /job:p1 deleted x"),
    "a deleted job that is to run": ("corrupt deleted", "HSET /job:deleted state pending"),
    "dropped of too many digits": ("number p1", "HSET /job:p1 dropped 9223372036854775807"),
    # Keys.
    "a record that is a string": ("wrong_type job:odd", "SET /job:odd x"),
    "stats that is a string": ("wrong_type stats", "SET /stats x"),
    "recent that is a set": ("wrong_type recent", "DEL /recent; SADD /recent x"),
    "analytics that are a list": ("wrong_type analytics:d", "RPUSH /analytics:d x"),
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


def test_where_a_job_should_lie_waits_for_a_number_that_says_so(town):
    """Pushed back with a `dropped` of 19 digits it would vanish at the next claim, for ever."""
    town.redis("LREM", "/pending:default:normal", 1, "p1")
    town.redis("HSET", "/job:p1", "dropped", "9223372036854775807")
    assert [(f.kind, f.subject) for f in town.findings()] == [("number", "p1")]
    _, left = town.repair()
    assert left.findings == []
    assert "p1" in town.world.list("pending:default:normal")
