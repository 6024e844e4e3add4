"""What this machine says of itself, of use only when the server runs on it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Host:
    """Settings of the kernel; None where they cannot be seen."""

    overcommit: str | None = None
    huge_pages: str | None = None


def this_host(address: str, root: Path = Path("/")) -> Host:
    """The kernel the server at this address runs on, as far as it can be seen from here."""
    parts = urlsplit(address)
    if parts.scheme != "unix" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        return Host()
    pages = _read(root / "sys/kernel/mm/transparent_hugepage/enabled")
    chosen = pages.partition("[")[2].partition("]")[0] if pages else None
    return Host(_read(root / "proc/sys/vm/overcommit_memory"), chosen)


def _read(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    return None
