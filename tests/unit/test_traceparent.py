"""traceparent and tracestate: what the W3C calls valid is kept, the rest is ignored."""

from __future__ import annotations

import threading

import pytest

from ferryman import Context
from ferryman.draft import draft
from ferryman.job import Job
from ferryman.traceparent import Trace, ambient, id_of, read, under

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("flags", ["00", "01", "02", "ff"])
def test_a_valid_traceparent_is_kept_as_it_is(flags: str) -> None:
    trace = read(f"00-{TRACE}-{PARENT}-{flags}")
    assert trace == (f"00-{TRACE}-{PARENT}-{flags}", "")
    assert trace.trace_id == TRACE


@pytest.mark.parametrize(
    "given",
    [
        None, "", "00", GIVEN[:-1], GIVEN + "0", GIVEN + "-00", GIVEN.upper(), f" {GIVEN}",
        f"{GIVEN}\n", f"{GIVEN},{GIVEN}", f"ff-{TRACE}-{PARENT}-01", f"0-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-0x", f"00_{TRACE}_{PARENT}_01", f"cc-{TRACE}-{PARENT}-01x",
        f"00-{TRACE}-{PARENT}-0\u0661",
    ],
)  # fmt: skip
def test_what_is_not_valid_is_ignored(given: str | None) -> None:
    assert read(given, "a=1") is None
    assert id_of(given) is None


@pytest.mark.parametrize(("flags", "known"), [("01", "01"), ("ff", "01"), ("fe", "00")])
@pytest.mark.parametrize("more", ["", "-what-the-future-will-bring"])
def test_a_later_version_is_read_as_far_as_we_know_it(flags: str, known: str, more: str) -> None:
    assert read(f"cc-{TRACE}-{PARENT}-{flags}{more}") == (f"00-{TRACE}-{PARENT}-{known}", "")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("congo=t61rcWkgMzE", "congo=t61rcWkgMzE"),
        ("rojo=1 , congo=2,,\tx@y=a b", "rojo=1,congo=2,x@y=a b"),
        ("0a@vendor=1", "0a@vendor=1"),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a", ""),
        ("a=", ""),
        ("a=b=c", ""),
        ("a=\u00e9", ""),
        ("a=1\r\nx: y", ""),
        (",".join(f"k{n}=1" for n in range(32)), ",".join(f"k{n}=1" for n in range(32))),
        (",".join(f"k{n}=1" for n in range(33)), ""),
    ],
)
def test_a_tracestate_is_kept_whole_or_left_out(given: str, kept: str) -> None:
    assert read(GIVEN, given) == (GIVEN, kept)


def test_of_a_long_tracestate_512_bytes_are_kept_in_whole_members() -> None:
    short = [f"k{n}={'x' * 60}" for n in range(10)]
    assert read(GIVEN, ",".join(short)) == (GIVEN, ",".join(short[:8]))
    long = f"long={'x' * 150}"
    assert read(GIVEN, ",".join([long, *short[:8]])) == (GIVEN, ",".join(short[:8]))
    exact = f"a={'x' * 253},b={'y' * 254}"
    assert (len(exact), read(GIVEN, exact)) == (512, (GIVEN, exact))
    assert read(GIVEN, exact + "y") == (GIVEN, f"a={'x' * 253}")


def test_a_job_without_a_trace_has_no_field_of_it() -> None:
    made = draft("t")
    assert made.fields() == {"type": "t", "payload": "{}"}
    traced = made._replace(trace=Trace(GIVEN))
    assert traced.fields() == made.fields() | {"traceparent": GIVEN}
    traced = made._replace(trace=Trace(GIVEN, "a=1"))
    assert traced.fields() == made.fields() | {"traceparent": GIVEN, "tracestate": "a=1"}


def test_a_record_with_a_damaged_trace_is_a_job_all_the_same() -> None:
    raw = {"type": "t", "state": "pending", "traceparent": "what is this"}
    assert Job.from_fields("a", raw).trace_id is None
    assert Job.from_fields("a", raw | {"traceparent": GIVEN}).trace_id == TRACE


def test_a_handler_s_context_names_the_trace_and_what_to_pass_on() -> None:
    about = {"job_id": "a", "type": "t", "queue": "q", "attempt": 1, "failures": 0}
    plain = Context(**about, max_attempts=3, timeout=1.0)  # type: ignore[arg-type]
    assert (plain.traceparent, plain.trace_id) == (None, None)
    traced = Context(**about, max_attempts=3, timeout=1.0, traceparent=GIVEN)  # type: ignore[arg-type]
    assert traced.trace_id == TRACE


def test_the_ambient_trace_is_that_of_the_block_and_of_its_thread_only() -> None:
    seen: list[Trace | None] = []
    with under(Trace(GIVEN)):
        assert ambient() == Trace(GIVEN)
        other = threading.Thread(target=lambda: seen.append(ambient()))
        other.start()
        other.join()
        with pytest.raises(ZeroDivisionError), under(None):
            raise ZeroDivisionError
        assert ambient() == Trace(GIVEN)
    assert ambient() is None
    assert seen == [None]
