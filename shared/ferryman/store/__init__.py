"""The only room that talks to Redis. `Store` for everyone, `Port` for a worker's child."""

from ferryman.store.meters import Reading
from ferryman.store.port import Port
from ferryman.store.records import (
    Accepted,
    Beat,
    Claimed,
    Forgetting,
    Promotion,
    Recovery,
    Stats,
    Turn,
)
from ferryman.store.store import Store

__all__ = [
    "Accepted",
    "Beat",
    "Claimed",
    "Forgetting",
    "Port",
    "Promotion",
    "Reading",
    "Recovery",
    "Stats",
    "Store",
    "Turn",
]
