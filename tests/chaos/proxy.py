"""A TCP proxy before Redis that can lose, delay, swallow or half-close what passes it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Literal

Mode = Literal["pass", "black-hole", "drop-replies", "delay"]


class Proxy:
    """One listening port; its mode holds for every connection, old and new. Runs in a thread."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self.mode: Mode = "pass"
        self.delay = 0.3
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        if not ready.wait(30):
            raise OSError("the proxy did not open its port")

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._writers) // 2

    def cut(self) -> None:
        """Close every connection, as a router that forgot them would: without a word."""
        self._loop.call_soon_threadsafe(self._cut)

    def half_close(self) -> None:
        """End the sending half towards the worker; the other half stays open."""
        self._loop.call_soon_threadsafe(self._half_close)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _half_close(self) -> None:
        for writer in list(self._writers):
            with contextlib.suppress(OSError, RuntimeError):
                if writer.can_write_eof():
                    writer.write_eof()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, back}
        self._writers |= pair
        try:
            await asyncio.gather(
                self._pump(reader, back, replies=False), self._pump(there, writer, replies=True)
            )
        except OSError:
            pass
        finally:
            self._writers -= pair
            for end in pair:
                end.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, replies: bool
    ) -> None:
        while (data := await source.read(65_536)) and not sink.is_closing():
            if self.mode == "black-hole" or (self.mode == "drop-replies" and replies):
                continue
            if self.mode == "delay":
                await asyncio.sleep(self.delay)
            try:
                sink.write(data)
            except RuntimeError:
                return  # half-closed: what was still to come is lost
            await sink.drain()
        with contextlib.suppress(OSError, RuntimeError):
            sink.write_eof()
