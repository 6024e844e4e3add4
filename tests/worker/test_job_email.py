"""`email` against real SMTP servers, and without one."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from ferryman import Bury, ConfigError, Context, Ferryman, Settings
from ferryman.context import BadPayload
from ferryman_worker.jobs import register
from ferryman_worker.jobs.smtp import NotSent, Server, server

MAIL = {"to": "ann@example.org", "subject": "Hello", "body": "Good day.\n"}


class Postbox(Controller):
    """A real SMTP server on a free port that keeps what it takes and refuses what it is told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(self, hostname="127.0.0.1", port=0, **options)
        self.refuse: dict[str, str] = {}
        self.on_data = ""
        self.slow = 0.0
        self.rude = False
        self.taken: list[tuple[list[str], EmailMessage]] = []

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]  # aiosmtpd's

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await asyncio.sleep(self.slow)
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.on_data:
            return self.on_data
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content.replace(b"\r\n", b"\n"), policy=default)
        assert isinstance(message, EmailMessage)
        self.taken.append((envelope.rcpt_tos, message))
        return "250 taken"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.rude:
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
        return "221 bye"


@pytest.fixture
def postbox() -> Iterator[Callable[..., Postbox]]:
    """Starts mail servers that stop with the test."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> Postbox:
            box = Postbox(**options)
            box.start()
            stack.callback(box.stop)
            return box

        yield start


@pytest.fixture
def box(postbox: Callable[..., Postbox]) -> Postbox:
    return postbox()


Send = Callable[..., Any]


@pytest.fixture
def send(tmp_path: Path) -> Send:
    """Runs an `email` job with this SMTP_URL and payload."""

    def run(url: str, payload: dict[str, Any] = MAIL, timeout: float = 60.0, **more: Any) -> Any:
        ferry = Ferryman(Settings(smtp_url=url, data=str(tmp_path), **more))
        register(ferry)
        job_type = ferry.registry.get("email")
        assert job_type is not None
        return job_type.call(payload, Context("job-1", "email", "default", 1, 0, 3, timeout))

    return run


def url(box: Postbox, login: str = "", more: str = "") -> str:
    return f"smtp://{login}127.0.0.1:{box.port}{more}"


def test_a_mail_reaches_a_real_server(box: Postbox, send: Send) -> None:
    result = send(url(box), mail_from="Ferry <ferry@example.org>")
    ((recipients, message),) = box.taken
    assert recipients == ["ann@example.org"]
    assert message["From"] == "Ferry <ferry@example.org>"
    assert message["To"] == "ann@example.org"
    assert message["Subject"] == "Hello"
    assert message.get_content() == "Good day.\n"
    assert result == {
        "delivered": True,
        "to": ["ann@example.org"],
        "message_id": message["Message-ID"],
    }


def test_copies_answers_html_and_other_scripts_arrive_as_given(box: Postbox, send: Send) -> None:
    subject = "Grüße 👋 " + "und noch viel mehr " * 20 + "Ende"
    payload = {
        "to": ["Ann Ünal <ann@example.org>", "bob@bücher.example"],
        "cc": "ann@example.org, eve@example.org",
        "reply_to": "desk@example.org",
        "subject": subject,
        "body": "Schöne Grüße\n",
        "html": "<p>Schöne Grüße</p>\n",
    }
    result = send(url(box), payload)
    ((recipients, message),) = box.taken
    everyone = ["ann@example.org", "bob@xn--bcher-kva.example", "eve@example.org"]
    assert recipients == result["to"] == everyone
    assert message["To"] == "Ann Ünal <ann@example.org>, bob@xn--bcher-kva.example"
    assert message["Cc"] == "ann@example.org, eve@example.org"
    assert message["Reply-To"] == "desk@example.org"
    assert message["Subject"] == subject
    parts = {part.get_content_subtype(): part.get_content() for part in message.iter_parts()}
    assert parts == {"plain": payload["body"], "html": payload["html"]}


def test_a_second_run_of_the_job_has_the_same_message_id(box: Postbox, send: Send) -> None:
    send(url(box))
    send(url(box))
    send(url(box), MAIL | {"body": "Mended."})
    first, again, mended = (message["Message-ID"] for _, message in box.taken)
    assert first == again != mended


def test_one_refused_address_keeps_the_mail_from_everyone(box: Postbox, send: Send) -> None:
    box.refuse = {"bob@example.org": "550 no such user here"}
    payload = MAIL | {"to": ["ann@example.org", "bob@example.org"]}
    with pytest.raises(Bury, match=r"bob@example\.org: 550 no such user here"):
        send(url(box), payload)
    assert box.taken == []


def test_a_temporary_refusal_is_worth_another_try(box: Postbox, send: Send) -> None:
    box.refuse = {"ann@example.org": "451 greylisted, come back"}
    with pytest.raises(NotSent, match="451 greylisted, come back"):
        send(url(box))
    box.refuse, box.on_data = {}, "452 disk full"
    with pytest.raises(NotSent, match="452 disk full"):
        send(url(box))
    box.on_data = ""
    assert send(url(box))["delivered"]


def test_a_refused_message_is_buried_in_the_servers_words(box: Postbox, send: Send) -> None:
    box.on_data = "554 looks like spam"
    with pytest.raises(Bury, match="554 looks like spam"):
        send(url(box))


def test_trouble_at_the_goodbye_does_not_undo_the_delivery(box: Postbox, send: Send) -> None:
    box.rude = True
    assert send(url(box))["delivered"]
    assert len(box.taken) == 1


def test_no_server_at_the_address_is_worth_another_try(send: Send) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        port = taken.getsockname()[1]
        with pytest.raises(NotSent, match=f"127.0.0.1:{port}: .*refused"):
            send(f"smtp://127.0.0.1:{port}")


def test_a_mute_server_is_given_up_within_the_jobs_time_limit(send: Send) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        begun = time.monotonic()
        with pytest.raises(NotSent, match="timed out"):
            send(f"smtp://127.0.0.1:{mute.getsockname()[1]}", timeout=0.5)
        assert time.monotonic() - begun < 2


def test_many_slow_answers_together_have_the_jobs_time_limit_too(box: Postbox, send: Send) -> None:
    box.slow = 0.3
    with pytest.raises(NotSent, match="timed out"):
        send(url(box), MAIL | {"to": [f"n{n}@example.org" for n in range(10)]}, timeout=1.0)
    assert box.taken == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # aiosmtpd's advice for real servers
def test_a_login_that_is_right_is_used_and_a_wrong_one_buried(
    postbox: Callable[..., Postbox], send: Send
) -> None:
    def check(_1: Any, _2: Any, _3: Any, _4: str, data: Any) -> AuthResult:
        right = data == LoginPassword(b"ann", b"p@ss/1")
        return AuthResult(success=right, handled=False)

    box = postbox(authenticator=check, auth_required=True, auth_require_tls=False)
    with pytest.raises(Bury, match="535"):
        send(url(box, "ann:guess@"))
    with pytest.raises(Bury, match="530"):
        send(url(box))
    assert box.taken == []
    assert send(url(box, "ann:p%40ss%2F1@"))["delivered"]


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server certificate for 127.0.0.1, trusted by this process."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here to make a certificate with")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    about = "-subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    out = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*made.split(), *about.split(), *out], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def test_tls_is_used_from_the_start_for_smtps(
    postbox: Callable[..., Postbox], send: Send, certificate: ssl.SSLContext
) -> None:
    box = postbox(ssl_context=certificate)
    assert send(url(box).replace("smtp:", "smtps:"))["delivered"]


def test_starttls_is_used_when_the_server_offers_it(
    postbox: Callable[..., Postbox], send: Send, certificate: ssl.SSLContext
) -> None:
    box = postbox(tls_context=certificate, require_starttls=True)
    assert send(url(box))["delivered"]
    assert send(url(box, more="?starttls=1"))["delivered"]
    with pytest.raises(Bury, match="530"):
        send(url(box, more="?starttls=0"))


def test_a_server_without_starttls_gets_nothing_when_it_is_insisted_on(
    box: Postbox, send: Send
) -> None:
    with pytest.raises(Bury, match="STARTTLS"):
        send(url(box, more="?starttls=1"))
    assert box.taken == []


def test_a_certificate_nobody_vouches_for_is_not_trusted(
    postbox: Callable[..., Postbox],
    send: Send,
    certificate: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    box = postbox(ssl_context=certificate)
    with pytest.raises(NotSent, match="certificate verify failed"):
        send(url(box).replace("smtp:", "smtps:"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to", "ann@example.org\r\nBcc: eve@example.org"),
        ("to", ["ann@example.org", "Ann\nBcc: eve@example.org <ann@example.org>"]),
        ("to", "=?utf-8?q?Ann=0D=0ABcc:?= <ann@example.org>"),
        ("to", "ann"),
        ("to", "ann@"),
        ("to", "ann@exa mple.org"),
        ("to", "ann@example..org"),
        ("to", "<ann@example.org> SIZE=1@example.org"),
        ("to", ""),
        ("to", []),
        ("to", "everyone: ;"),
        ("to", [f"n{n}@example.org" for n in range(101)]),
        ("to", 7),
        ("cc", "ann@example.org\nX: y"),
        ("reply_to", "ann@example.org\x00"),
        ("subject", "Hello\nBcc: eve@example.org"),
        ("subject", "Hello\u2028Bcc: eve@example.org"),
        ("subject", "Hello =?utf-8?q?=0ABcc:_eve=40example=2Eorg?="),
        ("to", "( 👋)..<a(])\\"),
        ("subject", None),
        ("attach", "/etc/passwd"),
    ],
)
def test_what_is_no_address_or_no_line_is_refused_before_anything_is_sent(
    box: Postbox, send: Send, field: str, value: Any
) -> None:
    with pytest.raises(BadPayload, match=f"payload does not fit: {field}"):
        send(url(box), MAIL | {field: value})
    assert box.taken == []


def test_stray_bytes_in_an_encoded_word_are_no_reason_to_try_again(
    box: Postbox, send: Send
) -> None:
    # Python 3.13 can write this subject, 3.11 cannot.
    with contextlib.suppress(BadPayload):
        assert send(url(box), MAIL | {"subject": "👋=?utf-8?q?=80?="})["delivered"]


def test_without_smtp_url_the_mail_is_a_file_and_the_result_says_so(
    send: Send, tmp_path: Path
) -> None:
    result = send("")
    assert result["delivered"] is False
    assert result["reason"] == "SMTP_URL is not set"
    path = Path(result["written"])
    assert path == tmp_path / "mail" / "job-1.eml"
    message = message_from_bytes(path.read_bytes(), policy=default)
    assert (message["Subject"], message["Message-ID"]) == ("Hello", result["message_id"])


def test_a_second_run_overwrites_its_own_file_only(send: Send, tmp_path: Path) -> None:
    send("")
    send("", MAIL | {"subject": "Again"})
    (path,) = (tmp_path / "mail").iterdir()
    assert b"Subject: Again" in path.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "mail.example.org",
        "http://mail.example.org",
        "smtp://",
        "smtp://host:99999",
        "smtp://host:0",
        "smtp://host/path",
        "smtp://user@host",
        "smtp://user:hush#hush@host",
        "smtp://host?starttls=yes",
        "smtp://host?tls=1",
        "smtps://host?starttls=1",
        "smtp://[host",
    ],
)
def test_a_wrong_smtp_url_is_named_without_its_password(send: Send, text: str) -> None:
    with pytest.raises(ConfigError, match=r"^SMTP_URL: expected smtp://") as caught:
        send(text)
    assert "hush" not in str(caught.value)


def test_a_wrong_mail_from_is_named(send: Send) -> None:
    with pytest.raises(ConfigError, match=r"MAIL_FROM: expected .*, got 'nobody'"):
        send("", mail_from="nobody")


def test_the_address_of_the_server_is_read_from_smtp_url() -> None:
    assert server("smtp://mail.example.org") == Server("mail.example.org", 25)
    assert server("smtps://a%40b:p%2Fw@m.example") == Server(
        "m.example", 465, tls=True, user="a@b", password="p/w"
    )
    assert server("smtp://m.example:587/?starttls=1") == Server("m.example", 587, starttls=True)
    assert "p/w" not in repr(server("smtps://a%40b:p%2Fw@m.example"))
