"""How large the samples are, and a contender set up at a fresh server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from bench.contenders import Contender
from bench.crew import Crew, folder
from bench.environments import environment
from bench.servers import Kind, serve

Metrics = dict[str, float]
CORE = 0
"""The one core a pinned sample runs on; the driver stays on the others."""


@dataclass(frozen=True)
class Plan:
    """How large the samples are."""

    kind: Kind
    scale: float = 1.0
    backlog: int = 1_000_000
    batches: int = 31

    def jobs(self, number: int) -> int:
        """So many jobs, scaled; at least 20."""
        return max(20, int(number * self.scale))


@contextlib.contextmanager
def crew(
    contender: Contender, plan: Plan, *, pin: bool = False, aof: bool = False,
    shipped: bool | None = None, settings: dict[str, str] | None = None,
) -> Iterator[Crew]:  # fmt: skip
    """A contender at a fresh server; all on one core if `pin`, the driver elsewhere."""
    core = CORE if pin else None
    kind = plan.kind if shipped is None else Kind(plan.kind.binary, plan.kind.name, shipped)
    with _aside(pin), serve(kind, core=core, aof=aof) as server, folder() as place:
        env = environment(contender.env)
        yield Crew(contender, env, server, place, core, settings or {})


@contextlib.contextmanager
def _aside(pin: bool) -> Iterator[None]:
    cores = os.sched_getaffinity(0)
    if pin and len(cores) > 1:
        os.sched_setaffinity(0, cores - {CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
