"""Refusing a payload for what its types alone cannot say."""

from ferryman.context import BadPayload


def misfit(where: str, expected: str) -> BadPayload:
    """The error to raise; it reads like those that validation against the signature gives."""
    return BadPayload(f"payload does not fit: {where}: {expected}")
