"""Entity tags, If-None-Match and gzip behave as HTTP says, alone and over a socket."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webfake import BARE_VIDEO, Web, serving

from web.conditional import gzip_wanted, none_match, represent


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("br, gzip;q=0.1", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=abc", False),
        ("gzip;q=", False),
        ("gzip;q=1.", True),
        ("deflate, br", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip", True),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("gzip;q=0.5, *;q=1", False),
        ("identity;q=0", False),
        (" gzip ; q=0.8 ,identity ; q=0.2", True),
    ],
)
def test_gzip_is_used_where_asked_for_and_not_less_liked(accept: str | None, wanted: bool) -> None:
    assert gzip_wanted(accept) is wanted


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        (None, False),
        ('"abc"', True),
        ('W/"abc"', True),
        ('"x", "abc"', True),
        ('"x" ,W/"abc", "y"', True),
        ("*", True),
        (" * ", True),
        ('"abcd"', False),
        ("abc", False),
        ('"x"', False),
        ("", False),
    ],
)
def test_if_none_match_compares_weakly_and_takes_lists(header: str | None, matches: bool) -> None:
    assert none_match(header, '"abc"') is matches


@settings(max_examples=100)
@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_a_tag_stands_for_one_body_only(one: bytes, other: bytes) -> None:
    tags = {
        represent(body, accept).etag: represent(body, accept).body
        for body in (one, other)
        for accept in (None, "gzip")
    }
    bodies = {represent(body, accept).body for body in (one, other) for accept in (None, "gzip")}
    assert len(tags) == len(bodies)


def test_a_tag_is_the_same_after_a_restart() -> None:
    assert represent(b"{}", None).etag == '"2afb9b83f9314e5d029766197f539792"'


@pytest.mark.parametrize("size", [1, 2, 44, 255, 256, 511, 512, 513, 1023, 1024, 32767, 32768, 100_000])
def test_bodies_of_any_size_are_packed_where_asked_for(size: int) -> None:
    body = (b'{"items":[],"total":0}' * size)[:size]
    packed = represent(body, "gzip")
    assert packed.gzipped is True
    assert gzip.decompress(packed.body) == body


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with serving() as running:
        running.queries.videos_list = [replace(BARE_VIDEO, video_id=f"v_{number}") for number in range(300)]
        yield running


ROUTE = "/jobs/j_123/videos?limit=300"


def test_a_packed_answer_is_the_same_answer_under_another_tag(web: Web) -> None:
    plain, packed = web.get(ROUTE), web.get(ROUTE, Accept_Encoding="br, gzip")
    assert plain.headers["Content-Encoding"] is None
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["ETag"] != packed.headers["ETag"]
    assert not packed.headers["ETag"].startswith("W/")
    assert len(packed.body) == int(packed.headers["Content-Length"]) < len(plain.body) / 4
    assert json.loads(gzip.decompress(packed.body)) == plain.json


def test_each_representation_is_compared_with_its_own_tag(web: Web) -> None:
    plain, packed = web.get(ROUTE), web.get(ROUTE, Accept_Encoding="gzip")
    for _ in range(2):  # the first asks the query, the second the kept answer
        assert web.get(ROUTE, If_None_Match=plain.headers["ETag"]).status == 304
        assert web.get(ROUTE, If_None_Match=packed.headers["ETag"]).status == 200
        again = web.get(ROUTE, If_None_Match=packed.headers["ETag"], Accept_Encoding="gzip")
        assert (again.status, again.headers["Content-Encoding"]) == (304, None)
        assert web.get(ROUTE, If_None_Match=plain.headers["ETag"], Accept_Encoding="gzip").status == 200
        web.queries.number += 1


def test_head_of_a_packed_answer_has_its_length(web: Web) -> None:
    head = web.request("HEAD", ROUTE, {"Accept-Encoding": "gzip"})
    assert head.headers["Content-Encoding"] == "gzip"
    assert head.headers["Content-Length"] == str(len(web.get(ROUTE, Accept_Encoding="gzip").body))
