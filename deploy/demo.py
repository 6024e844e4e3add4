#!/usr/bin/env python3
"""A steady mix of jobs for Ferryman, failures among them, so that every figure moves.

    python deploy/demo.py --url http://localhost:8081 --rate 5

Needs only Python. The compose file runs it under the profile `demo`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

Draft = dict[str, Any]

MIX = (
    (40, lambda: {"type": "uppercase", "payload": {"input": "hello world"}}),
    (15, lambda: {"type": "print", "payload": {"message": "from the demo"}}),
    (10, lambda: {"type": "payment", "payload": {"order_id": random.randrange(10**6)}}),
    (10, lambda: {"type": "sleep", "payload": {"seconds": round(random.expovariate(2), 3)}}),
    (6, lambda: {"type": "analytics", "payload": {"events": [{"name": "demo"}]}}),
    (4, lambda: {"type": "report", "payload": report()}),
    (4, lambda: {"type": "email", "payload": email()}),
    (4, lambda: {"type": "uppercase", "payload": {"input": "later"}, "delay": 10}),
    (3, lambda: {"type": "uppercase", "payload": {"input": "first"}, "priority": "high"}),
    (2, lambda: {"type": "sleep", "payload": {"seconds": 5}, "timeout": 1, "max_attempts": 1}),
    (2, lambda: {"type": "fail", "payload": {"message": "as asked by the demo"}}),
)
"""How many of a hundred jobs are which: 4 of them end in the dead letters."""


def report() -> Draft:
    """Two rows to add up."""
    rows = [{"region": "north", "amount": random.randrange(100)} for _ in range(2)]
    return {
        "rows": rows,
        "group_by": "region",
        "aggregates": {"amount": "sum"},
        "target": "demo.csv",
    }


def email() -> Draft:
    """A mail to nobody."""
    return {"to": "ann@example.org", "subject": "From the demo", "body": "Good day."}


def drafts() -> Iterator[Draft]:
    """Jobs without end, drawn from the mix."""
    weights = [weight for weight, _ in MIX]
    while True:
        yield random.choices(MIX, weights)[0][1]()


def post(url: str, draft: Draft) -> str | None:
    """Post one job; what went wrong, or None."""
    request = urllib.request.Request(
        f"{url}/jobs", json.dumps(draft).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10):
            return None
    except OSError as error:  # the API restarts, the queue is full: the demo goes on
        return str(error)


def main() -> None:
    """Post at the rate asked for, until stopped or the time is over; say what was refused."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="http://localhost:8081")
    parser.add_argument("--rate", type=float, default=5.0, help="jobs a second")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then end")
    options = parser.parse_args()
    began = due = time.monotonic()
    posted = refused = 0
    for draft in drafts():
        if due - began >= options.seconds:
            break
        time.sleep(max(0.0, due - time.monotonic()))
        trouble = post(options.url, draft)
        posted, refused = posted + 1, refused + bool(trouble)
        if trouble:
            print(f"not taken: {trouble}", file=sys.stderr)
            time.sleep(1)
        due = max(due + 1 / options.rate, time.monotonic() - 1)
    print(f"{posted} posted, {refused} of them refused")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
