"""Every counter at one moment."""

from __future__ import annotations

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from ferryman_api.answers import Answer, as_json, stats_view
from ferryman_api.bodies import StatsAnswer
from ferryman_api.context import api
from ferryman_api.problems import documented

routes = APIBlueprint("stats", __name__, abp_tags=[Tag(name="watching")])


@routes.get("/stats", responses={200: StatsAnswer, **documented(503)})
def stats() -> Answer:
    """Count everything, in one read."""
    return as_json(stats_view(api().store.stats()))
