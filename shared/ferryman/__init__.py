"""Ferryman: a job service on Redis. Accepted jobs run at least once, and you can see each one.

The way of a job, which is the order to read the files in: `client` -> `store` -> lua/ ->
`ferryman_worker.child` -> `run` -> `decide` -> `store`.
"""

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
