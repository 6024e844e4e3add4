"""Settings: one table, read once at the start; flag > environment > default.

A bad value is refused with the variable's name and what was expected. `ferryman config` prints
the table with the values in force.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from ferryman.backoff import Backoff
from ferryman.errors import ConfigError
from ferryman.job import QUEUE_PATTERN

Parser = Callable[[str], Any]


def _number(low: float, high: float, unit: str) -> Parser:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"a number of {unit} from {low:g} to {high:g}") from None
        if not low <= value <= high:
            raise ValueError(f"a number of {unit} from {low:g} to {high:g}")
        return value

    return parse


def _whole(low: int, high: int) -> Parser:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def _choice(*words: str) -> Parser:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return parse


def _text(text: str) -> str:
    return text


def _readable_file(text: str) -> str:
    try:
        Path(text).read_text()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ValueError(f"a file that can be read ({reason})") from None
    return text


def _queues(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))
    if not names or not all(QUEUE_PATTERN.fullmatch(n) for n in names):
        raise ValueError("queue names (letters, digits, . _ -) separated by commas")
    return names


def _redis_url(text: str) -> str:
    url = text if "://" in text else f"redis://{text}"
    parts = urlsplit(url)
    try:
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        port_ok = False
    if parts.scheme not in ("redis", "rediss", "unix") or not port_ok:
        raise ValueError("redis://host:port/db, rediss://..., unix://path or host:port")
    if parts.scheme != "unix" and not parts.hostname:
        raise ValueError("redis://host:port/db, rediss://..., unix://path or host:port")
    return url


def _jitter(text: str) -> float | str:
    return text if text == "full" else _number(0, 1, 'a share, or "full",')(text)


def _setting(env: str, default: Any, parse: Parser, help: str, secret: bool = False) -> Any:
    return field(
        default=default, metadata={"env": env, "parse": parse, "help": help, "secret": secret}
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting with its default; times in seconds. Build it with `load`."""

    redis_url: str = _setting(
        "REDIS_URL", "redis://localhost:6379/0", _redis_url, "the Redis or Valkey server to use"
    )
    redis_password: str = _setting(
        "REDIS_PASSWORD", "", _text, "its password, when the address has none", secret=True
    )
    redis_password_file: str = _setting(
        "REDIS_PASSWORD_FILE", "", _readable_file, "file with that password, as secrets come"
    )
    host: str = _setting("FERRYMAN_HOST", "127.0.0.1", _text, "address the API listens on")
    port: int = _setting("PORT", 8081, _whole(1, 65535), "port the API listens on")
    api_processes: int = _setting(
        "FERRYMAN_API_PROCESSES", 2, _whole(1, 64), "gunicorn processes of the API"
    )
    api_threads: int = _setting(
        "FERRYMAN_API_THREADS", 8, _whole(1, 256), "request threads of each API process"
    )
    max_body: int = _setting(
        "FERRYMAN_MAX_BODY", 1_048_576, _whole(1024, 1 << 30), "largest request body, bytes"
    )
    num_workers: int = _setting(
        "NUM_WORKERS", 5, _whole(1, 1000), "slots: jobs one worker runs at a time"
    )
    processes: int = _setting(
        "FERRYMAN_PROCESSES", 1, _whole(1, 64), "child processes the slots are spread over"
    )
    queues: tuple[str, ...] = _setting(
        "FERRYMAN_QUEUES", ("default",), _queues, "queues a worker serves, in order"
    )
    app: str = _setting(
        "FERRYMAN_APP", "ferryman_worker.jobs:ferry", _text, "module:name of the Ferryman served"
    )
    max_attempts: int = _setting(
        "FERRYMAN_MAX_ATTEMPTS", 3, _whole(1, 1000), "failed runs before a job is dead"
    )
    timeout: float = _setting(
        "FERRYMAN_TIMEOUT", 60.0, _number(0.1, 604_800, "seconds"), "time limit of one run"
    )
    grace: float = _setting(
        "FERRYMAN_GRACE",
        5.0,
        _number(0.1, 3600, "seconds"),
        "after the limit, until the child is killed",
    )
    backoff_base: float = _setting(
        "FERRYMAN_BACKOFF_BASE", 1.0, _number(0, 86_400, "seconds"), "wait after the first failure"
    )
    backoff_factor: float = _setting(
        "FERRYMAN_BACKOFF_FACTOR", 2.0, _number(1, 100, "times"), "growth of the wait per failure"
    )
    backoff_cap: float = _setting(
        "FERRYMAN_BACKOFF_CAP", 30.0, _number(0, 86_400, "seconds"), "longest wait, before jitter"
    )
    backoff_jitter: float | str = _setting(
        "FERRYMAN_BACKOFF_JITTER", 0.1, _jitter, 'spread around the wait: a share, or "full"'
    )
    lease: float = _setting(
        "FERRYMAN_LEASE", 12.0, _number(3, 3600, "seconds"), "how long a silent worker counts alive"
    )
    drain: float = _setting(
        "FERRYMAN_DRAIN", 8.0, _number(0, 3600, "seconds"), "for running jobs to end at a stop"
    )
    max_child_jobs: int = _setting(
        "FERRYMAN_MAX_CHILD_JOBS",
        0,
        _whole(0, 1_000_000_000),
        "jobs after which a child process is replaced; 0: never",
    )
    max_child_memory: int = _setting(
        "FERRYMAN_MAX_CHILD_MEMORY",
        0,
        _whole(0, 1_000_000),
        "MiB in use at which a child process is replaced; 0: never",
    )
    retention: float = _setting(
        "FERRYMAN_RETENTION",
        604_800.0,
        _number(1, 31_536_000, "seconds"),
        "how long a finished job can be read",
    )
    max_pending: int = _setting(
        "FERRYMAN_MAX_PENDING",
        100_000,
        _whole(1, 1_000_000_000),
        "waiting jobs a queue takes before 503",
    )
    data: str = _setting("FERRYMAN_DATA", "./.ferryman", _text, "folder of the embedded server")
    files: str = _setting("FERRYMAN_FILES", "./files", _text, "folder image and report jobs use")
    smtp_url: str = _setting(
        "SMTP_URL", "", _text, "smtp://user:password@host:port of `email` jobs", secret=True
    )
    mail_from: str = _setting("MAIL_FROM", "ferryman@localhost", _text, "sender of `email` jobs")
    log_level: str = _setting(
        "FERRYMAN_LOG_LEVEL", "info", _choice("debug", "info", "warning", "error"), "least level"
    )
    log_format: str = _setting(
        "FERRYMAN_LOG_FORMAT", "auto", _choice("auto", "json", "console"), "auto: console on a tty"
    )
    trace_parent: int = _setting(
        "FERRYMAN_TRACE_PARENT",
        0,
        _whole(0, 1),
        "1: the span of a run is the child of the one that sent its job; 0: linked to it",
    )

    @property
    def backoff(self) -> Backoff:
        """The default backoff of jobs and job types that set none."""
        return Backoff(
            self.backoff_base,
            self.backoff_factor,
            self.backoff_cap,
            self.backoff_jitter,  # type: ignore[arg-type]  # the parser allows a share or "full"
        )

    @property
    def redis_address(self) -> str:
        """`redis_url` with the password put in when the address carries none."""
        parts = urlsplit(self.redis_url)
        password = self.redis_password or self._password_from_file()
        if not password or parts.password:
            return self.redis_url
        user = quote(parts.username or "")
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))

    def _password_from_file(self) -> str:
        """The file's first line: an editor puts an end of line after it."""
        if not self.redis_password_file:
            return ""
        return Path(self.redis_password_file).read_text().partition("\n")[0].rstrip("\r")


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from the environment, `overrides` (flags; None is ignored) on top.

    Raises ConfigError naming the variable and what was expected. An empty variable counts as
    unset. An override is a string to parse, or a value taken as it is.
    """
    env = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for spec in fields(Settings):
        meta = spec.metadata
        given = overrides.pop(spec.name, None)
        text = env.get(meta["env"]) or None if given is None else given
        if text is None:
            continue
        values[spec.name] = _parse(meta, text) if isinstance(text, str) else text
    if overrides:
        raise ConfigError(f"unknown setting: {', '.join(sorted(overrides))}")
    settings = Settings(**values)
    if settings.processes > settings.num_workers:
        raise ConfigError(
            f"FERRYMAN_PROCESSES: expected at most NUM_WORKERS ({settings.num_workers}), "
            f"got {settings.processes}"
        )
    return settings


def _parse(meta: Mapping[str, Any], text: str) -> Any:
    try:
        return meta["parse"](text)
    except ValueError as error:
        shown = "a value that is not one" if meta["secret"] else repr(mask(text))
        raise ConfigError(f"{meta['env']}: expected {error}, got {shown}") from None


@dataclass(frozen=True)
class Row:
    """One line of `ferryman config`."""

    name: str
    env: str
    value: str
    origin: str
    help: str


def table(
    settings: Settings,
    environ: Mapping[str, str] | None = None,
    origins: Mapping[str, str] | None = None,
) -> list[Row]:
    """Every setting with its value in force and where that came from; secrets are masked.

    `origins`: where those come from, by name, that neither a flag nor the environment gave.
    """
    env = os.environ if environ is None else environ
    rows = []
    for spec in fields(Settings):
        value = getattr(settings, spec.name)
        shown = ",".join(value) if isinstance(value, tuple) else str(value)
        if spec.metadata["secret"] and shown:
            shown = "***"
        if spec.name == "redis_url":
            shown = mask(shown)
        origin = "default"
        if value != spec.default:
            origin = "environment" if env.get(spec.metadata["env"]) else "flag"
        origin = (origins or {}).get(spec.name, origin)
        rows.append(Row(spec.name, spec.metadata["env"], shown, origin, spec.metadata["help"]))
    return rows


def mask(url: str) -> str:
    """An address safe to print: its password replaced by ***."""
    return re.sub(r"(://[^:/@]*:).*@", r"\1***@", url)


def with_redis(settings: Settings, url: str) -> Settings:
    """The same settings, another server."""
    return replace(settings, redis_url=_redis_url(url))
