"""Full: Redis is filled to its maxmemory; the backlog drains unaided, new jobs are refused."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count

from faults import by_kind
from fleet import Fleet
from history import History, read
from result import Result
from stage import Stage
from waiting import wait_for

from ferryman.draft import draft
from ferryman.embedded import find_binary, free_port
from ferryman.errors import FerrymanError, StoreUnavailable
from ferryman.processes import kill_session, spawn

EXPECTED = 4 * 60.0

MEMORY, SHORT_MEMORY = 128, 16
"""maxmemory in MB; a waiting job of this size takes about 3 KB."""

PAD = "x" * 2048
BULK = 200
PROBES = 20
SETTLES = 120.0
DRAINS = 300.0
WORKERS = 2
RETENTION = 2
"""Seconds a finished job is kept: only what ends can make room."""


def play(stage: Stage) -> Result:
    """The act, on both servers."""
    result = Result("full")
    for place, binary in enumerate(("redis-server", find_binary())):
        _on(stage, result, binary, place / 2)
    return result


def _on(stage: Stage, result: Result, binary: str, before: float) -> None:
    settings = {"binary": binary, "FERRYMAN_RETENTION": RETENTION}
    with stage.scene(f"full-{before}", **settings) as (fleet, history), _api(fleet) as port:
        name = fleet.version()
        result.servers.append(name)
        megabytes = SHORT_MEMORY if stage.short else MEMORY
        fleet.raw("CONFIG", "SET", "maxmemory", f"{megabytes}mb")
        stage.progress.show(before, f"{name}: filling")
        accepted = _fill(history, fleet)
        names = count()
        _stuff(fleet, names)
        # Before each: what the server gives back of its own is room for a job, rightly accepted.
        answers = [(_write_all(fleet, names), _post(port))[1] for _ in range(PROBES)]
        refused = answers.count((503, True))
        stage.progress.show(before + 0.2, f"{name}: {accepted} jobs wait in a full server")
        fleet.add(WORKERS)
        fleet.await_ready()
        seconds = wait_for("the backlog to drain", lambda: _drained(fleet), DRAINS)
        again = wait_for("POST /jobs to accept again", lambda: _accepts(port), SETTLES, look=0.2)
        wait_for("the job accepted again", lambda: _drained(fleet), 60)
        findings = fleet.check()
        effects = Counter(e["id"] for e in by_kind(read(history.folder))["effect"])
        stats = fleet.store.stats()
    lost = set(_ids(accepted)) - set(effects)
    twice = [job_id for job_id, n in effects.items() if n > 1]
    result.least(f"{name}: backlog", accepted, 1000)
    result.add(f"{name}: maxmemory", f"{megabytes} MB, filled until Redis refused every write")
    result.add(f"{name}: POST /jobs answers 503 with Retry-After", f"{refused} of {PROBES}",
               f"{PROBES}", refused == PROBES)  # fmt: skip
    result.none(f"{name}: jobs left of the backlog", stats.waiting)
    result.add(f"{name}: time to drain, workers started while full", f"{seconds:.1f} s")
    result.add(f"{name}: then POST /jobs accepts again after", f"{again:.1f} s",
               f"at most {SETTLES:g} s")  # fmt: skip
    result.none(f"{name}: lost", len(lost))
    result.none(f"{name}: run twice", len(twice))
    result.none(f"{name}: failed", stats.events.get("failed_total", 0))
    result.none(f"{name}: findings of `ferryman check`", len(findings))
    if refused < PROBES:
        result.violations.append(f"{name}: POST /jobs answered {Counter(answers)}")
    result.violations += [f"{name}: lost: {job_id}" for job_id in sorted(lost)]
    result.violations += [f"{name}: run twice: {job_id}" for job_id in twice]
    result.violations += [f"{name}: check: {found}" for found in findings]


def _ids(number: int) -> list[str]:
    return [f"f-{n}" for n in range(number)]


def _fill(history: History, fleet: Fleet) -> int:
    """Enqueue until refused, for good: a gate may open again; the number accepted, f-0 to f-n."""
    accepted, refusals = 0, 0
    size = BULK
    while refusals < 3:
        ids = [f"f-{accepted + n}" for n in range(size)]
        try:
            fleet.store.enqueue([draft("work", {"pad": PAD}, id=job_id) for job_id in ids])
        except FerrymanError:
            size, refusals = max(1, size // 4), refusals + (size == 1)
            time.sleep(0.6)  # calls fail at once for half a second after a failure
            continue
        for job_id in ids:
            history.note("attempt", id=job_id)
            history.note("ack", id=job_id)
        accepted += size
    return accepted


def _stuff(fleet: Fleet, names: Iterator[int]) -> None:
    """Write past any gate of ours, until Redis itself refuses the smallest write, and goes on to.

    It gives back the buffers of connections that fall idle, a second later: room for more jobs.
    """
    refused = 0
    while refused < 3:
        refused = 0 if _write_all(fleet, names) else refused + 1
        time.sleep(1.0)


def _write_all(fleet: Fleet, names: Iterator[int]) -> int:
    """Other keys until Redis refuses the smallest; how many it took."""
    taken = 0
    for size in (65_536, 1024, 16):
        with contextlib.suppress(StoreUnavailable):
            while True:
                fleet.raw("SET", f"stuffing:{next(names)}", "x" * size)
                taken += 1
    return taken


def _drained(fleet: Fleet) -> bool:
    with contextlib.suppress(FerrymanError):
        stats = fleet.store.stats()
        return stats.waiting + stats.states["running"] == 0  # type: ignore[index]
    return False


@contextlib.contextmanager
def _api(fleet: Fleet) -> Iterator[int]:
    """The real API on a free port."""
    port = free_port()
    argv = [sys.executable, "-m", "ferryman", "api", "--port", str(port)]
    with (fleet.folder / "api.log").open("ab") as log:
        process = spawn(argv, env=os.environ | fleet.env, stdout=log, stderr=log)
    try:
        wait_for("the API to be healthy", lambda: _healthy(port), 60)
        yield port
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        kill_session(process)


def _healthy(port: int) -> bool:
    with contextlib.suppress(OSError):
        return _ask(port, "GET", "/health")[0] == 200
    return False


def _post(port: int) -> tuple[int, bool]:
    """Ask for a job; the status, and whether Retry-After is a number of seconds."""
    status, retry_after = _ask(port, "POST", "/jobs", {"type": "work", "payload": {}})
    return status, retry_after.isdigit()


def _accepts(port: int) -> bool:
    return _post(port)[0] == 201


def _ask(port: int, method: str, path: str, body: object = None) -> tuple[int, str]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as link:
        headers = {"Content-Type": "application/json"}
        link.request(method, path, None if body is None else json.dumps(body), headers)
        answer = link.getresponse()
        answer.read()
        return answer.status, answer.getheader("Retry-After", "")
