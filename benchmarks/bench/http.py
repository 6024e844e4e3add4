"""`POST /jobs` beside a bare Flask route that does one LPUSH, under the same gunicorn settings."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.contenders import Contender
from bench.crew import Crew, Failed, until
from bench.plan import Metrics, Plan, crew
from ferryman.embedded import free_port

API = "{{bin}}/ferryman api --port {port} --processes 2 --threads 8"
BARE = (
    "{{bin}}/gunicorn -b 127.0.0.1:{port} -w 2 --threads 8 -k gthread --keep-alive 75 "
    "flask_lpush:app"
)
CONNECTIONS = 16
SECONDS = 4
BULK = 1000
JOB = {"type": "noop", "payload": {"text": "x" * 89}}
JSON = {"Content-Type": "application/json"}


def post(contender: Contender, plan: Plan) -> Metrics:
    """Requests per second at most, and the p99 at half of that; ours in bulk too."""
    for tool in ("wrk", "hey"):
        if shutil.which(tool) is None:
            raise Failed(f"{tool} is not installed (Debian: apt-get install {tool})")
    seconds = max(1, round(SECONDS * min(1.0, plan.scale)))
    command = API if contender.kind == "ours" else BARE
    with crew(contender, plan) as us, api(us, command) as port:
        wrk(us.folder, port, "/jobs", json.dumps(JOB), 1)
        most, _ = wrk(us.folder, port, "/jobs", json.dumps(JOB), seconds)
        metrics = {"requests_per_s": most, "half_p99_ms": _at(port, most / 2, seconds)}
        if contender.kind == "ours":
            bulk = json.dumps({"jobs": [JOB] * BULK})
            metrics["bulk_jobs_per_s"] = BULK * wrk(us.folder, port, "/jobs/bulk", bulk, seconds)[0]
        return metrics


@contextlib.contextmanager
def api(us: Crew, command: str = API) -> Iterator[int]:
    """An HTTP server of this crew, on a free port."""
    port = free_port()
    with us.worker(command.format(port=port)):
        until(lambda: _listens(port), 15, "the HTTP server")
        yield port


def ask(port: int, method: str, path: str, body: str | None = None) -> int:
    """One request; the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, body, JSON)
        return connection.getresponse().status


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return ask(port, "GET", "/") > 0
    return False


def wrk(folder: Path, port: int, path: str, body: str, seconds: int) -> tuple[float, int]:
    """wrk with one thread and 16 connections: requests per second, and how many were refused."""
    script = folder / "post.lua"
    (folder / "body").write_text(body)
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.body = io.open("{folder}/body"):read("*a")\n'
    )
    said = _run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script),
                 f"http://127.0.0.1:{port}{path}"])  # fmt: skip
    return read_wrk(said)


def read_wrk(said: str) -> tuple[float, int]:
    """Requests per second and refusals of wrk's report; Failed when a request was refused."""
    rate, bad = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"Non-2xx.*: (\d+)", said)
    if rate is None or bad is not None:
        raise Failed(f"wrk: {bad[0] if bad else said[-200:]}")
    return float(rate[1]), 0


def _at(port: int, rate: float, seconds: int) -> float:
    each = max(1.0, rate / CONNECTIONS)
    said = _run(["hey", "-z", f"{seconds}s", "-c", str(CONNECTIONS), "-q", f"{each:.1f}", "-m",
                 "POST", "-T", "application/json", "-d", json.dumps(JOB),
                 f"http://127.0.0.1:{port}/jobs"])  # fmt: skip
    return read_hey(said)


def read_hey(said: str) -> float:
    """The p99 in milliseconds of hey's report."""
    found = re.search(r"99%+ in ([\d.]+) secs", said)
    if found is None:
        raise Failed(f"hey: {said[-200:]}")
    return float(found[1]) * 1000


def _run(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout
