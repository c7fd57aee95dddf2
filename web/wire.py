"""The wire format: the types whose JSON the answers are, key for key and in this order.

``/openapi.json`` is generated from the same types. Where ``include=urls`` adds fields there is a second
type, a subclass with the suffix ``WithUrls``, so that the plain answers keep exactly their keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec


class Counts(msgspec.Struct, gc=False):
    """How much there is of a job."""

    products: int
    videos: int
    images: int
    frames: int


class Status(msgspec.Struct, gc=False):
    """The snapshot of one job."""

    job_id: str
    phase: str
    percent: float
    counts: Counts
    updated_at: str | None


class Preview(msgspec.Struct, gc=False):
    """The frame that stands for a video."""

    frame_id: str
    ts: float | None
    url: str
    segment_url: str | None


class Video(msgspec.Struct, gc=False):
    """A video of a job."""

    video_id: str
    platform: str | None
    url: str | None
    title: str | None
    duration_s: int | float | None
    frames_count: int
    updated_at: str | None


class VideoWithUrls(Video, gc=False):
    """A video with the addresses of its pictures."""

    first_keyframe_url: str | None
    preview_frame: Preview | None


class Frame(msgspec.Struct, gc=False):
    """A frame of a video that is on disk."""

    frame_id: str
    ts: float | None
    local_path: str
    updated_at: str


class FrameWithUrls(Frame, gc=False):
    """A frame with the address of its picture."""

    url: str


class Image(msgspec.Struct, gc=False):
    """A product image that is on disk."""

    img_id: str
    product_id: str | None
    local_path: str
    product_title: str | None
    updated_at: str


class ImageWithUrls(Image, gc=False):
    """A product image with the address of its picture."""

    url: str


class FeatureCount(msgspec.Struct, gc=False):
    """How many assets have one artifact."""

    done: int
    percent: float


class FeatureTotals(msgspec.Struct, gc=False):
    """How many assets of one type there are, and how far their artifacts are."""

    total: int
    segment: FeatureCount
    embedding: FeatureCount
    keypoints: FeatureCount


class Summary(msgspec.Struct, gc=False):
    """The feature counts of one job."""

    job_id: str
    product_images: FeatureTotals
    video_frames: FeatureTotals
    updated_at: str | None


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
    updated_at: str


class ProductImageWithUrls(ProductImage, gc=False):
    """The artifacts of a product image with their addresses."""

    original_url: str
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
    updated_at: str


class VideoFrameWithUrls(VideoFrame, gc=False):
    """The artifacts of a video frame with their addresses."""

    original_url: str
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
    since: str
    seen_at: str


class VerificationReport(msgspec.Struct, gc=False):
    """What verification found in one job, or (``job_id`` null) in everything."""

    job_id: str | None
    assets: int
    findings: dict[str, dict[str, int]]
    total: int
    checked: dict[str, int]
    pending: dict[str, int]
    unchecked: dict[str, int]
    withheld: int
    last_pass_at: str | None


class Ready(msgspec.Struct):
    """The index is complete enough to believe a 404."""

    ready: bool


class Listing(msgspec.Struct):
    """A page of a list; the subclasses name its items for the OpenAPI document."""

    items: Sequence[Any]
    total: int
    limit: int
    offset: int


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


class IndexInfo(msgspec.Struct):
    """How much the index holds, and its version."""

    files: int
    assets: int
    version: int


class PendingWork(msgspec.Struct):
    """What is known to have happened and is not in the index yet."""

    paths: int
    validations: int


class RootInfo(msgspec.Struct):
    """A watched root: how it is watched, and whether it is there."""

    path: str
    available: bool
    watcher: str
    directories: int


class ScanInfo(msgspec.Struct):
    """The last full scan."""

    last_completed_at: str | None
    seconds: float | None
    files: int | None


class DatabaseInfo(msgspec.Struct):
    """The pipeline database."""

    configured: bool
    reachable: bool
    last_sync_at: str | None
    error: str | None


class VolumeInfo(msgspec.Struct):
    """The volume that holds the data root; null where it cannot be asked."""

    free_bytes: int | None
    free_inodes: int | None


class Health(msgspec.Struct):
    """Whether the sidecar is well, and if not, why."""

    status: Literal["ok", "starting", "degraded"]
    ready: bool
    version: str
    problems: list[str]
    index: IndexInfo
    pending: PendingWork
    roots: list[RootInfo]
    scan: ScanInfo
    database: DatabaseInfo
    skipped_names: int
    unmatched_files: int
    volume: VolumeInfo
