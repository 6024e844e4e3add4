"""The listening socket, opened before anything else so that a taken port is one clear line."""

from __future__ import annotations

import errno
import socket
import struct

from ferryman.config import Settings

BACKLOG = 2048

STALL = 5
"""Seconds a client may be silent, pause within a request, or not take its answer; then it is
given up."""


def listen(settings: Settings) -> socket.socket:
    """A socket on the address; OSError when it cannot be had."""
    listener = socket.create_server(
        (settings.host, settings.port),
        family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
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


def trouble(settings: Settings, error: OSError) -> str:
    """Why the address cannot be had, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"port {settings.port} is taken by another program: stop it, or set PORT to another"
    if error.errno == errno.EACCES:
        return f"port {settings.port} may not be opened by this user: set PORT above 1023"
    return f"cannot listen on {settings.host!r}: set FERRYMAN_HOST to an address of this machine"
