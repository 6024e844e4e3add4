"""Times: float seconds since the epoch inside, RFC 3339 text outside."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def to_text(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds, ending in Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def to_seconds(text: str) -> float:
    """Epoch seconds of RFC 3339 text; ValueError for anything else, a missing offset included."""
    if _RFC_3339.fullmatch(text):
        with contextlib.suppress(ValueError):  # a 30th of February
            return datetime.fromisoformat(text.upper()).timestamp()
    raise ValueError("expected a time such as 2026-01-31T12:00:00Z, or seconds since 1970")
