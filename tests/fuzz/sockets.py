"""Act one, over real sockets: what is no request, or only half of one, against `ferryman api`.

Whatever comes, the answer (where one is due) is HTTP and no 500, the processes live on, and the
next client is served.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psutil
from tests.fuzz.bodies import read_log
from tests.fuzz.grammar import BYTES, body
from tests.fuzz.lanes import Lane

from ferryman.embedded import free_port
from ferryman.processes import kill_session, spawn

Chance = random.Random

LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
ALLOWED = {501, 505}
"""Codes over 499 that are no fault of ours: a transfer coding or a version we do not have."""

LISTEN = 0.05
"""Seconds an answer is waited for where none need come."""

SLOW = 12
"""Clients that say a byte now and then, all the time."""

HEAD = b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GOOD = b'{"type":"a","payload":{"n":1}}'


class Api:
    """`ferryman api` as a process."""

    def __init__(self, url: str, folder: Path) -> None:
        self.port, self.log = free_port(), folder / "api.log"
        env = os.environ | {"REDIS_URL": url, "PORT": str(self.port), "FERRYMAN_HOST": "127.0.0.1"}
        command = [sys.executable, "-m", "ferryman", "api"]
        with self.log.open("ab") as out:
            self.process: subprocess.Popen[bytes] = spawn(command, stdout=out, stderr=out, env=env)
        end = time.monotonic() + 60
        while self.ask("GET", "/readyz") != 200:
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f"the API did not start: {self.log.read_text()[-500:]}")
            time.sleep(0.05)
        self.pids = self.family()

    def family(self) -> set[int]:
        """Its processes."""
        return {p.pid for p in psutil.Process(self.process.pid).children(recursive=True)}

    def ask(self, method: str, path: str, sent: bytes | None = None) -> int | None:
        """The status of an ordinary request; None when there was no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, sent, {"Content-Type": "application/json"})
                return connection.getresponse().status
            except (OSError, http.client.HTTPException):
                return None

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


def framed(sent: bytes, length: object = None) -> bytes:
    """A request with this body, and the length it says."""
    said = len(sent) if length is None else length
    return HEAD + f"Content-Length: {said}\r\n\r\n".encode() + sent


def chunked(chance: Chance, sent: bytes) -> bytes:
    """The body in chunks, some of which lie."""
    out = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    while sent:
        n = chance.randrange(1, 1 + len(sent))
        size = (
            f"{n:x}"
            if chance.random() < 0.9
            else chance.choice(["zz", "-1", "", "ffffffffff", "0"])
        )
        out += size.encode() + chance.choice([b"\r\n"] * 9 + [b"\n"]) + sent[:n] + b"\r\n"
        sent = sent[n:]
    return out + chance.choice([b"0\r\n\r\n"] * 6 + [b"", b"0\r\n", b"0\r\nX: y\r\n\r\n"])


def header(chance: Chance) -> bytes:
    """A request whose headers are odd."""
    line = chance.choice([
        b"X: " + b"a" * 9000, b"X" * 9000 + b": a", b"no colon", b": nothing", b"X : a", b"X:\x00",
        b" folded", b"X: a\r\n b", b"X: \xff\xfe", b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: -1", b"Content-Length: 1e3", b"Content-Length: " + b"9" * 40,
        b"Content-Length: \xb2", b"Transfer-Encoding: gzip", b"Expect: 100-continue",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"Expect: nothing", b"Host: \x00",
        b"\r\n".join(b"H%d: x" % n for n in range(150)), b"Connection: upgrade\r\nUpgrade: h2c",
        b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding:\x0bchunked", b"X: a\nY: b",
    ])  # fmt: skip
    return HEAD + line + b"\r\n\r\n" + chance.choice([b"", GOOD])


def line(chance: Chance) -> bytes:
    """A request line that is none, or nearly."""
    return chance.choice([
        b"", b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"GET /jobs\r\n\r\n", b"get /jobs HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://x/jobs HTTP/1.1\r\nHost: y\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", b"GET /jobs?type=\xb2 HTTP/1.1\r\n\r\n",
        b"GET /jobs/\xff\xfe HTTP/1.1\r\n\r\n", b"GET /jobs/%zz HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00", b"GET /\x00 HTTP/1.1\r\n\r\n", b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"G\xc9T / HTTP/1.1\r\n\r\n", b"GET  /jobs  HTTP/1.1\r\n\r\n", b"GET /jobs HTTP/1.1\n\n",
        b"*1\r\n$4\r\nPING\r\n", b"GET /jobs HTTP/1.0\r\n\r\n",
        b"GET //x/../jobs HTTP/1.1\r\n\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + framed(GOOD),
    ])  # fmt: skip


def pipelined(chance: Chance) -> bytes:
    """Several at once, the last one perhaps half."""
    several = b"".join(framed(chance.choice([GOOD, body(chance, 1)])) for _ in range(4))
    return several[: chance.randrange(len(several))] if chance.random() < 0.4 else several


KINDS: list[Callable[[Chance], bytes]] = [
    lambda c: framed(body(c, 1)),
    lambda c: framed(GOOD, c.choice([0, 5, len(GOOD) - 1, len(GOOD) + 1, 10**6, 10**9])),
    lambda c: framed(GOOD)[: c.randrange(len(framed(GOOD)))],
    lambda c: chunked(c, body(c, 1)),
    header,
    line,
    pipelined,
    lambda c: c.randbytes(c.randrange(2000)),
    lambda c: c.choice(BYTES) + framed(GOOD) + c.choice(BYTES),
]


def act(lane: Lane) -> None:
    """Each case is one connection."""
    with lane.server() as settings:
        api = Api(settings.redis_url, lane.folder)
        slow = [api.connect() for _ in range(SLOW)]
        try:
            for case, chance in lane.each():
                slow = [drip(api, one, chance) for one in slow] if case % 25 < 2 else slow
                strike(lane, api, case, chance)
                if case % 50 < 2:
                    lives(lane, api, case)
            lives(lane, api, "the last")
        finally:
            for one in slow:
                one.close()
            kill_session(api.process)
        lane.report.counts["log lines"] += read_log(lane, api.log)


def drip(api: Api, slow: socket.socket, chance: Chance) -> socket.socket:
    """One more byte of a request that never ends; given up, it begins again."""
    try:
        slow.send(chance.choice([b"P", b"O", b"\r", b"\n", b" "]))
    except OSError:
        slow.close()
        return api.connect()
    return slow


def strike(lane: Lane, api: Api, case: int, chance: Chance) -> None:
    """Say it in one piece or several, then listen, leave or cut."""
    said = chance.choice(KINDS)(chance)
    got, ending = b"", chance.choice(["listen", "listen", "half", "leave", "cut"])
    with contextlib.suppress(OSError), api.connect() as sock:
        sock.settimeout(LISTEN)
        for piece in pieces(chance, said):
            sock.sendall(piece)
        if ending == "cut":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif ending != "leave":
            if ending == "half":
                sock.shutdown(socket.SHUT_WR)
            while more := sock.recv(65_536):
                got += more
    lane.report.counts["connections"] += 1
    for status in map(int, LINE.findall(got)):
        lane.report.counts[f"status {status}"] += 1
        if status >= 500 and status not in ALLOWED:
            lane.report.broke(case, f"{status} for {said[:300]!r}: {got[:300]!r}")
    if got and not got.startswith(b"HTTP/1."):
        lane.report.broke(case, f"no HTTP for {said[:300]!r}: {got[:200]!r}")


def pieces(chance: Chance, said: bytes) -> list[bytes]:
    """The bytes in up to three parts."""
    cuts = sorted(chance.randrange(len(said) + 1) for _ in range(chance.choice([0, 0, 1, 2])))
    edges = [0, *cuts, len(said)]
    return [said[a:b] for a, b in pairwise(edges)]


def lives(lane: Lane, api: Api, case: object) -> None:
    """An ordinary client is served, by the processes that were there from the beginning."""
    status = api.ask("POST", "/jobs", json.dumps({"type": "a", "payload": case}).encode())
    if status != 201:
        lane.report.broke(case, f"an ordinary job is answered {status}")
    family = api.family()
    if api.pids - family:
        lane.report.broke(case, "a process of the API died")
    api.pids = family
    lane.report.counts["ordinary jobs between"] += 1
