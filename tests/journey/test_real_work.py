"""The built-in types through `POST /jobs`: mail arrives, images are resized, reports written."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from PIL import Image
from tests.journey.houses import House
from tests.journey.programs import until

from ferryman.embedded import free_port


class Mailbox:
    """A real SMTP server's handler that keeps what it is given."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.received.append(envelope)
        return "250 kept"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    handler = Mailbox()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield handler, controller.port
    controller.stop()


def ended(house: House, type: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The record of a job posted over HTTP, once it has ended."""
    job_id = house.request("POST", "/jobs", {"type": type, "payload": payload})["job_id"]
    until(lambda: house.request("GET", f"/jobs/{job_id}")["status"] in ("completed", "failed"), 20)
    job: dict[str, Any] = house.request("GET", f"/jobs/{job_id}")
    return job


def test_a_mail_posted_over_http_is_received_by_a_real_smtp_server(
    house: House, mailbox: tuple[Mailbox, int]
) -> None:
    handler, port = mailbox
    house.up(SMTP_URL=f"smtp://127.0.0.1:{port}", MAIL_FROM="ferry@example.org")
    mail = {"to": "ann@example.org", "subject": "Grüße", "body": "It arrived."}
    job = ended(house, "email", mail)
    assert (job["status"], job["result"]["delivered"]) == ("completed", True)
    (envelope,) = handler.received
    assert (envelope.mail_from, envelope.rcpt_tos) == ("ferry@example.org", ["ann@example.org"])
    message = message_from_bytes(envelope.content, policy=default)
    assert message["subject"] == "Grüße"
    assert message.get_content().strip() == "It arrived."


def test_a_png_posted_over_http_is_resized(house: House) -> None:
    files = house.folder / "files"
    files.mkdir()
    Image.new("RGB", (640, 480), "navy").save(files / "in.png")
    house.up(FERRYMAN_FILES=files)
    job = ended(house, "image_resize", {"source": "in.png", "target": "out.png", "width": 160})
    assert job["status"] == "completed", job
    with Image.open(files / "out.png") as image:
        assert (image.size, image.format) == ((160, 120), "PNG")


def test_a_report_posted_over_http_is_written(house: House) -> None:
    files = house.folder / "files"
    house.up(FERRYMAN_FILES=files)
    rows = [{"team": t, "hours": n} for t, n in (("a", 1), ("b", 2), ("a", 3))]
    asked = {"rows": rows, "group_by": "team", "aggregates": {"hours": "sum"}, "target": "r.csv"}
    job = ended(house, "report", asked)
    assert job["status"] == "completed", job
    with (files / "r.csv").open(newline="") as file:
        written = list(csv.reader(file))
    assert [row[0] for row in written[1:]] == ["a", "b"]
    assert [float(row[1]) for row in written[1:]] == [4, 2]


def test_events_posted_over_http_are_counted_once_per_job(house: House) -> None:
    house.up()
    day = "2026-11-01T10:00:00Z"
    asked = {"events": [{"name": "visit", "at": day}, {"name": "visit", "at": day, "count": 4}]}
    assert ended(house, "analytics", asked)["result"]["totals"] == {"2026-11-01": {"visit": 5}}
    assert ended(house, "analytics", asked)["result"]["totals"] == {"2026-11-01": {"visit": 10}}
