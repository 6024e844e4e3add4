"""The API described by itself."""

from __future__ import annotations

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from ferryman_api.answers import Answer, as_json
from ferryman_api.context import api
from ferryman_api.problems import documented

routes = APIBlueprint("openapi", __name__, abp_tags=[Tag(name="description")])


@routes.get("/openapi.json", responses={200: {"description": "OpenAPI 3.1"}, **documented()})
def openapi() -> Answer:
    """Describe this API."""
    return as_json(api().api_doc)
