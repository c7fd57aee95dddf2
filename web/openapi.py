"""``GET /openapi.json``: OpenAPI 3.1, made from the table of routes and the types of the answers."""

from __future__ import annotations

import re
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from scanner.records import AssetType
from web import wire
from web.base import Exchange, IndexEndpoint, JsonEndpoint, encode
from web.params import Parameter
from web.problems import PROBLEM_JSON, ProblemBody
from web.routes import Target

JSON_SCHEMA = "https://spec.openapis.org/oas/3.1/dialect/base"
_REF = "#/components/schemas/{name}"
_WITH_URLS = "WithUrls"
_EXTENDED = (
    wire.VideoWithUrls,
    wire.FrameWithUrls,
    wire.ImageWithUrls,
    wire.ProductImageWithUrls,
    wire.VideoFrameWithUrls,
)

DESCRIPTION = """\
Says which images and artifacts of a product-to-video matching pipeline exist on disk and are intact.
Everything is read-only. Every path answers `HEAD` as `GET` without the body, and `OPTIONS` with `Allow`.

Of a repeated query parameter the last one counts (`kind` and `feature` add up), an empty value counts as
absent, unknown parameters are ignored, and all bad ones are reported together. Nulls sort last in both
orders, ties by id. Poll with `If-None-Match`: while nothing changed the answer is 304 without a body."""

_ERRORS = {
    400: "A parameter, or the request itself, cannot be used.",
    404: "It is not known, neither to the index nor to the pipeline database.",
    405: "Only GET, HEAD and OPTIONS are allowed.",
    416: "The range holds no byte of the file.",
    422: "The file holds nothing that can be shown so, or too much of it.",
    500: "The sidecar failed; its log says why.",
    503: "Not found yet, or not readable now: ask again in a second.",
}
_ERROR_HEADERS = {404: ("X-Index-State",), 405: ("Allow",), 416: ("Content-Range",), 503: ("Retry-After",)}
_ALWAYS = (400, 405, 500)

_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ETag": ("Strong; stands for exactly these bytes.", {"type": "string"}),
    "Cache-Control": ("Keep it, but ask before using it again.", {"const": "no-cache"}),
    "Vary": ("What of the request the bytes depend on.", {"type": "string"}),
    "X-Index-State": (
        "Whether the first full scan is done, and the index up to date.",
        {"enum": ["complete", "scanning", "degraded"]},
    ),
    "Retry-After": ("Seconds.", {"type": "string", "pattern": "^[0-9]+$"}),
    "Allow": ("The methods that are allowed.", {"const": "GET, HEAD, OPTIONS"}),
    "Content-Range": ("Which bytes of how many.", {"type": "string"}),
    "Accept-Ranges": ("Parts can be asked for.", {"const": "bytes"}),
    "Access-Control-Allow-Origin": ("Which origin may read the answer.", {"type": "string"}),
}
_REQUEST_HEADERS = {
    "If-None-Match": "Entity tags that the client has; 304 is the answer if one is current.",
    "Range": "One range of bytes, such as `bytes=0-1023`; anything else is ignored.",
    "If-Range": "`Range` counts only while this entity tag is current.",
}

_NAME = {"type": "string", "minLength": 1}
_PATH_PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "path": ("Relative to the data root; its slashes may be sent as they are.", _NAME),
    "part": ("The name of a file.", _NAME),
    "asset_type": ("What kind of asset.", {"type": "string", "enum": [type.wire for type in AssetType]}),
}


class OpenApi(JsonEndpoint):
    """The document, made when it is first asked for."""

    summary = "This document"
    answers = dict[str, Any]
    _body = b""

    def handle(self, exchange: Exchange, args: Sequence[str]) -> Coroutine[Any, Any, None] | None:
        """The document."""
        if not self._body:
            self._body = encode(document(exchange.application.targets, self.context.version))
        exchange.send_json(self._body)
        return None


def document(targets: Iterable[Target], version: str) -> dict[str, Any]:
    """The whole document for a table of routes."""
    shown = [target for target in targets if target.endpoint.documented]
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": JSON_SCHEMA,
        "info": {"title": "artifact-sidecar", "version": version, "description": DESCRIPTION},
        "paths": {_path(target): {"get": _operation(target)} for target in shown},
        "components": {
            "schemas": _schemas(shown),
            "headers": {
                name: {"description": text, "schema": schema} for name, (text, schema) in _HEADERS.items()
            },
            "responses": {f"Problem{status}": _problem(status) for status in _ERRORS},
        },
    }


def _path(target: Target) -> str:
    return target.pattern.replace("*}", "}")


def _operation(target: Target) -> dict[str, Any]:
    endpoint = target.endpoint
    return {
        "operationId": _operation_id(target),
        "summary": endpoint.summary,
        "parameters": [
            *(_path_parameter(name) for name in re.findall(r"{(\w+)", target.pattern)),
            *(_query_parameter(parameter) for parameter in endpoint.parameters.parameters),
            *(_header_parameter(name) for name in endpoint.request_headers),
        ],
        "responses": {**_successes(target), **_failures(target)},
    }


def _operation_id(target: Target) -> str:
    """The words of the path: ``get_jobs_job_id_videos``."""
    return "_".join(["get", *(word for word in re.split(r"[/{}*.-]+", target.pattern) if word)])


def _path_parameter(name: str) -> dict[str, Any]:
    text, schema = _PATH_PARAMETERS.get(name, ("An id.", _NAME))
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "allowEmptyValue": True,
        "schema": parameter.schema,
        **parameter.style,
    }


def _header_parameter(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "description": _REQUEST_HEADERS[name],
        "schema": {"type": "string"},
    }


# --- responses -------------------------------------------------------------------------------------


def _successes(target: Target) -> dict[str, Any]:
    endpoint = target.endpoint
    headers = _headers(_response_headers(target))
    found: dict[str, Any] = {
        "200": {"description": endpoint.summary, "headers": headers, "content": _content(target)}
    }
    if "Range" in endpoint.request_headers:
        part = {**headers, **_headers(("Content-Range",))}
        found["206"] = {"description": "A part of it.", "headers": part, "content": _content(target)}
    if "If-None-Match" in endpoint.request_headers:
        found["304"] = {"description": "The client has it already.", "headers": headers}
    return found


def _content(target: Target) -> dict[str, Any]:
    endpoint = target.endpoint
    content: dict[str, Any] = {media_type: {} for media_type in endpoint.media_types}
    if endpoint.answers is not None:
        schemas, _ = msgspec.json.schema_components([endpoint.answers], ref_template=_REF)
        content = {"application/json": {"schema": schemas[0]}, **content}
    return content


def _response_headers(target: Target) -> tuple[str, ...]:
    endpoint = target.endpoint
    names = ["Cache-Control", "Access-Control-Allow-Origin"]
    if "If-None-Match" in endpoint.request_headers:
        names.append("ETag")
    if isinstance(endpoint, JsonEndpoint):
        names.append("Vary")
    if isinstance(endpoint, IndexEndpoint):
        names.append("X-Index-State")
    if "Range" in endpoint.request_headers:
        names.append("Accept-Ranges")
    return tuple(names)


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _failures(target: Target) -> dict[str, Any]:
    statuses = {*_ALWAYS, *target.endpoint.errors}
    if "{" in target.pattern:
        statuses |= {404, 503}
    return {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in sorted(statuses)}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": _REF.format(name="Problem")}
    return {
        "description": _ERRORS[status],
        "headers": _headers(_ERROR_HEADERS.get(status, ())),
        "content": {PROBLEM_JSON: {"schema": schema}},
    }


# --- schemas ---------------------------------------------------------------------------------------


def _schemas(targets: Iterable[Target]) -> dict[str, Any]:
    types = [target.endpoint.answers for target in targets if target.endpoint.answers is not None]
    _, components = msgspec.json.schema_components([*types, *_EXTENDED, ProblemBody], ref_template=_REF)
    for extended in _EXTENDED:
        _merge(components, extended.__name__)
    components["Problem"] = {**components.pop("ProblemBody"), "title": "Problem"}
    return components


def _merge(components: dict[str, Any], name: str) -> None:
    """Document the fields that ``include=urls`` adds as optional ones of the plain type."""
    extended = components.pop(name)
    plain: Mapping[str, Any] = components[name.removesuffix(_WITH_URLS)]
    components[name.removesuffix(_WITH_URLS)] = {**plain, "properties": extended["properties"]}
