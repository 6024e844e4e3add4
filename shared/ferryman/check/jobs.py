"""The invariants of one job, as pure functions over what was read of it.

Where a live id lies is the truth, and `state` says the same; only a finished job keeps its state
wherever its id turns up, for it must not run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ferryman.check.findings import Finding, Mend
from ferryman.job import QUEUE_PATTERN
from ferryman.keys import ALONE, LEVELS
from ferryman.lifecycle import State
from ferryman.store.audit import Words

CRASHES = 3
"""Crashes after which a job is buried (lua/recover.lua)."""

LIVE = (State.PENDING, State.RUNNING)
STATES = frozenset(state.value for state in State)


@dataclass(frozen=True)
class Sight:
    """A job as it was seen, and every place it lies in."""

    id: str
    ttl: int
    """Seconds to live; -1 for ever, -2 no such job, -3 the key is no hash."""
    fields: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, int] = field(default_factory=dict)
    """Entries in pending, held and running lists."""
    scheduled: bool = False
    dead: int = 0
    """Entries in dlq."""

    @property
    def state(self) -> str:
        return self.fields.get("state", "")

    @property
    def slot(self) -> tuple[str, str]:
        """Queue and level of its own list; all that is left of a deleted job knows these."""
        if "deleted" in self.fields:
            queue, _, level = self.fields.get("lies_in", "").rpartition(":")
            return queue or "default", level or "normal"
        return self.fields.get("queue", "default"), self.fields.get("priority", "normal")

    @property
    def dropped(self) -> int:
        return _whole(self.fields.get("dropped", "0")) or 0

    @property
    def entries(self) -> int:
        return sum(self.lists.values())

    @property
    def places(self) -> str:
        """Where it lies, in words."""
        named = [f"{name} ({n} times)" if n > 1 else name for name, n in self.lists.items()]
        named += ["scheduled"] * self.scheduled + ["dlq"] * bool(self.dead)
        return " and ".join(named) or "no place"

    def home(self, name: str) -> bool:
        """Whether this list is right for its state; a claimed id that has not begun is pending."""
        place, _, rest = name.partition(":")
        if self.state == State.RUNNING:
            return place == "running" and rest == self.fields.get("worker", "")
        if self.state != State.PENDING:
            return False
        return place == "running" or self.own(name)

    def own(self, name: str) -> bool:
        """Whether this is the list of its queue and level; any job may lie in `alone`."""
        place, _, rest = name.partition(":")
        queue, level = self.slot
        return place in ("pending", "held") and rest in (f"{queue}:{level}", f"{queue}:{ALONE}")


def judge(sight: Sight) -> list[Finding]:
    """Everything that is wrong with one job; empty for nearly every job there is."""
    if sight.ttl < -1:
        return list(_orphans(sight))
    if sight.state not in STATES or not ("type" in sight.fields or "deleted" in sight.fields):
        return [_corrupt(sight)]
    names = [*_names(sight), *_stub(sight)]
    if names:
        return names
    numbers = list(_numbers(sight))
    if _whole(sight.fields.get("dropped", "0")) is None:
        return numbers  # how many entries are right is not known before it is
    return [*_place(sight), *_dead(sight), *_life(sight), *numbers]


def _names(sight: Sight) -> Iterable[Finding]:
    """A queue or level of another form has lists that nobody serves."""
    queue, level = sight.fields.get("queue"), sight.fields.get("priority")
    if queue is not None and not QUEUE_PATTERN.fullmatch(queue):
        yield _mend("corrupt", sight, f"its queue is {queue!r}", [("field", "queue", "")],
                    ("field", "queue", queue))  # fmt: skip
    if level is not None and level not in LEVELS:
        yield _mend("corrupt", sight, f"its priority is {level!r}", [("field", "priority", "")],
                    ("field", "priority", level))  # fmt: skip


def _stub(sight: Sight) -> Iterable[Finding]:
    """What is left of a deleted job has no type, and is cancelled; it must not run again."""
    deleted = sight.fields.get("deleted")
    if deleted is None:
        return
    seen: Words = ("field", "deleted", deleted)
    if "type" in sight.fields:
        yield _mend("corrupt", sight, "it is a job, and marked deleted", [("field", "deleted", "")],
                    seen)  # fmt: skip
    elif sight.state != State.CANCELLED:
        acts: list[Words] = [("state", "", State.CANCELLED)]
        yield _mend("corrupt", sight, f"it is deleted, and {sight.state}", acts, seen)


# Places.


def _place(sight: Sight) -> Iterable[Finding]:
    """Entries = live + `dropped`; a scheduled job lies in the set and nowhere else."""
    state, more = sight.state, sight.entries - sight.dropped
    if state == State.BLOCKED:
        return
    if state == State.SCHEDULED:
        if not sight.scheduled:
            yield _misplaced(sight) if more > 0 else _lost(sight)
        elif more > 0:
            yield _extra(sight, more)
        elif more < 0:
            yield _miscounted(sight, sight.entries)
    elif state in LIVE:
        if not any(sight.home(name) for name in sight.lists):
            yield _misplaced(sight) if more > 0 or sight.scheduled else _lost(sight)
        elif more > 1 or sight.scheduled:
            yield _extra(sight, more - 1)
        elif more < 1:
            yield _miscounted(sight, sight.entries - 1)
    elif more > 0 or sight.scheduled:
        yield _leftover(sight, more)
    elif more < 0:
        yield _miscounted(sight, sight.entries)


def _lost(sight: Sight) -> Finding:
    what = f"it is {sight.state} and lies in {sight.places}"
    if sight.state == State.SCHEDULED:
        return _mend("lost", sight, what, [("schedule", "", "")])
    acts: list[Words] = [("push", "", "")]
    if sight.state == State.RUNNING:
        acts.append(("state", State.RUNNING, State.PENDING))
    if sight.dropped != sight.entries:
        acts.append(_dropped(sight.entries))
    return _mend("lost", sight, what, acts)


def _misplaced(sight: Sight) -> Finding:
    what = f"it is {sight.state} and lies in {sight.places}"
    acts: list[Words] = []
    target = State.PENDING
    if sight.scheduled:
        target = State.SCHEDULED
    else:
        name = min(sight.lists, key=lambda n: (not n.startswith("running:"), not sight.own(n), n))
        if not (sight.own(name) or name.startswith("running:")):
            acts += [("remove", name, "1"), ("push", "", "")]
    if sight.state != target:
        acts.append(("state", sight.state, target))
    return _mend("misplaced", sight, what, acts)


def _extra(sight: Sight, surplus: int) -> Finding:
    what = f"it is {sight.state} and lies in {sight.places}"
    acts: list[Words] = []
    if sight.scheduled and sight.state != State.SCHEDULED:
        acts.append(("unschedule", "", ""))
    homes = [n for n in sight.lists if sight.home(n)]
    keep = min(homes, key=lambda n: (not sight.own(n), n)) if homes else ""
    for name in sorted(sight.lists, key=lambda n: (sight.home(n), n == keep, n)):
        number = min(surplus, sight.lists[name] - (name == keep))
        if number > 0:
            acts.append(("remove", name, str(-number)))
            surplus -= number
    return _mend("extra", sight, what, acts)


def _leftover(sight: Sight, surplus: int) -> Finding:
    reason, acts = f"in a list, but {sight.state}", []
    if sight.scheduled:
        acts += [("unschedule", "", ""), ("quarantine", "scheduled", reason)]
    for name, entries in sight.lists.items():
        number = min(surplus, entries)
        if number > 0:
            acts += [("remove", name, str(-number)), ("quarantine", name, reason)]
            surplus -= number
    what = f"it is {sight.state} and lies in {sight.places}"
    return _mend("leftover", sight, what, acts)


def _miscounted(sight: Sight, dropped: int) -> Finding:
    what = f"dropped is {sight.dropped}, it is {sight.state} and lies in {sight.places}"
    acts = [_dropped(dropped)]
    if dropped == 0 and "deleted" in sight.fields:
        acts = [("erase", "", "")]
    elif dropped == 0 and sight.state in (State.COMPLETED, State.CANCELLED):
        acts += [("expire", "", ""), ("finished", "", "")]
    return _mend("miscounted", sight, what, acts)


def _dead(sight: Sight) -> Iterable[Finding]:
    """A failed job is in the dead-letter list once, any other never."""
    wanted = int(sight.state == State.FAILED)
    what = f"it is {sight.state} and {sight.dead} times in dlq"
    if sight.dead < wanted:
        yield _mend("unlisted", sight, what, [("bury", "", "")])
    elif sight.dead > wanted:
        yield _mend("extra", sight, what, [("remove", "dlq", str(wanted - sight.dead))])


def _orphans(sight: Sight) -> Iterable[Finding]:
    """Every entry of an id that is no job; the entry is set aside, never lost silently."""
    gone = sight.ttl == -2
    reason = "no such job" if gone else "not a hash"
    evidence: list[Words] = [("exists", "", "0") if gone else ("hash", "", "0")]
    places = [*sight.lists.items(), *([("dlq", sight.dead)] if sight.dead else [])]
    for name, number in places:
        seen: Words = ("list", name, str(number))
        acts = (("remove", name, str(number)), ("quarantine", name, reason))
        repair = Mend(sight.id, (*evidence, seen), acts)
        yield Finding("orphan", sight.id, f"it lies in {name}: {reason}", repair)
    if sight.scheduled:
        acts = (("unschedule", "", ""), ("quarantine", "scheduled", reason))
        repair = Mend(sight.id, (*evidence, ("scheduled", "", "1")), acts)
        yield Finding("orphan", sight.id, f"it lies in scheduled: {reason}", repair)


def _corrupt(sight: Sight) -> Finding:
    if sight.state in STATES:
        advice = "ferryman redis HSET <its key> type <its type>, or delete the job"
        return Finding("corrupt", sight.id, "it has no type", None, advice)
    what = f"its state is {sight.state!r} and it lies in {sight.places}"
    found = ""
    if sight.scheduled:
        found = State.SCHEDULED
    elif sight.lists:
        found = State.PENDING
    elif sight.dead:
        found = State.FAILED
    if found:
        return _mend("corrupt", sight, what, [("state", "", found)])
    advice = "look at it with `ferryman redis HGETALL <its key>` and set its state, or delete it"
    return Finding("corrupt", sight.id, what, None, advice)


# The record itself.


def _life(sight: Sight) -> Iterable[Finding]:
    """Only what is finished and lies in no list expires, and that always does."""
    ends = sight.state in (State.COMPLETED, State.CANCELLED) and not sight.dropped
    if sight.ttl >= 0 and not ends:
        what = f"it is {sight.state} and expires in {sight.ttl} s"
        yield _mend("expiring", sight, what, [("persist", "", "")], ("expires", "", "1"))
    elif sight.ttl == -1 and ends:
        what = f"it is {sight.state} and never expires"
        yield _mend("immortal", sight, what, [("expire", "", "")], ("expires", "", "0"))


def _numbers(sight: Sight) -> Iterable[Finding]:
    """Counts are whole numbers in their range; a repair sets them to the nearest that is."""
    for name, right, expected in _wrong_numbers(sight):
        text = sight.fields.get(name, "")
        what = f"{name} is {text!r}, expected {expected}"
        yield _mend("number", sight, what, [("field", name, right)], ("field", name, text))


def _wrong_numbers(sight: Sight) -> Iterable[tuple[str, str, str]]:
    """(field, what it is to be, what was expected of it). An attempt only ever grows."""
    settled = _whole(sight.fields.get("settled", "")) or 0
    attempt = str(settled + 1)
    tops = {"crashes": CRASHES, "failures": _whole(sight.fields.get("max_attempts", ""))}
    for name in ("attempt", "failures", "crashes", "dropped"):
        text = sight.fields.get(name)
        value, top = _whole(text or ""), tops.get(name)
        if text is None:
            if name == "attempt" and sight.state == State.RUNNING:
                yield name, attempt, "the number of its run"
        elif value is None:
            yield name, attempt if name == "attempt" else "", "a whole number"
        elif top and value > top:
            yield name, str(top), f"at most {top}"
        elif name == "attempt" and value < settled:
            yield name, str(settled), f"at least {settled}: that one was settled"


# How a finding is made.


def _mend(kind: str, sight: Sight, what: str, acts: list[Words], *more: Words) -> Finding:
    return Finding(kind, sight.id, what, Mend(sight.id, _evidence(sight, *more), tuple(acts)))


def _evidence(sight: Sight, *more: Words) -> tuple[Words, ...]:
    """What was seen: the fields that tell one moment of a job from another, and where it lies.

    Its own lists are named even when it is in none: there an id that moves would be.
    """
    names = ("state", "attempt", "worker", "dropped", "settled")
    seen: list[Words] = [("field", name, sight.fields.get(name, "")) for name in names]
    queue, level = sight.slot
    own = [f"{place}:{queue}:{lv}" for place in ("pending", "held") for lv in (level, ALONE)]
    seen += [("list", n, str(sight.lists.get(n, 0))) for n in sorted({*own, *sight.lists})]
    if not any(name.startswith("running:") for name in sight.lists):
        seen.append(("workers", "", "0"))
    seen.append(("scheduled", "", str(int(sight.scheduled))))
    if sight.dead or sight.state == State.FAILED:
        seen.append(("list", "dlq", str(sight.dead)))
    return (*seen, *more)


def _dropped(number: int) -> Words:
    return ("field", "dropped", str(number) if number else "")


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
