"""The OpenAPI document is valid, complete, and says what the server does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from webfake import Web, serving

from web import healthwire
from web.app import ROUTES
from web.problems import ParameterError, ProblemBody

jsonschema = pytest.importorskip("jsonschema")

REAL = {
    "job_id": "j_123",
    "video_id": "v_abc",
    "img_id": "p_001_img_0",
    "frame_id": "v_abc_frame_000123",
    "path": "x",
    "part": "app.js",
    "asset_type": "product_image",
    "asset_id": "p_001_img_0",
}


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with serving(max_limit=50, default_limit=7, version="1.2.3") as running:
        yield running


@pytest.fixture(scope="module")
def document(web: Web) -> Any:
    return web.get("/openapi.json").json


def operations(document: Any) -> list[tuple[str, Any]]:
    return [(path, methods["get"]) for path, methods in document["paths"].items()]


def resolve(document: Any, part: Any) -> Any:
    while "$ref" in part:
        target = document
        for key in part["$ref"][2:].split("/"):
            target = target[key]
        part = target
    return part


def test_it_is_valid_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == "1.2.3"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_it_has_every_route_and_no_other(document: Any) -> None:
    assert set(document["paths"]) == {route.pattern.replace("*}", "}") for route in ROUTES}


def test_every_path_parameter_is_declared(document: Any) -> None:
    for path, operation in operations(document):
        declared = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))


def test_operation_ids_are_unique_and_summaries_are_there(document: Any) -> None:
    identifiers = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(identifiers)) == len(identifiers)
    assert all(operation["summary"] for _, operation in operations(document))


def test_limits_and_defaults_are_the_configured_ones(document: Any) -> None:
    parameters = document["paths"]["/jobs/{job_id}/videos"]["get"]["parameters"]
    schemas = {each["name"]: each["schema"] for each in parameters if each["in"] == "query"}
    assert schemas["limit"]["maximum"] == 50
    assert schemas["limit"]["default"] == 7
    assert schemas["sort_by"]["enum"] == ["updated_at", "duration_s", "frames_count", "title"]
    assert schemas["order"]["default"] == "desc"
    assert set(schemas) == {"q", "platform", "min_frames", "limit", "offset", "sort_by", "order", "include"}


def test_every_error_is_a_problem(document: Any) -> None:
    for _, operation in operations(document):
        assert {"400", "405", "500"} <= set(operation["responses"])
        for status, response in operation["responses"].items():
            if status[0] in "45":
                content = resolve(document, response)["content"]
                assert list(content) == ["application/problem+json"]


def test_the_server_answers_as_documented(web: Web, document: Any) -> None:
    """Bodies fit their schemas and headers are the documented ones, with and without urls."""
    for path, operation in operations(document):
        target = path.format(**REAL)
        for query in ("", "?include=urls"):
            answer = web.get(target + query)
            response = resolve(document, operation["responses"][str(answer.status)])
            for name in response["headers"] if answer.status == 200 else ():
                assert answer.headers[name] is not None, (target, name)
            media_type = answer.headers["Content-Type"].partition(";")[0]
            schema = response["content"][media_type].get("schema")
            if schema is not None:
                check = {**schema, "components": document["components"]}
                jsonschema.Draft202012Validator(check).validate(answer.json)


def test_the_documented_keys_are_the_keys_of_the_answers(web: Web, document: Any) -> None:
    item = web.get("/jobs/j_123/features/video-frames?include=urls").json["items"][0]
    schema = document["components"]["schemas"]["VideoFrame"]
    assert list(schema["properties"]) == list(item)
    assert set(schema["properties"]) - set(schema["required"]) == {"original_url", "urls"}


def test_health_is_documented_key_by_key(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Health"]["required"] == list(healthwire.Health.__struct_fields__)
    assert {"Problem", ParameterError.__name__} <= set(schemas)
    assert ProblemBody.__name__ not in schemas


@pytest.mark.parametrize("name", ["If-None-Match", "Range", "If-Range"])
def test_request_headers_that_change_the_answer_are_documented(document: Any, name: str) -> None:
    files = document["paths"]["/files/{path}"]["get"]
    assert name in {each["name"] for each in files["parameters"] if each["in"] == "header"}
    assert {"206", "304", "416"} <= set(files["responses"])
