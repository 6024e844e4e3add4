"""What a route may reach: the application with its settings and stores."""

from __future__ import annotations

from typing import cast

from flask import Request, current_app
from flask_openapi.models import OPENAPI3_REF_TEMPLATE
from flask_openapi.models.schema import Schema
from flask_openapi.openapi import OpenAPI
from werkzeug.datastructures import MultiDict
from werkzeug.utils import cached_property

from ferryman.config import Settings
from ferryman.errors import InvalidJob
from ferryman.store import Store
from ferryman_api.answers import Answer
from ferryman_api.bodies import NewJob, NewJobs, NewPayload, Totals
from ferryman_api.marks import Marks
from ferryman_api.traffic import Traffic


class Question(Request):
    """A request; one whose query is no text is the client's fault, not ours."""

    @cached_property
    def args(self) -> MultiDict[str, str]:
        """The query's parameters. Raises InvalidJob where its bytes are not UTF-8."""
        try:
            return super().args
        except UnicodeDecodeError:
            raise InvalidJob.at("", "the query is not UTF-8") from None


class Api(OpenAPI):
    """A Flask application that knows its settings and its stores, and describes itself."""

    request_class = Question
    response_class = Answer
    settings: Settings
    store: Store
    probe: Store
    """A client of its own, so that what befell the other does not colour a health check."""
    traffic: Traffic
    marks: Marks

    def generate_spec_json(self) -> None:
        """Build the description, with the models that routes name without handing them over."""
        for model in (NewJob, NewJobs, NewPayload, Totals):
            schema = model.model_json_schema(ref_template=OPENAPI3_REF_TEMPLATE)
            parts = schema.pop("$defs", {}) | {model.__name__: schema}
            self.components_schemas |= {name: Schema(**part) for name, part in parts.items()}
        super().generate_spec_json()  # type: ignore[no-untyped-call]
        for path in self.spec_json["paths"].values():
            for operation in path.values():
                _forget_foreign_422(operation["responses"])


def api() -> Api:
    """The application that serves this request."""
    return cast(Api, current_app)


def _forget_foreign_422(responses: dict[str, dict[str, dict[str, object]]]) -> None:
    # flask-openapi adds one, in its own shape, to every operation that declares none.
    if "application/json" in responses["422"]["content"]:
        del responses["422"]
