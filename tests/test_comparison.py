"""The comparison itself: it passes a server that answers as the model does, and catches one that does not."""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from comparison import Client, compare, compare_findings, settle
from model import ENDPOINTS, Failure, Model
from worlds import build_files, make_world, random_query

Spoiler = Callable[[str, Any], Any]


def routed(path: str) -> tuple[str, list[str]]:
    """The endpoint and the ids in a path."""
    for endpoint, template in ENDPOINTS.items():
        found = re.fullmatch(template.replace("{}", "([^/]*)"), path)
        if found:
            return endpoint, [unquote(text) for text in found.groups()]
    raise AssertionError(path)


def findings_of(model: Model, job: str | None) -> dict[str, Any]:
    items = [
        {
            "job_id": f.job_id, "asset_type": f.asset_type, "asset_id": f.asset_id, "feature": f.feature,
            "kind": f.kind, "path": f.paths[0] if f.paths else None, "claimed_path": f.claimed_path,
        }
        for f in model.findings(job) if f.sure
    ]  # fmt: skip
    return {"items": items, "total": len(items)}


def overview_of(model: Model, status: Mapping[str, Any]) -> dict[str, Any]:
    job = status["job_id"]
    return {
        **status,
        "summary": model.answer("summary", [job], []),
        "verification": model.verification(job),
    }


class Handler(BaseHTTPRequestHandler):
    """Answers out of the model; ``spoil`` may change a body before it is sent."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    model: Model
    spoil: Spoiler

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        verification = re.fullmatch(r"(?:/jobs/([^/]*))?/verification(/findings)?", path)
        if verification:
            job, listed = verification.groups()
            job = unquote(job) if job is not None else None
            body = findings_of(self.model, job) if listed else self.model.verification(job)
            self.reply(200, type(self).spoil("findings" if listed else "verification", body))
            return
        overview = re.fullmatch(r"(?:/jobs/([^/]*))?/overview", path)
        if overview:
            self.reply(200, type(self).spoil("overview", self.overview(overview[1], query)))
            return
        endpoint, names = routed(path)
        answer = self.model.answer(endpoint, names, parse_qsl(query, keep_blank_values=True))
        if isinstance(answer, Failure):
            errors = [{"parameter": name, "message": "bad"} for name in answer.parameters]
            body = {
                "type": "about:blank",
                "title": "no",
                "status": answer.status,
                "detail": "",
                "errors": errors,
            }
            self.reply(answer.status, body)
        else:
            self.reply(200, type(self).spoil(endpoint, answer))

    def overview(self, job: str | None, query: str) -> Any:
        if job is not None:
            return overview_of(self.model, self.model.answer("status", [unquote(job)], []))
        page = self.model.answer("jobs", [], parse_qsl(query))
        items = [overview_of(self.model, status) for status in page["items"]]
        return {**page, "items": items, "verification": self.model.verification(None)}

    def reply(self, status: int, body: Any) -> None:
        raw = json.dumps(body, default=lambda value: None).encode()
        tag = f'"{hashlib.sha256(raw).hexdigest()}"'
        same = self.headers.get("If-None-Match") == tag
        self.send_response(304 if same else status)
        self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", "0" if same else str(len(raw)))
        self.end_headers()
        self.wfile.write(b"" if same else raw)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@contextmanager
def served(model: Model, spoil: Spoiler = lambda endpoint, body: body) -> Iterator[Client]:
    """A client of a server that answers out of the model."""
    handler = type("Spoilt", (Handler,), {"model": model, "spoil": staticmethod(spoil)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    client = Client(f"http://127.0.0.1:{server.server_port}")
    try:
        yield client
    finally:
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    root = tmp_path_factory.mktemp("world") / "data"
    world = make_world(random.Random(3), "default")
    build_files(world, root)
    return world.model(root)


def test_a_server_that_answers_as_the_model_does_agrees(model: Model) -> None:
    rng = random.Random(1)
    with served(model) as client:
        assert settle(client, model, findings=True) < 20
        assert compare(client, model, [random_query(rng, model) for _ in range(200)]) == []


def lengthened(endpoint: str, body: Any) -> Any:
    return {**body, "total": body["total"] + 1} if endpoint == "images" else body


def reordered(endpoint: str, body: Any) -> Any:
    return {**body, "items": body["items"][::-1]} if endpoint == "video_frames" else body


def annotated(endpoint: str, body: Any) -> Any:
    return {**body, "more": 1} if endpoint == "status" else body


def rounded(endpoint: str, body: Any) -> Any:
    segment = {**body["video_frames"]["segment"], "percent": 0.001} if endpoint == "summary" else None
    return {**body, "video_frames": {**body["video_frames"], "segment": segment}} if segment else body


@pytest.mark.parametrize("spoil", [lengthened, reordered, annotated, rounded])
def test_a_server_that_differs_in_one_thing_is_caught(model: Model, spoil: Spoiler) -> None:
    with served(model, spoil) as client:
        assert compare(client, model)
        with pytest.raises(AssertionError, match="still so after"):
            settle(client, model, seconds=0.0)


def forgetful(endpoint: str, body: Any) -> Any:
    return {"items": body["items"][1:], "total": body["total"] - 1} if endpoint == "findings" else body


def eager(endpoint: str, body: Any) -> Any:
    if endpoint != "findings" or not body["items"]:
        return body
    extra = {**body["items"][0], "asset_id": "nobody"}
    return {"items": [*body["items"], extra], "total": body["total"] + 1}


def careless(endpoint: str, body: Any) -> Any:
    if endpoint != "findings":
        return body
    return {**body, "items": [{**item, "claimed_path": "elsewhere"} for item in body["items"]]}


def hasty(endpoint: str, body: Any) -> Any:
    """An overview whose parts are not of one moment."""
    if endpoint != "overview" or "items" not in body:
        return body
    return {**body, "verification": {**body["verification"], "assets": -1}}


def torn(endpoint: str, body: Any) -> Any:
    if endpoint != "overview" or "summary" not in body:
        return body
    return {**body, "summary": {**body["summary"], "updated_at": "another"}}


@pytest.mark.parametrize("spoil", [forgetful, eager, careless, hasty, torn])
def test_findings_that_differ_in_one_thing_are_caught(model: Model, spoil: Spoiler) -> None:
    with served(model, spoil) as client:
        assert compare_findings(client, model)
