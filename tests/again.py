"""One more try, alone, for tests of tight times that failed beside others.

    python -m tests.again            after a run of pytest that failed; what `make test` does

Some promises are seconds: a child's jobs run again within one, a stop takes under ten. On a machine
that is short of processors for a moment such a test fails with nothing wrong. Only tests under the
folders below are tried again, by themselves, each once; a failure anywhere else, above all in the
store, in the fuzz acts and in the chaos runs, stays one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
TIMED = ("tests/api/", "tests/deploy/", "tests/journey/", "tests/worker/")
MOST = 8
"""More than so many failures are no accident."""


def failed(cache: Path) -> list[str]:
    """The tests that failed in the last run, as pytest noted them."""
    noted = cache / "v/cache/lastfailed"
    return sorted(json.loads(noted.read_text())) if noted.exists() else []


def refusal(tests: Iterable[str]) -> str | None:
    """Why these are not tried again; None when they are."""
    names = list(tests)
    if not names:
        return "the run failed without a failed test"
    if len(names) > MOST:
        return f"{len(names)} tests failed, more than {MOST}"
    others = [name for name in names if not name.startswith(TIMED)]
    return f"not a test of times: {others[0]}" if others else None


def main() -> int:
    """The exit code of the second try; 1 when there is none."""
    tests = failed(ROOT / ".pytest_cache")
    why_not = refusal(tests)
    if why_not:
        print(f"no second try: {why_not}", file=sys.stderr)
        return 1
    print("\nfailed beside others, tried once more, alone:", *tests, sep="\n  ", flush=True)
    command = [sys.executable, "-m", "pytest", "-n", "0", *tests]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
