"""Every route over a real socket: shapes, parameters, errors and headers."""

from __future__ import annotations

import http.client
import json
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed
from webfake import BARE_VIDEO, FRAME, IMAGE, JOB, VIDEO, Answer, Web, serving

from scanner.records import AssetType, Feature, FindingRequest, Kind, Page
from web.static import read_parts

INDEX_ROUTES = [
    "/status/j_123",
    "/jobs",
    "/jobs/j_123/videos",
    "/jobs/j_123/videos/v_abc/frames",
    "/jobs/j_123/images",
    "/jobs/j_123/features/summary",
    "/jobs/j_123/features/product-images",
    "/jobs/j_123/features/video-frames",
    "/features/product-images/p_001_img_0",
    "/features/video-frames/v_abc_frame_000123",
    "/jobs/j_123/verification",
    "/jobs/j_123/verification/findings",
    "/verification",
    "/verification/findings",
    "/overview",
    "/jobs/j_123/overview",
    "/jobs/j_123/assets",
    "/assets/product_image/p_001_img_0",
]
OTHER_ROUTES = ["/healthz", "/readyz", "/openapi.json", "/"]
UNKNOWN = [
    "/status/nope",
    "/jobs/nope/videos",
    "/jobs/nope/videos/v_abc/frames",
    "/jobs/j_123/videos/nope/frames",
    "/jobs/nope/images",
    "/jobs/nope/features/summary",
    "/jobs/nope/features/product-images",
    "/jobs/nope/features/video-frames",
    "/features/product-images/nope",
    "/features/video-frames/p_001_img_0",
    "/jobs/nope/verification",
    "/jobs/nope/verification/findings",
    "/jobs/nope/verification/findings?format=csv",
    "/jobs/nope/verification/findings?format=ndjson",
    "/jobs/nope/overview",
    "/jobs/nope/assets",
    "/assets/product_image/nope",
    "/assets/video_frame/p_001_img_0",
    "/files/frames/nope.jpg",
    "/thumbnails/frames/nope.jpg",
    "/overlays/frames/nope.jpg",
    "/artifacts/frames/nope.jpg",
]
FILES = ("/files", "/thumbnails", "/overlays", "/artifacts")
NO_ROUTE = [
    "/nope",
    "/status",
    "/status/",
    "/status/j_123/",
    "/jobs/",
    "//jobs",
    "/jobs//videos",
    "/jobs/j_123",
    "/jobs/j_123/videos/",
    "/jobs/j_123/features",
    "/features/product-images/",
    "/healthz/",
    "/metrics",
    "/Status/j_123",
]
HOSTILE_IDS = [
    "a%2Fb",
    "..",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "a%00b",
    "%00",
    "x" * 10_000,
    "%F0%9F%92%A9" * 2_000,
    "%f0%9f%92%a9",
    "%ff%fe",
    "%",
    "%zz",
    "%C0%AF",
    "'%20OR%201=1--",
    "%22;DROP%20TABLE%20jobs;--",
    "%0d%0aX-Evil:%201",
    "a;b=c",
    "+",
    "%ED%A0%80",
]


@pytest.fixture(scope="module")
def shared() -> Iterator[Web]:
    with serving() as web:
        yield web


@pytest.fixture
def web(shared: Web) -> Web:
    """The module's server with fresh fakes."""
    shared.queries.__dict__.update(type(shared.queries)(number=shared.queries.number + 1).__dict__)
    shared.health.__dict__.update(type(shared.health)().__dict__)
    shared.lookup.__dict__.update(type(shared.lookup)().__dict__)
    return shared


def assert_problem(answer: Answer, status: int) -> Any:
    """The one error shape: RFC 9457 members, nothing of the host, and the headers of every answer."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert list(problem)[:4] == ["type", "title", "status", "detail"]
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"] == http.client.responses[status]
    assert isinstance(problem["detail"], str)
    assert problem["detail"]
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail"}
    for hint in (b"Traceback", b".py", b"SELECT", b"sqlite"):
        assert hint not in answer.body
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    return problem


# --- answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", INDEX_ROUTES)
def test_an_answer_from_the_index_has_the_headers_that_polling_needs(web: Web, route: str) -> None:
    web.health.index_state = "scanning"
    answer = web.get(route)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Index-State"] == "scanning"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["ETag"].startswith('"')
    assert answer.headers["Date"].endswith(" GMT")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert {"ETag", "X-Index-State", "Retry-After"} <= set(
        answer.headers["Access-Control-Expose-Headers"].split(", ")
    )
    assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.mark.parametrize("route", [*INDEX_ROUTES, *OTHER_ROUTES])
def test_head_answers_as_get_without_the_body(web: Web, route: str) -> None:
    web.health.is_ready = True
    get, head = web.get(route), web.request("HEAD", route)
    assert head.body == b""
    assert head.status == get.status == 200
    for name in ("Content-Length", "Content-Type", "ETag", "Vary", "Cache-Control", "X-Index-State"):
        assert head.headers[name] == get.headers[name], name


@pytest.mark.parametrize("route", [*INDEX_ROUTES, "/healthz", "/readyz", "/openapi.json"])
def test_a_client_that_has_the_answer_gets_304_without_a_body(web: Web, route: str) -> None:
    first = web.get(route)
    again = web.get(route, If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    for name in ("ETag", "Cache-Control", "Vary", "X-Index-State"):
        assert again.headers[name] == first.headers[name], name
    assert again.headers["Content-Length"] is None


def test_the_queries_get_what_the_client_asked_for(web: Web) -> None:
    page = Page(2, 1, "title", False)
    web.get(
        "/jobs/j_123/videos?q=g%E1%BB%91i&platform=YouTube&min_frames=3&limit=2&offset=1&sort_by=title&order=Asc"
    )
    web.get("/jobs/j_123/images?product_id=p&q=x")
    web.get("/jobs/j_123/features/video-frames?video_id=v&has=any&sort_by=ts")
    web.get("/jobs?q=a&phase=matching")
    web.get(
        "/jobs/j_123/verification/findings?kind=missing&kind=stale&feature=image&asset_type=video_frame&q=x"
    )
    web.get("/verification/findings?order=desc&sort_by=path")
    kinds = (Kind.MISSING, Kind.STALE)
    by_id = Page(20, 0, "asset_id", False)
    narrowed = FindingRequest(by_id, "j_123", kinds, (Feature.IMAGE,), AssetType.VIDEO_FRAME, "x")
    assert web.queries.calls == [
        ("videos", "j_123", "gối", "YouTube", 3, page, False),
        ("images", "j_123", "p", "x", Page(20, 0, "img_id", False)),
        ("video_frames", "j_123", "v", "any", Page(20, 0, "ts", True)),
        ("jobs", "a", "matching", Page(20, 0, "updated_at", True)),
        ("findings", narrowed),
        ("findings", FindingRequest(Page(20, 0, "path", True))),
    ]


@pytest.mark.parametrize(
    ("route", "sort_by", "descending"),
    [
        ("/jobs/j_123/videos", "updated_at", True),
        ("/jobs/j_123/videos/v_abc/frames", "ts", False),
        ("/jobs/j_123/images", "img_id", False),
        ("/jobs/j_123/features/product-images", "updated_at", True),
        ("/jobs/j_123/features/video-frames", "updated_at", True),
        ("/jobs", "updated_at", True),
        ("/verification/findings", "asset_id", False),
    ],
)
def test_every_list_has_its_default_order(web: Web, route: str, sort_by: str, descending: bool) -> None:
    answer = web.get(route)
    parts = [getattr(part, "page", part) for part in web.queries.calls[0]]
    page = next(part for part in parts if isinstance(part, Page))
    assert (page.sort_by, page.descending) == (sort_by, descending)
    assert (answer.json["limit"], answer.json["offset"]) == (20, 0)
    assert list(answer.json) == ["items", "total", "limit", "offset"]


def test_a_page_past_the_end_is_empty(web: Web) -> None:
    body = web.get("/jobs/j_123/videos?offset=9223372036854775807&limit=1000").json
    assert body == {"items": [], "total": 2, "limit": 1000, "offset": 9223372036854775807}


@pytest.mark.parametrize(
    ("route", "added"),
    [
        ("/jobs/j_123/videos", {"first_keyframe_url", "preview_frame"}),
        ("/jobs/j_123/videos/v_abc/frames", {"url"}),
        ("/jobs/j_123/images", {"url"}),
        ("/jobs/j_123/features/product-images", {"original_url", "urls"}),
        ("/jobs/j_123/features/video-frames", {"original_url", "urls"}),
    ],
)
def test_urls_are_added_to_every_item_and_nothing_else_changes(web: Web, route: str, added: set[str]) -> None:
    plain, extended = web.get(route).json, web.get(f"{route}?include=urls").json
    assert plain["items"]
    for item, more in zip(plain["items"], extended["items"], strict=True):
        assert set(more) - set(item) == added
        assert {key: more[key] for key in item} == item


def test_details_have_urls_too(web: Web) -> None:
    assert "urls" not in web.get("/features/product-images/p_001_img_0").json
    detail = web.get("/features/product-images/p_001_img_0?include=urls").json
    assert detail["urls"]["segment"] == "/files/products/p_001/0/seg.png"


def test_ids_may_hold_slashes_and_anything_else(web: Web) -> None:
    strange = "a/b ü\n?#'\"\x00"
    web.queries.assets.append(changed(IMAGE, asset_id=strange))
    web.queries.jobs_list.append(replace(JOB, job_id=strange))
    encoded = "a%2Fb%20%C3%BC%0A%3F%23%27%22%00"
    assert web.get(f"/features/product-images/{encoded}").json["img_id"] == strange
    assert web.get(f"/status/{encoded}").json["job_id"] == strange
    assert web.get(f"/jobs/{encoded}/videos").status == 200


def test_a_proxy_may_send_the_absolute_form(web: Web) -> None:
    assert web.get("http://sidecar.example/status/j_123").json["job_id"] == "j_123"


def test_readyz_is_503_until_ready(web: Web) -> None:
    web.health.is_ready = False
    answer = web.get("/readyz")
    assert_problem(answer, 503)
    assert answer.headers["Retry-After"] == "1"
    assert web.get("/healthz").status == 200
    web.health.is_ready = True
    assert web.get("/readyz").json == {"ready": True}


def test_the_page_for_people_loads_nothing_from_elsewhere(web: Web) -> None:
    answer = web.get("/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "unsafe-inline" not in answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_the_page_asks_for_all_of_its_modules_at_once(web: Web) -> None:
    """Found one by one, by what imports them, they would take a round trip after the other."""
    page = web.get("/").body.decode()
    named = re.findall(r'<link rel="modulepreload" href="dashboard/(\w+\.js)">', page)
    modules = {name for name in read_parts("dashboard") if name.endswith(".js")}
    assert sorted(named) == sorted(modules - {"app.js"})


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", UNKNOWN)
def test_what_is_unknown_is_looked_up_and_then_404(web: Web, route: str) -> None:
    answer = web.get(route)
    assert_problem(answer, 404)
    assert answer.headers["X-Index-State"] == "complete"
    assert bool(web.lookup.keys) is not route.startswith(FILES)


@pytest.mark.parametrize("route", UNKNOWN)
def test_what_is_not_found_before_the_first_scan_is_503(web: Web, route: str) -> None:
    web.health.is_ready = False
    answer = web.get(route)
    assert_problem(answer, 503)
    assert answer.headers["Retry-After"] == "1"
    assert web.lookup.keys == []


@pytest.mark.parametrize("route", NO_ROUTE)
@pytest.mark.parametrize("ready", [True, False])
def test_a_path_that_no_route_serves_is_404(web: Web, route: str, ready: bool) -> None:
    web.health.is_ready = ready
    assert_problem(web.get(route), 404)


@pytest.mark.parametrize(
    "route", ["/status/{}", "/jobs/{}/videos", "/jobs/j_123/videos/{}/frames", "/files/{}"]
)
@pytest.mark.parametrize("hostile", HOSTILE_IDS, ids=[hostile[:20] for hostile in HOSTILE_IDS])
def test_hostile_ids_are_404(web: Web, route: str, hostile: str) -> None:
    assert_problem(web.get(route.format(hostile)), 404)


def test_a_long_id_is_not_echoed_in_full(web: Web) -> None:
    assert len(web.get("/status/" + "x" * 10_000).body) < 400


@pytest.mark.parametrize("route", [*INDEX_ROUTES, *OTHER_ROUTES, "/files/x", "/status/nope"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_other_methods_are_405_with_allow(web: Web, route: str, method: str) -> None:
    answer = web.request(method, route)
    assert_problem(answer, 405)
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_a_body_that_is_sent_is_ignored(web: Web) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    try:
        connection.request("POST", "/status/j_123", body=b"x" * 5000)
        assert connection.getresponse().status == 405
        connection.close()
        connection.request("GET", "/status/j_123", body=b"{}")
        assert connection.getresponse().status == 200
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("route", "names"),
    [
        ("/jobs/j_123/videos?limit=0&offset=-1&sort_by=x&order=y&min_frames=z", 5),
        ("/jobs/j_123/videos/v_abc/frames?sort_by=updated_at&limit=1001", 2),
        ("/jobs/j_123/images?sort_by=ts&q=%ff", 2),
        ("/jobs/j_123/features/product-images?has=all&sort_by=ts", 2),
        ("/jobs/j_123/features/video-frames?has=ANY&order=up&include=x", 3),
        ("/features/product-images/p_001_img_0?include=x", 1),
        ("/jobs?sort_by=phase", 1),
        ("/verification/findings?kind=x&feature=y&asset_type=z&format=xml", 4),
    ],
)
def test_bad_parameters_are_all_named_and_before_unknown_ids(web: Web, route: str, names: int) -> None:
    for path in (route, route.replace("j_123", "nope").replace("p_001_img_0", "nope")):
        errors = assert_problem(web.get(path), 400)["errors"]
        assert len(errors) == names
        assert all(set(error) == {"parameter", "message"} for error in errors)
    assert web.queries.calls == []
    web.health.is_ready = False
    assert_problem(web.get(route.replace("j_123", "nope")), 400)


def test_an_exception_is_500_without_a_traceback_and_logged_with_one(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    web.queries.failure = RuntimeError("secret detail of /host/path")
    with caplog.at_level(logging.ERROR):
        for route in INDEX_ROUTES:
            answer = web.get(route)
            assert_problem(answer, 500)
            assert b"secret" not in answer.body
    assert any(record.exc_info and record.exc_info[1] is web.queries.failure for record in caplog.records)


def test_an_exception_while_looking_up_is_500_too(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*key: str) -> bool:
        raise RuntimeError("no database")

    web.lookup.found = fail
    with caplog.at_level(logging.ERROR):
        assert_problem(web.get("/status/nope"), 500)


# --- looking up ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "key"),
    [
        ("/status/new", ("job", "new")),
        ("/jobs/new/videos", ("job", "new")),
        ("/jobs/new/verification/findings?format=csv", ("job", "new")),
        ("/jobs/j_123/videos/new/frames", ("video", "j_123", "new")),
        ("/features/product-images/new", ("product_image", "new")),
        ("/features/video-frames/new", ("video_frame", "new")),
    ],
)
def test_what_the_database_knows_is_found_by_asking_it(web: Web, route: str, key: tuple[str, ...]) -> None:
    def arrive(*asked: str) -> bool:
        web.queries.jobs_list.append(replace(JOB, job_id="new"))
        web.queries.videos_list.append(replace(VIDEO, video_id="new"))
        web.queries.assets += [changed(IMAGE, asset_id="new"), changed(FRAME, asset_id="new")]
        web.queries.number += 1
        return True

    web.lookup.found = arrive
    assert web.get(route).status == 200
    assert web.lookup.keys == [key]


def test_found_by_the_database_but_not_listed_is_404(web: Web) -> None:
    web.lookup.found = lambda *key: True
    assert_problem(web.get("/features/video-frames/new"), 404)


# --- caching ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", INDEX_ROUTES)
def test_the_same_request_runs_no_query_while_the_index_is_unchanged(web: Web, route: str) -> None:
    """Once it has been asked twice, that is: what is asked once only is not kept."""
    web.get(route)
    first = web.get(route)
    calls = len(web.queries.calls)
    again = web.get(route)
    unchanged = web.get(route, If_None_Match=first.headers["ETag"])
    assert len(web.queries.calls) == calls
    assert again.body == first.body
    assert unchanged.status == 304


def test_no_answer_is_older_than_the_index(web: Web) -> None:
    route = "/status/j_123"
    first = web.get(route)
    web.queries.jobs_list[0] = replace(JOB, percent=80.0)
    web.queries.number += 1
    changed = web.get(route, If_None_Match=first.headers["ETag"])
    assert (changed.status, changed.json["percent"]) == (200, 80.0)
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_a_change_elsewhere_in_the_index_keeps_the_tag(web: Web) -> None:
    first = web.get("/status/j_123")
    web.queries.number += 1
    assert web.get("/status/j_123", If_None_Match=first.headers["ETag"]).status == 304


def test_a_kept_answer_shows_the_state_of_now(web: Web) -> None:
    etag = web.get("/status/j_123").headers["ETag"]
    web.health.index_state = "degraded"
    for headers in ({}, {"If_None_Match": etag}):
        answer = web.get("/status/j_123", **headers)
        assert answer.headers["X-Index-State"] == "degraded"
        assert answer.headers["ETag"] == etag


def test_what_is_not_found_is_asked_again(web: Web) -> None:
    assert web.get("/status/later").status == 404
    web.queries.jobs_list.append(replace(JOB, job_id="later"))
    assert web.get("/status/later").status == 200


def test_methods_do_not_share_a_kept_answer(web: Web) -> None:
    assert web.get("/status/j_123").status == 200
    assert web.request("POST", "/status/j_123").status == 405
    assert web.request("HEAD", "/status/j_123").body == b""
    assert web.get("/status/j_123").json["job_id"] == "j_123"


# --- CORS ------------------------------------------------------------------------------------------


def test_options_says_what_is_allowed(web: Web) -> None:
    answer = web.request("OPTIONS", "/status/j_123")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert answer.headers["Content-Length"] is None
    assert web.request("OPTIONS", "*").status == 204
    assert_problem(web.request("OPTIONS", "/nope"), 404)


def test_a_preflight_is_granted(web: Web) -> None:
    answer = web.request(
        "OPTIONS",
        "/jobs",
        {
            "Origin": "https://ops.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "if-none-match",
        },
    )
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "if-none-match"


def test_only_configured_origins_are_echoed() -> None:
    with serving(cors_origins=("https://ops.example",)) as web:
        allowed = web.get("/status/j_123", Origin="https://ops.example")
        other = web.get("/status/j_123", Origin="https://evil.example")
        none = web.get("/status/j_123")
        missing = web.get("/nope", Origin="https://ops.example")
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://ops.example"
    assert missing.headers["Access-Control-Allow-Origin"] == "https://ops.example"
    assert other.headers["Access-Control-Allow-Origin"] is None
    for answer in (allowed, other, none):
        assert answer.headers["Vary"] == "Accept-Encoding, Origin"


def test_without_origins_there_is_no_cors() -> None:
    with serving(cors_origins=()) as web:
        answer = web.get("/status/j_123", Origin="https://ops.example")
    assert answer.headers["Access-Control-Allow-Origin"] is None
    assert answer.headers["Vary"] == "Accept-Encoding"


# --- configuration and hooks -----------------------------------------------------------------------


def test_urls_can_be_added_for_everybody() -> None:
    with serving(include=("urls",)) as web:
        assert "url" in web.get("/jobs/j_123/images").json["items"][0]
        assert "urls" in web.get("/features/video-frames/v_abc_frame_000123").json


def test_limits_are_configured() -> None:
    with serving(default_limit=1, max_limit=3) as web:
        assert len(web.get("/jobs/j_123/videos").json["items"]) == 1
        assert_problem(web.get("/jobs/j_123/videos?limit=4"), 400)


def test_metrics_are_rendered_and_every_answer_is_observed() -> None:
    seen: list[tuple[str, int, float]] = []
    with serving(metrics=lambda: b"up 1\n", observe=lambda *answer: seen.append(answer)) as web:
        answer = web.get("/metrics")
        for route in ("/status/j_123", "/status/j_123", "/status/nope", "/nope", "/jobs?limit=0"):
            web.get(route)
    assert (answer.body, answer.headers["Cache-Control"]) == (b"up 1\n", "no-cache")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert [(route, status) for route, status, _ in seen] == [
        ("/metrics", 200),
        ("/status/{job_id}", 200),
        ("/status/{job_id}", 200),
        ("/status/{job_id}", 404),
        ("", 404),
        ("/jobs", 400),
    ]
    assert all(0 <= seconds < 30 for _, _, seconds in seen)


def test_many_clients_at_once_get_their_own_answers(web: Web) -> None:
    web.queries.videos_list = [replace(BARE_VIDEO, video_id=f"v_{number}") for number in range(500)]
    wrong: list[int] = []

    def poll(start: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
        for offset in range(start, start + 50):
            connection.request("GET", f"/jobs/j_123/videos?limit=1&offset={offset}")
            item = json.loads(connection.getresponse().read())["items"][0]
            if item["video_id"] != f"v_{offset}":
                wrong.append(offset)
        connection.close()

    threads = [threading.Thread(target=poll, args=(start,)) for start in range(0, 400, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
