"""Query strings become frozen queries, or the 400 that names every bad parameter at once."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.records import AssetType, Feature, Kind
from web import params
from web.params import Limits, ParameterSet, Query
from web.problems import Problem

LIMITS = Limits(default_limit=20, max_limit=1000)
VIDEOS = ParameterSet(
    (
        params.text("q", "a text"),
        params.text("platform", "a text"),
        params.integer("min_frames", 0, None, "a number"),
        params.HAS,
    ),
    sorts=("updated_at", "duration_s"),
    descending=True,
    include=True,
    limits=LIMITS,
)
FINDINGS = ParameterSet(
    (params.KINDS, params.FEATURES, params.ASSET_TYPE, params.FORMAT), sorts=("asset_id",), limits=LIMITS
)


def refused(query: str, parameters: ParameterSet = VIDEOS) -> dict[str, str]:
    """The parameters that the 400 names, with their messages."""
    with pytest.raises(Problem) as caught:
        parameters.parse(query)
    assert caught.value.status == 400
    return {error.parameter: error.message for error in caught.value.errors}


def test_nothing_given_means_the_defaults() -> None:
    query = VIDEOS.parse("")
    assert (query.page.limit, query.page.offset) == (20, 0)
    assert (query.page.sort_by, query.page.descending) == ("updated_at", True)
    assert query == Query(page=query.page)


def test_everything_given_is_read() -> None:
    query = VIDEOS.parse(
        "q=a+b&platform=x%26y&min_frames=7&has=none&limit=1000&offset=9&sort_by=duration_s&order=ASC"
    )
    assert (query.q, query.platform, query.min_frames, query.has) == ("a b", "x&y", 7, "none")
    assert (query.page.limit, query.page.offset) == (1000, 9)
    assert (query.page.sort_by, query.page.descending) == ("duration_s", False)


@pytest.mark.parametrize(
    "text",
    ["0", "1001", "-1", "+5", "1e3", "1.0", "%205", "5%20", "９", "0x10", "abc", "1_0", "9" * 40, "9" * 5000],
)
def test_a_bad_limit_is_named_with_what_is_allowed(text: str) -> None:
    raw = text if "%" in text else quote(text)
    assert refused(f"limit={raw}") == {"limit": "must be an integer from 1 to 1000"}


@pytest.mark.parametrize("text", [str(2**63), "-0", "", "00012"])
def test_offsets_are_digits_below_two_to_the_63rd(text: str) -> None:
    if text in ("", "00012"):
        assert VIDEOS.parse(f"offset={text}").page.offset == int(text or 0)
    else:
        assert refused(f"offset={text}") == {"offset": "must be an integer of at least 0"}


def test_the_largest_integer_is_accepted() -> None:
    assert VIDEOS.parse(f"offset={2**63 - 1}&min_frames={2**63 - 1}").page.offset == 2**63 - 1


def test_all_bad_parameters_are_reported_together() -> None:
    bad = refused("limit=0&offset=x&sort_by=size&order=up&has=HAS&min_frames=-1&include=paths&q=%ff")
    assert set(bad) == {"limit", "offset", "sort_by", "order", "has", "min_frames", "include", "q"}
    assert bad["has"] == "must be one of segment, embedding, keypoints, none, any"
    assert bad["q"] == "must be UTF-8"


@pytest.mark.parametrize("order", ["desc", "DESC", "Desc", "dEsC"])
def test_order_has_any_letter_case(order: str) -> None:
    assert VIDEOS.parse(f"order={order}").page.descending is True


@pytest.mark.parametrize("query", ["has=Segment", "sort_by=Updated_at", "include=URLS", "order=desc%20"])
def test_other_names_are_case_sensitive_and_exact(query: str) -> None:
    assert set(refused(query)) == {query.partition("=")[0]}


def test_of_a_repeated_parameter_the_last_counts() -> None:
    assert VIDEOS.parse("limit=abc&limit=5").page.limit == 5
    assert VIDEOS.parse("limit=5&limit=").page.limit == 20
    assert refused("limit=5&limit=abc") == {"limit": "must be an integer from 1 to 1000"}


def test_unknown_parameters_are_ignored_whatever_they_hold() -> None:
    assert VIDEOS.parse("_=123&LIMIT=0&x=%ff&%ff=1&&=&limit") == VIDEOS.parse("")


def test_a_name_may_be_percent_encoded() -> None:
    assert VIDEOS.parse("%6cimit=7").page.limit == 7


def test_raw_bytes_are_read_as_utf8() -> None:
    assert VIDEOS.parse("q=" + "gối".encode().decode("latin-1")).q == "gối"
    assert refused("q=\xff") == {"q": "must be UTF-8"}


@pytest.mark.parametrize("raw", ["%ed%a0%80", "%c0%80", "%f5%80%80%80", "%e2%82"])
def test_text_that_is_no_utf8_is_refused(raw: str) -> None:
    assert refused(f"platform={raw}") == {"platform": "must be UTF-8"}


def test_a_percent_that_encodes_nothing_means_itself() -> None:
    assert VIDEOS.parse("q=100%&platform=%zz").q == "100%"
    assert VIDEOS.parse("q=100%&platform=%zz").platform == "%zz"


def test_include_takes_a_list() -> None:
    assert VIDEOS.parse("include=urls").urls is True
    assert VIDEOS.parse("include=urls,urls").urls is True
    assert set(refused("include=,")) == set(refused("include=urls,")) == {"include"}
    assert refused("include=urls,paths") == {"include": "must be one or more of urls, separated by commas"}


def test_the_configuration_can_add_the_urls_for_all() -> None:
    always = ParameterSet(include=True, limits=Limits(urls=True))
    assert always.parse("").urls is True
    assert always.parse("q=1").urls is True
    assert ParameterSet(limits=Limits(urls=True)).parse("").urls is False


def test_kinds_and_features_add_up() -> None:
    query = FINDINGS.parse("kind=missing,corrupt&kind=missing&feature=image&feature=&asset_type=video_frame")
    assert query.kinds == (Kind.MISSING, Kind.CORRUPT)
    assert FINDINGS.parse("kind=&kind=stale&kind=").kinds == (Kind.STALE,)
    assert query.features == (Feature.IMAGE,)
    assert query.asset_type is AssetType.VIDEO_FRAME
    assert set(refused("kind=missing&kind=gone&feature=Image&format=xml", FINDINGS)) == {
        "kind",
        "feature",
        "format",
    }


def test_limits_come_from_the_configuration() -> None:
    small = ParameterSet(sorts=("ts",), limits=Limits(default_limit=3, max_limit=5))
    assert small.parse("").page.limit == 3
    assert refused("limit=6", small) == {"limit": "must be an integer from 1 to 5"}


@settings(max_examples=150)
@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 2**63 - 1), st.integers(1, 1000))
def test_what_a_client_encodes_is_what_is_read(q: str, platform: str, offset: int, limit: int) -> None:
    given_query = {"q": q, "platform": platform, "offset": offset, "limit": limit}
    try:
        encoded = urlencode(given_query)
    except UnicodeEncodeError:
        return
    query = VIDEOS.parse(encoded)
    assert (query.q, query.platform, query.page.offset, query.page.limit) == (q, platform, offset, limit)


@settings(max_examples=300)
@given(st.text(alphabet="limtofsehas_ybrdq=&%+0123456789ａf,\xff\x00é", max_size=60))
def test_any_query_string_gives_a_query_or_a_400(raw: str) -> None:
    try:
        assert isinstance(VIDEOS.parse(raw.encode().decode("latin-1")), Query)
    except Problem as problem:
        assert problem.errors  # noqa: PT017 - either outcome is right
