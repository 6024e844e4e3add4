"""Spans of real processes at a real receiver: from the request to the run, and never in the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.journey.receiver import Receiver
from tests.journey.sites import Site
from tests.journey.test_trace import PARENT, TRACE, post, result_of, start_api

from ferryman import tracing

PROMISED = 20.0
"""Seconds for 3,000 jobs: each would take 3 if it waited for the receiver."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that answers at once."""
    receiver = Receiver()
    yield receiver
    receiver.close()


def to(url: str, seconds: float = 0.1) -> dict[str, object]:
    """Settings that let spans be sent there, when so many seconds have gone by."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": int(seconds * 1000)}


AT_THE_END = 600.0
"""Seconds after which no test is there any more: spans come when their process ends, or never."""


def test_a_request_its_job_and_its_runs_are_spans_linked_to_each_other(
    site: Site, receiver: Receiver
) -> None:
    settings = to(receiver.url, AT_THE_END)
    worker = site.worker(**settings)
    api, url = start_api(site, **settings)
    job_id = post(url, "relay", traceparent=PARENT, tracestate="a=1")
    result = result_of(site, job_id)
    assert receiver.spans() == []
    assert (worker.stop(), api.stop()) == (0, 0)

    [sent] = [s for s in receiver.spans("send default") if s.parent_id == PARENT[36:52]]
    assert (sent.trace_id, sent.kind, sent.error, sent.service) == (
        TRACE, "producer", None, "ferryman"
    )  # fmt: skip
    assert sent.attributes == {
        "messaging.system": "ferryman",
        "messaging.destination.name": "default",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": job_id,
        "messaging.message.conversation_id": TRACE,
        "ferryman.job.type": "relay",
    }
    assert result["traceparent"] == f"00-{TRACE}-{sent.span_id}-01", "the job names its sender"
    assert site.raw.hget(f"ferryman:{{0}}:job:{job_id}", "tracestate") == "a=1"

    runs = [s for s in receiver.spans("process default")
            if s.attributes["messaging.message.id"] == job_id]  # fmt: skip
    assert [run.attributes["ferryman.attempt"] for run in runs] == [1, 2]
    for run in runs:
        assert (run.kind, run.links, run.parent_id) == ("consumer", [sent.place], "")
        assert run.trace_id != TRACE
    assert runs[1].attributes == sent.attributes | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "ferryman.attempt": 2,
    }
    assert [run.error for run in runs] == ["once more", None]
    assert runs[0].attributes["error.type"] == "Retry"

    from_handler = [s for s in receiver.spans("send default") if s != sent]
    assert [s.parent_id for s in from_handler] == [run.span_id for run in runs]
    assert [s.trace_id for s in from_handler] == [run.trace_id for run in runs]
    assert len(receiver.spans("process default")) == 4, "each once"


def test_with_trace_parent_a_run_is_in_the_trace_of_its_request(
    site: Site, receiver: Receiver
) -> None:
    site.worker(**to(receiver.url), FERRYMAN_TRACE_PARENT=1)
    _, url = start_api(site, **to(receiver.url))
    post(url, "relay_async", traceparent=PARENT)
    post(url, "relay_async")
    runs = receiver.await_spans("process default", 4)
    sent = {s.place for s in receiver.await_spans("send default", 4)}
    assert all((run.trace_id, run.parent_id) in sent and not run.links for run in runs)
    assert Counter(run.trace_id == TRACE for run in runs) == {True: 2, False: 2}


def test_what_a_handler_observes_itself_is_inside_its_run(site: Site, receiver: Receiver) -> None:
    worker = site.worker(**to(receiver.url), OTEL_SERVICE_NAME="of-the-application")
    started = worker.await_event("tracing.started")
    assert started["level"] == "info"
    site.enqueue("observed")
    [inside] = receiver.await_spans("inside")
    [run] = receiver.await_spans("process default")
    assert (inside.trace_id, inside.parent_id) == (run.trace_id, run.span_id)
    assert run.service == "of-the-application"
    assert run.links == [], "its client made no span"


OWN_PROVIDER = """
from handlers import ferry
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider(resource=Resource.create({"service.name": "of its own"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter("RECEIVER/v1/traces")))
trace.set_tracer_provider(provider)
"""


def test_an_application_s_own_provider_is_kept_and_flushed(site: Site, receiver: Receiver) -> None:
    (site.folder / "own_provider.py").write_text(OWN_PROVIDER.replace("RECEIVER", receiver.url))
    worker = site.worker(**to("http://127.0.0.1:1", AT_THE_END), FERRYMAN_APP="own_provider:ferry")
    site.enqueue("uppercase", {"input": "x"}).wait(20)
    assert worker.stop() == 0
    [run] = receiver.spans()
    assert (run.name, run.service) == ("process default", "of its own")


@pytest.mark.parametrize(
    ("type", "payload", "kind", "text"),
    [
        ("fail", {"message": "no"}, "RuntimeError", "RuntimeError: no"),
        ("sleep", {"seconds": 5}, "timeout", "timeout: ran longer than 0.2 s"),
        ("hold_async", {"gate": "never"}, "timeout", "timeout: ran longer than 0.2 s"),
    ],
)
def test_a_run_that_failed_says_so_and_why(
    site: Site, receiver: Receiver, type: str, payload: dict[str, object], kind: str, text: str
) -> None:
    site.worker(**to(receiver.url))
    site.enqueue(type, payload, timeout=0.2, max_attempts=1)
    [run, *_] = receiver.await_spans("process default")
    assert run.error is not None
    assert run.error.startswith(text)
    assert run.attributes["error.type"] == kind
    [event] = run.events
    assert (event["name"], event["exception.type"]) == ("exception", kind)
    assert ("Traceback" in event.get("exception.stacktrace", "")) is (kind != "timeout")


def test_every_brief_job_has_its_span_once(site: Site, receiver: Receiver) -> None:
    worker = site.worker(**to(receiver.url), FERRYMAN_PROCESSES=2)
    ids = site.enqueue_notes(600)
    site.await_completed(600)
    assert worker.stop() == 0
    seen = [s.attributes["messaging.message.id"] for s in receiver.spans("process default")]
    assert sorted(seen) == sorted(ids)


def test_jobs_sent_while_the_api_has_two_processes_all_have_their_span(
    site: Site, receiver: Receiver
) -> None:
    settings = to(receiver.url, AT_THE_END)
    api, url = start_api(site, **settings, FERRYMAN_API_PROCESSES=2)
    ids = [post(url, "uppercase") for _ in range(40)]
    assert api.stop() == 0
    assert len(api.events("tracing.started")) == 2, "each begins after its fork"
    seen = [s.attributes["messaging.message.id"] for s in receiver.spans("send default")]
    assert sorted(seen) == sorted(ids)


def test_a_request_without_a_trace_is_logged_with_that_of_its_span(
    site: Site, receiver: Receiver
) -> None:
    api, url = start_api(site, **to(receiver.url))
    job_id = post(url, "uppercase")
    [sent] = receiver.await_spans("send default")
    assert (sent.parent_id, site.store.get(job_id).trace_id) == ("", sent.trace_id)
    assert api.await_event("request", path="/jobs")["trace_id"] == sent.trace_id


# Asked for, or not.


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_spans_are_asked_for_in_opentelemetry_s_own_words(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], asked: bool
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert tracing.is_asked.__wrapped__() is asked


def of_spans(site: Site, modules: Iterable[str]) -> set[str]:
    """Those of OpenTelemetry, without what redis-py imports of it by itself where it is there."""
    theirs = script(site, "import sys, redis; print(*sys.modules)").split()
    ours = {"ferryman.spans", "ferryman.exporting"}
    return {m for m in modules if m.startswith("opentelemetry") or m in ours} - set(theirs)


@pytest.mark.parametrize("settings", [{}, {"OTEL_SDK_DISABLED": "true"}], ids=["unset", "disabled"])
def test_where_nobody_asks_nothing_of_it_is_imported(
    site: Site, receiver: Receiver, settings: dict[str, object]
) -> None:
    if settings:
        settings |= to(receiver.url)
    worker = site.worker(**settings)
    _, url = start_api(site, **settings)
    for _ in range(2):
        job_id = post(url, "imported", traceparent=PARENT)
        assert of_spans(site, result_of(site, job_id)) == set()
        assert site.store.get(job_id).trace_id == TRACE
    assert worker.events("tracing.started") == []
    assert receiver.spans() == []


def test_a_client_nobody_asks_imports_nothing_of_it(site: Site) -> None:
    code = (
        "import sys, ferryman; ferryman.Ferryman().enqueue('uppercase', {'input': 'x'})\n"
        "print(*sys.modules)"
    )
    assert of_spans(site, script(site, code).splitlines()[-1].split()) == set()


def test_the_command_alone_does_not_even_import_what_redis_does(site: Site) -> None:
    code = (
        "import sys, runpy; sys.argv = ['ferryman', '--help']\n"
        "try: runpy.run_module('ferryman', run_name='__main__')\n"
        "finally: print(*sys.modules)"
    )
    modules = script(site, code).splitlines()[-1].split()
    assert [m for m in modules if m.startswith("opentelemetry")] == []
    assert "ferryman.cli" in modules


def script(site: Site, code: str, **settings: object) -> str:
    """What a Python program prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=site.environ(**settings),
        cwd=site.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("lacking", "variable", "reason"),
    [
        ("opentelemetry", {}, "pip install ferryman[otel]"),
        ("", {"OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, "otlp_proto_smoke is not installed"),
        ("", {"OTEL_BSP_MAX_QUEUE_SIZE": 1}, "and cannot be made"),
    ],
    ids=["package", "exporter", "setting"],
)
def test_spans_that_cannot_be_made_are_said_once_and_jobs_run(
    site: Site,
    receiver: Receiver,
    tmp_path: Path,
    lacking: str,
    variable: dict[str, object],
    reason: str,
) -> None:
    settings = to(receiver.url) | variable
    if lacking:
        fake = tmp_path / "lacking"
        (fake / lacking).mkdir(parents=True)
        (fake / lacking / "__init__.py").write_text("raise ImportError('it is not there')\n")
        settings["PYTHONPATH"] = os.pathsep.join(
            [str(fake), site.environ()["PYTHONPATH"], str(site.folder)]
        )
    worker = site.worker(**settings)
    _, url = start_api(site, **settings)
    job_id = post(url, "relay_async", traceparent=PARENT)
    assert result_of(site, job_id)["trace_id"] == TRACE
    [off] = worker.events("tracing.off")
    assert reason in off["reason"]
    assert receiver.spans() == []


# The Python client.

SEND = """
from ferryman import Ferryman
ferry = Ferryman()
print(ferry.enqueue("uppercase", {"input": "x"}).id)
"""


def test_a_client_s_job_has_its_span_when_the_program_ends(site: Site, receiver: Receiver) -> None:
    job_id = script(site, SEND, **to(receiver.url, AT_THE_END)).strip()
    [sent] = receiver.spans("send default")
    assert (sent.attributes["messaging.message.id"], sent.parent_id) == (job_id, "")
    assert site.store.get(job_id).trace_id == sent.trace_id


def test_the_first_jobs_of_many_threads_all_have_their_span(site: Site, receiver: Receiver) -> None:
    code = SEND.split("print(", maxsplit=1)[0] + (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from threading import Barrier\n"
        "together = Barrier(8)\n"
        "def first(_):\n"
        "    together.wait()\n"
        "    ferry.enqueue('uppercase', {'input': 'x'})\n"
        "with ThreadPoolExecutor(8) as pool: list(pool.map(first, range(8)))\n"
    )
    script(site, code, **to(receiver.url, AT_THE_END))
    assert len(receiver.spans("send default")) == 8


def test_a_client_that_forks_sends_the_spans_of_both_processes(
    site: Site, receiver: Receiver
) -> None:
    code = SEND + (
        "import os\n"
        "child = os.fork()\n"
        "for _ in range(3): ferry.enqueue('uppercase', {'input': 'y'})\n"
        "if child: assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
    )
    script(site, code, **to(receiver.url, AT_THE_END))
    seen = [s.attributes["messaging.message.id"] for s in receiver.spans("send default")]
    assert len(seen) == len(set(seen)) == 7
    assert set(seen) == {job.id for job in site.store.get_many(seen)}


def test_a_job_of_a_program_with_spans_of_its_own_belongs_to_the_current_one(site: Site) -> None:
    """Also where ours are not asked for."""
    code = (
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "trace.set_tracer_provider(TracerProvider())\n"
        "with trace.get_tracer('x').start_as_current_span('x') as span:\n"
        f"    {SEND.strip().replace(chr(10), chr(10) + '    ')}\n"
        "print(format(span.get_span_context().trace_id, '032x'))\n"
    )
    job_id, trace_id = script(site, code).split()
    assert site.store.get(job_id).trace_id == trace_id


def test_an_enqueue_that_fails_is_a_span_with_its_error(site: Site, receiver: Receiver) -> None:
    code = SEND.replace("print(", "ferry.enqueue('x', id='a')\ntry: print(").replace(
        '"x"}).id)', "'x'}, id='a').id)\nexcept Exception as error: print(type(error).__name__)"
    )
    assert script(site, code, **to(receiver.url)).strip() == "IdempotencyConflict"
    errors = {s.attributes.get("error.type"): s.error for s in receiver.spans("send default")}
    assert errors.keys() == {None, "IdempotencyConflict"}
    assert errors["IdempotencyConflict"]


# A receiver that is away.


@pytest.fixture(params=["refuses", "hangs"])
def away(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a receiver that is no help."""
    if request.param == "refuses":
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{unused.getsockname()[1]}"
        return
    gate = threading.Event()
    receiver = Receiver(gate)
    yield receiver.url
    gate.set()
    receiver.close()


def test_a_receiver_that_is_away_holds_up_no_job_and_no_stop(site: Site, away: str) -> None:
    settings = to(away) | {"OTEL_EXPORTER_OTLP_TIMEOUT": 3}
    worker = site.worker(**settings)
    api, url = start_api(site, **settings)
    for _ in range(20):
        post(url, "uppercase")
    site.enqueue_notes(3000)
    started = time.monotonic()
    site.await_completed(3000)
    assert time.monotonic() - started < PROMISED
    trouble = worker.await_event("tracing.trouble")
    assert (trouble["level"], bool(trouble["reason"])) == ("warning", True)
    started = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - started < tracing.FLUSH + 3.0
    assert api.stop() == 0
    assert len(worker.events("tracing.trouble")) == 1
    assert [line for line in worker.lines + api.lines if not line.startswith("{")] == []
    assert worker.events("child.died") == worker.events("child.killed") == []


def test_the_last_spans_have_no_more_time_than_the_drain_leaves(site: Site) -> None:
    gate = threading.Event()
    receiver = Receiver(gate)
    worker = site.worker(**to(receiver.url), FERRYMAN_DRAIN=1.5)
    site.enqueue_notes(1)
    assert receiver.asked.wait(20)
    worker.signal(signal.SIGTERM)
    assert worker.ended() == 0
    assert worker.events("child.died") == [], "it ended by itself, before it would have been killed"
    gate.set()
    receiver.close()
