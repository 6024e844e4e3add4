"""Request bodies that a client could send by mistake or in bad faith, drawn from a seeded chance.

Most are nearly right: a valid job with one thing wrong gets further than noise does.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Chance = random.Random

MEGABYTE = 1_048_576


class Raw(str):
    """Text that goes into the body as it is, JSON or not."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object whose names may come twice."""


NUMBERS = [
    "0", "-0", "-0.0", "1", "-1", "0.1", "1e999", "-1e999", "1e308", "5e-324", "1e-999", "1E400",
    "9007199254740993", "18446744073709551616", "-9223372036854775809", "0.1e1", "1.0", "2.5",
    "00", "01", "+1", ".5", "1.", "0x10", "1_000", "NaN", "Infinity", "-Infinity", "nan", "1e",
    "--1", "3", "86400", "86400.0000001", "315360000", "315360001", "253402300799",
    "253402300800", "604800", "604801", "1000", "1001", "100", "101", "0.09999", "4294967296",
    "2147483648",
]  # fmt: skip
TEXTS = [
    '""', '" "', '"a"', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"',
    '"\\u2028"', '"\\uFEFF"', '"\\u202e"', '"<script>alert(1)</script>"', '"\\u001b[2J"',
    '"\'; DROP TABLE jobs; --"', '"../../etc/passwd"', '"{0}"', '"%s%n"', '"\\\\"', '"\\""',
    '"ferryman:{0}:dlq"', '"high"', '"HIGH"', '"default"', '"a:b"', '"a b"', '"None"', '"null"',
    '"2026-01-01T00:00:00Z"', '"2026-13-01T00:00:00Z"', '"2026-01-01"', '"0000-00-00T00:00:00Z"',
    '"9999-12-31T23:59:60Z"', '"2026-01-01T00:00:00+25:00"', '"2026-01-01t00:00:00.123456789z"',
    '"\\u00e9"', '"\\ufffe\\uffff"', '"full"', '"\\n"', '"1"', '"true"',
]  # fmt: skip
WORDS = ["true", "false", "null", "[]", "{}", "[[]]", "[{}]", '[""]', "[null]", "[1,2]", '{"":1}',
         '{"a":{"b":[1]}}', "True", "None", "undefined", "", " ", "[", "]", "{", "}", ",", ":",
         "'a'", "/*c*/1", "1 2", "[1,]", '{"a":1,}', "{a:1}", '"unclosed', "\x00",
         "\x1f"]  # fmt: skip
BYTES = [
    b"", b" ", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf0\x9f\x98",
    b"\xe9", b"\x80", b"\xf4\x90\x80\x80", b"\xc3\x28", "{}".encode("utf-16"), b"\xef\xbb\xbf{}",
    b"0", b"null", b"[]", b'"a"', b"true", b"{}{}", b"[" * 1000, b'{"a":' * 1000, b"\r\n" * 50,
    b"type=a&payload=b", b"<job/>", b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--",
]  # fmt: skip

PROPER = [0, 1, -1, 1.5, 10**20, True, False, None, "", "a", "é😀", "\x00\n\u2028", 1e300, -0.0,
          2**53 + 1, [], {}]  # fmt: skip
FIELDS = ["type", "payload", "id", "queue", "priority", "delay", "run_at", "max_attempts",
          "timeout", "backoff", "tags", "meta"]  # fmt: skip
LATER = ["expires_at", "unique_key", "unique_for", "on_conflict", "after", "callback_url"]
ODD = ["", "Type", "payload ", "__proto__", "a/b~c", "state", "attempt", "x" * 300, "\x00", "é"]


def body(chance: Chance, case: int) -> bytes:
    """One body."""
    if case % 1500 == 7:
        return huge(chance)
    kinds: list[tuple[int, Callable[[Chance], bytes]]] = [
        (12, lambda c: text(valid(c)).encode()),
        (36, lambda c: _encoded(c, text(wrong(c)))),
        (20, mutated),
        (14, lambda c: _encoded(c, text(Pairs([("type", "a"), ("payload", value(c, 6))])))),
        (8, lambda c: _encoded(c, text(value(c, 4)))),
        (5, lambda c: c.choice(BYTES) + c.choice(BYTES)),
        (3, lambda c: c.randbytes(c.randrange(64))),
        (2, deep),
    ]
    make = chance.choices([k for _, k in kinds], [w for w, _ in kinds])[0]
    return make(chance)


def jobs(chance: Chance, case: int, as_lines: bool) -> bytes:
    """Many jobs in one body, as lines or as a list; most are valid, so that some bodies are."""
    spoilt = chance.random() < 0.5
    parts = [
        body(chance, case) if spoilt and chance.random() < 0.2 else text(valid(chance)).encode()
        for _ in range(chance.choice([0, 1, 2, 3, 3, 10]))
    ]
    if chance.random() < 0.01:
        parts = (parts or [b'{"type":"a"}']) * 1001
    if as_lines:
        ends = [b"\n", b"\n", b"\r\n", b"\n\n", b" \n", b"\r", b"\x0c", b"\xe2\x80\xa8"]
        return chance.choice(ends).join(parts) + chance.choice([b"", b"\n"])
    name = chance.choice(["jobs"] * 20 + ["Jobs", "job", ""])
    more = chance.choice([""] * 20 + [',"jobs":[]', ',"queue":"q"', ","]).encode()
    return json.dumps({name: 0}).encode()[:-2] + b"[" + b",".join(parts) + b"]" + more + b"}"


def valid(chance: Chance) -> Pairs:
    """A job that must be accepted."""
    delay_or_time = chance.choice(["delay", "run_at"])
    options: dict[str, Callable[[], Any]] = {
        "id": lambda: f"j{chance.randrange(400)}",
        "queue": lambda: chance.choice(["default", "q", "a.b-c_d", "Q" * 64]),
        "priority": lambda: chance.choice(["high", "normal", "low", 3, 2, 1]),
        delay_or_time: lambda: chance.choice([0, 0.001, 60, 1e6]),
        "max_attempts": lambda: chance.choice([1, 3, 1000]),
        "timeout": lambda: chance.choice([0.1, 1, 604_800]),
        "backoff": lambda: chance.choice([{}, {"base": 0.5}, {"jitter": "full", "factor": 3}]),
        "tags": lambda: chance.choice([[], ["a"], ["é", "b" * 64]]),
        "meta": lambda: chance.choice([{}, {"a": [1, {"b": None}]}]),
    }
    job = Pairs([("type", chance.choice(["a", "uppercase", "t" * 128, "é"]))])
    if chance.random() < 0.8:
        job.append(("payload", value(chance, 3, proper=True)))
    names = [n for n in options if chance.random() < 0.2]
    job += [(name, options[name]()) for name in names]
    chance.shuffle(job)
    return job


def wrong(chance: Chance) -> Pairs:
    """A job with one or two things wrong, perhaps."""
    job = valid(chance)
    for _ in range(chance.choice([1, 1, 1, 2])):
        match chance.randrange(6):
            case 0:
                job.append((chance.choice(LATER + ODD), value(chance, 1)))
            case 1 if job:
                job.append(chance.choice(job))
            case 2 if job:
                del job[chance.randrange(len(job))]
            case _:
                name = chance.choice(FIELDS)
                job[:] = [pair for pair in job if pair[0] != name]
                job.append((name, extreme(chance, name)))
    return job


def extreme(chance: Chance, name: str) -> Any:
    """A value at or beyond the edge of what a field may be."""
    edges: dict[str, list[Any]] = {
        "type": ["", "t" * 129, "a\n", " ", "\x7f", 1, None],
        "id": ["", "x" * 128, "x" * 129, "a b", "é", "../x", "a\n", ".", "..", 0, True],
        "queue": ["", "q" * 64, "q" * 65, "a:b", "é", "a\n", " ", 1],
        "priority": ["High", 0, 4, 1.0, 2.5, True, False, "3", [], {}],
        "delay": [-1, -0.0, 1e-9, 315_360_000, 315_360_000.1, "1", True, Raw("1e999")],
        "run_at": [-1, 0, 253_402_300_799, 253_402_300_800, "now", "", True, Raw("NaN")],
        "max_attempts": [0, 1, 1000, 1001, 1.0, 1.5, "3", True, -1, 10**30],
        "timeout": [0, 0.1, 0.0999, 604_800, 604_801, "60", True, -1],
        "backoff": [{"base": -1}, {"factor": 0.5}, {"jitter": 2}, {"jitter": "some"}, {"x": 1},
                    {"base": True}, {"cap": 86_401}, {"base": 10, "cap": 1}, [], "full", 1],
        "tags": [[""], ["t" * 65], ["a"] * 21, ["a"] * 20, [1], [None], [["a"]], "abc", {}],
        "meta": [{"a": "x" * 4085}, {"a": "x" * 4100}, [], "a", {"": {}}, {"a": [[[[[]]]]]}],
    }  # fmt: skip
    if chance.random() < 0.5 and name in edges:
        return chance.choice(edges[name])
    return value(chance, 2)


def value(chance: Chance, depth: int, proper: bool = False) -> Any:
    """Any JSON value, or (not `proper`) what only looks like one."""
    kind = chance.randrange(9 if depth else 5)
    if kind < 5:
        return chance.choice(PROPER) if proper else _atom(chance, kind)
    if kind < 7:
        return [value(chance, depth - 1, proper) for _ in range(chance.randrange(4))]
    names = list("abcdef") if proper else ["a", "b", "type", "", "é", "__class__"]
    picked = [chance.choice(names) for _ in range(chance.randrange(4))]
    picked = list(dict.fromkeys(picked)) if proper else picked
    return Pairs([(name, value(chance, depth - 1, proper)) for name in picked])


def _atom(chance: Chance, kind: int) -> Any:
    if kind < 3:
        return Raw(chance.choice((NUMBERS, TEXTS, WORDS)[kind]))
    if kind == 3:
        return chance.randrange(-(10**6), 10**6)
    if chance.random() < 0.97:
        return Raw('"' + "x" * chance.randrange(40) + '"')
    return Raw("7" * chance.choice([1, 20, 400, 4300, 4301, 5000]))


def text(item: Any) -> str:
    """As JSON, with what is raw in it as it is."""
    match item:
        case Raw():
            return str(item)
        case Pairs() | dict():
            pairs = item.items() if isinstance(item, dict) else item
            return "{" + ",".join(f"{json.dumps(k)}:{text(v)}" for k, v in pairs) + "}"
        case list():
            return "[" + ",".join(map(text, item)) + "]"
    return json.dumps(item)


def _encoded(chance: Chance, said: str) -> bytes:
    code = chance.choices(["utf-8", "latin-1", "utf-16", "utf-8-sig"], [94, 3, 1, 2])[0]
    return said.encode(code, "replace")


def mutated(chance: Chance) -> bytes:
    """A valid body with a few bytes changed, cut, doubled or put in."""
    data = bytearray(text(valid(chance)).encode())
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                data[at : at + 1] = chance.randbytes(1)
            case 1:
                del data[at : at + chance.randrange(1, 8)]
            case 2:
                data[at:at] = chance.choice(BYTES)
            case 3:
                data[at:at] = data[at : at + chance.randrange(1, 30)]
            case 4:
                data[at:at] = chance.choice(b'{}[],:"\\0-.etn').to_bytes(1, "big")
            case _:
                del data[at:]
    return bytes(data)


def deep(chance: Chance) -> bytes:
    """Arrays and objects within each other, around the bound and far beyond."""
    depth = chance.choice([1, 62, 63, 64, 65, 66, 100, 990, 1000, 1100, 5000])
    opening, closing = chance.choice([(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
    return b'{"type":"a","payload":' + opening * depth + b"1" + closing * depth + b"}"


def huge(chance: Chance) -> bytes:
    """A body that costs something to look at."""
    return chance.choice([
        lambda: b'{"type":"a","payload":"' + b"x" * 10 * MEGABYTE + b'"}',
        lambda: b'{"type":"a","payload":"' + b"x" * (MEGABYTE - 25) + b'"}',
        lambda: b"x" * (MEGABYTE + 1),
        lambda: b'{"type":"a","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        lambda: b'{"type":"a","payload":' + b'{"a":' * 100_000,
        lambda: b"[" * 900_000,
        lambda: b'{"type":"a","payload":' + b"9" * 500_000 + b"}",
        lambda: text(Pairs([(f"f{i}", i) for i in range(60_000)])).encode(),
        lambda: b'{"type":"a","payload":[' + b"0," * 500_000 + b"0]}",
        lambda: b'{"type":"a","payload":"' + b"\\u0000" * 170_000 + b'"}',
    ])()  # fmt: skip
