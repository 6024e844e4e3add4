"""What a script costs when a million jobs wait, beside a thousand.

Two servers on one core, the driver on another; each verb in small batches, one server and then
the other, the order changing. A batch is one pipeline, so that little but the scripts is in it. A
script's time is EVALSHA's usec per call in commandstats, its processor time that of the server's
thread by schedstat, which counts nobody else's turn on the core; medians over the batches.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench import http as http_task
from bench.contenders import Contender
from bench.crew import Crew, Failed
from bench.figures import medians, percentile
from bench.plan import Metrics, Plan, crew
from ferryman import config
from ferryman.decision import Bury, Decision, Finish, Release, Retry, Snooze
from ferryman.draft import draft
from ferryman.store import Port, Store
from ferryman.store.calls import Call
from ferryman.store.wire import Wire

SMALL = 1_000
CALLS = 50
"""Calls of one batch: about 3 ms of server time, so that a disturbance spoils one batch of many."""

QUEUE = "default"
LISTS = [f"pending:{QUEUE}:{level}" for level in ("alone", "high", "normal", "low")]
SLOW_US = 5_000
"""SLOWLOG's threshold while single calls are measured."""

ENTRY = '{"attempt":1,"error":"x"}'
READS = ("/stats", "/jobs?limit=50", "/dlq", "/metrics")


@dataclass
class Side:
    """One server with its backlog, and a worker of ours on its roll."""

    crew: Crew
    backlog: int
    store: Store
    port: Port = field(init=False)
    wire: Wire = field(init=False)
    worker: str = "bench:1:0"
    workers: int = 0

    def __post_init__(self) -> None:
        self.wire = Wire(self.store.pool, self.store.keys, self.store.address)
        self._enlist()

    def _enlist(self) -> None:
        self.workers += 1
        self.worker = f"bench:1:{self.workers}"
        self.store.register(self.worker, [QUEUE], {"supervisor": "bench", "slots": 200})
        self.port = Port(self.store.settings, self.store.keys, self.worker, LISTS)

    def fill(self, number: int) -> None:
        """So many more jobs, 1,000 a call."""
        for _ in range(-(-number // 1000)):
            self.store.enqueue(_drafts(min(1000, number)))
            number -= 1000

    def claimed(self, number: int) -> list[tuple[str, int]]:
        """So many begun jobs: id and attempt."""
        jobs: list[tuple[str, int]] = []
        while len(jobs) < number:
            turn = self.port.turn([], min(200, number - len(jobs)))
            jobs += [(job.id, job.attempt) for job in turn.jobs]
        return jobs

    def tidy(self) -> None:
        """Back to the backlog: what a batch has left over is finished, what it took is given."""
        while self.store.promote().promoted:
            pass
        self._finish_running()
        surplus = self.store.stats().waiting - self.backlog
        if surplus < 0:
            self.fill(-surplus)
        while surplus > 0:
            surplus -= len(self.claimed(min(200, surplus)))
            self._finish_running()

    def _finish_running(self) -> None:
        jobs = self.store.get_many(self.port.running())
        self.store.settle(self.worker, [Finish(j.id, j.attempt, None, 0.001) for j in jobs])

    def settled(self, decide: Callable[[str, int], Decision]) -> list[Call]:
        """Calls that settle one begun job each."""
        decisions = [decide(i, a) for i, a in self.claimed(CALLS)]
        return [self.store.calls.settle(self.worker, [d])[0][0] for d in decisions]

    def finished(self) -> list[str]:
        """Ids of jobs just finished."""
        jobs = self.claimed(CALLS)
        self.store.settle(self.worker, [Finish(i, a, None, 0.001) for i, a in jobs])
        return [i for i, _ in jobs]

    def snoozed(self) -> None:
        """Jobs that are due again at once."""
        self.store.settle(self.worker, [Snooze(i, a, 0.0) for i, a in self.claimed(CALLS)])

    def abandoned(self) -> str:
        """A worker that left begun jobs behind."""
        self.claimed(CALLS)
        gone = self.worker
        self._enlist()
        return gone


Cost = tuple[float, float]
"""Microseconds and processor microseconds of one call."""


def verbs(side: Side) -> dict[str, Callable[[], list[Call]]]:
    """Per verb, a function that prepares what it needs and gives the calls to measure."""
    store, calls = side.store, side.store.calls

    def promote() -> list[Call]:
        side.snoozed()
        return [calls.promote()]

    return {
        "enqueue": lambda: [calls.enqueue(_drafts(1)) for _ in range(CALLS)],
        "claim": lambda: [calls.claim(side.worker, 1, LISTS, [], False)] * CALLS,
        "finish": lambda: side.settled(lambda i, a: Finish(i, a, None, 0.001)),
        "retry": lambda: side.settled(lambda i, a: Retry(i, a, 0.0, "x", ENTRY)),
        "bury": lambda: side.settled(lambda i, a: Bury(i, a, "x", ENTRY)),
        "snooze": lambda: side.settled(lambda i, a: Snooze(i, a, 0.0)),
        "release": lambda: side.settled(Release),
        "recover": lambda: [calls.recover(side.abandoned(), ENTRY, "gone")],
        "promote": promote,
        "progress": lambda: [
            calls.progress(side.worker, i, a, 0.5, "half") for i, a in side.claimed(CALLS)
        ],
        "cancel": lambda: [calls.cancel(a.id) for a in store.enqueue(_drafts(CALLS))],
        "revive": lambda: [calls.revive(i, None) for i in side.finished()],
        "delete": lambda: [calls.delete(i) for i in side.finished()],
        "pause, resume": lambda: [calls.pause(QUEUE), calls.resume(QUEUE)] * 10,
        "beat": lambda: [calls.beat("bench", {side.worker: 1}, [QUEUE], {}, "")] * CALLS,
        "sweep": lambda: [calls.sweep(0)] * CALLS,
        "stats": lambda: [calls.stats()] * CALLS,
        "scrape": lambda: [calls.scrape()] * CALLS,
        "enqueue-1000": lambda: [calls.enqueue(_drafts(1000))],
    }


def growth(contender: Contender, plan: Plan) -> Metrics:
    """Microseconds per call of every script at both backlogs; slow calls; reads over HTTP."""
    with (
        crew(contender, plan, pin=True) as few,
        crew(contender, plan, pin=True) as many,
        _side(few, SMALL) as small,
        _side(many, plan.backlog) as large,
    ):
        sides = {"small": small, "large": large}
        for side in sides.values():
            side.fill(side.backlog)
        time.sleep(1.0)  # the server grows its tables a while after the last job
        # Preparing and tidying may be slow: only what is measured counts as slow.
        slow: list[int] = []
        metrics = _scripts(sides, plan.batches, slow)
        metrics["slow_calls"], metrics["slowest_ms"] = len(slow), max(slow, default=0) / 1000
        return metrics | _reads(large, max(20, plan.jobs(200)))


@contextmanager
def _side(us: Crew, backlog: int) -> Iterator[Side]:
    environ = {"REDIS_URL": us.server.url, "FERRYMAN_MAX_PENDING": "999999999"}
    store = Store(config.load(environ), timeout=10.0)
    us.server.client.config_set("slowlog-log-slower-than", SLOW_US)
    with closing(store):
        yield Side(us, backlog, store)


def _scripts(sides: dict[str, Side], batches: int, slow: list[int]) -> Metrics:
    samples: list[tuple[str, float]] = []
    prepared = {name: verbs(side) for name, side in sides.items()}
    for number in range(batches + 1):  # the first one loads the scripts: not counted
        for verb in prepared["small"]:
            cost = {}
            for name in sorted(sides, reverse=bool(number % 2)):
                cost[name] = _batch(sides[name], prepared[name][verb](), verb, slow)
                sides[name].tidy()
            if number:
                samples += _compared(verb, cost["small"], cost["large"])
    return medians(samples)


def _compared(verb: str, small: Cost, large: Cost) -> Iterator[tuple[str, float]]:
    """Both costs, and their ratios: made batch by batch, so that a slow spell meets both sides."""
    for nth, unit in enumerate(("us", "cpu_us")):
        yield f"{verb}:small_{unit}", small[nth]
        yield f"{verb}:large_{unit}", large[nth]
        if small[nth]:  # the kernel may not have booked a few microseconds yet
            yield f"{verb}:ratio_{unit}", large[nth] / small[nth]


def _batch(side: Side, calls: list[Call], verb: str, slow: list[int]) -> Cost:
    """What one of these calls costs."""
    server = side.crew.server
    server.client.slowlog_reset()
    before, spent = _evalsha(server.client), server.cpu()
    _check(verb, side.wire.run(calls))
    spent = server.cpu() - spent
    number, usec = (b - a for a, b in zip(before, _evalsha(server.client), strict=True))
    if verb != "enqueue-1000":
        slow += [entry["duration"] for entry in server.client.slowlog_get(128)]
    return usec / max(1, number), spent / len(calls) * 1e6


def _check(verb: str, replies: list[Any]) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise Failed(f"{verb}: {reply}")


def _evalsha(client: Any) -> tuple[int, int]:
    found = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0, "usec": 0})
    return found["calls"], found["usec"]


def _reads(large: Side, number: int) -> Metrics:
    """p99 in milliseconds of the reads, one after the other."""
    metrics = {}
    with http_task.api(large.crew) as port:
        for path in READS:
            waits = [_get(port, path) for _ in range(number)]
            metrics[f"GET {path}:p99_ms"] = percentile(waits, 0.99)
            metrics[f"GET {path}:p50_ms"] = percentile(waits, 0.5)
    return metrics


def _get(port: int, path: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise Failed(f"GET {path}: {answer.status}")
        return (time.perf_counter() - began) * 1000


def _drafts(number: int) -> list[Any]:
    return [draft("noop", {"text": "x" * 89}) for _ in range(number)]
