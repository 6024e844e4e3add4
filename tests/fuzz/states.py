"""Act three: damaged states. What lies in Redis is damaged, then everything goes on working.

A valid state is put up, one to three things in it are damaged at random, and then every verb is
driven and the API asked, while a real child serves the queues. Nothing may be raised but the errors
the store names; the child neither dies nor spins; the jobs of a queue beside the damage complete;
and `ferryman check --repair` leaves nothing it could mend.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from tests.fuzz.asked import Asked, Request
from tests.fuzz.damage import KEYS, WHOLE, Vandal
from tests.fuzz.exceptions import Kept
from tests.fuzz.lanes import STALL, Lane, log_file
from tests.fuzz.sequences import step
from tests.store.conftest import Hand, World
from tests.store.test_property import IDS, Verbs

from ferryman import Ferryman
from ferryman.check import Report, inspect, repair
from ferryman.config import Settings
from ferryman.errors import FerrymanError
from ferryman.job import Draft
from ferryman.keys import LEVELS
from ferryman.store import Store
from ferryman.store.audit import Audit
from ferryman_api.app import create_app
from ferryman_worker.child import LEASE_LOST

STATES = 12
"""Valid states a lane makes, to be damaged in turn."""

QUEUES = ["q1", "q2", "calm"]
CALM = ["calm0", "calm1", "calm2"]
"""Jobs of the queue beside the damage."""

PATIENCE = 20.0
"""Seconds for what should take milliseconds, on a machine with other things to do."""

NAP = 0.03
BUSY = 0.5
"""Share of each nap in which a child with nothing to do may use the processor."""

ferry = Ferryman()


@ferry.job("noop")
def noop() -> None:
    return None


class States:
    """A server, a child, and valid states to begin with."""

    def __init__(self, lane: Lane, settings: Settings, log: Path) -> None:
        self.lane, self.report, self.settings, self.log = lane, lane.report, settings, log
        self.raw = redis.Redis.from_url(settings.redis_url)
        self.models = [self.model(n) for n in range(STATES)]
        self.raw.flushdb()
        self.child = Kept(settings, "tests.fuzz.states:ferry", 3, QUEUES)
        self.store = Store(settings, timeout=STALL)
        self.audit = Audit(settings)
        self.ask = Asked(create_app(settings, Store(settings, timeout=STALL)))
        self.case: object = 0
        self.struck: set[str] = set()
        """Keys damaged in this case."""

    def model(self, number: int) -> dict[bytes, tuple[bytes, int]]:
        """A valid state: what random verbs have left, and a calm queue."""
        chance = random.Random(f"{self.lane.seed}:{number}")
        verbs = Verbs(self.settings, World)
        verbs.a_working_day([chance.choice(LEVELS) for _ in range(4)])
        verbs.everything_agrees()
        for _ in range(25):
            step(verbs, chance, [])
        keyed = [
            Draft(f"k{n}", "noop", queue="q1", idempotency_key=f"k{n}", digest="d")
            for n in range(2)
        ]
        verbs.store.enqueue([*keyed, *(Draft(i, "noop", queue="calm") for i in CALM)])
        prefix, found = verbs.store.keys.prefix, {}
        for key in self.raw.scan_iter(prefix + "*", count=1000):
            name = KEYS.prefix.encode() + key[len(prefix) :]
            found[name] = (self.raw.dump(key), max(0, self.raw.pttl(key)))
        verbs.teardown()
        return found

    def put_up(self, number: int) -> None:
        """This state and nothing else, with the child on the roll."""
        pipe = self.raw.pipeline()
        pipe.flushdb()
        for key, (value, ttl) in self.models[number].items():
            pipe.restore(key, ttl, value)
        pipe.zadd(KEYS("workers"), {self.child.worker: time.time() + 3600})
        pipe.hset(KEYS.worker(self.child.worker), mapping={"beat": 1, "registered_at": "1"})
        pipe.execute()

    # One case.

    def run(self, case: int, chance: random.Random) -> None:
        """Damage, verbs, repair, and what must hold at each."""
        os.kill(self.child.pid, signal.SIGSTOP)  # else it works while the state is put up
        self.put_up(chance.randrange(STATES))
        damage = Vandal(self.raw, chance, ("calm", "fuzz:")).strike()
        self.case = f"{case} ({'; '.join(damage.said)})"
        self.report.counts["damages"] += len(damage.said)
        acts = [lambda: os.kill(self.child.pid, signal.SIGCONT), lambda: self.drive(chance)]
        for do in acts if chance.random() < 0.5 else acts[::-1]:
            do()
        whole = damage.spoiled & set(WHOLE)
        self.struck = damage.struck
        if not self.until(self.calm, 0.2 if whole else PATIENCE) and not whole:
            self.report.broke(self.case, f"jobs beside the damage did not complete: {self.ends()}")
        self.quiet()
        self.mend()
        if not self.until(self.calm, PATIENCE):
            self.report.broke(self.case, f"jobs did not complete after the repair: {self.ends()}")
        if self.child.died() is not None:
            self.replace()

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            if self.child.died() is not None:
                self.replace()
            self.sweep()
            time.sleep(0.003)
        return True

    def calm(self) -> bool:
        """Whether the jobs beside the damage are done."""
        return all(s == "completed" for s in self.ends())

    def ends(self) -> list[str | None]:
        with suppress(FerrymanError):
            return [row[0] for row in self.store.facets(CALM)]
        return [None]

    def drive(self, chance: random.Random) -> None:
        """Every verb, in any order."""
        hand = Hand(self.store, f"h{self.case}"[:6], QUEUES[:2])
        verbs = self.verbs(hand, chance)
        chance.shuffle(verbs)
        for name, verb in verbs:
            try:
                verb()
            except FerrymanError as error:
                self.report.counts[f"answered {type(error).__name__}"] += 1
                self.store._down_until = 0.0
            except Exception as error:
                self.report.broke(self.case, f"{name} raised {type(error).__name__}: {error}")
            self.report.counts["verbs"] += 1
        hand.port.reset()

    def verbs(self, hand: Hand, chance: random.Random) -> list[tuple[str, Callable[[], Any]]]:
        store, world = self.store, World(self.store)
        ids = [*IDS, "k0", "ghost"]
        some = [chance.choice(ids) for _ in range(4)]
        worker = chance.choice(["w0", "w1", "w2", "nobody", hand.name])
        verbs: list[tuple[str, Callable[[], Any]]] = [
            ("register", lambda: store.register(hand.name, QUEUES, {"host": "h"})),
            ("enqueue", lambda: world.enqueue(some[0], queue="q1")),
            ("enqueue new", lambda: world.enqueue(f"n{chance.random()}", queue="q2", delay=0.0)),
            ("enqueue later", lambda: world.enqueue("later", queue="q2", delay=60.0)),
            ("claim and settle", lambda: self.work(hand, chance)),
            ("pause", lambda: (store.pause("q1"), store.resume("q1"))),
            ("resume", lambda: store.resume("q2")),
            ("beat", lambda: store.beat("sup", {hand.name: 0, "w0": 1}, QUEUES)),
            ("promote", store.promote),
            ("sweep", store.sweep),
            ("recover", lambda: self.recover(world, worker)),
            ("release", lambda: store.release(worker, [(some[1], 1)], alone=True)),
            ("progress", lambda: store.progress(worker, some[1], 1, 0.5, "x")),
            ("tally", lambda: store.tally(some[0], {"2026-01-01": {"a": 1}})),
            ("stats", store.stats),
            ("scrape", store.scrape),
            ("recent", lambda: store.facets([i for _, i in store.recent(None, 50)])),
            ("dead", lambda: store.dead(None, 10)),
            ("get", lambda: store.get_many(ids)),
        ]
        verbs += [(v, lambda v=v: getattr(store, v)(chance.choice(ids)))  # type: ignore[misc]
                  for v in ("cancel", "delete", "revive")]  # fmt: skip
        return [*verbs, *(self.request(chance, r) for r in self.requests(chance, ids))]

    def requests(self, chance: random.Random, ids: Sequence[str]) -> list[Request]:
        job_id, kind = chance.choice(ids), {"Content-Type": "application/json"}
        every = [Request("GET", "/jobs"), Request("GET", f"/jobs/{job_id}"), Request("GET",
                 "/stats"), Request("GET", "/metrics"), Request("DELETE", f"/jobs/{job_id}"),
                 Request("POST", f"/jobs/{job_id}/retry"), Request("GET", "/jobs",
                 query="status=failed"), Request("POST", "/jobs", b'{"type":"noop","queue":"q1"}',
                 headers=kind)]  # fmt: skip
        return chance.sample(every, 3)

    def request(self, chance: random.Random, request: Request) -> tuple[str, Callable[[], Any]]:
        def ask() -> None:
            reply = self.ask(request)
            self.ask.app.store._down_until = 0.0
            trouble = None if reply.status == 503 else self.ask.trouble(request, reply)
            if trouble:
                self.report.broke(self.case, f"{request.method} {request.path}: {trouble}")
            self.report.counts[f"status {reply.status}"] += 1

        return "request", ask

    def work(self, hand: Hand, chance: random.Random) -> None:
        """What a worker does, by hand."""
        turn = hand.turn(3)
        for job in turn.jobs:
            verb = chance.choice(["finish", "retry", "bury", "snooze", "release", "cancel"])
            hand.settle_by(verb, job.id, job.attempt)
        strangers = hand.port.running()
        hand.turn(0, *strangers, adopt=True, lists=())

    def recover(self, world: World, worker: str) -> None:
        for _ in range(20):
            if not world.recover(worker).left:
                return
        self.report.broke(self.case, f"recover of {worker} has no end")

    # The child.

    def quiet(self) -> None:
        """A child with nothing to do does nothing."""
        for seconds in (NAP, 0.5, 1.0):  # a child that is new imports for a while
            used, asked = self.cpu(), self.asked()
            started = time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - started
            spins = (self.cpu() - used) / took > BUSY
            floods = (self.asked() - asked) / took > 400
            if not (spins or floods):
                return
        self.report.broke(self.case, f"the child spins: {self.cpu() - used:.2f} s in {took:.2f} s")

    def cpu(self) -> float:
        """Seconds of processor the child has used."""
        with suppress(OSError, IndexError):
            fields = Path(f"/proc/{self.child.pid}/schedstat").read_text().split()
            return int(fields[0]) / 1e9
        return 0.0

    def asked(self) -> int:
        """Commands the server has seen."""
        return int(self.raw.info("stats")["total_commands_processed"])

    def sweep(self) -> None:
        """As upkeep does: what a dead child's BLMOVE took late goes back."""
        with suppress(FerrymanError):
            for worker in self.store.sweep()[1]:
                self.recover(World(self.store), worker)

    def replace(self) -> None:
        """Start another child. A child may go only when its name was struck from the roll."""
        status = self.child.died()
        if status == LEASE_LOST and {"workers", "reaped"} & self.struck:
            self.report.counts["children off the roll, replaced"] += 1
        else:
            self.report.counts["child deaths"] += 1
            self.report.broke(self.case, f"the child died: {status}")
        gone = self.child.worker
        self.child.start()
        with suppress(FerrymanError):  # as a supervisor does
            self.recover(World(self.store), gone)

    # Repair.

    def mend(self) -> None:
        """What can be mended is, and what cannot is told."""
        try:
            _, left = repair(self.audit, inspect(self.audit, 0.0), 0.0)
            for _ in range(4):  # the child moves jobs while they are looked at
                if not any(f.repair for f in left.findings):
                    break
                time.sleep(0.02)
                _, left = repair(self.audit, inspect(self.audit, 0.0), 0.0)
        except FerrymanError as error:
            self.audit._down_until = 0.0
            self.report.broke(self.case, f"check: {error}")
            return
        except Exception as error:
            self.report.broke(self.case, f"check raised {type(error).__name__}: {error}")
            return
        self.told(left)

    def told(self, left: Report) -> None:
        for finding in left.findings:
            if finding.repair:
                self.report.broke(
                    self.case, f"not mended: {finding.kind} {finding.subject}: {finding.what}"
                )
            else:
                self.report.counts[f"left to a person: {finding.kind}"] += 1
        if not left.findings:
            self.report.counts["mended whole"] += 1


def act(lane: Lane) -> None:
    """Each case is one damaged state."""
    with lane.server() as settings, log_file(settings, lane.folder / "log") as log:
        states = States(lane, settings, log)
        for case, chance in lane.each():
            states.run(case, chance)
            if case % 500 < 4:
                os.truncate(log, 0)
        states.child.end()
