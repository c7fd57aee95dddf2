"""Findings as pages and as streams: complete, escaped, and no faster than the client takes them."""

from __future__ import annotations

import csv
import io
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from waiting import until
from webfake import FINDING, Web, serving

from scanner.records import AssetType, Feature, FindingRequest, Kind, Page
from web.verification import COLUMNS

NASTY = 'a "quoted", text\nwith lines; ü'


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as running:
        running.queries.finding_list = [
            replace(FINDING, asset_id=f"a_{number}", detail=NASTY, job_id=None) for number in range(1001)
        ]
        yield running


def test_csv_holds_every_finding_whatever_the_limit(web: Web) -> None:
    answer = web.get("/verification/findings?format=csv&limit=1&offset=5")
    assert answer.headers["Content-Type"].startswith("text/csv; charset=utf-8")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="findings.csv"'
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["X-Index-State"] == "complete"
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert tuple(rows[0]) == COLUMNS
    assert [row["asset_id"] for row in rows] == [f"a_{number}" for number in range(1001)]
    assert {row["detail"] for row in rows} == {NASTY}
    assert {row["job_id"] for row in rows} == {""}


def test_ndjson_lines_are_the_items_of_the_pages(web: Web) -> None:
    answer = web.get("/jobs/j_123/verification/findings?format=ndjson")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="findings-j_123.ndjson"'
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert len(lines) == 1001
    assert lines[:20] == web.get("/jobs/j_123/verification/findings").json["items"]


def test_a_stream_has_the_filters_and_the_order_of_the_page(web: Web) -> None:
    web.get(
        "/verification/findings?format=csv&kind=stale&feature=image&asset_type=video_frame&q=x&sort_by=path"
    )
    assert set(web.queries.calls) == {
        (
            "findings_behind",
            FindingRequest(
                Page(20, 0, "path", False),
                None,
                (Kind.STALE,),
                (Feature.IMAGE,),
                AssetType.VIDEO_FRAME,
                "x",
            ),
        )
    }


def test_head_of_a_stream_has_no_body(web: Web) -> None:
    answer = web.request("HEAD", "/verification/findings?format=csv")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Disposition"]


def test_nothing_found_is_an_empty_stream(web: Web) -> None:
    web.queries.finding_list = []
    assert web.get("/verification/findings?format=ndjson").body == b""
    assert web.get("/verification/findings?format=csv").body == ",".join(COLUMNS).encode() + b"\r\n"


def test_a_name_for_the_file_is_safe_in_a_header(web: Web) -> None:
    web.queries.jobs_list[0] = replace(web.queries.jobs_list[0], job_id='a"/\r\nX: ü')
    answer = web.get("/jobs/a%22%2F%0D%0AX%3A%20%C3%BC/verification/findings?format=csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="findings-a____X___.csv"'


def test_a_stream_waits_for_its_client_and_ends_with_it(web: Web) -> None:
    taken = 0

    def endless(*args: Any) -> Any:
        nonlocal taken
        taken += 400
        return [replace(FINDING, detail="x" * 2000)] * 400, ("behind",)

    web.queries.findings_behind = endless  # type: ignore[method-assign]
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as client:
        client.sendall(b"GET /verification/findings?format=ndjson HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        before = -1
        while before != taken:  # the buffers of both ends fill up, then nothing more is read
            before = taken
            assert web.get("/status/j_123").status == 200
            time.sleep(0.2)
        assert taken < 100_000
        assert web.application.active == 1
    until(lambda: web.application.active == 0, "the request ends")
    assert taken == before, "nobody reads on for a client that has gone"


def test_a_stream_that_breaks_is_not_taken_for_a_whole_one(web: Web) -> None:
    def broken(wanted: Any, place: Any) -> Any:
        if place is None:
            return [FINDING], ("behind",)
        raise RuntimeError("the index is gone")

    web.queries.findings_behind = broken  # type: ignore[method-assign]
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as client:
        client.sendall(b"GET /verification/findings?format=csv HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200")
    assert b"missing,," in received
    assert not received.endswith(b"\r\n0\r\n\r\n"), "no chunk says that this was all"


def test_http_1_0_gets_the_stream_until_the_connection_closes(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as client:
        client.sendall(b"GET /verification/findings?format=ndjson HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert len(body.splitlines()) == 1001
