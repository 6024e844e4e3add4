"""How long a failed job waits before it runs again: a formula, never a sleep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ferryman.errors import ConfigError


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with jitter; all times in seconds.

    After the n-th failure d = min(cap, base x factor^(n-1)); the delay is
    d x U(1-jitter, 1+jitter), or U(0, d) when jitter is "full" (the "full jitter" of the AWS
    architecture blog, 2015).
    """

    base: float = 1.0
    factor: float = 2.0
    cap: float = 30.0
    jitter: float | Literal["full"] = 0.1

    def __post_init__(self) -> None:
        if not _is_within(self.base, 0, 86_400):
            raise ConfigError(f"backoff base: expected 0 to 86400 seconds, got {self.base!r}")
        if not _is_within(self.factor, 1, 100):
            raise ConfigError(f"backoff factor: expected 1 to 100, got {self.factor!r}")
        if not _is_within(self.cap, 0, 86_400):
            raise ConfigError(f"backoff cap: expected 0 to 86400 seconds, got {self.cap!r}")
        if self.jitter != "full" and not _is_within(self.jitter, 0, 1):
            raise ConfigError(f'backoff jitter: expected 0 to 1 or "full", got {self.jitter!r}')

    def delay(self, failures: int, roll: float) -> float:
        """Seconds to wait after the `failures`-th failure; `roll` is a uniform number in [0, 1)."""
        # The largest factor to the 150th is 1e300, still a float; max_attempts never comes near.
        d = min(self.cap, self.base * self.factor ** min(failures - 1, 150))
        if self.jitter == "full":
            return d * roll
        return d * (1 - self.jitter + 2 * self.jitter * roll)


def _is_within(value: object, low: float, high: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return low <= value <= high


DelayFormula = Callable[[int, float], float]
"""(failures, roll in [0, 1)) -> seconds; what `Backoff.delay` and `from_tenacity` give."""


def from_tenacity(wait: Callable[..., float]) -> DelayFormula:
    """A tenacity wait strategy as a formula. Its own randomness is used; it is never slept.

    Example: `from_tenacity(tenacity.wait_exponential_jitter(max=30))`.
    """
    from tenacity import RetryCallState, Retrying

    def delay(failures: int, roll: float) -> float:
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = failures
        return max(0.0, float(wait(state)))

    return delay
