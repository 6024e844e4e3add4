"""Settings: flag over environment over default; a bad value is refused by its variable's name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ferryman import config
from ferryman.backoff import Backoff
from ferryman.config import Settings, load, mask, table, with_redis
from ferryman.errors import ConfigError

BAD = {
    "REDIS_URL": [
        "http://localhost",
        "redis://",
        "redis://host:port",
        "redis://host:99999",
        ":6379",
    ],
    "REDIS_PASSWORD_FILE": ["/no/such/file", "/"],
    "PORT": ["0", "65536", "eighty", "-1", "8081.0", " "],
    "FERRYMAN_API_PROCESSES": ["0", "65"],
    "FERRYMAN_API_THREADS": ["0", "257"],
    "FERRYMAN_MAX_BODY": ["1023", "1MiB"],
    "NUM_WORKERS": ["0", "1001", "five"],
    "FERRYMAN_PROCESSES": ["0", "65"],
    "FERRYMAN_QUEUES": [",", "a b", "a:b", "x" * 65],
    "FERRYMAN_MAX_ATTEMPTS": ["0", "1001"],
    "FERRYMAN_TIMEOUT": ["0", "604801", "nan", "inf", "1m"],
    "FERRYMAN_GRACE": ["0", "3601"],
    "FERRYMAN_BACKOFF_BASE": ["-1", "86401"],
    "FERRYMAN_BACKOFF_FACTOR": ["0.5", "101"],
    "FERRYMAN_BACKOFF_CAP": ["-1", "86401"],
    "FERRYMAN_BACKOFF_JITTER": ["1.1", "-0.1", "half"],
    "FERRYMAN_LEASE": ["2.9", "3601"],
    "FERRYMAN_DRAIN": ["-1", "3601"],
    "FERRYMAN_MAX_CHILD_JOBS": ["-1", "1000000001", "many"],
    "FERRYMAN_MAX_CHILD_MEMORY": ["-1", "1000001", "512MiB"],
    "FERRYMAN_RETENTION": ["0", "31536001"],
    "FERRYMAN_MAX_PENDING": ["0", "1000000001"],
    "FERRYMAN_LOG_LEVEL": ["loud", "INFO"],
    "FERRYMAN_LOG_FORMAT": ["xml"],
    "FERRYMAN_TRACE_PARENT": ["2", "yes"],
}

GOOD: dict[str, tuple[str, Any]] = {
    "REDIS_URL": ("rediss://user:secret@example.org:6380/2",) * 2,
    "REDIS_PASSWORD": ("secret", "secret"),
    "REDIS_PASSWORD_FILE": (__file__, __file__),
    "FERRYMAN_HOST": ("192.0.2.1", "192.0.2.1"),
    "PORT": ("80", 80),
    "FERRYMAN_API_PROCESSES": ("1", 1),
    "FERRYMAN_API_THREADS": ("1", 1),
    "FERRYMAN_MAX_BODY": ("2048", 2048),
    "NUM_WORKERS": ("1000", 1000),
    "FERRYMAN_PROCESSES": ("2", 2),
    "FERRYMAN_QUEUES": ("images, default,images", ("images", "default")),
    "FERRYMAN_APP": ("myproject.jobs:ferry", "myproject.jobs:ferry"),
    "FERRYMAN_MAX_ATTEMPTS": ("1", 1),
    "FERRYMAN_TIMEOUT": ("0.5", 0.5),
    "FERRYMAN_GRACE": ("1", 1.0),
    "FERRYMAN_BACKOFF_BASE": ("0", 0.0),
    "FERRYMAN_BACKOFF_FACTOR": ("1", 1.0),
    "FERRYMAN_BACKOFF_CAP": ("3600", 3600.0),
    "FERRYMAN_BACKOFF_JITTER": ("full", "full"),
    "FERRYMAN_LEASE": ("3", 3.0),
    "FERRYMAN_DRAIN": ("0", 0.0),
    "FERRYMAN_MAX_CHILD_JOBS": ("1000", 1000),
    "FERRYMAN_MAX_CHILD_MEMORY": ("512", 512),
    "FERRYMAN_RETENTION": ("60", 60.0),
    "FERRYMAN_MAX_PENDING": ("1000", 1000),
    "FERRYMAN_DATA": ("/var/lib/ferryman", "/var/lib/ferryman"),
    "FERRYMAN_FILES": ("/srv/files", "/srv/files"),
    "SMTP_URL": ("smtp://localhost:25",) * 2,
    "MAIL_FROM": ("jobs@example.org",) * 2,
    "FERRYMAN_LOG_LEVEL": ("debug", "debug"),
    "FERRYMAN_LOG_FORMAT": ("json", "json"),
    "FERRYMAN_TRACE_PARENT": ("1", 1),
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in BAD.items() for v in vs])
def test_a_bad_value_is_refused_by_its_variables_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load({name: value})
    message = str(refused.value)
    assert message.startswith(f"{name}: expected ")
    assert repr(value) in message


@pytest.mark.parametrize("spec", fields(Settings), ids=lambda spec: spec.name)
def test_every_setting_is_read_from_its_variable(spec: Any) -> None:
    text, value = GOOD[spec.metadata["env"]]
    assert getattr(load({spec.metadata["env"]: text}), spec.name) == value


def test_every_setting_has_its_own_variable_and_a_line_of_help() -> None:
    names = [spec.metadata["env"] for spec in fields(Settings)]
    assert len(set(names)) == len(names)
    assert all(spec.metadata["help"] for spec in fields(Settings))


def test_every_default_would_be_accepted_as_a_value() -> None:
    for spec in fields(Settings):
        text = ",".join(spec.default) if isinstance(spec.default, tuple) else str(spec.default)
        assert getattr(load({spec.metadata["env"]: text}), spec.name) == spec.default


def test_an_empty_environment_gives_the_defaults() -> None:
    assert load({}) == Settings()
    assert load({"PORT": "", "REDIS_URL": ""}) == Settings()


def test_a_flag_wins_over_the_environment() -> None:
    environ = {"PORT": "9000", "NUM_WORKERS": "7"}
    assert load(environ, port="9001").port == 9001
    assert load(environ, port=9002).port == 9002
    assert load(environ, port=None).port == 9000


def test_a_bad_flag_is_refused_by_its_variables_name() -> None:
    with pytest.raises(ConfigError, match=r"^PORT: expected a whole number .*, got 'x'"):
        load({}, port="x")


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown setting: prot"):
        load({}, prot=1)


def test_more_processes_than_slots_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"FERRYMAN_PROCESSES: expected at most NUM_WORKERS \(2\)"
    ):
        load({"NUM_WORKERS": "2", "FERRYMAN_PROCESSES": "3"})


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("redis:6379", "redis://redis:6379"),
        ("localhost", "redis://localhost"),
        ("redis://[::1]:6379/1", "redis://[::1]:6379/1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_a_server_may_be_named_without_a_scheme(given: str, url: str) -> None:
    assert load({"REDIS_URL": given}).redis_url == url


@pytest.mark.parametrize(
    ("url", "password", "address"),
    [
        ("redis://host:1/0", "", "redis://host:1/0"),
        ("redis://host:1/0", "a@b/c", "redis://:a%40b%2Fc@host:1/0"),
        ("redis://user@host:1/0", "p", "redis://user:p@host:1/0"),
        ("redis://user:own@host:1/0", "p", "redis://user:own@host:1/0"),
    ],
)
def test_the_password_is_put_in_where_the_address_has_none(
    url: str, password: str, address: str
) -> None:
    assert load({"REDIS_URL": url, "REDIS_PASSWORD": password}).redis_address == address


def test_the_backoff_settings_are_the_default_backoff() -> None:
    assert load({}).backoff == Backoff(1.0, 2.0, 30.0, 0.1)
    given = load({"FERRYMAN_BACKOFF_BASE": "0.5", "FERRYMAN_BACKOFF_JITTER": "full"})
    assert given.backoff == Backoff(0.5, 2.0, 30.0, "full")


def test_the_table_says_where_each_value_came_from() -> None:
    environ = {"PORT": "9000"}
    origins = {r.name: (r.value, r.origin) for r in table(load(environ, num_workers=7), environ)}
    assert origins["port"] == ("9000", "environment")
    assert origins["num_workers"] == ("7", "flag")
    assert origins["lease"] == ("12.0", "default")


def test_the_table_shows_no_secret() -> None:
    environ = {
        "REDIS_URL": "redis://user:hidden@host/0",
        "REDIS_PASSWORD": "hidden",
        "SMTP_URL": "smtp://user:hidden@host:25",
    }
    rows = {r.name: r.value for r in table(load(environ), environ)}
    assert "hidden" not in str(rows)
    assert rows["redis_url"] == "redis://user:***@host/0"


@pytest.mark.parametrize("text", ["pa/ss@word", "pa/ss@word\n", "pa/ss@word\r\nnext line"])
def test_the_password_may_lie_in_a_file(tmp_path: Path, text: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text(text, newline="")
    environ = {"REDIS_URL": "redis:6379", "REDIS_PASSWORD_FILE": str(secret)}
    settings = load(environ)
    assert settings.redis_address == "redis://:pa%2Fss%40word@redis:6379"
    assert "ss@word" not in str(table(settings, environ)) + repr(settings)
    assert load({**environ, "REDIS_PASSWORD": "other"}).redis_address == "redis://:other@redis:6379"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:p@host/0", "redis://:***@host/0"),
        ("redis://user:p@host/0", "redis://user:***@host/0"),
        ("redis://host:6379/0", "redis://host:6379/0"),
    ],
)
def test_a_masked_address_shows_no_password(url: str, shown: str) -> None:
    assert mask(url) == shown


def test_a_bad_address_does_not_show_its_password() -> None:
    with pytest.raises(ConfigError) as refused:
        load({"REDIS_URL": "http://user:hidden@host"})
    assert "hidden" not in str(refused.value)


def test_another_server_changes_nothing_else() -> None:
    before = load({"PORT": "9000"})
    after = with_redis(before, "redis://other:1/0")
    assert (after.redis_url, after.port) == ("redis://other:1/0", 9000)
    with pytest.raises(ValueError, match="redis://host:port"):
        with_redis(before, "http://other")


def test_settings_cannot_be_changed_under_way() -> None:
    with pytest.raises(AttributeError):
        config.Settings().port = 1  # type: ignore[misc]
