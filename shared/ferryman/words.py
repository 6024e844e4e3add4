"""Words for people, in whatever command says them."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """So many of a thing: "1 worker", "2 workers"."""
    return f"{n} {noun}{'s' * (n != 1)}"
