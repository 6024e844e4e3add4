"""The first two passes: all keys, then all places. What they do not find right is suspect, no more.

A million live jobs take about 200 MB here. Next: `passes`, which looks again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from ferryman.check import keyspace
from ferryman.check.jobs import CRASHES
from ferryman.job import QUEUE_PATTERN
from ferryman.keys import ALONE, LEVELS
from ferryman.store.audit import FIELDS, SCAN, Audit, Raw
from ferryman.store.calls import KEY_TTL

Tick = Callable[[int], None]
"""Told how many more keys or entries were looked at."""

BATCH = 1_000
"""Jobs or lists asked for at a time."""

_AT = {name: 1 + place for place, name in enumerate(FIELDS)}
_ENDED = (b"completed", b"cancelled")
_LEVELS = frozenset(level.encode() for level in LEVELS)
_GUARDS = ("cancelled", "deleted_total", "dropped_total", "revived_total")
_PLACES = ("pending", "held", "running")


class Seen:
    """What the passes gathered."""

    def __init__(self, store: Audit, tick: Tick) -> None:
        self.store, self.tick = store, tick
        self.events = store.sums()[0]
        self.started_at = store.roll().now
        self.jobs = 0
        self.suspects: set[bytes] = set()
        self.names: set[str] = set()
        """Keys that are not jobs or idempotency keys, of the families that matter here."""
        self.odd: set[bytes] = set()
        """Keys of the wrong type."""
        self.idem: set[bytes] = set()
        self.queues: set[bytes] = set()
        """Queues of jobs, as far as their names are proper."""
        self._homes: dict[bytes, bytes] = {}
        self._places: dict[tuple[bytes | None, ...], bytes] = {}
        self._dropped: dict[bytes, tuple[str, int]] = {}
        self.stubs = 0
        self.forgetful = store.settings.retention < KEY_TTL
        """Whether jobs end before the idempotency keys that lead to them."""

    def scan(self) -> None:
        """Look at every key once."""
        for batch in self.store.names():
            self.tick(SCAN)
            jobs = [name[4:] for name in batch if name.startswith(b"job:")]
            for job_id, raw in zip(jobs, self.store.survey(jobs), strict=True):
                self._file(job_id, raw)
            self.jobs += len(jobs)
            self._note_idem([name for name in batch if name.startswith(b"idem:")])
            others = [n for n in batch if not n.startswith((b"job:", b"idem:"))]
            self._note_names([n for n in others if keyspace.expected_type(_text(n))])

    def compare(self) -> None:
        """Cross off every job that lies where it should; what is left is suspect."""
        for name, ids in walk(self.store, self.names):
            self.tick(len(ids))
            place = name.encode("utf-8", "surrogateescape")
            if not name.startswith("running:"):
                place = place.partition(b":")[2] or place
            for job_id in ids:
                if self._homes.get(job_id) == place:
                    del self._homes[job_id]
                else:
                    self.suspects.add(job_id)
        self.suspects.update(self._homes)
        self._homes.clear()

    def dropped_by_queue(self) -> dict[str, int]:
        """Entries in lists that belong to cancelled or deleted jobs."""
        total: Counter[str] = Counter()
        for queue, number in self._dropped.values():
            total[queue] += number
        return dict(total)

    def guards(self) -> dict[str, int]:
        """Events that must not have moved for `dropped` to be exact."""
        names = (*_GUARDS, "created_total") if self.stubs else _GUARDS
        return {name: self.events.get(name, 0) for name in names}

    def _file(self, job_id: bytes, raw: Raw) -> None:
        if raw[0] == -3:
            self.odd.add(b"job:" + job_id)
        elif raw[0] == -2:
            return
        elif raw[_AT["dropped"]] is not None:
            self._note_dropped(job_id, raw)
            self.suspects.add(job_id)
        elif not (_is_job(raw) and _numbers_fit(raw) and self._named(raw)):
            self.suspects.add(job_id)
        elif raw[1] in _ENDED:
            if raw[0] < 0:
                self.suspects.add(job_id)
        elif raw[1] != b"blocked" and (raw[0] != -1 or not self._expect(job_id, raw)):
            self.suspects.add(job_id)

    def _named(self, raw: Raw) -> bool:
        """Whether its queue and level have proper names."""
        queue, level = raw[_AT["queue"]], raw[_AT["priority"]]
        name = b"default" if queue is None else queue
        if name not in self.queues and QUEUE_PATTERN.fullmatch(_text(name)):
            self.queues.add(name)
        return name in self.queues and (level is None or level in _LEVELS)

    def _expect(self, job_id: bytes, raw: Raw) -> bool:
        place = self._place(raw[1], raw[_AT["queue"]], raw[_AT["priority"]], raw[_AT["worker"]])
        if place:
            self._homes[job_id] = place
        return bool(place)

    def _place(self, state: bytes, queue: bytes, level: bytes, worker: bytes) -> bytes:
        """The place of a job in this state, the same object for all that lie there; b"": none."""
        match state:
            case b"scheduled":
                return b"scheduled"
            case b"failed":
                return b"dlq"
            case b"pending":
                key = (queue, level)
                place = (queue or b"default") + b":" + (level or b"normal")
                return self._places.setdefault(key, place)
            case b"running":
                return self._places.setdefault((worker,), b"running:" + (worker or b""))
        return b""

    def _note_dropped(self, job_id: bytes, raw: Raw) -> None:
        queue = raw[_AT["queue"]] or (raw[_AT["lies_in"]] or b"").rpartition(b":")[0] or b"default"
        text = raw[_AT["dropped"]]
        self._dropped[job_id] = (_text(queue), int(text) if text.isdigit() else 0)
        self.stubs += raw[_AT["deleted"]] is not None

    def _note_idem(self, names: list[bytes]) -> None:
        for name, (job_id, ttl, exists) in zip(names, self.store.idem(names), strict=True):
            if job_id is None and ttl != -2:
                self.odd.add(name)
            elif ttl == -1 or not (exists or self.forgetful):
                self.idem.add(name)

    def _note_names(self, names: list[bytes]) -> None:
        for name, kind in zip(names, self.store.types(names), strict=True):
            if keyspace.wrong_type(_text(name), kind):
                self.odd.add(name)
            else:
                self.names.add(_text(name))


def _is_job(raw: Raw) -> bool:
    return raw[_AT["type"]] is not None and raw[_AT["deleted"]] is None


def _numbers_fit(raw: Raw) -> bool:
    attempt, failures = raw[_AT["attempt"]], raw[_AT["failures"]]
    crashes, most = raw[_AT["crashes"]], raw[_AT["max_attempts"]]
    settled = raw[_AT["settled"]]
    return (
        (raw[1] != b"running" if attempt is None else _whole(attempt))
        and (crashes is None or (_whole(crashes) and int(crashes) <= CRASHES))
        and (failures is None or (_whole(failures) and _at_most(failures, most)))
        and (settled is None or (attempt is not None and _at_most(settled, attempt)))
    )


def _whole(number: bytes) -> bool:
    return number.isdigit() and len(number) < 16


def _at_most(number: bytes, most: bytes | None) -> bool:
    return most is None or not (_whole(number) and _whole(most)) or int(number) <= int(most)


def walk(store: Audit, names: Iterable[str]) -> Iterator[tuple[str, list[bytes]]]:
    """(place, ids) of all places: those with these names, and those that may have come since.

    In the order in which jobs go through them, so that few are missed between two.
    """
    roll = store.roll()
    lists = {name for name in names if name.partition(":")[0] in _PLACES}
    for queue in roll.queues:
        lists |= {f"{place}:{queue}:{lv}" for place in _PLACES[:2] for lv in (*LEVELS, ALONE)}
    lists |= {f"running:{worker}" for worker in (*roll.leases, *roll.reaped)}
    ordered = sorted(lists, key=lambda name: (_PLACES.index(name.partition(":")[0]), name))
    for start in range(0, len(ordered), BATCH):
        part = ordered[start : start + BATCH]
        for name, length in zip(part, store.lengths(part), strict=True):
            if length:
                yield from ((name, ids) for ids in store.walk(name))
    yield from (("scheduled", ids) for ids in store.walk_scheduled())
    yield from (("dlq", ids) for ids in store.walk("dlq"))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
