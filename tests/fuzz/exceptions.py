"""Act five: what handlers raise and return, in a real child.

The child lives; each job ends in the state its trick asks for; its error is at most 8 KiB of valid
UTF-8, its history and every line of the child's log are JSON.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.fuzz.bodies import read_log
from tests.fuzz.hostile import TRICKS, draw
from tests.fuzz.lanes import STALL, Lane, log_file

from ferryman.config import Settings
from ferryman.draft import draft
from ferryman.keys import LEVELS, Keys
from ferryman.store import Store
from ferryman_worker.board import Board
from ferryman_worker.child import Post
from ferryman_worker.fork import fork, serve_child
from ferryman_worker.link import Link

BATCH = 60
PATIENCE = 60.0
"""Seconds a batch may take; less than the minute a job may run, so a lost slot is found."""

ERROR_LIMIT = 8192


class Kept:
    """A real child of ours: forked, watched, replaced when it dies."""

    def __init__(self, settings: Settings, app: str, slots: int, queues: Sequence[str]) -> None:
        self.settings = replace(settings, app=app, queues=tuple(queues))
        self._slots, self._born = slots, 0
        self.pid = 0
        self.start()

    def start(self) -> None:
        """Fork it. There is one thread here, and nothing has been connected for it to share."""
        self._born += 1
        self._status: int | None = None
        self.worker = f"fuzz:{os.getpid()}:{self._born}"
        lists = [Keys().pending_name(q, lv) for lv in LEVELS for q in self.settings.queues]
        post = Post(self.worker, lists, self._slots, alone=False)
        self.link, theirs = Link.pair()
        board = Board(self._slots)
        close = [self.link.fileno()]
        self.pid = fork(lambda: serve_child(self.settings, post, board, theirs, close))
        theirs.close()
        self._await("ready")

    def _await(self, kind: str) -> None:
        while not any(message["kind"] == kind for message in self.link.receive()):
            if self.link.closed:
                raise RuntimeError("the child did not come up")

    def died(self) -> int | None:
        """The status it ended with, as os.wait gives it; None while it lives."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def end(self) -> None:
        """Let it go: it ends when its link closes."""
        self.link.close()
        if self._status is None:
            os.waitpid(self.pid, 0)


def act(lane: Lane) -> None:
    """Each case is one run of one trick."""
    with lane.server() as settings, log_file(settings, lane.folder / "log") as log:
        child = Kept(settings, "tests.fuzz.hostile:ferry", 4, ["default"])
        store = Store(settings, timeout=STALL)
        batch: list[int] = []
        for case, _ in lane.each():
            batch.append(case)
            if len(batch) == BATCH:
                play(lane, store, child, log, batch)
                batch = []
        if batch:
            play(lane, store, child, log, batch)
        child.end()
        lane.report.counts["log lines"] += read_log(lane, log)


def play(lane: Lane, store: Store, child: Kept, log: Path, cases: Sequence[int]) -> None:
    """Run these cases to their ends and look at what is left of them."""
    wanted = {}
    for case in cases:
        name, chance = draw(lane.seed, case)
        kind = chance.choice(["trick", "trick", "async_trick"])
        payload = {"name": name, "seed": lane.seed, "case": case}
        store.enqueue([draft(kind, payload, id=f"t{case}", max_attempts=1, timeout=120.0)])
        wanted[f"t{case}"] = (TRICKS[name][1], f"{case} ({kind} {name})")
    left = ended(lane, store, child, wanted)
    for job_id in left:
        lane.report.broke(wanted[job_id][1], f"it did not end within {PATIENCE:g} s")
    for job_id, (state, case) in wanted.items():
        if job_id not in left:
            look(lane, store, job_id, state, case)
    lane.report.counts["log lines"] += read_log(lane, log)
    if left:
        child.end()
    store.command("FLUSHDB")
    if left or child.died() is not None:
        child.start()
    else:
        store.register(child.worker, ["default"], {"slots": 4})


def ended(lane: Lane, store: Store, child: Kept, wanted: dict[str, Any]) -> set[str]:
    """Wait for the ends; the ids of those that have none."""
    end, left = time.monotonic() + PATIENCE, set(wanted)
    while left and time.monotonic() < end:
        states = store.facets(sorted(left))
        open_states = {"pending", "running"}
        left = {i for i, row in zip(sorted(left), states, strict=True) if row[0] in open_states}
        status = child.died()
        if status is not None:
            hit = [wanted[i][1] for i, row in zip(sorted(wanted), store.facets(sorted(wanted)),
                   strict=True) if row[0] == "running"]  # fmt: skip
            lane.report.broke(hit, f"the child died: status {status}")
            lane.report.counts["child deaths"] += 1
            return left
        time.sleep(0.005)
    return left


def look(lane: Lane, store: Store, job_id: str, state: str, case: str) -> None:
    """The job's end, its error and its history."""
    names = ("state", "error", "errors", "result")
    found = store.command("HMGET", store.keys.job(job_id), *names)
    was, error, errors, result = found
    lane.report.counts[f"ended {was.decode()}"] += 1
    if was.decode() != state:
        lane.report.broke(case, f"it ended {was!r} instead of {state}: {error!r}"[:600])
    if error is not None and not fits(error):
        lane.report.broke(case, f"its error is {len(error)} bytes, or no UTF-8: {error[:200]!r}")
    for line in (errors or b"").split(b"\n")[: 1 if errors else 0]:
        history(lane, line, case)
    if result is not None and len(result) > 65_536:
        lane.report.broke(case, f"its result is {len(result)} bytes")


def history(lane: Lane, line: bytes, case: str) -> None:
    """One entry of `errors`."""
    try:
        entry = json.loads(line)
    except ValueError as wrong:
        lane.report.broke(case, f"its history is not JSON: {wrong}: {line[:300]!r}")
        return
    for name in ("error", "traceback"):
        if not fits(entry.get(name, "").encode("utf-8", "surrogatepass")):
            lane.report.broke(case, f"{name} in its history is too long, or no UTF-8")


def fits(raw: bytes) -> bool:
    """Whether this is 8 KiB of UTF-8 at most."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return len(raw) <= ERROR_LIMIT
