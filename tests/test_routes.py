"""A path finds its route by its segments, which are split before they are decoded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from web.routes import Router, Target

PATTERNS = (
    "/",
    "/jobs",
    "/jobs/{job_id}/videos/{video_id}/frames",
    "/files/{path*}",
    "/jobs/{job_id}/images",
)
ENDPOINT: Any = object()
ROUTER = Router(Target(pattern, ENDPOINT) for pattern in PATTERNS)


@pytest.mark.parametrize(
    ("path", "pattern", "names"),
    [
        ("/", "/", []),
        ("/jobs", "/jobs", []),
        ("/%6aobs", "/jobs", []),
        ("/jobs/a%2Fb/videos/%C3%BC/frames", PATTERNS[2], ["a/b", "ü"]),
        ("/jobs/../images", PATTERNS[4], [".."]),
        ("/jobs/" + "ü".encode().decode("latin-1") + "/images", PATTERNS[4], ["ü"]),
        ("/files/a/b%20c/d.jpg", "/files/{path*}", ["a/b c/d.jpg"]),
        ("/files/a//b/", "/files/{path*}", ["a//b/"]),
    ],
)
def test_a_path_finds_its_route(path: str, pattern: str, names: list[str]) -> None:
    assert ROUTER.find(path) == (Target(pattern, ENDPOINT), names)


@pytest.mark.parametrize(
    "path",
    ["", "jobs", "//", "/jobs/", "/jobs/x", "/jobs//images", "/jobs/%ff/images", "/files", "/nope", "*"],
)
def test_a_path_that_fits_nothing_finds_nothing(path: str) -> None:
    assert ROUTER.find(path) is None


@settings(max_examples=200)
@given(st.text(alphabet="/jobsfiles%2Fü\xff .{}*", max_size=40))
def test_any_path_is_found_or_not(path: str) -> None:
    found = ROUTER.find(path.encode().decode("latin-1"))
    assert found is None or found[0].pattern in PATTERNS
