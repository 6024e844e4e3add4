"""`email`: one message over SMTP, or into a file while no SMTP_URL is set."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ferryman import ConfigError, Context, Ferryman, Settings
from ferryman.context import BadPayload
from ferryman_worker.jobs.files import whole
from ferryman_worker.jobs.payloads import misfit

MAX_RECIPIENTS = 100
"""Every mail server takes at least as many at once (RFC 5321, 4.5.3.1.8)."""

ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
"""What the standard for HTML calls an e-mail address: no quoted names, no bare IP numbers."""

Addresses = tuple[Address, ...]
Names = str | list[str]


def register(ferry: Ferryman) -> None:
    @ferry.job("email")
    def email(
        to: Names,
        subject: str,
        body: str,
        html: str | None = None,
        cc: Names | None = None,
        reply_to: Names | None = None,
        *,
        ctx: Context,
    ) -> dict[str, Any]:
        letter = Letter(
            to=addresses("to", to),
            subject=subject_line(subject),
            body=body,
            html=html,
            cc=addresses("cc", cc or []),
            reply_to=addresses("reply_to", reply_to or []),
        )
        return deliver(letter, ferry.settings, ctx)


@dataclass(frozen=True)
class Letter:
    """A mail whose every header is known to be clean."""

    to: Addresses
    subject: str
    body: str
    html: str | None = None
    cc: Addresses = ()
    reply_to: Addresses = ()

    @property
    def recipients(self) -> list[str]:
        """Everyone it goes to, once each."""
        return list(dict.fromkeys(address.addr_spec for address in self.to + self.cc))


def one_line(where: str, text: str) -> str:
    """The text, if no character in it can end a header line and begin another."""
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in text):
        raise misfit(where, "expected one line without control characters")
    return text


def subject_line(text: str) -> str:
    """The text, if it is one line also once the encoded words in it (RFC 2047) are decoded."""
    header = _header("subject", one_line("subject", text))
    if header is None:
        raise misfit("subject", "expected text without broken encoded words")
    one_line("subject", str(header))
    return text


def addresses(where: str, given: Names) -> Addresses:
    """The addresses in one text (commas between them) or several; BadPayload when one is wrong."""
    texts = [given] if isinstance(given, str) else given
    return tuple(address for text in texts for address in _parsed(where, text))


def _parsed(where: str, text: str) -> Addresses:
    header = _header("to", one_line(where, text))
    if header is None or header.defects or not header.addresses:
        raise _no_address(where, text)
    return tuple(_ascii(where, address) for address in header.addresses)


def _header(name: str, text: str) -> Any:
    """The parsed header, None when it cannot be parsed."""
    try:
        return SMTP.header_factory(name, text)
    except Exception:
        # The parser of the standard library stumbles over some nonsense: AttributeError,
        # TypeError, IndexError, UnboundLocalError and ValueError have been seen.
        return None


def _ascii(where: str, address: Address) -> Address:
    """The same with its domain in the ASCII form mail servers know."""
    try:
        domain = address.domain.encode("idna").decode()
    except UnicodeError:
        raise _no_address(where, str(address)) from None
    spec = f"{address.username}@{domain}"
    if len(spec) > 254 or not ADDRESS.fullmatch(spec):
        raise _no_address(where, str(address))
    return Address(one_line(where, address.display_name), address.username, domain)


def _no_address(where: str, text: str) -> Exception:
    return misfit(where, f"expected me@example.org or Me <me@example.org>, got {text[:100]!r}")


def deliver(letter: Letter, settings: Settings, ctx: Context) -> dict[str, Any]:
    """Send the letter or write it to a file; the job's result says which."""
    if not 1 <= len(letter.recipients) <= MAX_RECIPIENTS:
        raise misfit("to", f"expected 1 to {MAX_RECIPIENTS} addresses, cc among them")
    message = _message(letter, _sender(settings), ctx.job_id)
    said = {"to": letter.recipients, "message_id": str(message["Message-ID"])}
    if not settings.smtp_url:
        path = _write(message, settings, ctx.job_id)
        return {"delivered": False, "written": str(path), "reason": "SMTP_URL is not set"} | said
    _send(letter, message, settings, ctx)
    return {"delivered": True} | said


def _sender(settings: Settings) -> Address:
    try:
        (sender,) = addresses("MAIL_FROM", settings.mail_from)
    except (BadPayload, ValueError):
        expected = "me@example.org or Me <me@example.org>"
        raise ConfigError(f"MAIL_FROM: expected {expected}, got {settings.mail_from!r}") from None
    return sender


def _message(letter: Letter, sender: Address, job_id: str) -> EmailMessage:
    """The message, once it is known that it can be written out."""
    message = compose(letter, sender, job_id)
    try:
        message.as_bytes()
    except ValueError:  # an encoded word (RFC 2047) in a name or the subject holds stray bytes
        raise misfit("subject", "it or a name in an address holds a broken encoded word") from None
    return message


def compose(letter: Letter, sender: Address, job_id: str) -> EmailMessage:
    """The message as it travels."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = letter.to
    if letter.cc:
        message["Cc"] = letter.cc
    if letter.reply_to:
        message["Reply-To"] = letter.reply_to
    message["Subject"] = letter.subject
    message["Date"] = localtime()
    message["Message-ID"] = message_id(letter, sender, job_id)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes in answer, please
    message.set_content(letter.body)
    if letter.html is not None:
        message.add_alternative(letter.html, subtype="html")
    return message


def message_id(letter: Letter, sender: Address, job_id: str) -> str:
    """The same for every run of a job, so that a mail sent twice can be known for one.

    Of the content too: a job revived with a mended payload is another mail, and mail services
    drop a second one with the same Message-ID.
    """
    said = [job_id, str(sender), *map(str, letter.to + letter.cc + letter.reply_to)]
    content = json.dumps([said, letter.subject, letter.body, letter.html])
    digest = blake2b(content.encode(), digest_size=16).hexdigest()
    return f"<{digest}@{sender.domain}>"


def _write(message: EmailMessage, settings: Settings, job_id: str) -> Path:
    """Named by the job: a second run overwrites its own. For the owner's eyes only."""
    path = Path(settings.data).resolve() / "mail" / f"{job_id}.eml"
    with whole(path, mode=0o600) as file:
        file.write(message.as_bytes())
    return path


def _send(letter: Letter, message: EmailMessage, settings: Settings, ctx: Context) -> None:
    from ferryman_worker.jobs import smtp

    where = smtp.server(settings.smtp_url)
    # A tenth of the time limit is left, so that the run ends by an error that says what was slow.
    smtp.send(where, message, _sender(settings).addr_spec, letter.recipients, ctx.timeout * 0.9)
