"""Request bodies as JSON values, read strictly: what two parsers could understand in two ways,
or what JSON has no word for, is refused rather than guessed at.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MAX_DEPTH = 65
"""Arrays and objects within each other: 64 for a payload, and the body around it."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class BadBody(Exception):
    """The body is not JSON as we read it; the message says what is wrong with it."""


def json_body(environ: WSGIEnvironment, most: int) -> Any:
    """The JSON value of a body of at most `most` bytes.

    Raises BadBody, UnsupportedMediaType and RequestEntityTooLarge.
    """
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0]
    if kind.strip().lower() != "application/json":
        raise UnsupportedMediaType("expected a body with Content-Type: application/json")
    return decode(raw_body(environ, most))


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


def decode(data: bytes) -> Any:
    """The JSON value in UTF-8 bytes; BadBody says what is wrong with them."""
    try:
        value = _DECODER.decode(data.decode())
    except UnicodeDecodeError as error:
        raise BadBody(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise BadBody(f"not JSON at {where}: {error.msg}") from None
    except RecursionError:
        raise BadBody(_TOO_DEEP) from None
    except ValueError:  # of int(), which takes 4,300 digits so that nobody can keep it busy
        raise BadBody("an integer has more than 4,300 digits") from None
    # As many brackets as that are needed for the depth: most bodies are not looked through.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise BadBody(_TOO_DEEP)
    if _SURROGATE.search(data) and not _is_text(value):
        raise BadBody("a \\u escape is half of a surrogate pair")
    return value


_TOO_DEEP = f"arrays and objects are nested more than {MAX_DEPTH} deep"


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
