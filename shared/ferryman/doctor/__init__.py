"""`ferryman doctor`: what may harm jobs on this server, why, and the command that mends it.

`holes` are the known security holes, `server` and `data` the rules; all are pure functions over
`ferryman.store.facts`, so each can be shown with facts made up. docs/check.md tells of both.
"""

from __future__ import annotations

from ferryman.doctor import data, server
from ferryman.doctor.advice import Advice, Level
from ferryman.doctor.host import Host, this_host
from ferryman.store.facts import Facts

__all__ = ["Advice", "Host", "Level", "diagnose", "this_host"]

_RULES = (
    server.version,
    server.holes,
    server.persistence,
    server.eviction,
    server.memory,
    server.clients,
    server.compactness,
    server.clock,
    server.replication,
    server.system,
    server.configuration,
    data.workers,
    data.lists,
    data.dead_letters,
    data.last_check,
)


def diagnose(facts: Facts, host: Host | None = None) -> list[Advice]:
    """Everything there is to say, in the order in which it is told."""
    return [advice for rule in _RULES for advice in rule(facts, host or Host())]
