"""docs/reliability.md: the tables between its markers are written from tests/chaos/results."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import time
from pathlib import Path

from result import Result, Row, from_json

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
RESULTS = Path(__file__).parent / "results"
BLOCK = re.compile(
    r"(?P<head><!-- (?P<act>[a-z]+): [^>]*-->\n).*?(?P<tail><!-- /(?P=act) -->)", re.DOTALL
)
OURS = ("docs/reliability.md", "tests/chaos/results")


def publish(result: Result) -> None:
    """Keep a result and write its table; those of the other acts stay as they are."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result.act}.json"
    path.write_text(json.dumps(result.as_json(), indent=1) + "\n")
    PAGE.write_text(rendered(PAGE.read_text()))


def rendered(text: str) -> str:
    """The page with every table as the results have it; nothing else may stand there."""

    def block(found: re.Match[str]) -> str:
        path = RESULTS / f"{found['act']}.json"
        if not path.exists():
            return f"{found['head']}Not measured yet.\n{found['tail']}"
        result = from_json(json.loads(path.read_text()))
        return f"{found['head']}{table(result)}{found['tail']}"

    return BLOCK.sub(block, text)


def table(result: Result) -> str:
    """A result as Markdown."""
    lines = ["| | measured | asked |", "|---|---|---|", *map(_line, result.rows)]
    said = "; ".join(f"{name} {value}" for name, value in result.facts.items())
    missed = sum(not row.ok for row in result.rows)
    verdict = f"**{missed} rows not met, {len(result.violations)} violations.**"
    verdict = "No violation." if result.valid else verdict
    wrong = [f"- {violation}" for violation in result.violations[:20]]
    return "\n".join([*lines, "", f"{verdict} {said}.", *wrong, ""])


def _line(row: Row) -> str:
    asked = row.asked if row.ok else f"{row.asked} **(not met)**"
    return f"| {row.what} | {row.found} | {asked} |"


def facts(result: Result, command: str, seed: int, seconds: float) -> dict[str, str]:
    """What a reader needs to repeat or doubt a figure."""
    return {
        "Took": f"{seconds / 60:.1f} min",
        "on": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _commit(),
        "command": f"`{command}`",
        "seed": str(seed),
        "machine": f"{_cpu()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "server": ", ".join(dict.fromkeys(result.servers)),
        "Python": platform.python_version(),
    }


def _cpu() -> str:
    with Path("/proc/cpuinfo").open() as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        others = [f":!{path}" for path in OURS]
        changed = git("status", "--porcelain", "--", ".", *others)
        return git("rev-parse", "--short", "HEAD") + (" and changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
