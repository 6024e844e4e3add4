"""Request bodies as JSON values, read strictly: what two parsers could understand in two ways,
or what JSON has no word for, is refused rather than guessed at.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

JSON = "application/json"
NDJSON = "application/x-ndjson"

MAX_DEPTH = 65
"""Arrays and objects within each other: 64 for a payload, and the body around it."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class BadBody(Exception):
    """The body is not JSON as we read it; the message says what is wrong with it."""


def json_body(environ: WSGIEnvironment, most: int) -> Any:
    """The JSON value of a body of at most `most` bytes.

    Raises BadBody, UnsupportedMediaType and RequestEntityTooLarge.
    """
    if _kind(environ) != JSON:
        raise UnsupportedMediaType(f"expected a body with Content-Type: {JSON}")
    return decode(raw_body(environ, most))


def json_jobs(environ: WSGIEnvironment, most: int, lines: int) -> Any:
    """The same for many jobs; of NDJSON {"jobs": [...]} with its first `lines` + 1 lines.

    What is too much by one is too much: the rest need not be read.
    """
    kind = _kind(environ)
    if kind == JSON:
        return decode(raw_body(environ, most), MAX_DEPTH + 2)
    if kind == NDJSON:
        return {"jobs": decode_lines(raw_body(environ, most), lines + 1)}
    raise UnsupportedMediaType(f"expected a body with Content-Type: {JSON} or {NDJSON}")


def _kind(environ: WSGIEnvironment) -> str:
    kind: str = environ.get("CONTENT_TYPE", "")
    return kind.partition(";")[0].strip().lower()


def raw_body(environ: WSGIEnvironment, most: int) -> bytes:
    """The body as it came, whole."""
    length = _content_length(environ)
    if length > most:
        raise RequestEntityTooLarge(f"expected a body of at most {most} bytes")
    try:
        # A chunked body says its length only by ending: one byte more than allowed is asked for.
        data: bytes = environ["wsgi.input"].read(most + 1 if length < 0 else length)
    except Exception as error:  # the server under us raises its own kinds for broken bodies
        raise BadBody("the body could not be read to its end") from error
    if len(data) > most:
        raise RequestEntityTooLarge(f"expected a body of at most {most} bytes")
    if len(data) < length:
        raise BadBody(f"the body ended after {len(data)} of {length} bytes")
    return data


def _content_length(environ: WSGIEnvironment) -> int:
    """The length the client named; -1 when the body ends where the server says it does."""
    named = environ.get("CONTENT_LENGTH", "")
    if named.isdecimal():
        return int(named)
    return -1 if environ.get("wsgi.input_terminated") else 0


def decode(data: bytes, depth: int = MAX_DEPTH) -> Any:
    """The JSON value in UTF-8 bytes; BadBody says what is wrong with them."""
    value = _value(_text(data))
    _check(data, value, depth)
    return value


def decode_lines(data: bytes, most: int) -> list[Any]:
    """The values of the first `most` lines, one JSON text each; lines without any are skipped."""
    filled = ((n, line) for n, line in enumerate(_text(data).split("\n")) if line.strip(" \t\r"))
    values = [_value(line, above) for above, line in islice(filled, most)]
    _check(data, values, MAX_DEPTH + 1)
    return values


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadBody(f"not UTF-8 at byte {error.start}") from None


def _value(text: str, above: int = 0) -> Any:
    """The value of a text that has so many lines above it in its body."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        where = f"line {above + error.lineno} column {error.colno}"
        raise BadBody(f"not JSON at {where}: {error.msg}") from None
    except RecursionError:
        raise BadBody(_TOO_DEEP) from None
    except ValueError:  # of int(), which takes 4,300 digits so that nobody can keep it busy
        raise BadBody("an integer has more than 4,300 digits") from None


def _check(data: bytes, value: Any, depth: int) -> None:
    # Fewer brackets than that cannot be too deep (a list of lines has none of its own): most bodies
    # are not looked through.
    if data.count(b"[") + data.count(b"{") >= depth and _is_deeper(value, depth):
        raise BadBody(_TOO_DEEP)
    if _SURROGATE.search(data) and not _is_text(value):
        raise BadBody("a \\u escape is half of a surrogate pair")


_TOO_DEEP = f"arrays and objects of a job are nested more than {MAX_DEPTH} deep"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadBody(f"an object names {twice[:100]!r} twice")
    return members


def _refuse(word: str) -> Any:
    raise BadBody(f"{word} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse)


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _is_text(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
