"""/openapi.json: valid, complete, and of one mind with what the API does."""

import pytest
from jsonschema import ValidationError
from openapi_spec_validator import validate as validate_document

from ferryman.draft import OPTIONS
from ferryman_api.serve import ENDPOINTS


@pytest.fixture
def document(client):
    answer = client.get("/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    return answer.json


def operations(document):
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_it_is_valid_openapi_3_1(document):
    assert document["openapi"] == "3.1.0"
    validate_document(document)


def test_every_endpoint_is_described_and_announced_at_the_start(app, document):
    served = {
        f"{method} {rule.rule}".replace("<job_id>", "{job_id}")
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert set(operations(document)) == served
    assert {line.replace("{id}", "{job_id}") for line in ENDPOINTS} == served


def test_every_operation_has_a_summary_and_an_id_of_its_own(document):
    every = operations(document).values()
    assert all(operation["summary"].endswith((".", ")")) for operation in every)
    assert len({operation["operationId"] for operation in every}) == len(every)


def test_the_codes_of_each_operation(document):
    codes = {name: set(o["responses"]) for name, o in operations(document).items()}
    assert codes == {
        "POST /jobs": {"200", "201", "400", "413", "415", "422", "500", "503"},
        "POST /jobs/bulk": {"200", "201", "400", "413", "415", "422", "500", "503"},
        "GET /jobs": {"200", "422", "500", "503"},
        "GET /dlq": {"200", "422", "500", "503"},
        "GET /jobs/{job_id}": {"200", "404", "500", "503"},
        "DELETE /jobs/{job_id}": {"202", "204", "404", "409", "500", "503"},
        "POST /jobs/{job_id}/retry": {
            *("200", "400", "404", "409", "413", "415", "422", "500", "503")
        },
        "GET /stats": {"200", "500", "503"},
        "GET /health": {"200", "500", "503"},
        "GET /livez": {"200", "500"},
        "GET /readyz": {"200", "500", "503"},
        "GET /metrics": {"200", "500", "503"},
        "GET /metrics/process": {"200", "500"},
        "GET /openapi.json": {"200", "500"},
    }


def test_the_options_described_are_those_the_client_knows(document):
    described = set(document["components"]["schemas"]["NewJob"]["properties"])
    assert described == OPTIONS.keys() - {"idempotency_key"} | {"type", "payload"}


def test_what_is_left_out_is_never_described_as_null(document):
    job = document["components"]["schemas"]["JobAnswer"]
    assert "null" not in str(job)
    assert "started_at" not in job["required"]


BODIES = [
    {},
    {"type": "a"},
    {"type": ""},
    {"type": "x" * 128},
    {"type": "x" * 129},
    {"type": 1},
    {"type": "a", "payload": None},
    {"type": "a", "payload": [1]},
    {"type": "a", "id": "a.b:c-d_e"},
    {"type": "a", "id": "a b"},
    {"type": "a", "id": ""},
    {"type": "a", "queue": "q.1"},
    {"type": "a", "queue": "a:b"},
    {"type": "a", "priority": "high"},
    {"type": "a", "priority": "higher"},
    {"type": "a", "priority": 3},
    {"type": "a", "priority": 4},
    {"type": "a", "delay": 0},
    {"type": "a", "delay": -0.1},
    {"type": "a", "delay": 315_360_001},
    {"type": "a", "run_at": 0},
    {"type": "a", "run_at": -1},
    {"type": "a", "run_at": "2026-01-31T12:00:00Z"},
    {"type": "a", "max_attempts": 1000},
    {"type": "a", "max_attempts": 1001},
    {"type": "a", "max_attempts": 0},
    {"type": "a", "timeout": 0.1},
    {"type": "a", "timeout": 0.01},
    {"type": "a", "backoff": {}},
    {"type": "a", "backoff": {"jitter": "full"}},
    {"type": "a", "backoff": {"jitter": "none"}},
    {"type": "a", "backoff": {"factor": 0}},
    {"type": "a", "backoff": {"more": 1}},
    {"type": "a", "tags": []},
    {"type": "a", "tags": ["x" * 64]},
    {"type": "a", "tags": ["x" * 65]},
    {"type": "a", "tags": ["x"] * 21},
    {"type": "a", "meta": {"a": {"b": []}}},
    {"type": "a", "meta": []},
    {"type": "a", "unknown": 1},
    {"type": "a", "queue": None},
    [],
    "a",
]


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_the_description_of_a_new_job_and_the_api_agree(app, client, fits, body):
    described = fits({"$ref": "#/components/schemas/NewJob"}, body)
    assert (client.post("/jobs", json=body).status_code == 201) is described


@pytest.fixture
def fits(app, validate):
    def fits(schema, value):
        try:
            validate(app, schema, value)
        except ValidationError:
            return False
        return True

    return fits
