"""The API as a process under gunicorn: starting, stopping, bad clients, and Redis going away."""

import contextlib
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.journey.programs import until

from ferryman.config import Settings
from ferryman.embedded import free_port
from ferryman.processes import kill_session, spawn
from ferryman.store import Store
from ferryman_api.listen import STALL, listen

JOB = b'{"type":"a","payload":{"input":"hello world"}}'
TOGETHER = 50


class Api:
    """`ferryman api` as a process, and its log."""

    def __init__(self, redis_url, folder, **environ):
        self.port = free_port()
        self.log = folder / f"api-{self.port}.log"
        environ = {"REDIS_URL": redis_url, "PORT": str(self.port), **environ}
        with self.log.open("wb") as out:
            command = [sys.executable, "-m", "ferryman", "api"]
            self.process = spawn(command, stdout=out, stderr=out, env=os.environ | environ)

    def await_ready(self):
        end = time.monotonic() + 30
        while self.ask("GET", "/readyz")[0] != 200:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)
        return self

    def ask(self, method, path, body=None, timeout=20):
        """(status, JSON or text, seconds) of a request; the status is None when none came."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                return None, repr(error), time.monotonic() - began
            kind = answer.headers["Content-Type"] or ""
        return answer.status, json.loads(text) if "json" in kind else text, time.monotonic() - began

    def post(self):
        return self.ask("POST", "/jobs", JOB)

    def connect(self, data=b""):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(data)
        return connection

    def lines(self, event):
        return [line for line in map(json.loads, self.log.open()) if line["event"] == event]

    def await_lines(self, event, within=10):
        end = time.monotonic() + within
        while not (lines := self.lines(event)):
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)
        return lines

    def ended(self, within=20):
        """The exit code; fails when the process takes longer. Promised are 10 s, of which what is
        in flight may take 8: a busy machine is slower than the 2 s left."""
        return self.process.wait(within)


@pytest.fixture
def server(start_server):
    return start_server()


@pytest.fixture
def start_api(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(redis_url, **environ):
            api = Api(redis_url, tmp_path, **environ)
            stack.callback(kill_session, api.process)
            return api

        yield start


@pytest.fixture
def api(start_api, server):
    return start_api(server.url).await_ready()


def rest(connection):
    """Everything the server still sends, until it closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def head(framing):
    lines = ["POST /jobs HTTP/1.1", "Host: x", "Content-Type: application/json", framing]
    return "\r\n".join([*lines, "", ""]).encode()


def length(number):
    return head(f"Content-Length: {number}")


# Starting.


def test_the_start_says_the_address_and_the_endpoints(api):
    (started,) = api.lines("api.started")
    assert started["address"] == f"http://127.0.0.1:{api.port}"
    assert {"POST /jobs", "GET /health", "GET /metrics"} <= set(started["endpoints"])


def refusal(**environ):
    """(exit code, what was said) of an API that does not start."""
    command = [sys.executable, "-m", "ferryman", "api"]
    done = subprocess.run(
        command, env=os.environ | environ, capture_output=True, timeout=60, check=False
    )
    return done.returncode, done.stderr.decode(), done.stdout.decode()


def test_a_port_that_is_taken_is_one_line_and_exit_1(server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said, printed = refusal(REDIS_URL=server.url, PORT=port)
    assert (code, printed, said.count("\n")) == (1, "", 1)
    assert f"port {port} is taken" in said
    assert "PORT" in said


def test_redis_out_of_reach_is_one_line_and_exit_3():
    url = f"redis://127.0.0.1:{free_port()}/0"
    code, said, printed = refusal(REDIS_URL=url, PORT=str(free_port()))
    assert (code, printed, said.count("\n")) == (3, "", 1)
    assert url in said
    assert "REDIS_URL" in said


def test_an_address_that_is_not_ours_is_one_line_and_exit_1(server):
    code, said, _ = refusal(REDIS_URL=server.url, FERRYMAN_HOST="192.0.2.1")
    assert (code, said.count("\n")) == (1, 1)
    assert "FERRYMAN_HOST" in said


def test_a_bad_setting_is_one_line_and_exit_2():
    code, said, _ = refusal(PORT="eighty")
    assert (code, said.count("\n")) == (2, 1)
    assert "PORT" in said


# Stopping.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_a_request_in_flight_complete_and_exits_0(api, server, number):
    connection = api.connect(length(len(JOB)) + JOB[:10])
    time.sleep(0.3)
    os.killpg(api.process.pid, number)  # as Ctrl-C in a terminal does: to every process
    time.sleep(0.5)
    assert api.ask("GET", "/livez")[0] is None, "nothing new is accepted"
    connection.sendall(JOB[10:])
    answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert api.ended() == 0
    assert len(api.lines("api.stopped")) == 1
    job_id = json.loads(answer.partition(b"\r\n\r\n")[2])["job_id"]
    store = Store(Settings(redis_url=server.url))
    assert store.get(job_id).state == "pending"


def test_a_stop_under_load_answers_all_it_accepted(api, server):
    stop = threading.Event()

    def load():
        answers = []
        while not stop.is_set():
            answers.append(api.post()[0])
        return answers

    with ThreadPoolExecutor(8) as pool:
        loads = [pool.submit(load) for _ in range(8)]
        time.sleep(0.7)
        api.process.terminate()
        code = api.ended()
        stop.set()
        answers = [status for future in loads for status in future.result()]
    assert code == 0
    assert set(answers) <= {201, None}
    accepted = Store(Settings(redis_url=server.url)).stats().total
    assert answers.count(201) == accepted, "what was accepted was answered"


def test_idle_and_stalled_clients_do_not_hold_up_a_stop(api):
    clients = [api.connect(), api.connect(b"GET /liv"), api.connect(length(100) + b"{")]
    clients.append(api.connect(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert clients[-1].recv(100).startswith(b"HTTP/1.1 200 ")
    time.sleep(0.3)
    api.process.terminate()
    assert api.ended() == 0
    for client in clients:
        client.close()


# Clients.


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", 400),
        (length("many"), 400),
        (head("Transfer-Encoding: foo"), 501),
    ],
    ids=["no HTTP", "long path", "long header", "bad header", "bad length", "bad coding"],
)
def test_what_is_not_http_is_answered_as_a_problem(api, raw, status):
    answer = rest(api.connect(raw))
    first, _, body = answer.partition(b"\r\n\r\n")
    assert first.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"application/problem+json" in first
    assert json.loads(body)["status"] == status
    line = refused_line(api)
    assert line["status"] == status
    assert f"X-Request-Id: {line['request_id']}".encode() in first


def refused_line(api):
    """The only line of a request; those refused before a route was looked for have these keys."""
    (line,) = api.await_lines("request")
    assert 0 < line["duration_ms"] < 20_000
    assert len(line["request_id"]) == 16
    assert line.keys() - {"ts", "level", "event", "status"} == {
        "duration_ms", "request_id", "error",
    }  # fmt: skip
    return line


def test_a_client_that_stalls_in_its_request_leaves_a_line_too(api):
    with api.connect(b"GET /liv") as connection:
        assert connection.recv(1) == b""
    line = refused_line(api)
    assert "stalled" in line["error"]
    assert line["duration_ms"] > 4000
    assert "status" not in line
    assert api.ask("GET", "/livez")[0] == 200


def test_a_body_over_the_limit_is_answered_not_cut_off(api):
    status, problem, _ = api.ask("POST", "/jobs", b" " * 3_000_000)
    assert (status, problem["status"]) == (413, 413)
    chunks = [b" " * 65_536] * 40
    status, problem, _ = api.ask("POST", "/jobs", iter(chunks))
    assert (status, problem["status"]) == (413, 413)


@pytest.mark.parametrize("broken", [b"zz\r\n", b"5\r\n12"], ids=["bad size", "cut short"])
def test_a_broken_chunk_is_400(api, broken):
    connection = api.connect(head("Transfer-Encoding: chunked\r\nConnection: close"))
    connection.sendall(broken)
    connection.shutdown(socket.SHUT_WR)
    assert rest(connection).startswith(b"HTTP/1.1 400 ")
    assert api.lines("bug") == []


def test_silent_clients_hold_no_threads(api):
    silent = [api.connect() for _ in range(TOGETHER)]
    status, _, seconds = api.ask("GET", "/health")
    assert status == 200
    assert seconds < 2
    for client in silent:
        client.close()


def test_a_client_that_stalls_is_given_up():
    with listen(Settings(port=free_port())) as listener:
        client = socket.create_connection(listener.getsockname())
        client.sendall(b"GET")
        accepted, _ = listener.accept()
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            seconds, _ = struct.unpack("ll", accepted.getsockopt(socket.SOL_SOCKET, option, 16))
            assert seconds == STALL
        client.close()
        accepted.close()


# Redis.


@contextlib.contextmanager
def frozen(server):
    """A Redis that takes connections and never answers."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def await_recovery(api, within=5):
    end = time.monotonic() + within
    while api.post()[0] != 201 or api.ask("GET", "/health")[0] != 200:
        assert time.monotonic() < end, api.log.read_text()
        time.sleep(0.05)


def test_a_frozen_redis_is_503_within_2_s_for_50_posts_and_health(api, server):
    api.post()
    with frozen(server), ThreadPoolExecutor(TOGETHER + 1) as pool:
        posts = [pool.submit(api.post) for _ in range(TOGETHER)]
        healths = [pool.submit(api.ask, "GET", "/health")]
        time.sleep(0.2)
        answers = [future.result() for future in posts]
        health = [future.result() for future in healths]
    assert {status for status, _, _ in answers} == {503}
    assert {problem["type"] for _, problem, _ in answers} == {
        "https://ferryman.dev/problems/storage-unavailable"
    }
    assert health[0][:2] == (503, {"status": "unhealthy", "error": "redis connection failed"})
    assert max(seconds for _, _, seconds in answers + health) < 2
    await_recovery(api)


def test_a_frozen_redis_is_503_within_2_s_however_long_and_often(api, server):
    api.post()
    for _ in range(2):
        with frozen(server), ThreadPoolExecutor(400) as pool:
            asked = [pool.submit(api.post) for _ in range(TOGETHER)]
            for _ in range(150):
                asked += [pool.submit(api.post), pool.submit(api.ask, "GET", "/health")]
                time.sleep(0.02)
            answers = [future.result() for future in asked]
        assert {status for status, _, _ in answers} == {503}
        assert max(seconds for _, _, seconds in answers) < 2
        await_recovery(api)


def test_livez_and_metrics_answer_while_redis_is_frozen(api, server):
    with frozen(server):
        assert api.ask("GET", "/livez")[0] == 200
        status, text, seconds = api.ask("GET", "/metrics")
        assert (status, seconds < 2) == (200, True)
        assert "ferryman_redis_up 0\n" in text
        assert api.ask("GET", "/readyz")[0] == 503


def test_redis_stopped_and_started_again_is_served_without_a_restart(api, start_server, server):
    status, answer, _ = api.post()
    assert status == 201
    port = server.port
    server.stop()
    for _ in range(3):
        assert api.post()[0] == 503
        status, body, seconds = api.ask("GET", "/health")
        assert (status, body["status"]) == (503, "unhealthy")
        assert seconds < 2
    start_server(port=port)
    await_recovery(api)
    path = f"/jobs/{answer['job_id']}"  # this server keeps nothing; each process finds it by itself
    until(lambda: api.ask("GET", path)[0] == 404)
    assert api.lines("bug") == []


# Many at once.


def test_several_processes_count_as_one(start_api, server):
    api = start_api(server.url, FERRYMAN_API_PROCESSES="3").await_ready()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: api.post(), range(300)))
    assert {status for status, _, _ in answers} == {201}
    for _ in range(6):
        assert "jobs_created_total 300\n" in api.ask("GET", "/metrics")[1]
    assert len(api.lines("request")) == 300
