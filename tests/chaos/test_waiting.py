"""No part of the harness waits for ever: who waits too long says for what."""

from __future__ import annotations

import pytest
from waiting import Overrun, wait_for


def test_a_wait_that_takes_too_long_names_what_it_waited_for() -> None:
    with pytest.raises(Overrun, match="the workers to register"):
        wait_for("the workers to register", lambda: False, 0.05, look=0.01)


def test_a_wait_ends_when_what_it_waits_for_is_there() -> None:
    looks = iter([False, False, True])
    assert wait_for("the third look", lambda: next(looks), 30, look=0.001) < 30
