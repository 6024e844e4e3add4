"""The rivals' environments: a venv, an npm folder or Debian's packages, made when first needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".bench"
ADAPTERS = ROOT / "benchmarks" / "adapters"

PACKAGES = {
    "celery": "celery==5.7.0 kombu==5.7.0 packaging redis==8.1.0 hiredis==3.5.0",
    "rq": "rq==3.0.0 redis==8.1.0 hiredis==3.5.0",
    "dramatiq": "dramatiq[redis]==2.2.1 redis==8.1.0 hiredis==3.5.0",
    "huey": "huey==3.5.4 redis==8.1.0 hiredis==3.5.0",
    "arq": "arq==0.28.0 redis==5.3.1 uvloop==0.23.0",
    "saq": "saq[redis]==0.26.4 typing-extensions redis==7.4.1 uvloop==0.23.0",
    "taskiq": "taskiq==0.13.0 taskiq-redis==1.2.4 redis==8.1.0 uvloop==0.23.0",
    "streaq": "streaq==7.2.0 coredis==6.9.0 uvloop==0.23.0",
    "wakaq": "WakaQ==4.0.4 redis==8.1.0",
    "profile": "py-spy==0.4.3",
}
NODE = "bullmq@6.7.0 ioredis@6.0.0"


class Missing(Exception):
    """This contender cannot be run here; the text says what it lacks."""


@dataclass(frozen=True)
class Environment:
    """Where a contender's programs are."""

    bin: Path
    python: str
    versions: str
    variables: dict[str, str]


def environment(name: str) -> Environment:
    """The environment of this name, made if need be; Missing when it cannot be."""
    if name == "own":
        return Environment(Path(sys.executable).parent, sys.executable, _frozen(
            sys.executable, ("ferryman", "redis", "hiredis", "flask", "gunicorn")), {})  # fmt: skip
    special: dict[str, Callable[[], Environment]] = {"bullmq": _node, "sidekiq": _ruby}
    return special[name]() if name in special else _venv(name)


def _venv(name: str) -> Environment:
    folder, wanted = FOLDER / f"venv-{name}", PACKAGES[name]
    python = folder / "bin" / "python"
    _make(folder, wanted, [
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check",
         *wanted.split()],
    ])  # fmt: skip
    return Environment(folder / "bin", str(python), wanted.replace("==", " "), {})


def _node() -> Environment:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing("node and npm are not installed (Debian: apt-get install npm)")
    folder = FOLDER / "npm-bullmq"
    folder.mkdir(parents=True, exist_ok=True)
    _make(folder, NODE, [[npm, "install", "--silent", "--prefix", str(folder), *NODE.split()]])
    versions = f"{NODE.replace('@', ' ')} node {_said([node, '--version'])}"
    modules = {"NODE_PATH": str(folder / "node_modules")}
    return Environment(Path(node).parent, sys.executable, versions, modules)


def _ruby() -> Environment:
    found = shutil.which("sidekiq")
    if found is None:
        raise Missing("not installed (Debian: apt-get install ruby-sidekiq)")
    versions = f"{_said([found, '--version'])} {_said(['ruby', '--version']).split('p')[0]}"
    return Environment(Path(found).parent, sys.executable, versions.lower(), {})


def _make(folder: Path, wanted: str, steps: list[list[str]]) -> None:
    """Carry out the steps unless the folder was made for just these packages."""
    stamp = folder / "made-for"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"bench: making {folder.relative_to(ROOT)}", file=sys.stderr)
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Missing(f"its environment could not be made: {last}")
    stamp.write_text(wanted)


def _frozen(python: str, names: tuple[str, ...]) -> str:
    code = (
        "import sys; from importlib.metadata import version as v; "
        "print(*[n + ' ' + v(n) for n in sys.argv[1:]])"
    )
    return _said([python, "-c", code, *names])


def _said(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
