"""Whether a process makes spans, and when it begins and ends to.

The environment asks for them, in OpenTelemetry's own words: OTEL_EXPORTER_OTLP_ENDPOINT or
OTEL_TRACES_EXPORTER is set, OTEL_SDK_DISABLED is not. Else nothing of OpenTelemetry is imported.
Next: `exporting`.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ferryman.errors import ConfigError

if TYPE_CHECKING:
    from ferryman.exporting import Flush
    from ferryman.spans import Spans

FLUSH = 2.0
"""Seconds the end of a process may wait for its last spans."""

TROUBLE_EVERY = 60.0
"""Seconds between two lines about spans that cannot be sent."""


class _Live(NamedTuple):
    spans: Spans
    flush: Flush


class _Process:
    """What this process has of it; a fork begins anew, for threads do not come along."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.live: _Live | None = None
        self.failed = False


_process = _Process()


@cache
def is_asked() -> bool:
    """Whether the environment asks for spans."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter != "none" if exporter else any(os.environ.get(name) for name in endpoints)


def spans() -> Spans | None:
    """The spans of this process, begun when first asked for; None where there are none."""
    if _process.live is None and is_asked() and not _process.failed:
        try:
            _begin(is_ours=False, as_parent=False)
        except ConfigError as error:
            warnings.warn(str(error), RuntimeWarning, stacklevel=4)
    live = _process.live
    return None if live is None else live.spans


def preload() -> None:
    """Import, before a fork, what its children will need; starts nothing."""
    if is_asked():
        try:
            import ferryman.exporting
            import ferryman.spans  # noqa: F401
        except ImportError:
            pass  # `start` will say so


def start(as_parent: bool = False) -> None:
    """Begin to make spans if the environment asks for them, in a process that is ours; logged.

    After the fork: threads are started. `as_parent`: a run's span is the child of the one that sent
    the job, instead of linked to it.
    """
    if not is_asked():
        return
    import structlog

    from ferryman import logs

    log = structlog.get_logger()
    try:
        _begin(is_ours=True, as_parent=as_parent)
    except ConfigError as error:
        log.warning(logs.TRACING_OFF, reason=str(error))
        return
    _tell_trouble(lambda said: log.warning(logs.TRACING_TROUBLE, reason=said))
    log.info(logs.TRACING_STARTED, pid=os.getpid())


def stop(within: float = FLUSH) -> None:
    """Send the last spans, in at most so many seconds; those left then are lost."""
    live = _process.live
    if live is not None and within > 0:
        live.flush.within(within)


def _begin(is_ours: bool, as_parent: bool) -> None:
    with _process.lock:
        if _process.live is not None or _process.failed:
            return
        try:
            _process.live = _made(is_ours, as_parent)
        except ConfigError:
            _process.failed = True
            raise
        atexit.register(stop)
        os.register_at_fork(after_in_child=_begin_anew)


def _made(is_ours: bool, as_parent: bool) -> _Live:
    try:
        from ferryman.exporting import Flush, provider
        from ferryman.spans import Spans
    except ImportError as error:
        raise ConfigError(f"spans are asked for: pip install ferryman[otel] ({error})") from None
    try:
        made = provider(is_ours)
    except Exception as error:  # of the SDK, about any of its many variables
        raise ConfigError(f"spans are asked for, and cannot be made: {error}") from error
    return _Live(Spans(made, as_parent), Flush(made))


def _begin_anew() -> None:
    global _process  # noqa: PLW0603  (one per process is what it is)
    _process = _Process()


def _tell_trouble(tell: Callable[[str], None]) -> None:
    """Let what OpenTelemetry logs become lines of ours, now and then: it repeats itself."""
    said_at = [-TROUBLE_EVERY]

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            now = time.monotonic()
            if now - said_at[0] >= TROUBLE_EVERY:
                said_at[0] = now
                tell(record.getMessage()[:500])

    logging.getLogger("opentelemetry").addHandler(Teller(logging.WARNING))
