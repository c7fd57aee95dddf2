"""The frozen records that travel between the rooms of the scanner and to the web.

Paths in records are relative to the data root, with ``/`` between their parts and no leading ``/``
(``frames/v_abc/000123.jpg``; the data root itself is ``""``). Times of files are nanoseconds since the
epoch, times of database rows microseconds since the epoch, both as integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

import msgspec


class AssetType(IntEnum):
    """What an asset is; the integer is what the index stores."""

    PRODUCT_IMAGE = 0
    VIDEO_FRAME = 1

    @property
    def wire(self) -> str:
        """The name in answers: ``product_image`` or ``video_frame``."""
        return self.name.lower()


class Feature(IntEnum):
    """The file of an asset that is meant; ``IMAGE`` is the source file, the others are artifacts."""

    IMAGE = 0
    SEGMENT = 1
    EMBEDDING = 2
    KEYPOINTS = 3

    @property
    def wire(self) -> str:
        """The name in answers: ``image``, ``segment``, ``embedding`` or ``keypoints``."""
        return self.name.lower()


ARTIFACTS = (Feature.SEGMENT, Feature.EMBEDDING, Feature.KEYPOINTS)


class Kind(StrEnum):
    """The kinds of finding (the disagreements between claim, disk and content)."""

    MISSING = "missing"
    MISPLACED = "misplaced"
    UNRECORDED = "unrecorded"
    EMPTY = "empty"
    CORRUPT = "corrupt"
    STALE = "stale"
    ORPHAN = "orphan"
    OUTSIDE = "outside"
    DUPLICATE = "duplicate"
    SUSPECT = "suspect"


class Entry(NamedTuple):
    """A regular file as a directory listing showed it (a file symlink shows what it points to)."""

    name: str
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    link: bool = False


class JobRow(NamedTuple):
    """A row of ``jobs``. ``time_us`` is the row's database time; ``percent`` is finite or None."""

    job_id: str
    phase: str | None = None
    percent: float | None = None
    time_us: int | None = None


class ProductRow(NamedTuple):
    """A row of ``products``."""

    product_id: str
    job_id: str | None = None
    title: str | None = None
    time_us: int | None = None


class VideoRow(NamedTuple):
    """A row of ``videos``. ``job_id`` counts only where there is no ``job_videos`` table."""

    video_id: str
    job_id: str | None = None
    platform: str | None = None
    url: str | None = None
    title: str | None = None
    duration_s: int | float | None = None
    time_us: int | None = None


class MembershipRow(NamedTuple):
    """A row of ``job_videos``: the video is in the job."""

    job_id: str
    video_id: str


class AssetRow(NamedTuple):
    """A row of ``product_images`` or ``video_frames``: what the database claims about one asset.

    The four paths are as the database has them (None for null or an empty text), before ``path_map``.
    ``embedding_in_db`` is true where the embedding column is not text and not null.
    """

    type: AssetType
    asset_id: str
    owner_id: str | None = None
    ts: float | None = None
    local_path: str | None = None
    segment: str | None = None
    embedding: str | None = None
    keypoints: str | None = None
    embedding_in_db: bool = False
    time_us: int | None = None

    @property
    def claimed(self) -> tuple[str | None, ...]:
        """The four paths, by Feature."""
        return self.local_path, self.segment, self.embedding, self.keypoints


PipelineRow = JobRow | ProductRow | VideoRow | MembershipRow | AssetRow


# --- what the queries answer -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for; ``limit`` is at least 1, ``offset`` at least 0."""

    limit: int
    offset: int
    sort_by: str
    descending: bool


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The snapshot of one job; ``updated_us`` is None where nothing in it has a time."""

    job_id: str
    phase: str
    percent: float
    products: int
    videos: int
    images: int
    frames: int
    updated_us: int | None


@dataclass(frozen=True, slots=True)
class FeatureCounts:
    """How many assets of one type there are, and how many have each artifact."""

    total: int = 0
    segment: int = 0
    embedding: int = 0
    keypoints: int = 0


@dataclass(frozen=True, slots=True)
class JobSummary:
    """The feature counts of one job."""

    job_id: str
    product_images: FeatureCounts
    video_frames: FeatureCounts
    updated_us: int | None


@dataclass(frozen=True, slots=True)
class PreviewFrame:
    """The frame that stands for a video: paths relative to the data root."""

    frame_id: str
    ts: float | None
    image_path: str
    segment_path: str | None


@dataclass(frozen=True, slots=True)
class VideoItem:
    """A video of a job; the last two only where ``include=urls`` asked for them."""

    video_id: str
    platform: str | None
    url: str | None
    title: str | None
    duration_s: int | float | None
    frames_count: int
    updated_us: int | None
    first_image_path: str | None = None
    preview: PreviewFrame | None = None


class PictureItem(msgspec.Struct, gc=False):
    """The image file of a listed asset; times in nanoseconds, ``title`` only where it was asked for.

    Lists make twenty of these at a time, straight from rows: this is the quickest kind of record to build.
    """

    asset_id: str
    owner_id: str | None
    ts: float | None
    title: str | None
    image_path: str
    image_updated_ns: int


class AssetItem(PictureItem, gc=False):
    """A listed asset: one image file on disk and its artifacts.

    ``image_updated_ns`` is the time that lists of frames and images show, ``updated_ns`` the one of
    feature lists. A path is None where the artifact is not there or is corrupt; ``has_embedding`` may
    be true without a path where the database itself holds the vector. ``type_number`` is the integer of
    ``type``, and of ``has`` the lowest bits say which artifacts the asset has, in the order of ``ARTIFACTS``.
    """

    type_number: int
    segment_path: str | None
    embedding_path: str | None
    keypoints_path: str | None
    has: int
    updated_ns: int

    @property
    def type(self) -> AssetType:
        """What the asset is."""
        return _TYPES[self.type_number]

    @property
    def present(self) -> tuple[bool, bool, bool]:
        """``has_segment``, ``has_embedding`` and ``has_keypoints``."""
        return _PRESENT[self.has & 7]

    @property
    def has_segment(self) -> bool:
        """Whether it has a mask."""
        return self.has & 1 != 0

    @property
    def has_embedding(self) -> bool:
        """Whether it has an embedding, as a file or in the database."""
        return self.has & 2 != 0

    @property
    def has_keypoints(self) -> bool:
        """Whether it has keypoints."""
        return self.has & 4 != 0


_TYPES = tuple(AssetType)
_PRESENT = tuple((bits & 1 != 0, bits & 2 != 0, bits & 4 != 0) for bits in range(8))


@dataclass(frozen=True, slots=True)
class GalleryItem:
    """A listed asset with its published findings, each a feature and a kind."""

    asset: AssetItem
    findings: tuple[tuple[Feature, Kind], ...]


class Check(StrEnum):
    """Where the content check of a file stands.

    ``NONE``: there is no file, or its content is not looked at. ``WITHHELD``: it is not as one expectation
    of the configuration wants it, which most files fail, so that the expectation is doubted.
    """

    NONE = "none"
    PENDING = "pending"
    OK = "ok"
    CORRUPT = "corrupt"
    UNCHECKED = "unchecked"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True)
class AssetFile:
    """One feature of an asset: the file that is used, and what the row claims.

    ``claimed`` is as the database has it, ``claimed_path`` where that lies below the data root (None also
    where it lies outside). ``detail`` is what the content check said, "" where nothing is to be said.
    """

    feature: Feature
    path: str | None
    size: int | None
    mtime_ns: int | None
    claimed: str | None
    claimed_path: str | None
    check: Check
    detail: str


@dataclass(frozen=True, slots=True)
class AssetRecord:
    """Everything about one asset; ``files`` has one for each Feature, in order.

    ``recorded`` tells whether the database has a row, ``row_us`` is that row's time.
    """

    type: AssetType
    asset_id: str
    listed: bool
    owner_id: str | None
    title: str | None
    ts: float | None
    jobs: tuple[str, ...]
    recorded: bool
    row_us: int | None
    embedding_in_db: bool
    files: tuple[AssetFile, ...]
    updated_us: int | None
    findings: tuple[FindingItem, ...] = ()


@dataclass(slots=True)  # not frozen, which would make each take three times as long to build
class FindingItem:
    """One published disagreement; ``path`` is relative to the data root, times in microseconds."""

    job_id: str | None
    type: AssetType
    asset_id: str
    feature: Feature
    kind: Kind
    path: str | None
    claimed_path: str | None
    detail: str
    since_us: int
    seen_us: int


@dataclass(frozen=True, slots=True)
class FindingRequest:
    """Which findings are asked for, in the order of ``page``.

    A ``job_id`` of None means everything, what is in no job included; empty ``kinds`` or ``features`` mean
    all; ``q`` is a part of the path or of the asset's id, in any letter case.
    """

    page: Page
    job_id: str | None = None
    kinds: tuple[Kind, ...] = ()
    features: tuple[Feature, ...] = ()
    asset_type: AssetType | None = None
    q: str | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What verification knows about one job, or about everything (``job_id`` None)."""

    job_id: str | None
    assets: int
    findings: dict[Kind, dict[Feature, int]]
    total: int
    checked: dict[Feature, int]
    pending: dict[Feature, int]
    unchecked: dict[Feature, int]
    withheld: int
    last_pass_us: int | None


@dataclass(frozen=True, slots=True)
class JobOverview:
    """A job with its feature counts and its verification, all of one moment."""

    status: JobStatus
    summary: JobSummary
    verification: Verification
