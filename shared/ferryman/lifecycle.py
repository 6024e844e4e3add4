"""The life of a job as data: which verb leads from which state to which.

Read by the program (the states, and which of them count as waiting or finished), by the tests
(every state against every verb) and by docs/lifecycle.md, which a test compares with this table.
No I/O here. Next on the way of a job: `keys`, then `store`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where a job stands; the same word in Redis, in metric labels and as the API's `status`."""

    PENDING = "pending"  # ready: in a pending list
    SCHEDULED = "scheduled"  # waits for a time: a delay or a retry
    BLOCKED = "blocked"  # waits for other jobs
    RUNNING = "running"  # begun by a worker
    COMPLETED = "completed"  # ended well
    FAILED = "failed"  # given up: in the dead-letter list
    CANCELLED = "cancelled"  # will not run


WAITING = frozenset({State.PENDING, State.SCHEDULED, State.BLOCKED})
FINISHED = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})


class Verb(NamedTuple):
    """One row: what moves a job, from where, to where, and who may do it."""

    name: str
    origin: frozenset[State]
    target: frozenset[State]
    who: str


def _states(*states: State) -> frozenset[State]:
    return frozenset(states)


_P, _S, _B, _R = State.PENDING, State.SCHEDULED, State.BLOCKED, State.RUNNING
_C, _F, _X = State.COMPLETED, State.FAILED, State.CANCELLED

TABLE: tuple[Verb, ...] = (
    Verb("enqueue", _states(), _states(_P, _S), "client, API"),
    Verb("claim", _states(_P), _states(_R), "worker"),
    Verb("finish", _states(_R), _states(_C), "worker"),
    Verb("retry", _states(_R), _states(_S), "worker"),
    Verb("bury", _states(_R), _states(_F), "worker, upkeep"),
    Verb("release", _states(_R), _states(_P), "worker stopping or over-full"),
    Verb("snooze", _states(_R), _states(_S), "worker"),
    Verb("recover", _states(_R), _states(_P, _S, _F), "supervisor, upkeep"),
    Verb("promote", _states(_S), _states(_P), "upkeep"),
    Verb("cancel", _states(_P, _S, _R), _states(_X), "API, worker"),
    Verb("revive", _states(_F, _C, _X), _states(_P), "operator"),
    Verb("expire", _states(_P, _S), _states(_X), "claim, upkeep"),
)

VERBS = {verb.name: verb for verb in TABLE}


def allowed(verb: str, state: State) -> bool:
    """Whether the table lets `verb` start from `state`."""
    return state in VERBS[verb].origin
