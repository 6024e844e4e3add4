"""A second try is for tests of times, few of them, and for nothing else."""

import json

import pytest
from tests import again

TIMED = "tests/journey/test_kill.py::test_a[x]"


@pytest.mark.parametrize("folder", again.TIMED)
def test_tests_of_times_are_tried_again(folder):
    assert again.refusal([f"{folder}test_a.py::test_b"]) is None


@pytest.mark.parametrize(
    "other",
    [
        "tests/store/test_claim.py::test_a",
        "tests/unit/test_again.py::test_a",
        "tests/fuzz/test_short.py::test_a",
        "tests/chaos/test_short.py::test_a",
        "tests/teeth/test_table.py::test_a",
    ],
)
def test_no_other_failure_is_forgiven(other):
    assert other in (again.refusal([TIMED, other]) or "")


def test_many_failures_are_no_accident():
    many = [f"{TIMED}{n}" for n in range(again.MOST + 1)]
    assert again.refusal(many)
    assert again.refusal(many[1:]) is None


def test_a_run_that_failed_without_a_failed_test_stays_failed(tmp_path):
    assert again.failed(tmp_path) == []
    assert again.refusal([])


def test_what_failed_is_read_from_pytests_own_notes(tmp_path):
    noted = tmp_path / "v/cache/lastfailed"
    noted.parent.mkdir(parents=True)
    noted.write_text(json.dumps({TIMED: True}))
    assert again.failed(tmp_path) == [TIMED]
