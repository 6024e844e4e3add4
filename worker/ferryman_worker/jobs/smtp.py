"""Sending one message over SMTP: where to (`Server`, from SMTP_URL) and what a refusal means."""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ferryman import Bury, ConfigError

DEFAULT_PORTS = {"smtp": 25, "smtps": 465}


class NotSent(Exception):
    """The server could not be reached or asked to come back later (4xx); worth another try."""


@dataclass(frozen=True)
class Server:
    """A mail server and how to talk to it. `starttls` None: when the server offers it."""

    host: str
    port: int
    tls: bool = False
    starttls: bool | None = None
    user: str = ""
    password: str = field(default="", repr=False)


@lru_cache(maxsize=4)
def server(url: str) -> Server:
    """The server that SMTP_URL names; ConfigError, which never shows the password, when none."""
    try:
        return _server(urlsplit(url))
    except ValueError:
        raise ConfigError(
            "SMTP_URL: expected smtp://user:password@host:port (smtps:// for TLS from the start,"
            " ?starttls=1 to insist on STARTTLS, =0 to do without; % codes for / # ? @ in the"
            " password), got something else"
        ) from None


def _server(parts: SplitResult) -> Server:
    options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    starttls = {None: None, "1": True, "0": False}.get(options.pop("starttls", None), "wrong")
    tls = parts.scheme == "smtps"
    wrong = (
        parts.scheme not in DEFAULT_PORTS,
        not parts.hostname,
        parts.port == 0,
        parts.path not in ("", "/"),
        parts.fragment != "",
        bool(options),
        starttls == "wrong",
        tls and starttls is not None,
        bool(parts.username) != bool(parts.password),
    )
    if any(wrong) or isinstance(starttls, str):
        raise ValueError
    return Server(
        host=parts.hostname or "",
        port=parts.port or DEFAULT_PORTS[parts.scheme],
        tls=tls,
        starttls=starttls,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def send(
    where: Server, message: EmailMessage, sender: str, recipients: Sequence[str], seconds: float
) -> None:
    """Deliver to every recipient or to none, within about `seconds`.

    Raises Bury, with the server's words, when it refuses for good (5xx), and NotSent otherwise.
    After a connection lost between the end of the message and the server's answer, nobody can
    know whether it was taken: NotSent, and the next try may deliver it a second time.
    """
    try:
        _deliver(where, message, sender, recipients, time.monotonic() + seconds)
    except smtplib.SMTPRecipientsRefused as error:
        address, (code, words) = next(iter(error.recipients.items()))
        raise _refusal(f"{address}: ", code, words) from error
    except smtplib.SMTPResponseException as error:
        raise _refusal("", error.smtp_code, error.smtp_error) from error
    except smtplib.SMTPNotSupportedError as error:
        raise Bury(f"{where.host}:{where.port} cannot send this mail: {error}") from error
    except OSError as error:  # also every other SMTPException: a lost connection among them
        raise NotSent(f"{where.host}:{where.port}: {error}") from error


def _refusal(about: str, code: int, words: bytes | str) -> Exception:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    said = f"{about}{code} {' '.join(text.split())}"
    if 500 <= code <= 599:
        return Bury(f"mail refused: {said}")
    return NotSent(f"mail not taken now: {said}")


def _deliver(
    where: Server, message: EmailMessage, sender: str, recipients: Sequence[str], deadline: float
) -> None:
    session = _connect(where, deadline)
    try:
        if where.user:
            session.login(where.user, where.password)
        session.send_message(message, sender, recipients)
    finally:
        # What happens at the goodbye cannot change what happened to the mail.
        with suppress(OSError):
            session.quit()
        session.close()


def _connect(where: Server, deadline: float) -> _Session:
    if where.tls:
        trusted = ssl.create_default_context()
        return _TlsSession(deadline, where.host, where.port, context=trusted)
    session = _Session(deadline, where.host, where.port)
    try:
        session.ehlo_or_helo_if_needed()
        offered = session.has_extn("starttls")
        if where.starttls or (where.starttls is None and offered):
            session.starttls(context=ssl.create_default_context())
    except BaseException:
        session.close()
        raise
    return session


class _Session(smtplib.SMTP):
    """An SMTP connection with one deadline for everything, and all recipients or none.

    smtplib's own timeout is per answer: a slow server could outlast the job's time limit.
    """

    def __init__(self, deadline: float, host: str, port: int, **options: Any) -> None:
        self._deadline = deadline
        super().__init__(host, port, timeout=self._left(), **options)

    def _left(self) -> float:
        return max(0.1, self._deadline - time.monotonic())

    def getreply(self) -> tuple[int, bytes]:
        if self.sock is not None:
            self.sock.settimeout(self._left())
        return super().getreply()

    def rcpt(self, recip: str, options: Sequence[str] = ()) -> tuple[int, bytes]:
        # smtplib goes on without a refused one; a retry would then reach the others again.
        code, words = super().rcpt(recip, options)
        if code not in (250, 251):
            raise smtplib.SMTPRecipientsRefused({recip: (code, words)})
        return code, words


class _TlsSession(_Session, smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""
