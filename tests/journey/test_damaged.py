"""Records damaged by hand: the job is parked with the reason; everything else goes on."""

from __future__ import annotations

import pytest
from tests.journey.programs import until
from tests.journey.sites import Site

from ferryman.keys import Keys

KEYS = Keys()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout", "soon"), ("max_attempts", "many"), ("failures", "x"),
        ("crashes", "x"), ("backoff", "{"), ("backoff", '{"factor":0}'), ("backoff", '{"x":1}'),
        ("tags", "["), ("meta", "]"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_read_parks_the_job_at_once(
    site: Site, field: str, value: str
) -> None:
    handle = site.enqueue("uppercase", {"input": "x"})
    site.store.command("HSET", KEYS.job(handle.id), field, value)
    worker = site.worker()
    assert site.enqueue("uppercase", {"input": "y"}).result(10) == "Y"
    until(lambda: site.store.command("HGET", KEYS.job(handle.id), "state") == b"failed")
    error = site.store.command("HGET", KEYS.job(handle.id), "error")
    assert error.startswith(b"the record is damaged")
    assert len(worker.events("child.died")) == 0


def test_a_time_to_expire_that_cannot_be_read_does_not_stop_the_queue(site: Site) -> None:
    handle = site.enqueue("uppercase", {"input": "x"})
    site.store.command("HSET", KEYS.job(handle.id), "expires_at", "never")
    site.worker()
    assert site.enqueue("uppercase", {"input": "y"}).result(10) == "Y"


def test_a_payload_that_is_no_json_fails_like_any_error(site: Site) -> None:
    handle = site.enqueue("uppercase", {"input": "x"}, max_attempts=1)
    site.store.command("HSET", KEYS.job(handle.id), "payload", "{not json")
    site.worker()
    assert site.enqueue("uppercase", {"input": "y"}).result(10) == "Y"
    until(lambda: site.store.command("HGET", KEYS.job(handle.id), "state") == b"failed")
