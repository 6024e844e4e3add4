"""A proxy that loses replies, and whole connections without a word."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from urllib.parse import urlsplit


class Proxy:
    """Stands between a client and Redis.

    `lose(word)`: the next request that holds this word reaches Redis (`asked` is set), its reply is
    lost, and the connection with it (`lost`). That is how a claim happens that nobody knows of.
    `swallow(word)`: connections that ever asked with this word stay open and carry nothing more.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}{parts.path}"
        self.asked, self.lost = threading.Event(), threading.Event()
        self._word: bytes | None = None
        self._asked: dict[socket.socket, bytes] = {}
        self._holes: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, word: str) -> None:
        self.asked.clear()
        self.lost.clear()
        self._word = word.encode()

    def swallow(self, word: str) -> int:
        """How many connections carry nothing from now on."""
        holes = [c for c, asked in list(self._asked.items()) if word.encode() in asked]
        self._holes.update(holes)
        return len(holes)

    def lead_to(self, url: str) -> None:
        """Connections made from now on reach another server; those there are stay."""
        self._target = (self._target[0], urlsplit(url).port or 6379)

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        losing = False
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as server:
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for source in ready:
                    data = source.recv(65_536)
                    if not data:
                        return
                    if client in self._holes:
                        continue
                    if source is client:
                        self._asked[client] = self._asked.get(client, b"") + data
                        server.sendall(data)
                        if self._is_next(data):
                            losing = True
                            self.asked.set()
                    elif losing:
                        self.lost.set()
                        return
                    else:
                        client.sendall(data)

    def _is_next(self, data: bytes) -> bool:
        if self._word is None or self._word not in data:
            return False
        self._word = None
        return True
