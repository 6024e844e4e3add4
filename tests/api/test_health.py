"""/health, /livez and /readyz: three questions, three answers."""

import pytest

from ferryman.store import Store


def test_health_says_healthy(client):
    answer = client.get("/health")
    assert (answer.status_code, answer.json) == (200, {"status": "healthy"})
    assert answer.content_type == "application/json"


def test_health_says_unhealthy_when_redis_is_away(deaf):
    answer = deaf.get("/health")
    assert answer.status_code == 503
    assert answer.json == {"status": "unhealthy", "error": "redis connection failed"}


def test_health_is_not_coloured_by_what_the_other_client_went_through(app, client, monkeypatch):
    def away(self):
        raise AssertionError("the jobs' client is not asked")

    ping = Store.ping
    monkeypatch.setattr(app.store, "ping", away.__get__(app.store))
    assert client.get("/health").status_code == 200
    assert app.probe.ping.__func__ is ping


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz"])
def test_head_is_answered_too(client, path):
    answer = client.head(path)
    assert (answer.status_code, answer.data) == (200, b"")


def test_livez_is_200_without_redis(deaf):
    assert deaf.get("/livez").status_code == 200


def test_readyz_follows_redis(client, deaf):
    assert client.get("/readyz").status_code == 200
    answer = deaf.get("/readyz")
    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
