"""Requests as bytes, straight into the WSGI application, and what every answer must be.

Werkzeug's own test client would mend half of what is wrong with a request before it is sent.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from jsonschema import Draft202012Validator
from werkzeug.exceptions import HTTPException

from ferryman_api.context import Api

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Request:
    """What is asked; `path` and `query` as they stand in the request line, still quoted."""

    method: str
    path: str
    body: bytes | None = None
    query: str = ""
    headers: Mapping[str, str] | None = None
    length: str | None = None
    """Content-Length where it is not that of the body; "" and a body: chunked."""

    @property
    def told(self) -> bytes:
        """The body as far as its length says; gunicorn lets no length through that is no number,
        and a retry then sees no body at all."""
        sent = self.body or b""
        if self.length and not self.length.isdecimal():
            return sent if self.path in {"/jobs", "/jobs/bulk"} else b""
        return sent[: int(self.length)] if self.length else sent

    def environ(self) -> dict[str, Any]:
        """As a server hands it over (PEP 3333)."""
        body = self.body or b""
        given: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(self.path).decode("latin-1"),
            "QUERY_STRING": self.query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
        }
        if self.length:
            given["CONTENT_LENGTH"] = self.length
        elif self.body is not None and self.length is None:
            given["CONTENT_LENGTH"] = str(len(body))
        elif self.body is not None:
            given["HTTP_TRANSFER_ENCODING"] = "chunked"
        for name, said in (self.headers or {}).items():
            plain = name.upper().replace("-", "_")
            given[plain if plain == "CONTENT_TYPE" else f"HTTP_{plain}"] = said
        return given


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asked:
    """An API, asked without a socket; `trouble` says what is wrong with an answer."""

    def __init__(self, app: Api) -> None:
        self.app = app
        self._paths = app.url_map.bind("")
        self._validators: dict[str, Draft202012Validator] = {}

    def __call__(self, request: Request) -> Reply:
        told: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
            told[:] = [int(status[:3]), {k.lower(): v for k, v in headers}]

        parts: Iterable[bytes] = self.app.wsgi_app(request.environ(), start)
        body = b"".join(parts)
        if hasattr(parts, "close"):
            parts.close()
        return Reply(told[0], told[1], body)

    def trouble(self, request: Request, reply: Reply) -> str | None:
        """How the answer differs from /openapi.json; None when it does not."""
        if reply.status >= 500:
            return f"{reply.status}: {reply.body[:300]!r}"
        if reply.status >= 400 and kind_of(reply) != PROBLEM:
            return f"{reply.status} as {kind_of(reply)!r}"
        operation = self._operation(request)
        if operation is not None:
            return self._differs(operation, request, reply)
        if reply.status not in {404, 405}:
            return f"{reply.status} where nothing is"
        schema = {"$ref": "#/components/schemas/Problem"}
        return None if is_head(request) else self._misfit("Problem", schema, reply)

    def _differs(self, operation: dict[str, Any], request: Request, reply: Reply) -> str | None:
        documented, kind = operation["responses"].get(str(reply.status)), kind_of(reply)
        if documented is None:
            return f"{reply.status} is not documented"
        content = documented.get("content", {})
        if not content or is_head(request):
            return None
        if kind not in content and kind != "application/openmetrics-text":
            return f"{reply.status} as {kind!r}, documented as {sorted(content)}"
        schema = content.get(kind, {}).get("schema")
        if not kind.endswith("json") or schema is None:
            return None
        return self._misfit(json.dumps(schema), schema, reply)

    def _misfit(self, name: str, schema: dict[str, Any], reply: Reply) -> str | None:
        if name not in self._validators:
            parts = {"components": self.app.api_doc["components"]}
            self._validators[name] = Draft202012Validator(schema | parts)
        try:
            value = json.loads(reply.body.decode(), parse_constant=_refuse)
        except ValueError as error:
            return f"the answer is not JSON: {error}: {reply.body[:200]!r}"
        wrong = next(self._validators[name].iter_errors(value), None)
        if wrong is None and kind_of(reply) == PROBLEM and value["status"] != reply.status:
            return f"the problem says {value['status']}, the answer {reply.status}"
        return None if wrong is None else f"{reply.status} misfits: {wrong.message[:300]}"

    def _operation(self, request: Request) -> dict[str, Any] | None:
        path = unquote_to_bytes(request.path).decode("utf-8", "replace")
        try:
            rule, _ = self._paths.match(path, request.method, return_rule=True)
        except HTTPException:
            return None
        template = re.sub(r"<(\w+)>", r"{\1}", rule.rule)
        method = "get" if is_head(request) else request.method.lower()
        found: dict[str, Any] = self.app.api_doc["paths"][template][method]
        return found


def is_head(request: Request) -> bool:
    """Whether the answer has no body by its method."""
    return request.method.upper() == "HEAD"


def kind_of(reply: Reply) -> str:
    """The media type of an answer."""
    return reply.headers.get("content-type", "").partition(";")[0]


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
