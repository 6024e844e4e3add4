"""Clock jumps are real, or the act says why there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from clock import Clock, NoCompiler


def test_without_a_compiler_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCompiler, match="apt install gcc"):
        Clock(tmp_path)
