"""The highest value each counter was shown with, so that none is ever shown to fall.

After a failover Redis may lack its last second. A counter that falls by ten looks to `rate()` like
a restart from zero, and all it had counted since its beginning like the work of one moment. So what
is behind its mark is shown at the mark until it has caught up.
"""

from __future__ import annotations

import fcntl
import marshal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ferryman.store.meters import Hashes

MEMORY = "/dev/shm"  # noqa: S108 (files there are made by mkstemp and unlinked)
"""A folder in memory, where the system has one."""

LONGEST = 600.0
"""Seconds counters are held: what takes longer to catch up was set back on purpose."""


class _Known(NamedTuple):
    instance: bytes
    """Which data these are of: other data begin from zero, rightly."""
    behind_since: float
    """By the monotonic clock, which processes share; 0: none is behind."""
    marks: dict[bytes, dict[bytes, bytes]]


class Marks:
    """The marks of one API, shared by its processes if it is made before they are forked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        folder = MEMORY if Path(MEMORY).is_dir() else None
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open as long as this lives)
        self._threads = threading.Lock()

    def close(self) -> None:
        """Forget them."""
        self._file.close()

    def hold(self, instance: bytes, hashes: Hashes) -> dict[bytes, list[bytes]]:
        """The same counters, those that fell at their mark; what rose is marked anew."""
        with self._alone():
            known = self._read()
            now = self._clock()
            is_late = known.behind_since and now - known.behind_since > LONGEST
            if known.instance != instance or is_late:
                known = _Known(instance, 0.0, {})
            held = {
                name: _held(known.marks.setdefault(name, {}), hashes.get(name, ()))
                for name in [*known.marks, *(name for name in hashes if name not in known.marks)]
            }
            is_behind = any(held[name] != list(hashes.get(name, ())) for name in held)
            since = (known.behind_since or now) if is_behind else 0.0
            self._write(known._replace(behind_since=since))
            return held

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # The lock of the file is one process's, and gone with it; it says nothing among threads.
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _read(self) -> _Known:
        self._file.seek(0)
        data = self._file.read()
        return _Known(*marshal.loads(data)) if data else _Known(b"", 0.0, {})  # noqa: S302 (ours)

    def _write(self, known: _Known) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(marshal.dumps(tuple(known)))
        self._file.flush()


def _held(marks: dict[bytes, bytes], flat: Sequence[bytes]) -> list[bytes]:
    now = dict(zip(flat[::2], flat[1::2], strict=True))
    if now == marks:  # most, most times: the 200 pairs of an idle system take 5.5 ms, not 8.3
        return list(flat)
    for field, value in now.items():
        mark = marks.get(field)
        if mark is None or (value != mark and _number(value) >= _number(mark)):
            marks[field] = value
        elif value != mark:
            now[field] = mark
    for field in marks.keys() - now.keys():
        now[field] = marks[field]
    return [part for pair in now.items() for part in pair]


def _number(value: bytes) -> float:
    try:
        return float(value)
    except ValueError:  # damaged: the next script that adds to it begins at 0
        return 0.0
