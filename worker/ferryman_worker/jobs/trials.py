"""Job types for trying things out: `uppercase`, `print`, `payment`, `sleep` and `fail`."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from hashlib import blake2b
from typing import Annotated, Any

from annotated_types import Ge, Le, MinLen

from ferryman import Context, Ferryman
from ferryman_worker.jobs.payloads import misfit

OrderId = Annotated[str, MinLen(1)] | int
Amount = Annotated[Decimal, Ge(0), Le(10**12)]
Seconds = Annotated[float, Ge(0), Le(604_800)]


def register(ferry: Ferryman) -> None:
    @ferry.job("uppercase")
    def uppercase(input: str) -> str:
        return input.upper()

    @ferry.job("print")
    def print_(message: Any, *, ctx: Context) -> Any:
        log("print", id=ctx.job_id, message=message)
        return message

    @ferry.job("payment")
    def payment(
        order_id: OrderId,
        amount: Amount | None = None,
        currency: str | None = None,
        *,
        ctx: Context,
    ) -> dict[str, str]:
        made = receipt(str(order_id), amount, currency)
        log("payment", id=ctx.job_id, **made)
        return made

    # A coroutine, because `time.sleep` in a thread cannot be interrupted at the time limit.
    @ferry.job("sleep")
    async def sleep(seconds: Seconds) -> dict[str, float]:
        await asyncio.sleep(seconds)
        return {"slept": seconds}

    @ferry.job("fail")
    def fail(message: str = "asked to fail") -> None:
        raise RuntimeError(message)


def receipt(order_id: str, amount: Decimal | None, currency: str | None) -> dict[str, str]:
    """The receipt of an order: nothing is charged, and a second run gives the same one."""
    if currency is not None and not re.fullmatch(r"[A-Za-z]{3}", currency):
        raise misfit("currency", "expected three letters, such as EUR")
    made = {"receipt": f"rcpt_{blake2b(order_id.encode(), digest_size=10).hexdigest()}"}
    made["order_id"] = order_id
    if amount is not None:
        made["amount"] = f"{amount:f}"
    if currency is not None:
        made["currency"] = currency.upper()
    return made


def log(event: str, **fields: Any) -> None:
    """One structured line. structlog is loaded here because it takes 0.1 s, once."""
    import structlog

    structlog.get_logger("ferryman.jobs").info(event, **fields)
