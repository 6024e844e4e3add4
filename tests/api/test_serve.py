"""What `ferryman api` does before it answers the first request."""

import gc
import os
import socket

from ferryman_api import serve
from ferryman_api.server import Server


def test_no_collection_looks_through_what_was_loaded_before(settings, monkeypatch):
    frozen = []
    monkeypatch.setattr(Server, "run", lambda _: frozen.append(gc.get_freeze_count()))
    listener = socket.create_server(("127.0.0.1", 0))
    number = listener.fileno()
    try:
        assert serve._run(settings, listener) == 0
    finally:
        gc.unfreeze()
        os.close(number)
    assert frozen[0] > 50_000
