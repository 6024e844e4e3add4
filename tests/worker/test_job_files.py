"""Files that jobs write: all or nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ferryman_worker.jobs.files import whole


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]
    assert path.read_text() == "old"


def write_half(path: Path) -> None:
    with whole(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with path.open() as reader:
        with whole(path) as file:
            file.write(b"new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"
        assert reader.read() == "old"


def test_the_umask_and_the_mode_decide_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        for name, mode in {"open": 0o666, "private": 0o600}.items():
            with whole(tmp_path / name, mode):
                pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600
