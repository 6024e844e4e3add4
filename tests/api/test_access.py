"""One log line and one id for every request."""

import re

import pytest
from structlog.testing import capture_logs


def lines_of(act):
    """The request lines an act leaves."""
    with capture_logs() as lines:
        act()
    return [line for line in lines if line["event"] == "request"]


def test_a_request_leaves_one_line(client):
    (line,) = lines_of(lambda: client.post("/jobs", json={"type": "a", "payload": "secret"}))
    assert 0 < line.pop("duration_ms") < 5000
    assert re.fullmatch("[0-9a-f]{16}", line.pop("request_id"))
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "POST",
        "path": "/jobs",
        "status": 201,
    }


def test_an_error_says_what_was_wrong(client, deaf):
    (line,) = lines_of(lambda: client.post("/jobs", json={"type": "a", "delay": -1}))
    assert line["status"] == 422
    assert line["error"].startswith("/delay: expected a number")
    (line,) = lines_of(lambda: deaf.get("/stats"))
    assert line["status"] == 503
    assert "127.0.0.1:1" in line["error"], "the cause the client is not told"


def test_an_error_a_client_makes_long_is_cut(client):
    (line,) = lines_of(lambda: client.get("/jobs?" + "x" * 3000 + "=1"))
    assert len(line["error"]) == 500


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/metrics"])
def test_what_machines_ask_every_second_is_for_debugging_only(client, path):
    (line,) = lines_of(lambda: client.get(path))
    assert line["log_level"] == "debug"


def test_what_is_refused_before_a_route_is_found_leaves_a_line_too(client):
    assert [line["status"] for line in lines_of(lambda: client.get("/nope"))] == [404]
    assert [line["status"] for line in lines_of(lambda: client.put("/jobs"))] == [405]


def test_the_id_a_client_gives_comes_back_and_is_logged(client):
    with capture_logs() as lines:
        answer = client.get("/stats", headers={"X-Request-Id": "abc-1.2_3"})
    assert answer.headers["X-Request-Id"] == "abc-1.2_3"
    assert lines[-1]["request_id"] == "abc-1.2_3"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a;b", "<script>", "é", "a\u0085b"])
def test_an_id_that_could_do_harm_is_replaced(client, given):
    header = given.encode().decode("latin-1")
    answer = client.get("/stats", headers={"X-Request-Id": header})
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-Id"])


def test_the_path_is_logged_as_it_was_meant(client):
    (line,) = lines_of(lambda: client.get("/jobs/%E2%9B%B4%0A{}"))
    assert line["path"] == "/jobs/\N{FERRY}\n{}"
