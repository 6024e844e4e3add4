"""Waits that end: whoever waits too long says for what."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Overrun(Exception):
    """Something that was waited for did not come in time."""


def wait_for(what: str, ready: Callable[[], Any], seconds: float, look: float = 0.05) -> float:
    """Seconds until `ready()` holds; Overrun, naming `what`, when that takes too long."""
    started = time.monotonic()
    while not ready():
        if time.monotonic() - started > seconds:
            raise Overrun(f"waited {seconds:g} s in vain for {what}")
        time.sleep(look)
    return time.monotonic() - started
