"""The frozen sections of the configuration, name for name as ``config.toml`` nests them.

The defaults here are the ones that the shipped file spells out. A section made by hand is not checked:
``scanner.config.load_config`` is where values from outside are refused.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataConfig:
    """``root`` is absolute and lexically normalised, without a trailing slash."""

    root: str = "/data"


@dataclass(frozen=True, slots=True)
class AssetLayoutConfig:
    """The patterns of one kind of asset, in order of preference; ``fps`` counts for frames only."""

    image: tuple[str, ...]
    id: str
    segment: tuple[str, ...]
    embedding: tuple[str, ...]
    keypoints: tuple[str, ...]
    fps: float = 0.0


FRAMES = AssetLayoutConfig(
    image=("frames/{video_id}/{frame}.{ext}",),
    id="{video_id}_frame_{frame}",
    segment=("frames/{video_id}/{frame}/seg.png",),
    embedding=("frames/{video_id}/{frame}/emb.bin",),
    keypoints=("frames/{video_id}/{frame}/kp.bin",),
)
PRODUCTS = AssetLayoutConfig(
    image=("products/{product_id}/{image}.{ext}",),
    id="{product_id}_img_{image}",
    segment=("products/{product_id}/{image}/seg.png",),
    embedding=("products/{product_id}/{image}/emb.bin",),
    keypoints=("products/{product_id}/{image}/kp.bin",),
)


@dataclass(frozen=True, slots=True)
class LayoutConfig:
    """Where files lie below the data root; ``extensions`` is what ``{ext}`` stands for."""

    extensions: tuple[str, ...] = ("jpg", "jpeg", "png", "webp")
    frames: AssetLayoutConfig = FRAMES
    products: AssetLayoutConfig = PRODUCTS


@dataclass(frozen=True, slots=True)
class JobsConfig:
    """``default`` is the one job there is where no database is configured."""

    default: str = "local"


@dataclass(frozen=True, slots=True)
class ColumnsConfig:
    """The columns in which the pipeline records its three artifacts."""

    segment: str = "seg_mask_path"
    embedding: str = "emb_rgb"
    keypoints: str = "kp_blob_path"


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """The pipeline database; ``url`` is empty where there is none.

    ``path_map`` holds pairs (prefix as the pipeline writes it, where that lies here), ``overlap_seconds``
    is how far behind its watermark an incremental read begins.
    """

    url: str = ""
    poll_seconds: float = 2.0
    full_sync_seconds: float = 300.0
    overlap_seconds: float = 60.0
    timezone: str = "UTC"
    path_map: tuple[tuple[str, str], ...] = ()
    columns: ColumnsConfig = ColumnsConfig()


@dataclass(frozen=True, slots=True)
class ScanConfig:
    """How the disk is followed; ``watcher`` is ``auto``, ``inotify`` or ``polling``."""

    rescan_seconds: float = 300.0
    watcher: str = "auto"
    polling_seconds: float = 5.0
    ignore: tuple[str, ...] = (".*", "*.tmp", "*.part", "*.partial", "*~")


@dataclass(frozen=True, slots=True)
class SegmentCheckConfig:
    """``check`` is ``content`` or ``exists``, ``size`` is ``image`` or ``any``."""

    check: str = "content"
    size: str = "image"


@dataclass(frozen=True, slots=True)
class EmbeddingCheckConfig:
    """An embedding is ``dim`` values of ``dtype``."""

    check: str = "content"
    dtype: str = "float32"
    dim: int = 512


@dataclass(frozen=True, slots=True)
class KeypointsCheckConfig:
    """Keypoints are rows of ``columns`` values of ``dtype``, x and y first."""

    check: str = "content"
    dtype: str = "float32"
    columns: int = 3


@dataclass(frozen=True, slots=True)
class VerifyConfig:
    """The content checks; ``memory_mb`` is what one of ``workers`` processes may use."""

    content: bool = True
    stale_seconds: float = 1.0
    grace_seconds: float = 5.0
    workers: int = 1
    memory_mb: int = 512
    segment: SegmentCheckConfig = SegmentCheckConfig()
    embedding: EmbeddingCheckConfig = EmbeddingCheckConfig()
    keypoints: KeypointsCheckConfig = KeypointsCheckConfig()


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """``directory`` is ``auto`` or an absolute path."""

    directory: str = "auto"


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The HTTP server; ``utc_offset`` (``+HH:MM``) is the one that answers show times in."""

    host: str = "0.0.0.0"
    port: int = 8080
    utc_offset: str = "+07:00"
    cors_origins: tuple[str, ...] = ("*",)
    default_limit: int = 20
    max_limit: int = 1000
    include: tuple[str, ...] = ()
    processes: int = 1
    files: bool = True

    @property
    def offset_seconds(self) -> int:
        """``utc_offset`` in seconds east of Greenwich."""
        hours, minutes = self.utc_offset[1:].split(":")
        seconds = int(hours) * 3600 + int(minutes) * 60
        return -seconds if self.utc_offset[0] == "-" else seconds

    @property
    def zone(self) -> dt.timezone:
        """``utc_offset`` as a time zone."""
        return dt.timezone(dt.timedelta(seconds=self.offset_seconds))


@dataclass(frozen=True, slots=True)
class LogConfig:
    """``format`` is ``text``, ``json``, or ``auto``: text on a terminal, else JSON."""

    level: str = "info"
    format: str = "auto"


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, one section for each table."""

    data: DataConfig = DataConfig()
    layout: LayoutConfig = LayoutConfig()
    jobs: JobsConfig = JobsConfig()
    database: DatabaseConfig = DatabaseConfig()
    scan: ScanConfig = ScanConfig()
    verify: VerifyConfig = VerifyConfig()
    index: IndexConfig = IndexConfig()
    web: WebConfig = WebConfig()
    log: LogConfig = LogConfig()
