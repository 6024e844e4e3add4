"""Every act of the fuzz run in short, with a fixed seed; in full it is `make fuzz`.

As processes of their own: the acts fork, and change what a process logs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def played(name: str, scale: float, folder: Path) -> Counter[str]:
    """What a part of this act counted; it must have broken no promise."""
    out = folder / "results.json"
    words = ["--only", name, "--scale", str(scale), "--seed", "1", "--json", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return Counter(json.loads(out.read_text())[name]["counts"])


@pytest.mark.timeout(300)
def test_no_body_is_answered_500_or_half_accepted(tmp_path: Path) -> None:
    counts = played("bodies", 0.006, tmp_path)
    assert counts["cases"] == 1200
    assert counts["accepted and read back"] > 100
    assert counts["keyspaces compared"] > 900


@pytest.mark.timeout(300)
def test_the_api_lives_through_what_is_no_request(tmp_path: Path) -> None:
    counts = played("sockets", 0.03, tmp_path)
    assert counts["connections"] == 120
    assert counts["ordinary jobs between"] >= 3


@pytest.mark.timeout(300)
def test_sequences_of_verbs_leave_what_the_model_says(tmp_path: Path) -> None:
    counts = played("sequences", 0.005, tmp_path)
    assert counts["cases"] == 250
    assert counts["refused settles"] > 20


@pytest.mark.timeout(300)
def test_damaged_states_stop_neither_the_child_nor_the_sound_jobs(tmp_path: Path) -> None:
    counts = played("states", 0.004, tmp_path)
    assert counts["cases"] == 40
    assert counts["damages"] > 40


@pytest.mark.timeout(300)
def test_a_log_cut_anywhere_comes_up_with_whole_verbs(tmp_path: Path) -> None:
    counts = played("cuts", 0.003, tmp_path)
    assert counts["servers started"] >= 50
    assert counts["states checked"] > 10


@pytest.mark.timeout(300)
def test_what_handlers_throw_ends_their_own_job_and_nothing_else(tmp_path: Path) -> None:
    counts = played("exceptions", 0.03, tmp_path)
    assert counts["cases"] == 90
    assert counts["log lines"] > 80  # a line may come a moment after its job's end is seen


def test_the_page_shows_what_the_last_run_counted() -> None:
    """The table in docs/fuzz.md is made from docs/fuzz.json and from nothing else."""
    from tests.fuzz.__main__ import DOCS, table

    entries = json.loads((DOCS / "fuzz.json").read_text())
    assert table(entries) in (DOCS / "fuzz.md").read_text()
    assert not any(entry["violations"] for entry in entries.values())
