"""A short run of the chaos harness on every `make test`; the long one is `make chaos`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(300)
def test_nothing_is_lost_and_nothing_silent_under_a_minute_of_faults(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    script = Path(__file__).with_name("run.py")
    done = subprocess.run(
        [sys.executable, str(script), "--jobs", "1500", "--json", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = json.loads(out.read_text())
    assert report["completed"] + report["failed"] == report["attempted"] >= 1500
    assert sum(report["hits"].values()) >= 15, "the faults struck too little to show anything"
