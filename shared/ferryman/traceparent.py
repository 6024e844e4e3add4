"""W3C Trace Context: which request asked for a job, as the two headers say it.

https://www.w3.org/TR/trace-context/. Next: `origin`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

STATE_LIMIT = 512
"""Bytes of `tracestate` that are kept."""

_LONG_MEMBER = 128
"""Members longer than this are the first to go when there is too much."""

_MOST_MEMBERS = 32

_PARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})"
    r"-(?P<parent>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_MEMBER = re.compile(
    r"(?P<key>[a-z0-9][a-z0-9_*/-]{0,240}(?:@[a-z][a-z0-9_*/-]{0,13})?|[a-z][a-z0-9_*/-]{0,255})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


class Trace(NamedTuple):
    """A place in a trace: the span that caused what comes after it."""

    parent: str
    """`traceparent` of version 00, valid."""
    state: str = ""
    """`tracestate`, valid and at most 512 bytes; empty: none."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits that all spans of the trace share."""
        return self.parent[3:35]


def read(parent: str | None, state: str | None = None) -> Trace | None:
    """The place two headers name; None when there is no valid `traceparent`, as the W3C has it.

    A `tracestate` that is not valid is left out, one that is too long is shortened.
    """
    if not parent:
        return None
    found = _PARENT.fullmatch(parent)
    if not found or (found["version"] == "00" and found["more"]):
        return None
    flags = found["flags"]
    if found["version"] != "00":  # of a later version the sampled flag is all we know
        flags = f"{int(flags, 16) & 1:02x}"
    return Trace(f"00-{found['trace']}-{found['parent']}-{flags}", _read_state(state or ""))


def id_of(parent: str | None) -> str | None:
    """The trace id in a `traceparent`; None when it is not valid."""
    trace = read(parent)
    return None if trace is None else trace.trace_id


def _read_state(text: str) -> str:
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    found = [_MEMBER.fullmatch(member) for member in members[: _MOST_MEMBERS + 1]]
    keys = {match["key"] for match in found if match}
    if len(keys) < len(members) or len(members) > _MOST_MEMBERS:
        return ""
    return _shortened(members)


def _shortened(members: list[str]) -> str:
    # Whole members only: first those of more than 128 characters, then the last, the oldest.
    for member in [m for m in reversed(members) if len(m) > _LONG_MEMBER]:
        if len(",".join(members)) > STATE_LIMIT:
            members.remove(member)
    while len(",".join(members)) > STATE_LIMIT:
        members.pop()
    return ",".join(members)


_ambient: ContextVar[Trace | None] = ContextVar("ferryman_trace", default=None)


def ambient() -> Trace | None:
    """The place in a trace that what runs here belongs to."""
    return _ambient.get()


@contextmanager
def under(trace: Trace | None) -> Iterator[None]:
    """What runs in the `with` block belongs to this place."""
    token = _ambient.set(trace)
    try:
        yield
    finally:
        _ambient.reset(token)
