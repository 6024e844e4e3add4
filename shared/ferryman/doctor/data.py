"""Rules about the data: who works, what lies where nobody looks, what waits for a person."""

from __future__ import annotations

from collections.abc import Iterator

from ferryman.doctor.advice import Advice, note, ok, problem, warning
from ferryman.doctor.host import Host
from ferryman.store.facts import Facts
from ferryman.words import counted

CHECK = "ferryman check --repair"


def workers(facts: Facts, _: Host) -> Iterator[Advice]:
    """Without a living worker nothing runs, and nothing that died is recovered."""
    leases, now = facts.roll.leases, facts.roll.now
    late = sum(until < now for until in leases.values())
    alive = len(leases) - late
    if alive:
        yield ok("workers", f"{alive} alive")
    elif leases or facts.waiting:
        what = f"none alive, {counted(facts.waiting, 'job')} waiting"
        why = "nothing runs, and what dead workers held is given to nobody"
        yield warning("workers", what, why, "ferryman worker")
    else:
        yield note("workers", "none", "jobs wait until one is started", "ferryman worker")
    if late and alive:
        yield note("workers", f"{late} past their lease", "a living worker recovers them in 17 s")


def lists(facts: Facts, _: Host) -> Iterator[Advice]:
    """Ids in lists that need somebody to look at them."""
    if facts.ownerless:
        what = f"{counted(len(facts.ownerless), 'list')} of workers nobody knows"
        yield problem("lists", what, "the jobs in them wait for ever", f"{CHECK} --yes")
    if facts.left:
        why = "a living worker moves them within 10 s"
        yield note(
            "lists", f"{counted(facts.left, 'id')} in lists of dead workers", why, "ferryman worker"
        )
    if facts.quarantine:
        what = f"{counted(facts.quarantine, 'element')} in quarantine"
        why = "something foreign or corrupt lay in a list; each says what and where"
        fix = "ferryman redis LRANGE 'ferryman:{0}:quarantine' 0 9"
        yield warning("lists", what, why, fix)
    if facts.wake > 1:
        why = "one token is enough to wake upkeep; more make it look too often"
        yield note(
            "lists", f"{facts.wake} tokens in wake", why, "ferryman redis DEL 'ferryman:{0}:wake'"
        )
    if not (facts.ownerless or facts.left or facts.quarantine or facts.wake > 1):
        yield ok("lists", "nothing lies where nobody looks")


def dead_letters(facts: Facts, _: Host) -> Iterator[Advice]:
    """Jobs given up wait for a person, for ever."""
    if not facts.dlq:
        yield ok("dead letters", "none")
        return
    age = ""
    if facts.oldest_dead is not None:
        age = f", the oldest {_age(facts.roll.now - facts.oldest_dead)} old"
    why = "they are kept until somebody retries or deletes them"
    yield note("dead letters", f"{facts.dlq}{age}", why, "ferryman dlq list")


def last_check(facts: Facts, _: Host) -> Iterator[Advice]:
    """What `ferryman check` found when it ran last."""
    at, violations = facts.audit.get("at", ""), facts.audit.get("violations", "")
    try:
        age = _age(facts.roll.now - float(at))
    except ValueError:
        yield note("check", "never run", "it compares every job with its place", "ferryman check")
        return
    if violations == "0":
        yield ok("check", f"all was well {age} ago")
    else:
        why = "what lies in Redis did not agree with itself"
        noun = "violation" if violations == "1" else "violations"
        yield warning("check", f"{violations} {noun} {age} ago", why, CHECK)


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
