"""The wire format: the types whose JSON the answers are, key for key and in this order.

``/openapi.json`` is generated from the same types. Where ``include=urls`` adds fields there is a second
type, a subclass with the suffix ``WithUrls``, so that the plain answers keep exactly their keys.
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


class Ready(msgspec.Struct):
    """The index is complete enough to believe a 404."""

    ready: bool


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


class IndexInfo(msgspec.Struct):
    """How much the index holds, and its version."""

    files: Count
    assets: Count
    version: int


class PendingWork(msgspec.Struct):
    """What is known to have happened and is not in the index yet."""

    paths: Count
    validations: Count


class RootInfo(msgspec.Struct):
    """A watched root: how it is watched, and whether it is there."""

    path: str
    available: bool
    watcher: str
    directories: Count


class ScanInfo(msgspec.Struct):
    """The last full scan."""

    last_completed_at: Timestamp | None
    seconds: float | None
    files: int | None


class DatabaseInfo(msgspec.Struct):
    """The pipeline database."""

    configured: bool
    reachable: bool
    last_sync_at: Timestamp | None
    error: str | None


class WatchInfo(msgspec.Struct):
    """How directories are watched.

    Of ``needed`` directories ``watched`` tell about changes and ``polled`` are looked at again and again;
    the system allows ``allowed`` watches (null where it does not say). ``overflows`` is how often the system
    lost events, each of which is made up for by a full look; ``missed`` counts files no event told about.
    """

    watched: Count
    polled: Count
    needed: Count
    allowed: Count | None
    overflows: Count
    last_overflow_at: Timestamp | None
    missed: Count


class QueueInfo(msgspec.Struct):
    """What waits for the scanner, by where it waits."""

    dirty_directories: Count
    directories_to_list: Count
    settling_files: Count
    database_batches: Count


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
    watching: WatchInfo
    queues: QueueInfo
    skipped_names: Count
    unmatched_files: Count
    volume: VolumeInfo


# --- several answers of one moment -------------------------------------------------------------------


class JobOverview(Status, gc=False):
    """The snapshot of one job with its feature counts and its verification, all of one moment."""

    summary: Summary
    verification: VerificationReport


class OverviewPage(Listing):
    """A page of jobs, and the verification of everything, all of one moment."""

    items: Sequence[JobOverview]
    verification: VerificationReport


# --- previews, and everything about one asset ------------------------------------------------------


class Picture(msgspec.Struct):
    """The size of a picture as stored, and whether its metadata swap the two."""

    width: Count
    height: Count
    mode: str
    turned: bool


class ArrayFigures(msgspec.Struct):
    """An array in figures, which leave out what is not finite; each of ``values`` is the mean of ``step``."""

    dtype: str
    shape: list[Count]
    not_finite: Count
    norm: float | None
    min: float | None
    max: float | None
    mean: float | None
    step: Count
    values: list[float | None]


class Points(msgspec.Struct):
    """The first rows of keypoints: x, y and what else there is."""

    total: Count
    rows: list[list[float | None]]


class Member(msgspec.Struct):
    """A member of an archive; ``dtype`` and ``shape`` only of an array. ``size`` in bytes."""

    name: str
    size: Count
    dtype: str | None
    shape: list[Count] | None


class Content(msgspec.Struct):
    """What a file holds."""

    format: str
    note: str | None = None
    picture: Picture | None = None
    array: ArrayFigures | None = None
    points: Points | None = None
    members: list[Member] = msgspec.field(default_factory=list)


class ArtifactContent(msgspec.Struct):
    """What the file at a path holds; ``size`` in bytes."""

    path: str
    feature: Literal["image", "segment", "embedding", "keypoints"]
    size: Count
    modified_at: Timestamp
    content: Content


class AssetFinding(msgspec.Struct, gc=False):
    """The kind of a finding, and about which file."""

    feature: Literal["image", "segment", "embedding", "keypoints"]
    kind: str


class GalleryAsset(msgspec.Struct):
    """An asset as the gallery shows it; the path of its image is relative to the data root."""

    asset_type: Literal["product_image", "video_frame"]
    asset_id: str
    owner_id: str | None
    title: str | None
    ts: float | None
    image: str
    has_segment: bool
    has_embedding: bool
    has_keypoints: bool
    findings: list[AssetFinding]
    updated_at: Timestamp


class GalleryPage(Listing):
    """A page of the gallery."""

    items: Sequence[GalleryAsset]


class RecordedFile(msgspec.Struct):
    """What a row claims and what is on disk; ``path`` is relative to the data root, ``size`` in bytes.

    ``claimed`` is as the database has it, ``claimed_path`` where that lies below the data root.
    """

    feature: Literal["image", "segment", "embedding", "keypoints"]
    path: str | None
    size: int | None
    modified_at: Timestamp | None
    claimed: str | None
    claimed_path: str | None
    check: Literal["none", "pending", "ok", "corrupt", "unchecked", "withheld"]
    detail: str


class AssetRecord(msgspec.Struct):
    """Everything about one asset, listed or not."""

    asset_type: Literal["product_image", "video_frame"]
    asset_id: str
    listed: bool
    owner_id: str | None
    title: str | None
    ts: float | None
    jobs: list[str]
    recorded: bool
    row_updated_at: Timestamp | None
    embedding_in_db: bool
    files: list[RecordedFile]
    updated_at: Timestamp | None
    findings: list[Finding]
