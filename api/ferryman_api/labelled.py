"""The metric families with labels: by queue, type, event, outcome, state.

Label sets are bounded: Redis keeps at most 200 pairs of queue and type apart, what comes later has
`other` for both; at most 1,000 queues are shown. docs/metrics.md is the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ferryman.lifecycle import State
from ferryman.store.meters import EVENTS, RUN, WAIT, Hands, Histogram, Meter, Reading
from ferryman_api.exposition import Family, counter, gauge, histogram, labels


def families(reading: Reading, max_pending: int) -> Iterator[Family]:
    """What `reading` says; `max_pending` is the limit of a queue that has none of its own."""
    yield from _by_pair(reading.meters)
    yield histogram(
        "ferryman_job_wait_seconds",
        "From ready to started; a delay and the wait for a retry are not in it",
        WAIT,
        _sums("queue", ((meter.queue, meter.wait) for meter in reading.meters)),
    )
    yield histogram(
        "ferryman_job_total_seconds",
        "From created to the end of the job",
        WAIT,
        _sums("type", ((meter.type, meter.total) for meter in reading.meters)),
    )
    yield from _queues(reading, max_pending)
    yield from _workers(reading.hands)
    yield from _memory(reading.memory)


def _by_pair(meters: Iterable[Meter]) -> Iterator[Family]:
    jobs: list[tuple[str, float]] = []
    durations: list[tuple[str, Histogram]] = []
    for meter in meters:
        pair = labels({"queue": meter.queue, "type": meter.type})
        jobs += [(f'event="{event}",{pair}', meter.events[event]) for event in EVENTS]
        durations += [(f'{pair},outcome="{how}"', h) for how, h in meter.durations.items()]
    yield counter("ferryman_jobs", "What happened to jobs", jobs)
    yield histogram(
        "ferryman_job_duration_seconds", "How long runs took, by how they ended", RUN, durations
    )


def _sums(label: str, rows: Iterable[tuple[str, Histogram]]) -> list[tuple[str, Histogram]]:
    """The sum of the histograms of each value of a label."""
    sums: dict[str, Histogram] = {}
    for value, more in rows:
        sums[value] = sums[value] + more if value in sums else more
    return [(labels({label: value}), whole) for value, whole in sorted(sums.items())]


def _queues(reading: Reading, max_pending: int) -> Iterator[Family]:
    queues = reading.stats.queues
    jobs = ((q, state, counts[state]) for q, counts in queues.items() for state in State)
    yield _by_state("queue_jobs", "Jobs by queue and state", jobs)
    paused = {queue: counts["paused"] for queue, counts in queues.items()}
    yield _by_queue("queue_paused", "1: nothing is started", paused)
    yield _by_queue("queue_latency_seconds", "Age of the oldest ready job", reading.latency)
    limits = {queue: reading.limits.get(queue, max_pending) for queue in queues}
    yield _by_queue("queue_limit", "Jobs that may wait; over it new ones are refused", limits)
    dead = {queue: counts["failed"] for queue, counts in queues.items()}
    yield _by_queue("dlq_jobs", "Dead letters", dead)
    yield _by_queue("dlq_oldest_seconds", "Age of the oldest dead letter", reading.oldest_dead)
    expired = dict.fromkeys(queues, 0)
    for meter in reading.meters:
        expired[meter.queue] = expired.get(meter.queue, 0) + meter.leases_expired
    yield counter(
        "ferryman_leases_expired",
        "Runs taken from a worker that fell silent",
        [(labels({"queue": queue}), n) for queue, n in expired.items()],
    )


def _workers(hands: Hands) -> Iterator[Family]:
    states = {"running": hands.running, "stopping": hands.stopping, "lost": hands.lost}
    yield gauge(
        "ferryman_workers",
        "Worker processes on the roll",
        [(labels({"state": state}), n) for state, n in states.items()],
    )
    slots = [("busy", hands.busy), ("idle", hands.idle)]
    yield _by_state(
        "worker_slots",
        "Slots of the workers that serve a queue; those of several count for each",
        ((queue, state, n) for state, by_queue in slots for queue, n in sorted(by_queue.items())),
    )


def _memory(memory: tuple[int, int] | None) -> Iterator[Family]:
    if memory is None:
        return
    used, most = memory
    yield gauge("ferryman_redis_used_memory_bytes", "Memory of Redis in use", used)
    about = "What Redis may use at most; 0: no limit"
    yield gauge("ferryman_redis_max_memory_bytes", about, most)


def _by_queue(name: str, about: str, values: Mapping[str, float]) -> Family:
    rows = [(labels({"queue": queue}), value) for queue, value in values.items()]
    return gauge(f"ferryman_{name}", about, rows)


def _by_state(name: str, about: str, values: Iterable[tuple[str, str, float]]) -> Family:
    rows = [(labels({"queue": queue, "state": state}), n) for queue, state, n in values]
    return gauge(f"ferryman_{name}", about, rows)
