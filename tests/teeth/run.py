"""make teeth: takes out each guard in turn and demands that a named test goes red.

It works in copies of the tree, one for each process, and never touches the checkout. First the
named tests run as the program is: they have to be green. Ends with 1 when a guard has no teeth,
2 when the table is wrong.

    python -m tests.teeth.run [--only WORDS] [--jobs N] [--json FILE] [--bites-only]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.teeth import verdict
from tests.teeth.guards import ROOT, Guard, load

PATIENCE = 150.0
"""Seconds for the tests of one guard; then they count as hung."""

SLOW_FIRST = ("tests/chaos", "tests/journey", "tests/worker", "tests/api", "tests/store")

IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", ".ferryman", "build", "dist"
)


@dataclass(frozen=True)
class Result:
    """What became of one guard."""

    guard: Guard
    verdict: str
    seconds: float
    ends: dict[str, str]

    @property
    def has_teeth(self) -> bool:
        return self.verdict in verdict.RED


class Tree:
    """A copy of the checkout in which tests run; for one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        shutil.copytree(ROOT, self.root, ignore=IGNORED, symlinks=True)

    def bite(self, guard: Guard) -> Result:
        """Take the guard out, run its tests, put it back."""
        path = self.root / guard.file
        whole, times = path.read_text("utf-8"), path.stat()
        path.write_text(guard.without(whole), "utf-8")
        began = time.monotonic()
        try:
            notes = self.test(guard.red, keep_bytecode=False)
        finally:
            path.write_text(whole, "utf-8")
            # Its compiled form, which is known by this time, holds again.
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        ends = {test: verdict.of_test(test, notes) for test in guard.red}
        return Result(guard, verdict.of_guard(guard.red, notes), time.monotonic() - began, ends)

    def test(
        self, tests: Sequence[str], keep_bytecode: bool = True, patience: float = PATIENCE
    ) -> list[verdict.Note]:
        """Run these tests here; how each ended."""
        with tempfile.TemporaryDirectory() as folder:
            notes = Path(folder) / "notes"
            command = [
                sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider",
                "-p", "tests.teeth.recorder", "--notes", str(notes), "--tb=no", *tests,
            ]  # fmt: skip
            code = self._run(command, keep_bytecode, patience)
            lines = notes.read_text("utf-8").splitlines() if notes.exists() else []
        return verdict.whole([json.loads(line) for line in lines], code)

    def _run(self, command: list[str], keep_bytecode: bool, patience: float) -> int | None:
        """The exit status; None when it took too long and was killed."""
        sources = [str(self.root / name) for name in ("shared", "worker", "api")]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sources)}
        env.setdefault("FERRYMAN_TEST_SERVER", "valkey")
        if not keep_bytecode:
            env["PYTHONDONTWRITEBYTECODE"] = "1"
        process = subprocess.Popen(
            command, cwd=self.root, env=env, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None


class Trees:
    """As many copies as there are processes; each call has one to itself."""

    def __init__(self, folder: Path, number: int) -> None:
        self._free: SimpleQueue[Tree] = SimpleQueue()
        self.number = number
        for n in range(number):
            self._free.put(Tree(folder / str(n)))

    def bite(self, guard: Guard) -> Result:
        tree = self._free.get()
        try:
            return tree.bite(guard)
        finally:
            self._free.put(tree)

    def weak(self, tests: Sequence[str]) -> dict[str, str]:
        """The tests that are not green though nothing was taken out, and how they end."""
        shares = [tests[n :: self.number] for n in range(self.number)]
        with ThreadPoolExecutor(self.number) as pool:
            ran = [note for notes in pool.map(self._test, shares) for note in notes]
        ends = {test: verdict.of_test(test, ran) for test in tests}
        return {test: end for test, end in ends.items() if end != "green"}

    def _test(self, tests: Sequence[str]) -> list[verdict.Note]:
        tree = self._free.get()
        try:
            return tree.test(tests, patience=PATIENCE * 10) if tests else []
        finally:
            self._free.put(tree)


def main(argv: Sequence[str] | None = None) -> int:
    """The whole run; the exit code."""
    asked = _arguments(argv)
    guards = [g for g in load() if asked.only in f"{g.name} {g.file}"]
    wrong = {g.name: trouble for g in guards if (trouble := g.trouble(ROOT))}
    for name, trouble in wrong.items():
        print(f"table: {name}: {trouble}", file=sys.stderr)
    if wrong or not guards:
        return 2
    with tempfile.TemporaryDirectory(prefix="ferryman-teeth-") as folder:
        trees = Trees(Path(folder), asked.jobs)
        weak = {} if asked.bites_only else _first_green(trees, guards)
        results = _bite_all(trees, guards)
    _print_table(results, weak)
    if asked.json:
        asked.json.write_text(json.dumps(_as_json(results, weak), indent=1) + "\n")
    return 0 if not weak and all(r.has_teeth for r in results) else 1


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="take out each guard: does a test go red?")
    parser.add_argument("--only", default="", help="guards whose name or file holds this")
    parser.add_argument(
        "--jobs",
        type=int,
        default=(os.cpu_count() or 1) + 1,
        help="copies at work; red tests mostly wait",
    )
    parser.add_argument("--json", type=Path, help="the results as JSON in this file")
    parser.add_argument("--bites-only", action="store_true", help="skip the run that must be green")
    return parser.parse_args(argv)


def _first_green(trees: Trees, guards: Sequence[Guard]) -> dict[str, str]:
    tests = sorted({test for g in guards for test in g.red})
    began = time.monotonic()
    weak = trees.weak(tests)
    said = "green" if not weak else f"{len(weak)} NOT GREEN"
    print(f"{len(tests)} tests with every guard in place: {said} "
          f"({time.monotonic() - began:.0f} s)", flush=True)  # fmt: skip
    return weak


def _bite_all(trees: Trees, guards: Sequence[Guard]) -> list[Result]:
    order = sorted(guards, key=_slowness)
    results = []
    with ThreadPoolExecutor(trees.number) as pool:
        for future in as_completed([pool.submit(trees.bite, g) for g in order]):
            r = future.result()
            results.append(r)
            mark = "red  " if r.has_teeth else "GREEN"
            print(f"{len(results):4}/{len(order)} {mark} {r.verdict:9} {r.seconds:5.1f} s  "
                  f"{r.guard.name}", flush=True)  # fmt: skip
    return sorted(results, key=lambda r: (r.guard.file, r.guard.name))


def _slowness(guard: Guard) -> int:
    folders = [test.rpartition("/")[0] for test in guard.red]
    return min((SLOW_FIRST.index(f) for f in folders if f in SLOW_FIRST), default=len(SLOW_FIRST))


def _print_table(results: Sequence[Result], weak: dict[str, str]) -> None:
    width = max(len(r.guard.name) for r in results)
    print()
    for r in results:
        print(f"{r.guard.name:{width}}  {r.verdict:9}  {r.guard.red[0]}")
    for test, end in weak.items():
        print(f"not green with every guard in place ({end}): {test}")
    blunt = [r for r in results if not r.has_teeth]
    for r in blunt:
        print(f"NO TEETH: {r.guard.name} ({r.guard.file}): {r.ends}")
    print(f"{len(results) - len(blunt)} of {len(results)} guards have teeth")


def _as_json(results: Sequence[Result], weak: dict[str, str]) -> dict[str, object]:
    rows = [
        asdict(r.guard) | {"verdict": r.verdict, "seconds": round(r.seconds, 1), "tests": r.ends}
        for r in results
    ]
    return {"guards": rows, "not_green": weak}


if __name__ == "__main__":
    sys.exit(main())
