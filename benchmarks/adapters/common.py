"""What every Python adapter shares: the job's work, and a producer told what to do.

An adapter is a module `with_<rival>` that offers `send(text)`, perhaps `send_many(texts)`,
perhaps `opened()` (an async context for the connection), perhaps `check()`, and is run in the
rival's own environment:

    python with_rq.py fill 1000       enqueue, in bulk where the rival can; prints {"seconds": ...}
    python with_rq.py one 1000        enqueue one job per call
    python with_rq.py bulk 10         enqueue 10 times 1,000 jobs
    python with_rq.py ping 100 LOW HIGH   one job at a time to an idle worker; prints when each went
    python with_rq.py check           what the rival itself counted, where it counts

BENCH_URL is the server, BENCH_NOTES the file completions go to. Only the standard library here:
it is imported under nine sets of packages.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import random
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
NOTES = os.environ.get("BENCH_NOTES", "")
TEXT = "x" * 89
"""With the parameter's name around it, {"text": "..."}, a payload of 100 bytes."""

RECORD = struct.Struct("<dq")
"""One note: the time, the process."""

BULK = 1000
WARM = 5
"""Pings nobody counts: the first ones pay for connections and imports."""

_notes: int | None = None


def note(*_: Any, **__: Any) -> None:
    """The whole work of a job: write down that it ran. About 1 us, no round trip."""
    global _notes  # noqa: PLW0603  # opened in the process that runs the job, after any fork
    now = time.time()
    if _notes is None:
        _notes = os.open(NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_notes, RECORD.pack(now, os.getpid()))


async def _settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class Producer:
    """Sends jobs through an adapter's functions, sync or async."""

    def __init__(self, adapter: dict[str, Any]) -> None:
        self._send: Callable[[str], Any] = adapter["send"]
        self._send_many: Callable[[list[str]], Any] | None = adapter.get("send_many")
        self._is_async = inspect.iscoroutinefunction(self._send)

    async def one(self, number: int) -> float:
        """Seconds for `number` calls; the first call, which connects, is not among them."""
        await _settled(self._send(TEXT))
        send, calls = self._send, range(number - 1)
        started = time.perf_counter()
        if self._is_async:
            for _ in calls:
                await send(TEXT)
        else:
            for _ in calls:
                send(TEXT)
        return time.perf_counter() - started

    async def bulk(self, calls: int) -> float:
        """Seconds for `calls` times 1,000 jobs, after one call that connects."""
        assert self._send_many is not None
        texts = [TEXT] * BULK
        started = 0.0
        for number in range(calls + 1):
            if number == 1:
                started = time.perf_counter()
            await _settled(self._send_many(texts))
        return time.perf_counter() - started

    async def fill(self, number: int) -> float:
        """Seconds for `number` jobs the quickest way there is."""
        if self._send_many is None:
            return await self.one(number)
        started, left = time.perf_counter(), number
        while left:
            batch = min(BULK, left)
            await _settled(self._send_many([TEXT] * batch))
            left -= batch
        return time.perf_counter() - started

    async def ping(self, number: int, low: float, high: float) -> list[float]:
        """When each of `number` jobs went, one at a time, each after the last had run."""
        sent = []
        for nth in range(number + WARM):
            await asyncio.sleep(random.uniform(low, high))
            sent.append(time.time())
            await _settled(self._send(TEXT))
            await _ran(nth + 1)
        return sent[WARM:]


async def _ran(number: int) -> None:
    end = time.monotonic() + 30
    while _size(NOTES) < number * RECORD.size:
        if time.monotonic() > end:
            raise SystemExit(f"job {number} did not run within 30 s")
        await asyncio.sleep(0.002)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0


@contextlib.asynccontextmanager
async def _open(adapter: dict[str, Any]) -> AsyncIterator[None]:
    opened = adapter.get("opened")
    if opened is None:
        yield
    else:
        async with opened():
            yield


async def _run(adapter: dict[str, Any], act: str, args: list[str]) -> dict[str, Any]:
    producer = Producer(adapter)
    if act == "check":
        return dict(adapter["check"]()) if "check" in adapter else {}
    async with _open(adapter):
        if act == "ping":
            low, high = map(float, args[1:3])
            return {"sent": await producer.ping(int(args[0]), low, high)}
        steps: dict[str, Callable[[int], Awaitable[float]]] = {
            "fill": producer.fill, "one": producer.one, "bulk": producer.bulk,
        }  # fmt: skip
        return {"seconds": await steps[act](int(args[0]))}


def main(adapter: dict[str, Any]) -> None:
    """Run the act on the command line with an adapter's module globals; prints JSON."""
    act, *args = sys.argv[1:]
    if act == "work":
        adapter["work"](*args)
        return
    answer = asyncio.run(_run(adapter, act, args))
    print(json.dumps(answer), flush=True)
