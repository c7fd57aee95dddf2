"""The wire format: the types whose JSON the answers are, key for key and in this order.

``/openapi.json`` is generated from the same types. Where ``include=urls`` adds fields there is a second
type, a subclass with the suffix ``WithUrls``, so that the plain answers keep exactly their keys. What the
sidecar says of itself is in ``web.healthwire``, of single assets and their files in ``web.assetwire``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
Percent = Annotated[float, Meta(description="With two decimals.")]
Timestamp = Annotated[
    str,
    Meta(
        description="ISO 8601 with the configured offset, seconds rounded down.",
        extra_json_schema={"format": "date-time"},
    ),
]
FileUrl = Annotated[
    str,
    Meta(
        description="The address of a file on this server, with `include=urls` only.",
        extra_json_schema={"format": "uri-reference"},
    ),
]


class Counts(msgspec.Struct, gc=False):
    """How much there is of a job."""

    products: Count
    videos: Count
    images: Count
    frames: Count


class Status(msgspec.Struct, gc=False):
    """The snapshot of one job."""

    job_id: str
    phase: str
    percent: Percent
    counts: Counts
    updated_at: Timestamp | None


class Preview(msgspec.Struct, gc=False):
    """The frame that stands for a video."""

    frame_id: str
    ts: float | None
    url: FileUrl
    segment_url: FileUrl | None


class Video(msgspec.Struct, gc=False):
    """A video of a job."""

    video_id: str
    platform: str | None
    url: str | None
    title: str | None
    duration_s: int | float | None
    frames_count: Count
    updated_at: Timestamp | None


class VideoWithUrls(Video, gc=False):
    """A video with the addresses of its pictures."""

    first_keyframe_url: FileUrl | None
    preview_frame: Preview | None


class Frame(msgspec.Struct, gc=False):
    """A frame of a video that is on disk."""

    frame_id: str
    ts: float | None
    local_path: str
    updated_at: Timestamp


class FrameWithUrls(Frame, gc=False):
    """A frame with the address of its picture."""

    url: FileUrl


class Image(msgspec.Struct, gc=False):
    """A product image that is on disk."""

    img_id: str
    product_id: str | None
    local_path: str
    product_title: str | None
    updated_at: Timestamp


class ImageWithUrls(Image, gc=False):
    """A product image with the address of its picture."""

    url: FileUrl


class FeatureCount(msgspec.Struct, gc=False):
    """How many assets have one artifact."""

    done: Count
    percent: Percent


class FeatureTotals(msgspec.Struct, gc=False):
    """How many assets of one type there are, and how far their artifacts are."""

    total: Count
    segment: FeatureCount
    embedding: FeatureCount
    keypoints: FeatureCount


class Summary(msgspec.Struct, gc=False):
    """The feature counts of one job."""

    job_id: str
    product_images: FeatureTotals
    video_frames: FeatureTotals
    updated_at: Timestamp | None


class Artifacts(msgspec.Struct, gc=False):
    """One text for each artifact, or null: absolute paths, or addresses."""

    segment: str | None
    embedding: str | None
    keypoints: str | None


class ProductImage(msgspec.Struct, gc=False):
    """The artifacts of a product image."""

    img_id: str
    product_id: str | None
    has_segment: bool
    has_embedding: bool
    has_keypoints: bool
    paths: Artifacts
    updated_at: Timestamp


class ProductImageWithUrls(ProductImage, gc=False):
    """The artifacts of a product image with their addresses."""

    original_url: FileUrl
    urls: Artifacts


class VideoFrame(msgspec.Struct, gc=False):
    """The artifacts of a video frame."""

    frame_id: str
    video_id: str | None
    ts: float | None
    has_segment: bool
    has_embedding: bool
    has_keypoints: bool
    paths: Artifacts
    updated_at: Timestamp


class VideoFrameWithUrls(VideoFrame, gc=False):
    """The artifacts of a video frame with their addresses."""

    original_url: FileUrl
    urls: Artifacts


class Finding(msgspec.Struct, gc=False):
    """One disagreement between claim, disk and content."""

    job_id: str | None
    asset_type: Literal["product_image", "video_frame"]
    asset_id: str
    feature: Literal["image", "segment", "embedding", "keypoints"]
    kind: str
    path: str | None
    claimed_path: str | None
    detail: str
    since: Timestamp
    seen_at: Timestamp


class VerificationReport(msgspec.Struct, gc=False):
    """What verification found in one job, or (``job_id`` null) in everything."""

    job_id: str | None
    assets: Count
    findings: dict[str, dict[str, Count]]
    total: Count
    checked: dict[str, Count]
    pending: dict[str, Count]
    unchecked: dict[str, Count]
    withheld: Count
    last_pass_at: Timestamp | None


class Listing(msgspec.Struct):
    """A page of a list; the subclasses name its items for the OpenAPI document."""

    items: Sequence[Any]
    total: Count
    limit: Count
    offset: Count


class StatusPage(Listing):
    """A page of jobs."""

    items: Sequence[Status]


class VideoPage(Listing):
    """A page of videos."""

    items: Sequence[Video]


class FramePage(Listing):
    """A page of frames."""

    items: Sequence[Frame]


class ImagePage(Listing):
    """A page of product images."""

    items: Sequence[Image]


class ProductImagePage(Listing):
    """A page of the artifacts of product images."""

    items: Sequence[ProductImage]


class VideoFramePage(Listing):
    """A page of the artifacts of video frames."""

    items: Sequence[VideoFrame]


class FindingPage(Listing):
    """A page of findings."""

    items: Sequence[Finding]


# --- several answers of one moment -------------------------------------------------------------------


class JobOverview(Status, gc=False):
    """The snapshot of one job with its feature counts and its verification, all of one moment."""

    summary: Summary
    verification: VerificationReport


class OverviewPage(Listing):
    """A page of jobs, and the verification of everything, all of one moment."""

    items: Sequence[JobOverview]
    verification: VerificationReport
