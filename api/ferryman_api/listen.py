"""The listening socket, opened before anything else so that a taken port is one clear line."""

from __future__ import annotations

import socket
import struct

from ferryman.address import family
from ferryman.config import Settings

BACKLOG = 2048

STALL = 5
"""Seconds a client may be silent, pause within a request, or not take its answer; then it is
given up."""


def listen(settings: Settings) -> socket.socket:
    """A socket on the address; OSError when it cannot be had."""
    listener = socket.create_server(
        (settings.host, settings.port),
        family=family(settings),
        backlog=BACKLOG,
    )
    # What is accepted inherits these. Without them a client that stops half way through its
    # request would hold a thread for as long as it likes.
    stall = struct.pack("ll", STALL, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, stall)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, stall)
    return listener


def url(listener: socket.socket) -> str:
    """Where the socket can be reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
