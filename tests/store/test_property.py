"""Random verbs of several workers, late, stale, repeated and lost ones among them.

After every step each live id lies in exactly one place, its state says the same, and every
counter equals what the records say. For longer:

    pytest tests/store/test_property.py --hypothesis-profile=long
"""

import json
import uuid
from collections import Counter

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ferryman.errors import JobNotFound, WrongState
from ferryman.keys import ALONE, LEVELS, Keys
from ferryman.store import Store

EXAMPLES, STEPS = 120, 50

IDS = [f"j{n}" for n in range(7)]
QUEUES = ("q1", "q2")
LISTS = [f"pending:{queue}:{level}" for level in (*LEVELS, ALONE) for queue in QUEUES]
SETTLES = ("finish", "retry", "bury", "snooze", "release", "cancel")
STATES = ("pending", "scheduled", "running", "completed", "failed", "cancelled")

ids = st.sampled_from(IDS)
queues = st.sampled_from(QUEUES)
which = st.integers(0, 1_000)


class Verbs(RuleBasedStateMachine):
    """Drives the store; what it keeps in memory is what the clients and workers would know."""

    def __init__(self, settings, new_world):
        super().__init__()
        namespace = f"p{uuid.uuid4().hex[:12]}"
        self.world = new_world(Store(settings, Keys(namespace=namespace), timeout=10.0))
        self.store = self.world.store
        self.hands = []  # every worker there ever was: the reaped go on claiming and settling
        self.delivered = {}  # worker -> ids that its BLMOVE brought and it has not begun
        self.runs = []  # (id, attempt, worker): what the workers believe they run
        self.handed = []  # the same, of all times
        self.begun = set()  # (id, life, attempt)
        self.lives = Counter()  # how often an id was accepted
        self.attempts = {}
        self.foreign = []  # elements that are nobody's jobs
        self.created = 0
        self.gone = Counter()  # (state, queue) of deleted jobs
        self.settled = Counter()  # verb, or "refused" -> how often
        self.steps = 0
        self.last = self.world.snapshot()

    def teardown(self):
        self.world.close()
        names = [self.store.keys(name) for name in self.world.snapshot().keys]
        if names:
            self.store.command("UNLINK", *names)
        self.store.close()

    @initialize(priorities=st.lists(st.sampled_from(LEVELS), min_size=4, max_size=4))
    def a_working_day(self, priorities):
        self.register()
        self.register()
        for job_id, queue, priority in zip(IDS, QUEUES * 2, priorities, strict=False):
            self.enqueue([job_id], queue, priority, None)

    # Clients.

    @rule(
        chosen=st.lists(ids, min_size=1, max_size=4),
        queue=queues,
        priority=st.sampled_from(LEVELS),
        delay=st.sampled_from([None, None, 0.0, 60.0]),
    )
    def enqueue(self, chosen, queue, priority, delay):
        live = {i for i in IDS if self._job(i) and "deleted" not in self._job(i)}
        accepted = self.world.enqueue(*chosen, queue=queue, priority=priority, delay=delay)
        for job_id, is_new in accepted:
            assert is_new == (job_id not in live)
            live.add(job_id)
            if is_new:
                self.created += 1
                self.lives[job_id] += 1
                self.attempts.pop(job_id, None)

    @rule(verb=st.sampled_from(["cancel", "delete", "revive", "expire"]), job_id=ids)
    def change(self, verb, job_id):
        """A client or an operator changes a job; its time may also be over."""
        job = self._job(job_id)
        if verb == "expire":
            if job.get("state") in ("pending", "scheduled"):
                self.world.set(job_id, expires_at=1.0)
            return
        try:
            state = getattr(self.store, verb)(job_id).value
        except (JobNotFound, WrongState):
            return
        if verb == "delete" and state != "running":
            waiting = state in ("pending", "scheduled")
            self.gone["cancelled" if waiting else state, job["queue"]] += 1

    @rule(verb=st.sampled_from(["resume", "pause"]), queue=queues)
    def hold(self, verb, queue):
        getattr(self.store, verb)(queue)

    # Workers.

    @rule(n=which, m=which)
    def blmove(self, n, m):
        """An id arrives, also at a worker that was taken for dead meanwhile."""
        filled = [name for name in LISTS if name in self.last.keys]
        if filled:
            _, queue, level = filled[m % len(filled)].split(":")
            hand = self._hand(n)
            self.delivered[hand.name].append(hand.deliver(level, queue))

    @rule(n=which, free=st.integers(1, 3))
    def claim(self, n, free):
        """A worker takes from the lists."""
        self._turn(self._hand(n), free, [], False, LISTS)

    @rule(n=which, free=st.integers(0, 3), lost=st.booleans(), lists=st.sampled_from([(), LISTS]))
    def begin(self, n, free, lost, lists):
        """What was delivered is begun, perhaps more is claimed, perhaps the reply is lost."""
        hand = self._hand(n)
        delivered, self.delivered[hand.name] = self.delivered[hand.name], []
        self._turn(hand, free, delivered, lost, lists)

    @rule(n=which, free=st.integers(0, 3), lost=st.booleans())
    def reconcile(self, n, free, lost):
        """A worker's list is compared with its memory; what is delivered late comes again."""
        hand = self._hand(n)
        known = {job_id for job_id, _, holder in self.runs if holder is hand}
        strangers = [i for i in hand.port.running() if i not in known]
        self._turn(hand, free, strangers, lost, (), adopt=True)

    @precondition(lambda self: self.runs)
    @rule(n=which, verb=st.sampled_from(SETTLES))
    def settle(self, n, verb):
        """A run ends; its worker may have been taken for dead."""
        job_id, attempt, hand = self.runs[n % len(self.runs)]
        self._settle(hand, verb, job_id, attempt)

    @precondition(lambda self: self.handed)
    @rule(n=which, verb=st.sampled_from(SETTLES), m=which, more=st.sampled_from([0, 0, 0, 1, -1]))
    def settle_late(self, n, verb, m, more):
        """Something that was handed out is settled, again or by another worker than its own."""
        job_id, attempt, hand = self.handed[-1 - n % len(self.handed)]
        self._settle(self._hand(m) if m % 3 == 0 else hand, verb, job_id, attempt + more)

    @rule(n=which, then=st.sampled_from(["lives on", "is gone"]))
    def recover(self, n, then):
        """A worker is taken for dead; it may go on as if nothing had happened."""
        hand = self._hand(n)
        while self.world.recover(hand.name).left:
            pass
        if then == "is gone":
            self.runs = [run for run in self.runs if run[2] is not hand]
            self.delivered[hand.name] = []

    # Upkeep.

    @rule(due=st.lists(ids, max_size=4), beats=st.booleans(), sweeps=st.booleans())
    def upkeep(self, due, beats, sweeps):
        self.world.make_due(*due)
        self.store.promote()
        if beats:
            self.store.beat("sup", {hand.name: 0 for hand in self.hands}, QUEUES)
        if sweeps:
            for worker in self.store.sweep()[1]:
                self.world.recover(worker)

    @rule(
        place=st.sampled_from(["pending", "running", "scheduled"]), n=which, at_head=st.booleans()
    )
    def intrude(self, place, n, at_head):
        """Somebody puts what is no job where only jobs belong."""
        element = f"foreign-{len(self.foreign)}"
        self.foreign.append(element)
        if place == "scheduled":
            self.store.command("ZADD", self.store.keys(place), str(n), element)
            return
        name = LISTS[n % len(LISTS)] if place == "pending" else f"running:{self._hand(n).name}"
        self.store.command("LPUSH" if at_head else "RPUSH", self.store.keys(name), element)

    @precondition(lambda self: len(self._alive()) < 2)
    @rule()
    def register(self):
        hand = self.world.worker(f"w{len(self.hands)}", QUEUES)
        self.hands.append(hand)
        self.delivered[hand.name] = []

    @precondition(lambda self: self.steps > STEPS * 2 // 3)
    @rule()
    def everything_gets_done(self):
        """All workers die and a new one does it all: nothing is left, nothing ran twice."""
        for queue in QUEUES:
            self.store.resume(queue)
        for hand in self.hands:
            while self.world.recover(hand.name).left:
                pass
        self.register()
        hand, done = self.hands[-1], []
        while True:
            self.world.make_due(*IDS)
            self.store.promote()
            jobs = self._turn(hand, 50, [], False, LISTS)
            if not jobs:
                break
            for job in jobs:
                self._settle(hand, "finish", job.id, job.attempt)
                done.append(job.id)
        assert len(done) == len(set(done))
        stats = self.store.stats()
        assert stats.waiting == stats.states["running"] == 0

    # What each of these has in common.

    def _job(self, job_id):
        return self.last.value(f"job:{job_id}", {})

    def _alive(self):
        return self.last.value("workers", {})

    def _hand(self, n):
        """One of the workers, the newest more often than those that are long gone."""
        newest = self.hands[-3:]
        return newest[n % len(newest)]

    def _turn(self, hand, free, delivered, lost, lists, adopt=False):
        turn = hand.turn(free, *delivered, adopt=adopt, lists=lists)
        assert len(turn.jobs) <= free
        if free or delivered:
            roll = self.store.keys("workers")
            assert turn.lease_lost == (self.store.command("ZSCORE", roll, hand.name) is None)
        for job in turn.jobs:
            begun = (job.id, self.lives[job.id], job.attempt)
            assert adopt or begun not in self.begun
            assert self.world.field(job.id, "expires_at") is None
            queue = self.store.keys.queue(job.queue)
            assert adopt or not self.store.command("HEXISTS", queue, "paused")
            self.begun.add(begun)
            if not lost:
                self.runs.append((job.id, job.attempt, hand))
                self.handed.append((job.id, job.attempt, hand))
        return turn.jobs

    def _settle(self, hand, verb, job_id, attempt):
        before = self.world.snapshot()
        job = before.value(f"job:{job_id}", {})
        ours = (job.get("state"), job.get("worker")) == ("running", hand.name)
        ours = ours and job.get("attempt") == str(attempt)
        repeat = not ours and job.get("settled") == str(attempt)
        repeat = repeat and job.get("settled_by", "finish") == verb
        assert hand.settle_by(verb, job_id, attempt) == (ours or repeat)
        self.runs = [run for run in self.runs if run != (job_id, attempt, hand)]
        if ours:
            self.settled[verb] += 1
            return
        after = self.world.snapshot()
        self.settled["refused"] += not repeat
        names = {*before.keys, *after.keys}
        changed = {name for name in names if before.keys.get(name) != after.keys.get(name)}
        assert changed == (set() if repeat else {"stats"})

    @invariant()
    def everything_agrees(self):
        self.steps += 1
        self.last = now = self.world.snapshot()
        jobs = {k[4:]: v for k, v in now.of_kind("hash").items() if k.startswith("job:")}
        lists = now.of_kind("list")
        scheduled, dead = now.value("scheduled", {}), lists.get("dlq", [])
        entries = {}
        for name, members in lists.items():
            if name.startswith(("pending:", "held:", "running:")):
                for job_id in members:
                    entries.setdefault(job_id, []).append(name)
        aside = [json.loads(line)["element"] for line in lists.get("quarantine", [])]
        for element in self.foreign:
            lies = len(entries.pop(element, ())) + (element in scheduled)
            assert lies + aside.count(element) == 1, element
        assert set(aside) <= set(self.foreign), "a job was taken for foreign"
        strays = {*entries, *scheduled, *dead} - {*jobs, *self.foreign}
        assert not strays, "an id without a record"
        paused = {q for q in QUEUES if "paused" in now.value(f"queue:{q}", {})}
        for job_id, job in jobs.items():
            check_place(job_id, job, entries.get(job_id, []), scheduled, dead, paused)
            check_life(now, job_id, job, self.attempts)
        known = {*now.value("workers", {}), *now.value("reaped", {})}
        assert {name[8:] for name in lists if name.startswith("running:")} <= known
        self._check_counters(now, jobs)

    def _check_counters(self, now, jobs):
        held = self.gone + Counter(
            (job["state"], job.get("queue", "default"))
            for job in jobs.values()
            if "deleted" not in job
        )
        stats = Counter({k: float(v) for k, v in now.value("stats", {}).items()})
        for state in STATES:
            assert stats[state] == sum(n for (s, _), n in held.items() if s == state), state
            for queue in QUEUES:
                counted = int(now.value(f"queue:{queue}", {}).get(state, 0))
                assert counted == held[state, queue], (state, queue)
        assert stats["created_total"] == self.created
        total = sum(stats[state] for state in STATES if state != "cancelled")
        assert total == stats["created_total"] - stats["cancelled"]
        assert stats["failed_total"] == stats["retried_total"] + stats["dlq_total"]
        assert stats["processed_total"] == self.settled["finish"]
        assert stats["fenced_total"] == self.settled["refused"]
        assert stats["retried_total"] == self.settled["retry"]
        assert stats["quarantined_total"] == len(now.value("quarantine", []))
        check_meters(now, stats)


def check_meters(now, stats):
    """All queues and types together are what the counters without labels say."""
    meters = Counter()
    for name, fields in now.of_kind("hash").items():
        if name.startswith("metrics:"):
            meters.update({field: float(n) for field, n in fields.items()})

    def observed(kind):
        return sum(n for f, n in meters.items() if f.startswith(kind) and not f.endswith(":sum"))

    for event in ("created", "failed", "retried", "expired", "recovered", "snoozed", "released"):
        assert meters[event] == stats[f"{event}_total"], event
    assert meters["completed"] == stats["processed_total"] == observed("duration:completed")
    assert meters["dead"] == stats["dlq_total"]
    assert meters["started"] == observed("wait:")
    assert meters["completed"] + meters["dead"] + meters["cancelled"] == observed("total:")


def check_place(job_id, job, entries, scheduled, dead, paused):
    """A live id lies in exactly one place, the one its state names; the rest is dropped."""
    state, dropped = job["state"], int(job.get("dropped", 0))
    at_home = 1 if state in ("pending", "running") and "deleted" not in job else 0
    assert len(entries) == at_home + dropped, (job_id, job, entries)
    assert (job_id in scheduled) == (state == "scheduled"), (job_id, job)
    assert dead.count(job_id) == (1 if state == "failed" else 0), (job_id, job)
    assert "deleted" not in job or dropped > 0
    if state == "running":
        assert entries == [f"running:{job['worker']}"], (job_id, job, entries)
    for entry in entries:
        place, queue, *level = entry.split(":")
        if place == "running":
            continue
        assert place == ("held" if queue in paused else "pending"), (job_id, entry)
        if at_home and not dropped:
            assert queue == job["queue"], (job_id, job, entry)
            assert level[0] in (job.get("priority", "normal"), ALONE), (job_id, job, entry)


def check_life(now, job_id, job, attempts):
    """The attempt only grows, crashes are bounded, and only what is finished expires."""
    attempt = int(job.get("attempt", 0))
    if "deleted" not in job:
        assert attempt >= attempts.get(job_id, 0), (job_id, job)
        attempts[job_id] = attempt
    assert 0 <= int(job.get("crashes", 0)) <= 3
    assert int(job.get("settled", 0)) <= max(attempt, 0) or "deleted" in job
    ends = job["state"] in ("completed", "cancelled") and "dropped" not in job
    assert (now.keys[f"job:{job_id}"].expires is not None) == ends, (job_id, job)


@pytest.mark.timeout(0)
def test_every_live_id_is_in_exactly_one_place_whatever_happens(settings, world):
    chosen = hypothesis.settings()
    long = chosen.max_examples != hypothesis.settings.get_profile("default").max_examples
    run_state_machine_as_test(
        lambda: Verbs(settings, type(world)),
        settings=hypothesis.settings(
            chosen,
            max_examples=chosen.max_examples if long else EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
