"""Act one: request bodies, queries, headers and ids against the API on a real server.

Never a 500; every answer as /openapi.json has it; what is refused, or answered from before, leaves
Redis as it was, to the last bit; what is accepted can be read and its payload is what was sent.
"""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote, quote_from_bytes

from tests.fuzz.asked import Asked, Reply, Request
from tests.fuzz.grammar import BYTES, TEXTS, body, jobs
from tests.fuzz.lanes import STALL, Keyspace, Lane, log_file

from ferryman.store import Store
from ferryman_api.app import create_app

KEEP = 60
"""Accepted jobs after which the database is emptied: a digest reads all of it."""

LOOK = 2000
"""Cases after which the log is read."""

KINDS = ["application/json"] * 30 + [
    "application/json; charset=utf-8", "APPLICATION/JSON", "application/json;",
    " application/json ", "application/json; charset=latin-1", "application/jsonx", "text/json",
    "text/plain", "", ";", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
    "\xe9/\xff", "a" * 5000, "application/json, text/html", "application/problem+json",
    "application/json\x00",
]  # fmt: skip
KEYS = ["", " ", "k", "k1", "k2", "a" * 255, "a" * 256, "\xe9", "\xff\xfe", "\xc3\xa9", "\x00",
        "\x7f", "k\tk", ":", "{0}", "*", "job:x", "\u0080", "'\"", "%00"]  # fmt: skip
ACCEPTS = ["", "*/*", "application/json", "text/html", "application/problem+json;q=0", ";q=x",
           "\xff", "application/json;q=1.5", ",,,", "a/b" * 2000,
           "text/plain;q=0.5, application/json;q=NaN",
           "application/openmetrics-text"]  # fmt: skip
QUERIES = [
    "status",
    "type",
    "queue",
    "limit",
    "cursor",
    "tag",
    "",
    "Status",
    "limit[]",
    "__proto__",
]
VALUES = ["", "pending", "failed", "PENDING", "blocked", "dead", "0", "1", "50", "200", "201",
          "-1", "1.0", "1e2", "+1", " 1", "\xd9\xa1", "%D9%A1", "\xb2", "9" * 5000, "true",
          "null", "a", "default", "%00", "%ff", "%ed%a0%80", "%", "%zz", "a&b", "x" * 3000, "NaN",
          "Infinity", "%F0%9F%98%80", "%0a", "[]", "MQ", "MTA", "bm90", "9223372036854775808",
          "-9223372036854775809", "18446744073709551616"]  # fmt: skip
METHODS = ["GET", "HEAD", "DELETE", "POST", "PUT", "PATCH", "OPTIONS", "TRACE", "get", "BREW"]
PATHS = ["/", "/jobs", "/jobs/", "//jobs", "/jobs//", "/stats", "/health", "/metrics", "/livez",
         "/readyz", "/openapi.json", "/jobs/x/retry", "/jobs/x/retry/", "/jobs/x/cancel", "/docs",
         "/jobs/bulk", "/dlq", "/dlq/",
         "/%2e%2e/etc/passwd", "/jobs/%2f", "/jobs/%00", "/jobs/%ff", "/jobs/..", "/JOBS",
         "*"]  # fmt: skip


def act(lane: Lane) -> None:
    """Each case is one body, and now and then a query or an id beside it."""
    with lane.server() as settings, log_file(settings, lane.folder / "log") as log:
        store = Store(settings, timeout=STALL)
        fuzz = Bodies(lane, Asked(create_app(settings, store)), store, Keyspace(settings.redis_url))
        for case, chance in lane.each():
            fuzz.case(case, chance)
            if lane.report.counts["cases"] % LOOK == LOOK - 1:
                lane.report.counts["log lines"] += read_log(lane, log)
        lane.report.counts["log lines"] += read_log(lane, log)


def read_log(lane: Lane, log: Any) -> int:
    """Every line is a JSON object and none is a bug; how many there were. The file is emptied."""
    lines = log.read_bytes().split(b"\n")[:-1]
    for line in lines:
        try:
            if json.loads(line)["event"] == "bug":
                lane.report.broke("log", line.decode("utf-8", "replace")[-900:])
        except (ValueError, KeyError, TypeError):
            lane.report.broke("log", f"a line that is no JSON object: {line[:200]!r}")
    with log.open("r+b") as file:
        file.truncate()
    return len(lines)


class Bodies:
    """The API under fire, and what Redis held before each request."""

    def __init__(self, lane: Lane, ask: Asked, store: Store, keyspace: Keyspace) -> None:
        self.report, self.ask, self.store, self.keyspace = lane.report, ask, store, keyspace
        self.accepted: list[str] = []
        self.digest = b""
        self.clear()

    def clear(self) -> None:
        """Begin anew, with a job in each state a retry or a deletion could find it in."""
        self.keyspace.clear()
        self.accepted = ["done", "waiting"]
        self.send(0, Request("POST", "/jobs", b'{"type":"a","id":"waiting"}', headers=JSON))
        self.send(0, Request("POST", "/jobs", b'{"type":"a","id":"done"}', headers=JSON))
        self.store.cancel("done")
        self.digest = self.keyspace.digest()

    def case(self, case: int, chance: random.Random) -> None:
        """One body, and every third time something without one."""
        kind, given = chance.random(), headers(chance)
        if kind < 0.12:
            as_lines = chance.random() < 0.5
            if as_lines and "Content-Type" in given:
                given["Content-Type"] = given["Content-Type"].replace("/json", "/x-ndjson")
            path, sent = "/jobs/bulk", jobs(chance, case, as_lines)
        else:
            path = "/jobs" if kind < 0.9 else f"/jobs/{self.some(chance)}/retry"
            sent = body(chance, case)
        request = Request("POST", path, sent, headers=given, length=length(chance, sent))
        self.judged(case, request)
        if case % 3 == 0:
            self.judged(case, bodiless(chance, self.some(chance)))
        if len(self.accepted) > KEEP:
            self.clear()

    def some(self, chance: random.Random) -> str:
        """The id of a job there is, or of none."""
        if chance.random() < 0.8:
            return chance.choice(self.accepted)
        odd = chance.choice([b"x" * 129, b".", b"..", b"a/b", b"%", b"\xff", *BYTES])
        return quote_from_bytes(odd, safe="")

    def send(self, case: int, request: Request) -> Reply | None:
        """Ask; what is raised instead of an answer is a violation."""
        try:
            reply = self.ask(request)
        except BaseException as error:
            self.report.broke(case, f"raised {error!r} for {shown(request)}")
            return None
        self.report.counts["bodies" if request.body is not None else "other requests"] += 1
        self.report.counts[f"status {reply.status}"] += 1
        return reply

    def judged(self, case: int, request: Request) -> None:
        """Ask, and hold the answer and Redis against what is promised."""
        reply = self.send(case, request)
        if reply is None:
            return
        trouble = self.ask.trouble(request, reply)
        if trouble:
            self.report.broke(case, f"{trouble} for {shown(request)}")
        before, self.digest = self.digest, self.keyspace.digest()
        may_change = reply.status < 300 and request.method in {"POST", "DELETE"}
        if not may_change or "idempotency-replayed" in reply.headers:
            self.report.counts["keyspaces compared"] += 1
            if self.digest != before:
                self.report.broke(case, f"{reply.status}, but Redis changed: {shown(request)}")
        elif request.method == "POST":
            self.readable(case, request, reply)

    def readable(self, case: int, request: Request, reply: Reply) -> None:
        """What was accepted is there, with the payload that was sent."""
        if request.path == "/jobs/bulk":
            ids, told = reply.json["job_ids"], jobs_in(request)
            if len(ids) != len(told):
                self.report.broke(case, f"{len(ids)} ids for {len(told)} jobs: {shown(request)}")
            for job_id, said in list(zip(ids, told, strict=False))[:KEEP]:
                self.readable_job(case, request, job_id, said)
            return
        said = json.loads(request.told or b"{}")
        self.readable_job(case, request, reply.json.get("job_id") or reply.json["id"], said)

    def readable_job(self, case: int, request: Request, job_id: str, said: Any) -> None:
        """This job is there, with the payload in what was `said`."""
        self.accepted.append(job_id)
        shown_job = self.send(case, Request("GET", f"/jobs/{quote(job_id, safe='')}"))
        if shown_job is None or shown_job.status != 200:
            self.report.broke(case, f"accepted, but not readable: {shown(request)}")
            return
        self.report.counts["accepted and read back"] += 1
        if request.path in {"/jobs", "/jobs/bulk"} or "payload" in said:
            wanted = said.get("payload", {})
            if not same(shown_job.json["payload"], wanted):
                self.report.broke(
                    case, f"payload became {shown_job.body[:300]!r}: {shown(request)}"
                )


def jobs_in(request: Request) -> list[Any]:
    """The jobs that the body of an accepted request for many asks for."""
    told = request.told
    if "x-ndjson" in (request.headers or {})["Content-Type"].lower():
        return [json.loads(line) for line in told.split(b"\n") if line.strip()]
    found: list[Any] = json.loads(told)["jobs"]
    return found


JSON = {"Content-Type": "application/json"}


def headers(chance: random.Random) -> dict[str, str]:
    """Mostly what a client sends, sometimes not."""
    given = {"Content-Type": chance.choice(KINDS)}
    if chance.random() < 0.03:
        del given["Content-Type"]
    if chance.random() < 0.12:
        given["Idempotency-Key"] = chance.choice(KEYS)
    if chance.random() < 0.1:
        given["Accept"] = chance.choice(ACCEPTS)
    if chance.random() < 0.05:
        given["X-Request-Id"] = chance.choice([*KEYS, *ACCEPTS])
    return given


def length(chance: random.Random, sent: bytes) -> str | None:
    """A Content-Length that is wrong now and then."""
    if chance.random() < 0.95:
        return None
    near = [str(max(0, len(sent) + d)) for d in (-1, 1, -5, 100)]
    return chance.choice(["", "", "0", "x", "-1", "1e3", "\xb2", "\xb3", "1" * 30, "+5", *near])


def bodiless(chance: random.Random, some: str) -> Request:
    """A question, a deletion, or a path and method that nobody knows."""
    kind, extra = chance.random(), {"Accept": chance.choice(ACCEPTS)}
    if kind < 0.5:
        pairs = [
            f"{chance.choice(QUERIES)}={chance.choice(VALUES)}"
            for _ in range(chance.choice([0, 1, 1, 2, 4]))
        ]
        path = chance.choice(["/jobs", "/jobs", "/dlq"])
        return Request(
            "GET", path, query=chance.choice(["&", "&", "&&", ";"]).join(pairs), headers=extra
        )
    if kind < 0.75:
        return Request(chance.choice(["GET", "HEAD", "DELETE"]), f"/jobs/{some}", headers=extra)
    if kind < 0.8:
        return Request("POST", f"/jobs/{some}/retry", headers=extra)
    text = quote(json.loads(chance.choice(TEXTS)).encode("utf-8", "surrogatepass"), safe="")
    path = chance.choice([*PATHS, f"/{text}", f"/jobs/{text}", f"/jobs/x/{text}"])
    return Request(chance.choice(METHODS), path, headers=extra)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is not true and not 1.0."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def shown(request: Request) -> str:
    """A request for the report, cut where it is long."""
    extra = f" length={request.length!r}" if request.length is not None else ""
    where = f"{request.method} {request.path[:80]}?{request.query[:80]}"
    return f"{where} {str(request.headers)[:200]}{extra} {(request.body or b'')[:400]!r}"
