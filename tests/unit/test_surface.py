"""The public names: what a user may build on."""

from __future__ import annotations

import subprocess
import sys

import ferryman

NAMES = {
    "Backoff", "Bury", "ClaimLost", "ConfigError", "Context", "Ferryman", "FerrymanError",
    "Handle", "IdempotencyConflict", "Interrupt", "InvalidJob", "Job", "JobNotFound", "QueueFull",
    "Retry", "Settings", "Snooze", "State", "StoreUnavailable", "WrongState",
}  # fmt: skip


def test_the_public_names_are_these_and_no_others() -> None:
    assert set(ferryman.__all__) == NAMES
    assert all(getattr(ferryman, name) is not None for name in NAMES)


def test_every_public_name_says_what_it_is() -> None:
    undocumented = [n for n in NAMES if not (getattr(ferryman, n).__doc__ or "").strip()]
    assert undocumented == []


def test_importing_the_client_connects_to_nothing_and_reads_no_environment() -> None:
    code = "import ferryman, ferryman_worker.jobs; f = ferryman.Ferryman(); print('fine')"
    env = {"REDIS_URL": "nonsense://", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
    assert done.stdout == b"fine\n", done.stderr.decode()
