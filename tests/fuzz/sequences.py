"""Act two: sequences of verbs against the model of tests/store/test_property.py.

Hypothesis chooses well and shrinks, at some 10 sequences a second; here the same model is driven by
a seeded chance, one short sequence after the other. After each step every live id lies in exactly
one place and every counter is what the model says.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from typing import Any

from tests.fuzz.lanes import Keyspace, Lane
from tests.store.conftest import World
from tests.store.test_property import IDS, LISTS, QUEUES, SETTLES, Verbs

from ferryman.config import Settings
from ferryman.keys import LEVELS

STEPS = (4, 22)
"""Verbs of a sequence, beside the working day it begins with."""

Draw = Callable[[random.Random], dict[str, Any]]


def _n(chance: random.Random) -> int:
    return chance.randrange(1000)


def _some(chance: random.Random, most: int = 4) -> list[str]:
    return [chance.choice(IDS) for _ in range(chance.randrange(1, most + 1))]


RULES: dict[str, tuple[int, Draw]] = {
    "enqueue": (12, lambda c: {"chosen": _some(c), "queue": c.choice(QUEUES),
                               "priority": c.choice(LEVELS),
                               "delay": c.choice([None, None, 0.0, 60.0])}),
    "change": (14, lambda c: {"verb": c.choice(["cancel", "delete", "revive", "expire"]),
                              "job_id": c.choice(IDS)}),
    "hold": (5, lambda c: {"verb": c.choice(["resume", "pause"]), "queue": c.choice(QUEUES)}),
    "blmove": (8, lambda c: {"n": _n(c), "m": _n(c)}),
    "claim": (10, lambda c: {"n": _n(c), "free": c.randrange(1, 4)}),
    "begin": (10, lambda c: {"n": _n(c), "free": c.randrange(4), "lost": c.random() < 0.4,
                             "lists": c.choice([(), LISTS])}),
    "reconcile": (6, lambda c: {"n": _n(c), "free": c.randrange(4), "lost": c.random() < 0.3}),
    "settle": (16, lambda c: {"n": _n(c), "verb": c.choice(SETTLES)}),
    "settle_late": (8, lambda c: {"n": _n(c), "verb": c.choice(SETTLES), "m": _n(c),
                                  "more": c.choice([0, 0, 0, 1, -1])}),
    "recover": (7, lambda c: {"n": _n(c), "then": c.choice(["lives on", "is gone"])}),
    "upkeep": (8, lambda c: {"due": _some(c) if c.random() < 0.8 else [], "beats": c.random() < 0.3,
                             "sweeps": c.random() < 0.4}),
    "intrude": (3, lambda c: {"place": c.choice(["pending", "running", "scheduled"]), "n": _n(c),
                              "at_head": c.random() < 0.5}),
    "register": (3, lambda c: {}),
}  # fmt: skip
NAMES, WEIGHTS = list(RULES), [weight for weight, _ in RULES.values()]


def act(lane: Lane) -> None:
    """Each case is one sequence."""
    with lane.server() as settings:
        keyspace = Keyspace(settings.redis_url)
        for case, chance in lane.each():
            said: list[str] = []
            try:
                sequence(lane, settings, chance, said)
            except Exception as error:  # an assertion of the model, or what a verb raised
                at = traceback.extract_tb(error.__traceback__)[-1]
                what = f"{type(error).__name__} {error} at {at.name}:{at.lineno}"
                lane.report.broke(case, f"{what} after {'; '.join(said)[-600:]}")
            keyspace.clear()


def sequence(lane: Lane, settings: Settings, chance: random.Random, said: list[str]) -> None:
    """One day of two queues, their clients and their workers."""
    model = Verbs(settings, World)
    try:
        model.a_working_day([chance.choice(LEVELS) for _ in range(4)])
        model.everything_agrees()
        for _ in range(chance.randrange(*STEPS)):
            step(model, chance, said)
            lane.report.counts["verbs"] += 1
        if chance.random() < 0.3:
            said.append("everything_gets_done")
            model.everything_gets_done()
            model.everything_agrees()
            lane.report.counts["driven to the end"] += 1
        lane.report.counts["refused settles"] += model.settled["refused"]
        lane.report.counts["foreign elements"] += len(model.foreign)
    finally:
        model.world.close()
        model.store.close()


def step(model: Verbs, chance: random.Random, said: list[str]) -> None:
    """One verb the moment allows, and a look at everything."""
    name = chance.choices(NAMES, WEIGHTS)[0]
    if (name == "settle" and not model.runs) or (name == "settle_late" and not model.handed):
        name = "claim"
    if name == "register" and len(model._alive()) >= 2:
        name = "upkeep"
    arguments = RULES[name][1](chance)
    said.append(f"{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})")
    getattr(model, name)(**arguments)
    model.everything_agrees()
