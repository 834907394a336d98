"""The OpenAPI document is correct, and no request, valid or not, causes a fault: schemathesis on all operations."""

import json
import re

import pytest
import schemathesis
from cloud_under_test import ROOT, Cloud, esp_image
from hypothesis import HealthCheck, Phase, given, settings
from ioto_tools.cloud.api import openapi
from ioto_tools.cloud.api.operations import OPERATIONS
from ioto_tools.cloud.operators import operator_tokens
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)  # fmt: skip
from site_kinds import InFolder

CHECKS = [
    schemathesis.checks.not_a_server_error, status_code_conformance, content_type_conformance,
    response_schema_conformance, response_headers_conformance, negative_data_rejection,
]  # fmt: skip


@pytest.fixture
def cloud_with_device(tmp_path, kind):
    cloud = Cloud(tmp_path, kind)
    cloud.publish("2.0.0", esp_image(b"2"))
    cloud.check_in("D1", cloud.device(), "1.0.0")
    yield cloud, operator_tokens.new(cloud.site, "fuzz", "admin")["token"]
    cloud.close()


def fuzz(cloud, token, examples):
    """Send `examples` valid and as many invalid requests to each operation; return [(operation, status)]."""
    schema = schemathesis.openapi.from_asgi(openapi.PREFIX + "/openapi.json", cloud.app)
    seen = []
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            if mode == GenerationMode.POSITIVE or operation.body or operation.query:  # nothing else can be invalid
                _fuzz(operation, mode, token, examples, seen)
    return seen


def _fuzz(operation, mode, token, examples, seen):
    quiet = dict(
        deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )

    @settings(max_examples=examples, **quiet)
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case):
        response = case.call(headers={"Authorization": "bearer " + token})
        seen.append((operation.label, response.status_code))
        case.validate_response(response, checks=CHECKS)

    one()


@pytest.mark.sweep
def test_a_few_requests_to_every_operation(cloud_with_device):
    seen = fuzz(*cloud_with_device, examples=2)
    assert {label for label, _ in seen} == {"%s %s%s" % (o.method, openapi.PREFIX, o.path) for o in OPERATIONS}
    assert {200, 400, 404} <= {status for _, status in seen}


@pytest.mark.sweep
def test_many_requests_to_every_operation(cloud_with_device, kind):
    # Fewer on servers: results depend more on the request than on the database.
    fuzz(*cloud_with_device, examples=60 if isinstance(kind, InFolder) else 25)


def test_document_matches_the_table():
    document = openapi.document()
    assert json.loads(json.dumps(document)) == document
    for operation in OPERATIONS:
        found = document["paths"][openapi.PREFIX + operation.path][operation.method.lower()]
        assert operation.scope in found["description"] and found["summary"].endswith(".")
        names = [parameter["name"] for parameter in found["parameters"]]
        assert names == openapi.path_parameters(operation) + list(operation.query)
        assert ("requestBody" in found) == (operation.upload or operation.body is not None)


def test_docs_list_every_operation():
    rows = re.findall(r"^\| `(\w+) (/api/v1\S*)` \| (\w+) \| (.+) \|$", (ROOT / "docs" / "api.md").read_text(), re.M)
    assert rows == [(o.method, openapi.PREFIX + o.path, o.scope, o.summary) for o in OPERATIONS]
