"""Files that jobs read and write: names that stay inside one folder, and all or nothing writes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ferryman import Bury


def inside(folder: str, name: str) -> Path:
    """The path `name` stands for under `folder`, with every symbolic link followed.

    Raises Bury when it is absolute or leads out of the folder, by `..` or by a link.
    """
    root = Path(folder).resolve()
    refusal = Bury(f"{name!r} is not a path inside FERRYMAN_FILES")
    if "\x00" in name or Path(name).is_absolute():
        raise refusal
    try:
        path = (root / name).resolve()
    except RuntimeError as error:  # links that go in circles; from Python 3.13 on, open() says so
        raise refusal from error
    if path == root or not path.is_relative_to(root):
        raise refusal
    return path


def existing(folder: str, name: str) -> Path:
    """Like `inside`, for a file to read; FileNotFoundError, which is retried, when it is not there.

    It may still arrive: whoever writes it can be slower than the job.
    """
    path = inside(folder, name)
    if not path.is_file():
        raise FileNotFoundError(f"no file {name!r} in FERRYMAN_FILES")
    return path


@contextmanager
def whole(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Write a file so that a reader finds the old one or all of the new one, never a part.

    Written beside it under a hidden name, on disk before it is renamed, gone when the block
    raises. Only a killed process leaves its `.<random>.part` behind. Folders are made as needed;
    `mode` is cut by the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
