"""Ferryman: a job service on Redis. Accepted jobs run at least once, and you can see each one.

The way of a job, which is the order to read the files in: `client` -> `draft` -> `origin` ->
`store` -> lua/ -> `ferryman_worker.child` -> `run` -> `decide` -> `store`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferryman.backoff import Backoff
    from ferryman.client import Ferryman
    from ferryman.config import Settings
    from ferryman.context import Bury, Context, Interrupt, Retry, Snooze
    from ferryman.errors import (
        ClaimLost,
        ConfigError,
        FerrymanError,
        IdempotencyConflict,
        InvalidJob,
        JobNotFound,
        QueueFull,
        StoreUnavailable,
        WrongState,
    )
    from ferryman.handle import Handle
    from ferryman.job import Job
    from ferryman.lifecycle import State

__all__ = [
    "Backoff",
    "Bury",
    "ClaimLost",
    "ConfigError",
    "Context",
    "Ferryman",
    "FerrymanError",
    "Handle",
    "IdempotencyConflict",
    "Interrupt",
    "InvalidJob",
    "Job",
    "JobNotFound",
    "QueueFull",
    "Retry",
    "Settings",
    "Snooze",
    "State",
    "StoreUnavailable",
    "WrongState",
]

# Imported when first asked for: redis-py alone takes 0.1 s, which `ferryman --help` need not wait.
_HOME = {
    "Backoff": "backoff",
    "Bury": "context",
    "ClaimLost": "errors",
    "ConfigError": "errors",
    "Context": "context",
    "Ferryman": "client",
    "FerrymanError": "errors",
    "Handle": "handle",
    "IdempotencyConflict": "errors",
    "Interrupt": "context",
    "InvalidJob": "errors",
    "Job": "job",
    "JobNotFound": "errors",
    "QueueFull": "errors",
    "Retry": "context",
    "Settings": "config",
    "Snooze": "context",
    "State": "lifecycle",
    "StoreUnavailable": "errors",
    "WrongState": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ferryman' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"ferryman.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
