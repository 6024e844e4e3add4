"""Many jobs at once: each becomes a `Draft`, or the answer says what is wrong with which.

Next on the way of a job: `origin`, which hands the drafts to the store in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ferryman.draft import MISSING, digest, idempotency_key
from ferryman.errors import FieldError, InvalidJob
from ferryman.job import Draft

MOST_JOBS = 1_000
"""Jobs that are accepted in one call, all or none."""

MOST_ERRORS = 100
"""Errors named in one answer."""


def gather(jobs: Iterable[Any], make: Callable[[Any], Draft], place: str = "") -> list[Draft]:
    """The draft that `make` makes of each job; InvalidJob names what is wrong with any of them.

    Its pointers begin with `place` and the number of the job, from 0: /jobs/3/queue.
    """
    made: list[Draft] = []
    errors: list[FieldError] = []
    for number, job in enumerate(jobs):
        try:
            made.append(make(job))
        except InvalidJob as error:
            errors += [FieldError(f"{place}/{number}{e.pointer}", e.detail) for e in error.errors]
            if len(errors) >= MOST_ERRORS:
                break
    if errors:
        raise InvalidJob(errors[:MOST_ERRORS])
    return made


def keyed(drafts: Sequence[Draft], key: Any, said: Any, place: str = "") -> list[Draft]:
    """The same drafts under one Idempotency-Key: the same jobs again are answered, others refused.

    Each gets a key of its own, and the digest of all that was `said`. InvalidJob for a key of no
    use, and for a job with an id or key of its own: then two things would say what a repeat is.
    """
    try:
        key = idempotency_key(key)
    except ValueError as error:
        raise InvalidJob.at("", f"Idempotency-Key: {error}") from None
    errors = [
        FieldError(f"{place}/{number}", "expected no id under an Idempotency-Key for all")
        for number, job in enumerate(drafts)
        if job.digest is not None
    ]
    if errors:
        raise InvalidJob(errors[:MOST_ERRORS])
    whole = digest("", said, {})
    return [
        job._replace(idempotency_key=f"bulk:{key}:{number}", digest=whole)
        for number, job in enumerate(drafts)
    ]


def from_mapping(job: Any, make: Callable[..., Draft]) -> Draft:
    """What `make` makes of {"type": ..., "payload": ..., options}; InvalidJob when no mapping."""
    if not isinstance(job, Mapping) or not all(isinstance(name, str) for name in job):
        raise InvalidJob.at("", "expected a job as a mapping: type, payload and options by name")
    return make(**{"type": MISSING} | dict(job))
