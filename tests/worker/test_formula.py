"""A type's own backoff formula that fails: the usual wait is taken, and a line says so once."""

import pytest
from structlog.testing import capture_logs

from ferryman.config import Settings
from ferryman.registry import Options
from ferryman_worker import formula
from ferryman_worker.decide import decide, policy
from ferryman_worker.outcome import Failed


@pytest.fixture(autouse=True)
def _untold(monkeypatch):
    monkeypatch.setattr(formula, "_told", set())


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (lambda failures, roll: 1 / 0, "ZeroDivisionError('division by zero')"),
        (lambda failures, roll: float("nan"), "it gave nan, expected seconds"),
        (lambda failures, roll: "soon", "it gave 'soon', expected seconds"),
    ],
)
def test_a_formula_that_fails_is_told_once_and_the_usual_wait_is_taken(claim, broken, error):
    with capture_logs() as lines:
        for _ in range(3):
            limits = policy(claim(type="t"), Options(backoff=broken), Settings())
            assert decide(claim(type="t"), Failed("no"), limits, "w", 0.1, 0.5).delay == 1.0
    assert lines == [{"event": "backoff.broken", "type": "t", "error": error, "log_level": "error"}]


def test_a_formula_that_works_is_silent(claim):
    with capture_logs() as lines:
        limits = policy(claim(), Options(backoff=lambda failures, roll: 7), Settings())
        assert decide(claim(), Failed("no"), limits, "w", 0.1, 0.5).delay == 7
    assert lines == []
