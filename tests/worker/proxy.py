"""A proxy that loses replies."""

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
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}{parts.path}"
        self.asked, self.lost = threading.Event(), threading.Event()
        self._word: bytes | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, word: str) -> None:
        self.asked.clear()
        self.lost.clear()
        self._word = word.encode()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        losing = False
        with client, socket.create_connection(self._target) as server, contextlib.suppress(OSError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for source in ready:
                    data = source.recv(65_536)
                    if not data:
                        return
                    if source is client:
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
