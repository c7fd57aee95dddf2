"""The JSON of the gallery, of everything about one asset, and of what a file holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from web.wire import Count, Finding, Listing, Timestamp


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
