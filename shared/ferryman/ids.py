"""Job ids: UUID version 7 whose last byte is the shard, so an id says where its job lives."""

from __future__ import annotations

from uuid_utils import uuid7


def new_id(shard: int = 0) -> str:
    """A new id for a job of `shard` (0 to 255); ids sort by the millisecond they were made in."""
    return f"{str(uuid7())[:-2]}{shard:02x}"


def shard_of(job_id: str) -> int | None:
    """The shard a generated id names; None for an id chosen by the client."""
    if len(job_id) != 36 or job_id[14] != "7" or job_id.count("-") != 4:
        return None
    try:
        return int(job_id[-2:], 16)
    except ValueError:
        return None
