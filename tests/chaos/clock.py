"""A wall clock that jumps, for one worker: clock.c, built here and preloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path


class NoCompiler(Exception):
    """clock.c cannot be built here."""


class Clock:
    """The clock of whoever is started with `env`; `shift` moves it while they run."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.shift(0)
        library = _build(folder / "clock.so")
        self.env = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self._file)}
        self._prove()

    def shift(self, seconds: int) -> None:
        """From now on the wall clock is off by so much. In place: the file is mapped."""
        mode = "r+b" if self._file.exists() else "wb"
        with self._file.open(mode) as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))

    def _prove(self) -> None:
        """A clock that did not jump would prove nothing."""
        self.shift(7200)
        code = "import time; print(time.time())"
        said = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | self.env, capture_output=True, check=True
        ).stdout
        self.shift(0)
        if not 7100 < float(said) - time.time() < 7300:
            raise NoCompiler("clock.c was built and preloaded, yet the clock did not move")


def _build(library: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompiler(
            "clock jumps need a C compiler (Debian: apt install gcc libc6-dev), and none was found"
        )
    source = Path(__file__).with_name("clock.c")
    built = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise NoCompiler(f"clock.c could not be built: {built.stderr.strip()[-500:]}")
    return library
