"""The counters for Prometheus, and the three best known as JSON."""

from __future__ import annotations

from flask import request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from prometheus_client.exposition import choose_encoder

from ferryman.store import Stats
from ferryman_api.answers import Answer, as_json
from ferryman_api.context import api
from ferryman_api.exposition import text
from ferryman_api.metrics import Scrape
from ferryman_api.problems import PROBLEM, documented

routes = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="watching")])

_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_JSON = {"application/json": {"schema": {"$ref": "#/components/schemas/Totals"}}}


@routes.get(
    "/metrics",
    responses={
        200: {"description": "the counters", "content": _TEXT | _JSON},
        **documented(),
        503: {"description": "Redis away, for who asks for JSON", "content": PROBLEM},
    },
)
def metrics() -> Answer:
    """Give every counter to Prometheus; three of them as JSON to who asks for JSON.

    While Redis is away the text has little more than `ferryman_redis_up 0`.
    """
    if asks_for_json():
        return as_json(totals(api().store.stats()))
    _, content_type = choose_encoder(request.headers.get("Accept", ""))
    is_open = content_type.startswith("application/openmetrics-text")
    said = text(Scrape(api().store, api().marks).families(), is_open)
    return Answer(said, content_type=content_type)


@routes.get(
    "/metrics/process",
    responses={
        200: {"description": "what this process was asked", "content": _TEXT},
        **documented(),
    },
)
def process() -> Answer:
    """Give the HTTP requests this process has answered; Redis is not asked."""
    encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Answer(encoder(api().traffic.registry), content_type=content_type)


def asks_for_json() -> bool:
    """Whether the client names JSON, and wants it at least as much as text."""
    accepts = request.accept_mimetypes
    named = any(kind == "application/json" for kind, _ in accepts)
    return named and accepts["application/json"] >= accepts["text/plain"]


def totals(stats: Stats) -> dict[str, int]:
    """The lifetime counters `Totals` describes."""
    names = {"Processed": "processed", "Failed": "failed", "Recovered": "recovered"}
    return {said: stats.events.get(f"{name}_total", 0) for said, name in names.items()}
