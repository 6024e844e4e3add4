"""Ours, as a user writes it: settings from the environment, everything at its default."""

import asyncio
import os
import time

import common

from ferryman import Ferryman
from ferryman.draft import draft

ferry = Ferryman()
WHICH = os.environ.get("BENCH_HANDLER", "noop")


@ferry.job("noop")
def noop(text: str) -> None:
    """The work, in a thread."""
    common.note()


@ferry.job("anoop")
async def anoop(text: str) -> None:
    """The work, on the event loop."""
    common.note()


@ferry.job("slow")
def slow(text: str) -> None:
    """Notes its start, then takes 50 ms."""
    common.note()
    time.sleep(0.05)


@ferry.job("aslow")
async def aslow(text: str) -> None:
    """The same on the event loop."""
    common.note()
    await asyncio.sleep(0.05)


HANDLER = {"noop": noop, "anoop": anoop, "slow": slow, "aslow": aslow}[WHICH]


def send(text: str) -> None:
    """One call, one job, one round trip."""
    HANDLER.enqueue(text=text)


def send_many(texts: list[str]) -> None:
    """One call, up to 1,000 jobs, one script."""
    ferry.store.enqueue([draft(WHICH, {"text": text}) for text in texts])


def check() -> dict[str, int]:
    """What the service itself counted."""
    stats = ferry.store.stats()
    return {state.value: number for state, number in stats.states.items()}


if __name__ == "__main__":
    common.main(globals())
