"""The Lua scripts: one file per verb, read once, their includes put in.

A line `-- @include NAME` stands for lua/include/NAME.lua, so that scripts share lines without
copies. Next on the way of a job: the .lua file of the verb.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

_INCLUDE = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """One verb as Redis runs it: the whole text and its SHA-1."""

    verb: str
    text: str
    sha: str


@cache
def scripts() -> dict[str, Script]:
    """Every script by verb."""
    folder = resources.files("ferryman") / "lua"
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".lua"))
    return {name[:-4]: _read(folder, name) for name in names}


def _read(folder: Traversable, name: str) -> Script:
    text = _text(folder, name)
    return Script(name[:-4], text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 (Redis' own key)


def _text(folder: Traversable, name: str) -> str:
    def included(match: re.Match[str]) -> str:
        return _text(folder, f"include/{match[1]}.lua")

    return _INCLUDE.sub(included, (folder / name).read_text("utf-8"))
