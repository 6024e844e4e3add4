"""A house: a folder in which `ferryman up` runs, with everything it brings."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.journey.programs import Program, environ, run

from ferryman.embedded import free_port


class House:
    """A folder in which `ferryman up` runs, with a server of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.programs: list[Program] = []

    def up(self, *args: str, ready: bool = True, **settings: object) -> Program:
        """`ferryman up`, once it has said that it is up."""
        settings = {"REDIS_URL": "", "PORT": self.port, **settings}
        env = environ(self.folder, **settings)
        self.programs.append(Program("up", *args, env=env, cwd=self.folder))
        if ready:
            self.programs[-1].await_line("Ferryman is up.")
        return self.programs[-1]

    def command(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Another `ferryman` command in the same folder, run to its end."""
        return run(*args, env=environ(self.folder, REDIS_URL=""), cwd=self.folder)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON the API answers with."""
        request = Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"content-type": "application/json"},
            method=method,
        )
        with urlopen(request, timeout=10) as response:  # noqa: S310  (our own address)
            return json.load(response)

    def close(self) -> None:
        for program in self.programs:
            family = program.family()
            program.destroy()
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
