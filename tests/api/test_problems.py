"""What every error has in common: one shape, never HTML, never silent."""

import pytest
from structlog.testing import capture_logs

from ferryman_api import problems


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/jobs/", "/jobs/a/b", "/jobs/a/retry/", "/JOBS", "/static/x"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_an_unknown_path_is_404(client, path, method):
    answer = client.open(path, method=method)
    assert answer.status_code == 404
    assert "/openapi.json" in answer.json["detail"]
    assert answer.content_type == "application/problem+json"
    assert answer.json["type"] == "https://ferryman.dev/problems/not-found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/jobs", {"GET", "HEAD", "POST"}),
        ("PUT", "/jobs", {"GET", "HEAD", "POST"}),
        ("OPTIONS", "/jobs", {"GET", "HEAD", "POST"}),
        ("POST", "/jobs/a", {"GET", "HEAD", "DELETE"}),
        ("GET", "/jobs/a/retry", {"POST"}),
        ("POST", "/stats", {"GET", "HEAD"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("POST", "/metrics", {"GET", "HEAD"}),
        ("BREW", "/jobs", {"GET", "HEAD", "POST"}),
    ],
)
def test_another_method_is_405_and_allow_says_which(client, method, path, allowed):
    answer = client.open(path, method=method)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == allowed
    assert answer.content_type == "application/problem+json"


def test_a_problem_has_the_members_of_rfc_9457(client):
    answer = client.get("/jobs/unknown")
    assert set(answer.json) == {"type", "title", "status", "detail"}
    assert answer.json["status"] == answer.status_code == 404


def test_every_kind_has_a_name_of_its_own():
    kinds = [*problems.TABLE.values(), problems.BUG]
    assert len({kind.slug for kind in kinds}) == len(kinds)
    assert len({kind.title for kind in kinds}) == len(kinds)


def test_a_bug_is_500_logged_with_its_traceback_and_the_api_lives(app, client, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(app.store, "stats", broken)
    with capture_logs() as lines:
        answer = client.get("/stats", headers={"X-Request-Id": "r1"})
    assert answer.status_code == 500
    assert answer.json["type"] == "https://ferryman.dev/problems/internal-error"
    assert "secret" not in answer.text
    (bug,) = [line for line in lines if line["event"] == "bug"]
    assert (bug["log_level"], bug["request_id"]) == ("error", "r1")
    assert isinstance(bug["exc_info"], ZeroDivisionError)
    assert client.get("/livez").status_code == 200


def test_a_bug_in_every_route_is_500(app, client, monkeypatch, post):
    job_id = post()

    def broken(*_):
        raise RuntimeError

    for verb in ("enqueue", "get", "recent", "delete", "revive", "stats", "scrape"):
        monkeypatch.setattr(app.store, verb, broken)
    monkeypatch.setattr(app.probe, "ping", broken)
    for method, path in [
        ("GET", "/jobs"),
        ("GET", f"/jobs/{job_id}"),
        ("DELETE", f"/jobs/{job_id}"),
        ("POST", f"/jobs/{job_id}/retry"),
        ("GET", "/stats"),
        ("GET", "/health"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    ]:
        assert client.open(path, method=method).status_code == 500
    assert client.post("/jobs", json={"type": "a"}).status_code == 500
