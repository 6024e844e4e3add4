"""Whether we live, can serve, and have Redis: three questions with three askers.

`/livez` is for what restarts processes: Redis away is no reason to. `/readyz` is for what sends
requests here. `/health` is for people and for what they wrote, with bodies of its own.
"""

from __future__ import annotations

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from ferryman.errors import StoreUnavailable
from ferryman_api.answers import Answer, as_json
from ferryman_api.bodies import Alive, Healthy, Ready, Unhealthy
from ferryman_api.context import api
from ferryman_api.problems import documented

routes = APIBlueprint("health", __name__, abp_tags=[Tag(name="watching")])


@routes.get("/health", responses={200: Healthy, 503: Unhealthy, **documented()})
def health() -> Answer:
    """Say whether Redis answers; within 2 s."""
    try:
        api().probe.ping()
    except StoreUnavailable:
        return as_json({"status": "unhealthy", "error": "redis connection failed"}, 503)
    return as_json({"status": "healthy"})


@routes.get("/livez", responses={200: Alive, **documented()})
def livez() -> Answer:
    """Say that this process answers; Redis is not asked."""
    return as_json({"status": "alive"})


@routes.get("/readyz", responses={200: Ready, **documented(503)})
def readyz() -> Answer:
    """Say whether this process can serve: Redis answers."""
    api().probe.ping()
    return as_json({"status": "ready"})
