"""Repairs: each small, idempotent, and only done while what was found still holds."""

from __future__ import annotations

from collections.abc import Sequence

from ferryman.check.findings import Finding, Mend, Recount, Recover, Tidy
from ferryman.check.passes import Report, inspect
from ferryman.check.seen import Tick
from ferryman.job import encode
from ferryman.store.audit import Audit

ROUNDS = 5
"""A repair may bring to light what it hid: an id of a list whose key had the wrong type."""

_ORDER = (Tidy, Mend, Recover, Recount)


def repair(
    store: Audit, report: Report, settle: float = 2.0, tick: Tick = lambda _: None
) -> tuple[list[Finding], Report]:
    """Mend what was found and check again, until nothing is left that can be; what was mended.

    The second value is the last check: what is left in it needs a person, or a calmer moment.
    """
    mended: list[Finding] = []
    for _ in range(ROUNDS):
        done = apply(store, report)
        if not done:
            break
        mended += done
        report = inspect(store, settle, tick)
    return mended, report


def apply(store: Audit, report: Report) -> list[Finding]:
    """Do the repairs of one check; those that were done."""
    findings = sorted(
        (f for f in report.findings if f.repair), key=lambda f: _ORDER.index(type(f.repair))
    )
    recounted: bool | None = None
    done = []
    for finding in findings:
        match finding.repair:
            case Mend(job_id, evidence, acts):
                mended = store.mend(job_id, evidence, acts)
            case Tidy(what, words):
                mended = store.tidy(what, *words)
            case Recover(worker):
                mended = _recover(store, worker)
            case _:
                if recounted is None:
                    recounted = _recount(store, report)
                mended = recounted
        if mended:
            done.append(finding)
    return done


def _recover(store: Audit, worker: str) -> bool:
    if store.roll().knows(worker):
        return False
    reason = "its worker was never registered"
    entry = encode({"worker": worker, "error": reason})
    while store.recover(worker, entry, reason).left:
        pass
    return True


def _recount(store: Audit, report: Report) -> bool:
    queues: Sequence[str] = sorted(store.roll().queues)
    return store.recount(report.guards, {q: report.dropped.get(q, 0) for q in queues})
