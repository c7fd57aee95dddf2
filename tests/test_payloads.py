"""Records become exactly the documented JSON: keys, their order, paths, times and percentages."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webfake import BARE_VIDEO, FINDING, FRAME, GMT7, IMAGE, JOB, NOON, VIDEO

from scanner.records import AssetType, FeatureCounts, JobSummary, Kind, Verification
from web.payloads import Payloads, file_url, percentage

PAYLOADS = Payloads("/data", GMT7)


def plain(payload: Any) -> Any:
    """The payload as a client sees it; keys keep their order."""
    return json.loads(msgspec.json.encode(payload))


def test_a_status_has_the_documented_keys_in_their_order() -> None:
    status = plain(PAYLOADS.status(JOB))
    assert list(status) == ["job_id", "phase", "percent", "counts", "updated_at"]
    assert status["percent"] == 62.5
    assert status["counts"] == {"products": 120, "videos": 34, "images": 600, "frames": 2400}
    assert status["updated_at"] == NOON


def test_the_percent_of_a_status_has_two_decimals() -> None:
    assert PAYLOADS.status(replace(JOB, percent=100 / 3)).percent == 33.33


def test_a_job_without_a_time_has_null() -> None:
    assert PAYLOADS.status(replace(JOB, updated_us=None)).updated_at is None


def test_a_video_without_a_row_has_nulls() -> None:
    assert plain(PAYLOADS.video(BARE_VIDEO, False)) == {
        "video_id": "v_none",
        "platform": None,
        "url": None,
        "title": None,
        "duration_s": None,
        "frames_count": 0,
        "updated_at": None,
    }


def test_urls_add_fields_to_a_video_and_change_none() -> None:
    without, with_urls = plain(PAYLOADS.video(VIDEO, False)), plain(PAYLOADS.video(VIDEO, True))
    assert with_urls.items() > without.items()
    assert with_urls["first_keyframe_url"] == "/files/frames/v_abc/000001.jpg"
    assert with_urls["preview_frame"] == {
        "frame_id": "v_abc_frame_000123",
        "ts": 30.0,
        "url": "/files/frames/v_abc/000123.jpg",
        "segment_url": "/files/frames/v_abc/000123/seg.png",
    }
    assert plain(PAYLOADS.video(BARE_VIDEO, True))["preview_frame"] is None


def test_the_list_of_frames_shows_the_time_of_the_image() -> None:
    assert plain(PAYLOADS.frame(FRAME, False)) == {
        "frame_id": "v_abc_frame_000123",
        "ts": 30.0,
        "local_path": "/data/frames/v_abc/000123.jpg",
        "updated_at": NOON,
    }
    assert plain(PAYLOADS.frame(FRAME, True))["url"] == "/files/frames/v_abc/000123.jpg"


def test_the_list_of_images_shows_title_and_owner() -> None:
    image = plain(PAYLOADS.image(IMAGE, True))
    assert list(image) == ["img_id", "product_id", "local_path", "product_title", "updated_at", "url"]
    assert image["product_title"] == "NeckCare Pillow V2"


def test_a_feature_item_shows_paths_below_the_data_root() -> None:
    item = plain(PAYLOADS.video_frame(FRAME, True))
    assert list(item)[:8] == [
        "frame_id",
        "video_id",
        "ts",
        "has_segment",
        "has_embedding",
        "has_keypoints",
        "paths",
        "updated_at",
    ]
    assert item["paths"] == {
        "segment": None,
        "embedding": "/data/frames/v_abc/000123/emb.bin",
        "keypoints": "/data/frames/v_abc/000123/kp #1.bin",
    }
    assert item["urls"]["keypoints"] == "/files/frames/v_abc/000123/kp%20%231.bin"
    assert item["original_url"] == "/files/frames/v_abc/000123.jpg"
    assert item["updated_at"] == "2025-08-23T14:26:41+07:00"


def test_a_product_image_has_its_own_keys() -> None:
    item = plain(PAYLOADS.product_image(IMAGE, False))
    assert list(item) == [
        "img_id",
        "product_id",
        "has_segment",
        "has_embedding",
        "has_keypoints",
        "paths",
        "updated_at",
    ]


def test_a_summary_reproduces_the_documented_percentages() -> None:
    counts = JobSummary(
        "j", FeatureCounts(600, 380, 410, 395), FeatureCounts(2400, 900, 1320, 1180), JOB.updated_us
    )
    summary = plain(PAYLOADS.summary(counts))
    shares = [
        summary[part][feature]["percent"]
        for part in ("product_images", "video_frames")
        for feature in ("segment", "embedding", "keypoints")
    ]
    assert shares == [63.33, 68.33, 65.83, 37.5, 55.0, 49.17]
    assert list(summary) == ["job_id", "product_images", "video_frames", "updated_at"]


def test_nothing_of_nothing_is_zero_percent() -> None:
    assert percentage(0, 0) == 0.0


def test_a_finding_has_the_documented_keys() -> None:
    finding = plain(PAYLOADS.finding(replace(FINDING, path="frames/x.png", type=AssetType.PRODUCT_IMAGE)))
    assert list(finding) == [
        "job_id",
        "asset_type",
        "asset_id",
        "feature",
        "kind",
        "path",
        "claimed_path",
        "detail",
        "since",
        "seen_at",
    ]
    assert (finding["asset_type"], finding["feature"], finding["kind"]) == (
        "product_image",
        "segment",
        "missing",
    )
    assert finding["path"] == "/data/frames/x.png"
    assert finding["claimed_path"] == "/app/data/seg,1.png"


def test_a_report_names_every_feature_that_could_be_checked() -> None:
    report = plain(PAYLOADS.verification(Verification(None, 1, {Kind.STALE: {}}, 0, {}, {}, {}, 0, None)))
    assert report["checked"] == {"image": 0, "segment": 0, "embedding": 0, "keypoints": 0}
    assert report["findings"] == {"stale": {}}
    assert report["last_pass_at"] is None


@pytest.mark.parametrize("root", ["/", "/data", "/data/"])
def test_paths_hang_below_any_root(root: str) -> None:
    assert Payloads(root, GMT7).path("a/b.jpg") == root.rstrip("/") + "/a/b.jpg"


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("a/b.jpg", "/files/a/b.jpg"),
        ("a b/ü%?#&+.jpg", "/files/a%20b/%C3%BC%25%3F%23%26%2B.jpg"),
        ('q"\n.png', "/files/q%22%0A.png"),
    ],
)
def test_addresses_are_percent_encoded(path: str, url: str) -> None:
    assert file_url(path) == url


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (999_999, "1970-01-01T07:00:00+07:00"),
        (-1, "1970-01-01T06:59:59+07:00"),
        (2**63 - 1, "9999-12-30T07:00:00+07:00"),
        (-(2**63), "0001-01-02T07:00:00+07:00"),
    ],
)
def test_seconds_are_rounded_down_and_absurd_times_stay_within_the_calendar(
    microseconds: int, text: str
) -> None:
    assert PAYLOADS.time(microseconds) == text


@settings(max_examples=100)
@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    st.integers(-14 * 60, 14 * 60),
)
def test_a_time_names_the_same_instant_in_any_offset(moment: datetime, minutes: int) -> None:
    offset = timezone(timedelta(minutes=minutes))
    microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    text = Payloads("/", offset).time(microseconds)
    assert datetime.fromisoformat(text) == moment.replace(microsecond=0)
    assert datetime.fromisoformat(text).utcoffset() == timedelta(minutes=minutes)
