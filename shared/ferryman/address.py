"""The address the API listens on: what can be wrong with it, and how it is reached."""

from __future__ import annotations

import errno
import socket

from ferryman.config import Settings


def family(settings: Settings) -> socket.AddressFamily:
    """Which kind of address it is."""
    return socket.AF_INET6 if ":" in settings.host else socket.AF_INET


def trouble(settings: Settings, error: OSError) -> str:
    """Why the address cannot be had, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {settings.port} is taken by another program: stop it, or set PORT to another, "
            f"e.g. PORT={settings.port % 65535 + 1}"
        )
    if error.errno == errno.EACCES:
        return f"port {settings.port} may not be opened by this user: set PORT above 1023"
    return (
        f"cannot listen on {settings.host!r} ({error.strerror}): set FERRYMAN_HOST to an address "
        "of this machine"
    )


def reachable(host: str) -> str:
    """An address to call for one to listen on."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
