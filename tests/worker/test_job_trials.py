"""The types for trying things out, and the built-in application as a whole."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from ferryman import ConfigError, Context, Ferryman, Settings
from ferryman.context import BadPayload
from ferryman_worker.jobs import register


def call(type: str, payload: Any) -> Any:
    ferry = Ferryman(Settings())
    register(ferry)
    job_type = ferry.registry.get(type)
    assert job_type is not None
    return job_type.call(payload, Context("job-1", type, "default", 1, 0, 3, 60.0))


@pytest.mark.parametrize("payload", [{"input": "hello world"}, "hello world"])
def test_uppercase_gives_the_text_itself(payload: Any) -> None:
    assert call("uppercase", payload) == "HELLO WORLD"


@pytest.mark.parametrize("message", ["hello", {"a": [1, None]}, 7, None])
def test_print_logs_the_message_and_gives_it_back(message: Any) -> None:
    with capture_logs() as logs:
        assert call("print", {"message": message}) == message
    assert logs == [{"event": "print", "id": "job-1", "message": message, "log_level": "info"}]


def test_payment_logs_the_order_and_gives_a_receipt() -> None:
    with capture_logs() as logs:
        receipt = call("payment", {"order_id": "A-17", "amount": 12.5, "currency": "eur"})
    assert receipt == {
        "receipt": receipt["receipt"],
        "order_id": "A-17",
        "amount": "12.5",
        "currency": "EUR",
    }
    assert logs[0]["order_id"] == "A-17"


def test_a_second_run_of_a_payment_gives_the_same_receipt() -> None:
    assert call("payment", {"order_id": 17}) == call("payment", {"order_id": 17})
    other = call("payment", {"order_id": 18})
    assert other["receipt"] != call("payment", {"order_id": 17})["receipt"]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"order_id": ""},
        {"order_id": "A", "amount": -1},
        {"order_id": "A", "amount": "NaN"},
        {"order_id": "A", "amount": "much"},
        {"order_id": "A", "currency": "euro"},
    ],
)
def test_a_payment_that_makes_no_sense_does_not_fit(payload: Any) -> None:
    with pytest.raises(BadPayload, match=r"payload does not fit: (order_id|amount|currency)"):
        call("payment", payload)


def test_sleep_takes_as_long_as_it_says() -> None:
    begun = time.monotonic()
    assert asyncio.run(call("sleep", {"seconds": 0.1})) == {"slept": 0.1}
    assert time.monotonic() - begun >= 0.1


def test_sleep_stops_at_once_when_it_is_cancelled() -> None:
    async def hurried() -> None:
        await asyncio.wait_for(call("sleep", {"seconds": 60}), 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(hurried())


@pytest.mark.parametrize("seconds", [-1, "long", None, 1e9, float("nan"), float("inf")])
def test_a_sleep_without_end_or_sense_does_not_fit(seconds: Any) -> None:
    with pytest.raises(BadPayload, match="payload does not fit: seconds"):
        call("sleep", {"seconds": seconds})


def test_fail_fails_with_the_words_given() -> None:
    with pytest.raises(RuntimeError, match=r"^asked to fail$"):
        call("fail", {})
    with pytest.raises(RuntimeError, match=r"^no luck$"):
        call("fail", {"message": "no luck"})


def test_every_built_in_type_is_there_and_can_join_another_application_once() -> None:
    ferry = Ferryman(Settings())
    register(ferry)
    assert sorted(ferry.registry) == [
        "analytics",
        "email",
        "fail",
        "image_resize",
        "payment",
        "print",
        "report",
        "sleep",
        "uppercase",
    ]
    with pytest.raises(ConfigError, match="registered twice"):
        register(ferry)


def test_importing_the_jobs_reads_no_setting_and_loads_nothing_heavy() -> None:
    script = (
        "import sys, ferryman_worker.jobs as jobs\n"
        "heavy = {'PIL', 'smtplib', 'structlog', 'pydantic'} & set(sys.modules)\n"
        "print(sorted(heavy), 'settings' in vars(jobs.ferry), 'store' in vars(jobs.ferry))\n"
    )
    env = os.environ | {"PORT": "not a port", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[] False False\n"
