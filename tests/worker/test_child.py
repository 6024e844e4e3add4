"""The loop of a child on a real server: what it claims without knowing, and what it gives back."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.worker.proxy import Proxy

from ferryman import Context, Ferryman
from ferryman.config import Settings
from ferryman.errors import StoreUnavailable
from ferryman.job import Draft, Job
from ferryman.keys import ALONE, LEVELS, Keys
from ferryman.store import Port, Store, wire
from ferryman.store.scripts import scripts
from ferryman_worker import reconcile, trouble
from ferryman_worker.board import Board
from ferryman_worker.child import Child, Post
from ferryman_worker.link import Link

PATIENCE = 8.0
"""Less than the ten seconds after which a child compares its list with its memory anyway."""


def until(condition: Callable[[], Any], within: float = PATIENCE) -> float:
    """Seconds until the condition holds; fails when it does not `within` the time."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within, "it did not come to pass"
        time.sleep(0.002)
    return time.monotonic() - started


class Hand:
    """A child in a thread of the test, and what the test may do to it."""

    worker = "hand:1:nonce"

    def __init__(self, store: Store, redis_url: str, slots: int, alone: bool) -> None:
        self.store = store
        self.ferry = Ferryman(store=store, settings=store.settings)
        self.started: list[str] = []
        self.gate = threading.Event()
        self.echoed: list[str] = []
        self.ferry.job("echo")(self._echo)
        self.ferry.job("aecho")(self._aecho)
        self.ferry.job("hold")(self._hold)
        levels = (ALONE,) if alone else LEVELS
        post = Post(
            self.worker, [Keys().pending_name("default", level) for level in levels], slots, alone
        )
        settings = replace(store.settings, redis_url=redis_url)
        port = Port(settings, store.keys, self.worker, post.lists)
        self.link, theirs = Link.pair()
        self.child = Child(self.ferry, settings, post, Board(slots), theirs, port)
        assert store.register(self.worker, ("default",), {"slots": slots})
        self.thread = threading.Thread(target=self.child.loop, daemon=True)
        self.thread.start()

    def _echo(self, context: Context, text: str = "") -> str:
        self.echoed.append(context.job_id)
        return text

    async def _aecho(self, text: str = "") -> str:
        return text

    def _hold(self, name: str) -> str:
        self.started.append(name)
        assert self.gate.wait(PATIENCE)
        return name

    def stop(self, drain: float = 8.0) -> None:
        self.link.send("stop", drain=drain)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def enqueue(self, job_id: str, type: str = "echo", queue: str = "default") -> None:
        self.store.enqueue([self.draft(job_id, type, queue=queue)])

    def draft(self, job_id: str, type: str = "echo", **options: Any) -> Draft:
        payload = {"echo": '{"text":"hello"}', "hold": f'{{"name":"{job_id}"}}'}.get(type, "{}")
        return Draft(id=job_id, type=type, payload=payload, **options)

    def completed(self, job_id: str) -> Job:
        until(lambda: self.store.get(job_id).state == "completed")
        return self.store.get(job_id)

    def running(self) -> list[str]:
        return self.store.running(self.worker)

    def pending(self, level: str = "normal") -> list[str]:
        key = self.store.keys.pending("default", level)
        return [i.decode() for i in self.store.command("LRANGE", key, "0", "-1")]

    def count(self, event: str) -> int:
        return self.store.stats().events.get(event, 0)

    def is_listening(self) -> bool:
        return all(listener.armed for listener in self.child.port.listeners)

    def steal(self, queue: str) -> None:
        """A claim whose reply nobody got: the id lies in the child's list behind its back."""
        keys = self.store.keys
        source, target = keys.pending(queue, "normal"), keys.running(self.worker)
        assert self.store.command("LMOVE", source, target, "LEFT", "RIGHT")

    def set_apart(self, queue: str) -> None:
        """The next job of this queue is one that must run alone."""
        keys = self.store.keys
        source, target = keys.pending(queue, "normal"), keys.pending("default", ALONE)
        assert self.store.command("LMOVE", source, target, "LEFT", "RIGHT")


Start = Callable[..., Hand]


@pytest.fixture
def start(store: Store, redis_url: str) -> Iterator[Start]:
    """Starts a child; stopped at the end, with nothing left in its list."""
    with contextlib.ExitStack() as stack:

        def begin(url: str = redis_url, slots: int = 2, alone: bool = False) -> Hand:
            hand = Hand(store, url, slots, alone)
            stack.callback(lambda: (hand.gate.set(), hand.stop()))
            return hand

        yield begin


@pytest.fixture
def brief_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """One BLMOVE waits 0.2 s."""
    monkeypatch.setattr(wire, "BLOCK", 0.2)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children compare their list with their memory every 0.2 s."""
    monkeypatch.setattr(reconcile, "RECONCILE", 0.2)


def test_a_job_runs_and_its_list_is_empty_afterwards(start: Start) -> None:
    hand = start()
    hand.enqueue("a")
    job = hand.completed("a")
    assert (job.result, job.attempt) == ('"hello"', 1)
    assert hand.running() == []


# Claims the child does not know of.


def test_the_line_of_a_run_does_not_wait_for_the_next_one(start: Start) -> None:
    hand = start(slots=len(LEVELS))
    until(hand.is_listening)
    hand.enqueue("a")
    hand.completed("a")
    # Less than the second after which it looks around anyway.
    until(lambda: not hand.child.ended and not hand.child.runs, within=0.5)


@pytest.mark.usefixtures("often")
def test_a_ghost_claim_is_adopted(start: Start) -> None:
    hand = start()
    hand.enqueue("a", queue="elsewhere")
    hand.steal("elsewhere")
    assert hand.completed("a").attempt == 1


@pytest.mark.usefixtures("often")
def test_a_ghost_claim_of_a_full_child_goes_back_to_the_head(start: Start) -> None:
    hand = start(slots=1)
    hand.enqueue("a", "hold")
    until(lambda: hand.started)
    hand.enqueue("b", queue="elsewhere")
    hand.enqueue("c", queue="elsewhere")
    hand.steal("elsewhere")
    until(lambda: hand.running() == ["a"])
    key = hand.store.keys.pending("elsewhere", "normal")
    assert hand.store.command("LRANGE", key, "0", "-1") == [b"b", b"c"]
    job = hand.store.get("b")
    assert (job.state, job.attempt, job.crashes) == ("pending", 0, 0)


@pytest.mark.usefixtures("brief_waits")
@pytest.mark.usefixtures("often")
def test_a_full_child_that_compares_keeps_what_it_runs(start: Start) -> None:
    hand = start(slots=1)
    hand.enqueue("a", "hold")
    until(lambda: hand.started)
    compared = hand.child.reconcile.at
    until(lambda: hand.child.reconcile.at > compared + 0.5)
    hand.gate.set()
    assert hand.completed("a").attempt == 1
    assert (hand.count("released_total"), hand.count("fenced_total")) == (0, 0)


def test_a_job_handed_out_again_while_it_runs_is_not_started_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody pushed the id of a running job, and the claim comes together with a comparison."""
    monkeypatch.setattr(reconcile, "RECONCILE", 0.0)
    hand = start(slots=3)
    hand.enqueue("a", "hold")
    until(lambda: hand.started)
    until(hand.is_listening)
    hand.enqueue("e", queue="elsewhere")
    pending = hand.store.keys.pending("default", "normal")
    hand.store.command("RPUSH", pending, "e", "a")
    hand.completed("e")
    until(lambda: hand.pending() == [])
    hand.gate.set()
    assert hand.completed("a").attempt == 1
    assert hand.started == ["a"]


def test_a_delivery_whose_reply_is_lost_is_adopted_at_once(start: Start, proxy: Proxy) -> None:
    hand = start(proxy.url)
    proxy.lose(hand.store.keys.pending("default", "normal"))  # as only BLMOVE names it
    assert proxy.asked.wait(PATIENCE)
    hand.enqueue("a")
    assert proxy.lost.wait(PATIENCE)
    assert hand.completed("a").attempt == 1
    assert hand.running() == []


def test_a_begun_delivery_whose_reply_is_lost_is_adopted_at_once(
    start: Start, proxy: Proxy
) -> None:
    hand = start(proxy.url, slots=len(LEVELS))
    proxy.lose(hand.store.keys.pending("default", "normal"))  # as only BLMOVE names it
    assert proxy.asked.wait(PATIENCE)
    hand.enqueue("a", "hold")
    assert proxy.lost.wait(PATIENCE)
    until(lambda: hand.started)
    hand.gate.set()
    assert hand.completed("a").attempt == 1
    assert hand.started == ["a"]


def test_a_job_that_is_adopted_and_then_delivered_runs_once(start: Start) -> None:
    """The comparison finds what a wait has begun before its answer is read."""
    hand = start(slots=len(LEVELS))
    until(hand.is_listening)
    take, unread = hand.child._take, threading.Event()

    def compare_first(ready: Any) -> list[str]:
        if not ready or unread.is_set():
            return take(ready)
        unread.set()
        hand.child.reconcile.at = 0.0
        hand.child._is_busy = lambda: hand.store.get("a").state != "completed"  # type: ignore
        return []

    hand.child._take = compare_first  # type: ignore[method-assign]
    hand.enqueue("a")
    hand.completed("a")
    assert unread.is_set()
    hand.enqueue("b")
    hand.completed("b")
    assert [job_id for job_id in hand.echoed if job_id == "a"] == ["a"]
    assert hand.count("fenced_total") == 0


def test_a_claim_whose_reply_is_lost_begins_once(start: Start, proxy: Proxy) -> None:
    hand = start(proxy.url)
    until(hand.is_listening)
    proxy.lose(scripts()["claim"].sha)
    hand.enqueue("a", "hold")
    assert proxy.lost.wait(PATIENCE)
    until(lambda: hand.started)
    hand.gate.set()
    assert hand.completed("a").attempt == 1
    assert hand.started == ["a"]


@pytest.mark.parametrize("verb", ["finish", "retry"])
def test_a_settle_whose_reply_is_lost_counts_once(start: Start, proxy: Proxy, verb: str) -> None:
    hand = start(proxy.url)
    until(hand.is_listening)
    proxy.lose(scripts()[verb].sha)
    hand.enqueue("a", "echo" if verb == "finish" else "unheard-of")
    assert proxy.lost.wait(PATIENCE)
    counter = "processed_total" if verb == "finish" else "failed_total"
    until(lambda: hand.count(counter))
    until(lambda: not hand.child.runs)
    job = hand.store.get("a")
    assert (job.attempt, job.failures) == (1, 0 if verb == "finish" else 1)
    assert (hand.count(counter), hand.count("fenced_total")) == (1, 0)
    assert hand.running() == []


def test_a_settle_that_redis_refuses_is_sent_again_and_nothing_runs_twice(start: Start) -> None:
    hand = start()
    hand.enqueue("a", "hold")
    until(lambda: hand.started)
    hand.store.command("CONFIG", "SET", "min-replicas-to-write", "1")
    try:
        hand.gate.set()
        until(lambda: hand.child.unsettled and hand.child.trouble.retry_at)
    finally:
        hand.store.command("CONFIG", "SET", "min-replicas-to-write", "0")
    assert hand.completed("a").attempt == 1
    assert hand.started == ["a"]


@contextlib.contextmanager
def denied(store: Store, command: str) -> Iterator[None]:
    """Redis refuses this command to everybody."""
    store.command("ACL", "SETUSER", "default", f"-{command}")
    try:
        yield
    finally:
        store.command("ACL", "SETUSER", "default", f"+{command}")


def test_while_settling_is_refused_a_child_claims_no_more_than_it_can_hold(start: Start) -> None:
    """Else it would run the whole backlog, and after its death others would again."""
    hand = start()
    with denied(hand.store, "lrem"):
        hand.store.enqueue([hand.draft(f"j{n}") for n in range(20)])
        for _ in range(5):
            before = hand.child.trouble.retry_at
            until(lambda at=before: hand.child.trouble.retry_at > at)
        assert len(hand.child.runs) <= 8, "its slots, as many again, and two questions to settle"
    for n in range(20):
        hand.completed(f"j{n}")
    assert len(hand.echoed) == 20, "each ran once, though one without a slot may have come twice"


def test_what_is_delivered_while_claims_are_refused_begins_when_they_are_not(start: Start) -> None:
    hand = start()
    until(hand.is_listening)
    hand.store.command("HSET", hand.store.keys.job("a"), "type", "echo", "state", "pending")
    with denied(hand.store, "evalsha"):
        hand.store.command("RPUSH", hand.store.keys.pending("default", "normal"), "a")
        until(lambda: hand.child.trouble.is_refused)
        assert hand.running() == ["a"]
    until(lambda: hand.store.get("a").state == "completed", within=PATIENCE / 2)


@pytest.mark.usefixtures("brief_waits")
def test_many_lost_replies_lose_nothing_and_run_nothing_twice(start: Start, proxy: Proxy) -> None:
    hand = start(proxy.url)
    words = [scripts()["claim"].sha, scripts()["finish"].sha, hand.store.keys.running(hand.worker)]
    for n in range(12):
        proxy.lose(words[n % 3])
        ids = [f"j{n}-{i}" for i in range(5)]
        for job_id in ids:
            hand.enqueue(job_id)
        assert proxy.lost.wait(PATIENCE)
        for job_id in ids:
            assert hand.completed(job_id).attempt == 1
    assert hand.count("processed_total") == 60
    assert hand.count("fenced_total") == 0
    assert hand.running() == []


@pytest.mark.usefixtures("often")
def test_a_begun_job_whose_reply_was_lost_runs_when_a_full_child_has_a_slot(start: Start) -> None:
    hand = start(slots=1)
    hand.enqueue("a", "hold")
    until(lambda: hand.started)
    hand.enqueue("b", "hold")
    # A claim for this child that it does not know of; it is begun, as by a reply that was lost.
    port = Port(hand.store.settings, hand.store.keys, hand.worker, hand.child.port.lists)
    [job] = port.turn([], 1).jobs
    assert (job.id, job.attempt) == ("b", 1)
    until(lambda: hand.child.reconcile.owed == ["b"])
    assert hand.store.get("b").state == "running"
    hand.gate.set()
    assert hand.completed("b").attempt == 1
    assert hand.started == ["a", "b"]
    assert (hand.count("released_total"), hand.count("fenced_total")) == (0, 0)
    port.reset()


def test_a_full_child_asks_for_what_it_owes_as_soon_as_it_can(start: Start) -> None:
    hand = start(slots=1)
    hand.enqueue("a", "hold")
    until(lambda: hand.started)
    hand.child.reconcile.owed = ["b"]  # it saw it when it last compared
    hand.enqueue("b", queue="elsewhere")
    hand.steal("elsewhere")
    hand.gate.set()
    assert hand.completed("b").attempt == 1


# Connections that die without a word.


@pytest.mark.usefixtures("brief_waits")
def test_a_listener_whose_connection_died_without_a_word_is_given_up(
    start: Start, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "BLOCK_TIMEOUT", 1.0)
    hand = start(proxy.url)
    until(hand.is_listening)
    until(lambda: proxy.swallow("BLMOVE") == len(LEVELS))
    # The server serves a wait that is still open; what it sends arrives nowhere.
    hand.enqueue("a")
    assert hand.completed("a").attempt == 1
    hand.enqueue("b")
    assert hand.completed("b").attempt == 1
    assert hand.running() == []


@pytest.mark.usefixtures("brief_waits")
def test_an_answer_that_came_while_the_child_slept_is_taken_not_given_up(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "BLOCK_TIMEOUT", 0.5)
    hand = start()
    until(hand.is_listening)
    timeout = hand.child._timeout
    asleep = threading.Event()

    def oversleep() -> float:
        hand.child._timeout = timeout  # type: ignore[method-assign]
        asleep.set()
        time.sleep(1.0)
        return 1.0

    hand.child._timeout = oversleep  # type: ignore[method-assign]
    hand.child.wait.nudge()
    assert asleep.wait(PATIENCE)
    hand.enqueue("a")
    hand.completed("a")
    assert hand.child.trouble.count == 0
    assert hand.child.board.claim_age() < PATIENCE


@pytest.mark.usefixtures("brief_waits")
@pytest.mark.parametrize("is_ours", [True, False])
def test_a_begun_delivery_that_was_slept_over_runs_if_it_is_ours_still(
    start: Start, monkeypatch: pytest.MonkeyPatch, is_ours: bool
) -> None:
    monkeypatch.setattr(wire, "BLOCK_TIMEOUT", 0.5)
    hand = start(slots=len(LEVELS))
    until(hand.is_listening)
    timeout = hand.child._timeout
    asleep, awake = threading.Event(), threading.Event()

    def oversleep() -> float:
        hand.child._timeout = timeout  # type: ignore[method-assign]
        asleep.set()
        assert awake.wait(PATIENCE)
        return 1.0

    hand.child._timeout = oversleep  # type: ignore[method-assign]
    hand.child.wait.nudge()
    assert asleep.wait(PATIENCE)
    hand.enqueue("a")
    until(lambda: hand.store.get("a").state == "running")
    if not is_ours:
        running = hand.store.keys.running(hand.worker)
        hand.store.command("RENAME", running, hand.store.keys.running("other:1:nonce"))
        hand.store.command("HSET", hand.store.keys.job("a"), "worker", "other:1:nonce")
    time.sleep(0.6)
    awake.set()
    hand.enqueue("b")
    hand.completed("b")
    if is_ours:
        assert hand.completed("a").attempt == 1
    assert ("a" in hand.echoed) is is_ours


def test_every_answer_of_redis_is_noted_and_a_refusal_is_none(
    start_server: Any, settings: Settings
) -> None:
    server = start_server()
    store = Store(replace(settings, redis_url=server.url))
    hand = Hand(store, server.url, slots=1, alone=False)
    until(hand.is_listening)
    age = hand.child.board.claim_age
    until(lambda: age() < 0.2)  # a listener's wait ended
    store.command("REPLICAOF", "127.0.0.1", "1")  # reads are answered, claims are refused
    until(lambda: rejected(store, "blmove"))
    until(lambda: age() > 0.5)  # meanwhile it claimed by script, twice and in vain
    store.command("REPLICAOF", "NO", "ONE")
    until(lambda: age() < 0.2)
    hand.gate.set()
    hand.stop()
    store.close()


def test_a_server_that_refuses_for_long_is_left_for_the_one_that_is_there_now(
    start_server: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "SUSPECT", 1.0)
    old, new = (Store(replace(settings, redis_url=start_server().url)) for _ in range(2))
    proxy = Proxy(old.address)
    hand = Hand(old, proxy.url, slots=1, alone=False)
    until(hand.is_listening)
    assert new.register(hand.worker, ("default",), {"slots": 1})
    proxy.lead_to(new.address)
    old.command("REPLICAOF", "127.0.0.1", "1")  # a failover: it lives on, and takes no writes
    new.enqueue([hand.draft("a")])
    try:
        until(lambda: new.get("a").state == "completed")
    finally:
        hand.stop()
    for part in (proxy, old, new):
        part.close()


# More than there is room for.


def test_of_many_deliveries_the_first_in_priority_runs_and_the_others_go_back(
    start: Start,
) -> None:
    hand = start(slots=1)
    until(hand.is_listening)
    hand.store.enqueue([hand.draft(level, "hold", priority=level) for level in reversed(LEVELS)])
    until(lambda: hand.started)
    until(lambda: hand.running() == ["high"])
    assert hand.started == ["high"]
    assert (hand.pending("normal"), hand.pending("low")) == (["normal"], ["low"])
    assert hand.store.get("low").attempt == 0
    hand.gate.set()
    hand.completed("low")
    assert hand.started == ["high", "normal", "low"]


def test_what_comes_to_a_full_child_goes_back_to_the_head_at_once(start: Start) -> None:
    hand = start(slots=1)
    until(hand.is_listening)
    hand.enqueue("a", "hold")
    until(lambda: hand.started)
    # The listener on the high list is still open: it takes the first of these.
    hand.store.enqueue([hand.draft(i, priority="high") for i in ("h1", "h2", "h3")])
    until(lambda: hand.count("returned_total") == 1)
    assert hand.pending("high") == ["h1", "h2", "h3"]
    assert hand.running() == ["a"]


def test_what_comes_begun_to_a_full_child_goes_back_to_the_head_uncharged(start: Start) -> None:
    hand = start(slots=len(LEVELS))
    until(hand.is_listening)
    hand.store.enqueue([hand.draft(f"a{n}", "hold") for n in range(len(LEVELS))])
    until(lambda: len(hand.started) == len(LEVELS))
    hand.store.enqueue([hand.draft(i, priority="high") for i in ("h1", "h2", "h3")])
    until(lambda: hand.count("released_total") == 1)
    assert hand.pending("high") == ["h1", "h2", "h3"]
    assert hand.store.get("h1").failures == 0
    assert sorted(hand.running()) == ["a0", "a1", "a2"]
    hand.gate.set()
    hand.completed("h3")


def test_a_full_child_opens_no_listener(start: Start, raw: Any) -> None:
    hand = start(slots=1)
    until(hand.is_listening)
    hand.enqueue("a", "hold")
    until(lambda: hand.started)
    until(lambda: raw.info("clients")["blocked_clients"] == 0)
    hand.store.enqueue([hand.draft(f"h{i}", priority="high") for i in range(3)])
    calls = raw.info("commandstats").get("cmdstat_blmove", {}).get("calls")
    time.sleep(0.3)  # nothing is to happen
    assert raw.info("commandstats").get("cmdstat_blmove", {}).get("calls") == calls
    assert hand.count("returned_total") == 0


def test_a_busy_child_serves_in_order_of_priority_and_age(start: Start) -> None:
    hand = start(slots=1)
    hand.enqueue("first", "hold")
    until(lambda: hand.started)
    wanted = []
    for level in reversed(LEVELS):
        ids = [f"{level}-{n}" for n in range(3)]
        wanted = ids + wanted
        for job_id in ids:
            hand.store.enqueue([hand.draft(job_id, "hold", priority=level)])
    hand.gate.set()
    hand.completed("low-2")
    assert hand.started == ["first", *wanted]


# Redis out of memory.


def test_a_backlog_drains_though_redis_is_full_and_refuses_blmove(
    start_server: Any, settings: Settings
) -> None:
    server = start_server()
    store = Store(replace(settings, redis_url=server.url))
    hand = Hand(store, server.url, slots=2, alone=False)
    until(hand.is_listening)
    hand.enqueue("holds-1", "hold")
    hand.enqueue("holds-2", "hold")
    until(lambda: len(hand.started) == 2)
    backlog = [f"j{n}" for n in range(50)]
    for job_id in backlog:
        hand.enqueue(job_id)
    store.enqueue([hand.draft("due-later", delay=0.1)])
    store.command("CONFIG", "SET", "maxmemory", "1")
    hand.gate.set()
    for job_id in backlog:
        hand.completed(job_id)
    # Idle again it is refused, yet finds what comes to the lists by other ways.
    until(lambda: rejected(store, "blmove"))
    until(lambda: store.promote().promoted)
    hand.completed("due-later")
    store.command("CONFIG", "SET", "maxmemory", "0")
    hand.enqueue("after")
    hand.completed("after")
    until(hand.is_listening)
    hand.stop()
    assert hand.count("processed_total") == 54
    store.close()


def rejected(store: Store, command: str) -> int:
    """How often Redis has refused a command."""
    lines = store.command("INFO", "commandstats").decode().splitlines()
    line = next((part for part in lines if part.startswith(f"cmdstat_{command}:")), "")
    return int(line.rpartition("rejected_calls=")[2].split(",")[0] or 0)


# Asking ahead.


@pytest.fixture
def is_open(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often so many questions were open when one more had been asked."""
    seen: Counter[int] = Counter()
    ask, answer, number = Port.ask, Port.answer, [0]

    def asked(port: Port, *args: Any, **options: Any) -> None:
        ask(port, *args, **options)
        number[0] += 1
        seen[number[0]] += 1

    def answered(port: Port) -> Any:
        turn = answer(port)
        number[0] = max(0, number[0] - 1)
        return turn

    monkeypatch.setattr(Port, "ask", asked)
    monkeypatch.setattr(Port, "answer", answered)
    return seen


@pytest.mark.parametrize("type", ["echo", "aecho"])
def test_while_a_batch_runs_redis_has_the_next_question(
    start: Start, store: Store, is_open: Counter[int], type: str
) -> None:
    backlog(store, 6000, type)
    hand = start(slots=10)
    until(lambda: hand.count("processed_total") == 6000)
    assert max(is_open) == 2
    assert is_open[2] > 20
    assert hand.count("fenced_total") == 0


def test_questions_that_are_open_when_the_connection_breaks_lose_nothing(
    start: Start, store: Store, proxy: Proxy
) -> None:
    proxy.lose(scripts()["finish"].sha)
    ids = backlog(store, 1000)
    hand = start(proxy.url, slots=10)
    for n in range(4):
        assert proxy.lost.wait(PATIENCE)
        proxy.lose(scripts()["claim" if n % 2 else "finish"].sha)
    for job_id in ids:
        hand.completed(job_id)
    assert sorted(hand.echoed) == sorted(ids)
    assert (hand.count("processed_total"), hand.count("fenced_total")) == (1000, 0)
    assert hand.running() == []


def test_a_comparison_between_open_questions_hands_nothing_out_again(
    start: Start, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "RECONCILE", 0.005)
    ids = backlog(store, 1000)
    hand = start(slots=10)
    for job_id in ids:
        hand.completed(job_id)
    assert sorted(hand.echoed) == sorted(ids)


def test_a_stop_between_open_questions_leaves_nothing_begun(start: Start, store: Store) -> None:
    ids = backlog(store, 3000)
    hand = start(slots=10)
    until(lambda: hand.echoed)
    hand.stop()
    assert hand.running() == []
    done = hand.count("processed_total")
    assert 0 < done == len(hand.echoed) < 3000
    assert len(hand.pending()) == 3000 - done
    assert all(job.attempt <= 1 for job in store.get_many(ids))
    assert hand.count("released_total") == 0


def backlog(store: Store, number: int, type: str = "echo") -> list[str]:
    """So many jobs that wait."""
    drafts = [Draft(id=f"j{n}", type=type, payload='{"text":"x"}') for n in range(number)]
    for at in range(0, number, 1000):
        store.enqueue(drafts[at : at + 1000])
    return [one.id for one in drafts if one.id]


# Stopping.


def test_the_last_run_before_a_stop_leaves_its_line(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    hand = start()
    hand.enqueue("a", "hold")
    until(lambda: hand.started)
    hand.link.send("stop", drain=8.0)
    until(lambda: hand.child.limits.stop_at)
    hand.gate.set()
    hand.thread.join(PATIENCE)
    assert capsys.readouterr().out.count("job.completed") == 1


def test_a_stop_lets_runs_end_and_takes_nothing_more(start: Start) -> None:
    hand = start(slots=2)
    until(hand.is_listening)
    hand.enqueue("a", "hold")
    until(lambda: hand.started)
    stopping = threading.Thread(target=hand.stop)
    stopping.start()
    until(lambda: not any(listener.armed for listener in hand.child.port.listeners), within=1)
    hand.enqueue("b")
    hand.gate.set()
    stopping.join(PATIENCE)
    assert hand.store.get("a").state == "completed"
    assert (hand.pending(), hand.running()) == (["b"], [])
    assert hand.count("returned_total") == 0


@pytest.mark.parametrize("slots", [2, len(LEVELS)])
def test_a_stop_that_comes_together_with_a_delivery_takes_no_time(start: Start, slots: int) -> None:
    hand = start(slots=slots)
    until(hand.is_listening)
    timeout = hand.child._timeout

    def both_at_once() -> float:
        hand.child._timeout = timeout  # type: ignore[method-assign]
        hand.link.send("stop", drain=8.0)
        hand.enqueue("a")
        ready = select.select(hand.child.port.listeners, [], [], PATIENCE)[0]
        assert ready
        return 1.0

    hand.child._timeout = both_at_once  # type: ignore[method-assign]
    hand.child.wait.nudge()
    started = time.monotonic()
    hand.thread.join(PATIENCE)
    assert time.monotonic() - started < 4, "it read a reply that was read before"
    assert hand.pending() == ["a"]
    assert hand.store.get("a").failures == 0
    assert hand.running() == []


def test_a_run_still_going_when_the_drain_ends_is_released_uncharged(start: Start) -> None:
    hand = start(slots=1)

    def forever() -> None:
        while True:
            pass

    hand.ferry.job("forever")(forever)
    hand.enqueue("a", "forever")
    hand.enqueue("b")
    until(lambda: hand.running() == ["a"] and hand.child.board.busy())
    hand.stop(drain=1.0)
    job = hand.store.get("a")
    assert (job.state, job.attempt, job.failures, job.crashes) == ("pending", 1, 0, 0)
    assert hand.pending() == ["a", "b"]


@pytest.mark.usefixtures("brief_waits")
def test_a_child_for_lone_jobs_ends_when_none_is_left(start: Start) -> None:
    hand = start(slots=1, alone=True)
    hand.enqueue("a", queue="elsewhere")
    hand.set_apart("elsewhere")
    hand.completed("a")
    hand.thread.join(PATIENCE)
    assert not hand.thread.is_alive()


@pytest.mark.usefixtures("brief_waits")
def test_a_child_for_lone_jobs_runs_what_a_comparison_finds_as_its_last_wait_ends(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, is_enqueued = Port.take, threading.Event()

    def and_compare(port: Port, listener: wire.Listener) -> Any:
        assert is_enqueued.wait(PATIENCE)
        monkeypatch.setattr(Port, "take", take)
        brought = take(port, listener)
        hand.steal("elsewhere")
        hand.child.reconcile.at = 0.0
        return brought

    monkeypatch.setattr(Port, "take", and_compare)
    hand = start(slots=1, alone=True)
    hand.enqueue("a", queue="elsewhere")
    is_enqueued.set()
    assert hand.completed("a").attempt == 1
    hand.thread.join(PATIENCE)
    assert not hand.thread.is_alive()


@pytest.mark.usefixtures("brief_waits")
def test_a_child_for_lone_jobs_runs_what_a_wait_brought_though_its_reply_is_lost(
    start: Start, proxy: Proxy, store: Store
) -> None:
    proxy.lose(store.keys.pending("default", ALONE))  # as only BLMOVE names it
    hand = start(proxy.url, slots=1, alone=True)
    assert proxy.asked.wait(PATIENCE)
    hand.enqueue("a", queue="elsewhere")
    hand.set_apart("elsewhere")
    assert hand.completed("a").attempt == 1
    hand.thread.join(PATIENCE)
    assert not hand.thread.is_alive()


@pytest.mark.usefixtures("brief_waits")
def test_a_child_whose_blmove_is_refused_claims_by_script_a_few_times_a_second(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(listener: wire.Listener) -> None:
        listener.armed = False
        listener._conn.read_response()
        raise StoreUnavailable("Redis is out of memory")

    monkeypatch.setattr(wire.Listener, "take", refuse)
    hand = start()
    until(lambda: hand.child.wait._listen_at)
    turns, ask = [0], hand.child.port.ask

    def counted(*args: Any) -> Any:
        turns[0] += 1
        return ask(*args)

    monkeypatch.setattr(hand.child.port, "ask", counted)
    took = until(lambda: turns[0] >= 12)
    assert turns[0] <= 6 + took / trouble.POLL, "it claims without a pause"
    hand.enqueue("a")
    hand.completed("a")


# Handlers.


def test_an_unknown_type_fails_and_is_retried(start: Start) -> None:
    hand = start()
    hand.enqueue("a", "unheard-of")
    until(lambda: hand.store.get("a").state == "scheduled")
    job = hand.store.get("a")
    assert job.error == "unknown job type: unheard-of"
    assert (job.failures, job.max_attempts) == (1, None)


def test_a_record_nested_too_deeply_parks_its_job_and_not_the_child(start: Start) -> None:
    hand = start()
    hand.store.pause("default")
    hand.enqueue("a")
    hand.store.command("HSET", hand.store.keys.job("a"), "backoff", "[" * 5000)
    hand.store.resume("default")
    until(lambda: hand.store.facets(["a"])[0][0] == "failed")
    hand.enqueue("b")
    hand.completed("b")


def test_the_limit_of_a_type_is_noted_on_a_job_that_has_none(start: Start) -> None:
    hand = start()

    def broken() -> None:
        raise ValueError("no")

    hand.ferry.job("broken", max_attempts=1)(broken)
    hand.enqueue("a", "broken")
    until(lambda: hand.store.get("a").state == "failed")
    job = hand.store.get("a")
    assert (job.max_attempts, job.error) == (1, "ValueError: no")
    assert job.errors[0]["worker"] == hand.worker
    assert "in broken" in job.errors[0]["traceback"]


def test_progress_is_seen_while_a_job_runs(start: Start) -> None:
    hand = start()

    def steps(ctx: Context) -> None:
        ctx.progress(0.5, "half way")
        assert hand.gate.wait(PATIENCE)

    hand.ferry.job("steps")(steps)
    hand.enqueue("a", "steps")
    until(lambda: hand.store.get("a").progress == 0.5)
    assert hand.store.get("a").progress_note == "half way"


def test_a_running_job_stops_when_asked(start: Start) -> None:
    hand = start()

    def forever() -> None:
        while True:
            pass

    hand.ferry.job("forever")(forever)
    hand.enqueue("a", "forever")
    until(hand.child.board.busy)
    hand.store.cancel("a")
    hand.link.send("cancel", id="a")  # as upkeep says it, by way of the supervisor
    until(lambda: hand.store.get("a").state == "cancelled")
    assert hand.running() == []
