"""What a client holds of a job it enqueued."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ferryman.job import Job
from ferryman.lifecycle import FINISHED


@dataclass(frozen=True)
class Handle:
    """A job that was accepted: its id, and ways to look at it."""

    id: str
    read: Callable[[str], Job] = field(repr=False, compare=False)
    is_new: bool = True
    """False when the same id or Idempotency-Key had been accepted before."""

    def job(self) -> Job:
        """The record as it stands now."""
        return self.read(self.id)

    def wait(self, timeout: float = 60.0) -> Job:
        """The record once it is completed, failed or cancelled.

        TimeoutError after `timeout` seconds. Asks Redis again after 5 ms, then less and less
        often, down to four times a second.
        """
        end, pause = time.monotonic() + timeout, 0.005
        while (job := self.job()).state not in FINISHED:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"job {self.id} is still {job.state} after {timeout:g} s")
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.25)
        return job

    def result(self, timeout: float = 60.0) -> Any:
        """Wait, then the decoded result; None unless the job completed with one."""
        text = self.wait(timeout).result
        return None if text is None else json.loads(text)
