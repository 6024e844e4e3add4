"""What a doctor says: a level, what was found, why it matters, and the fix as a command."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much it matters."""

    OK = "ok"
    NOTE = "note"  # good to know
    WARNING = "warning"  # may cost jobs or time one day
    PROBLEM = "problem"  # costs jobs, or will


@dataclass(frozen=True)
class Advice:
    """One finding; `topic` names what was looked at."""

    level: Level
    topic: str
    what: str
    why: str = ""
    fix: str = ""
    """A command, or words where no command can do it; "" when there is nothing to do."""


def ok(topic: str, what: str) -> Advice:
    return Advice(Level.OK, topic, what)


def note(topic: str, what: str, why: str = "", fix: str = "") -> Advice:
    return Advice(Level.NOTE, topic, what, why, fix)


def warning(topic: str, what: str, why: str, fix: str) -> Advice:
    return Advice(Level.WARNING, topic, what, why, fix)


def problem(topic: str, what: str, why: str, fix: str) -> Advice:
    return Advice(Level.PROBLEM, topic, what, why, fix)


def config_set(name: str, value: str) -> str:
    """The command for a setting, which holds until the server's next start."""
    return f"ferryman redis CONFIG SET {name} {value}   (and in the server's own configuration)"
