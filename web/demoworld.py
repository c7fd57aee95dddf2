"""The demo's small real world: a data root and a pipeline database that agree, until somebody breaks them.

The files lie where the default layout expects them, the database is an SQLite file in WAL mode. Both change
as a pipeline changes them: a file under another name first, then renamed, then its row.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from web import demopictures as pictures

FILE_NAMES = {"segment": "seg.png", "embedding": "emb.bin", "keypoints": "kp.bin"}
COLUMNS = {"segment": "seg_mask_path", "embedding": "emb_rgb", "keypoints": "kp_blob_path"}
FEATURES = tuple(FILE_NAMES)
JOBS = {"job_pillow": "feature_extraction", "job_bottle": "collection"}
FRAMES_PER_SECOND = 2.0

_PRODUCTS = {
    "p_001": ("job_pillow", "NeckCare Pillow V2"),
    "p_002": ("job_pillow", "Memory Foam Pillow"),
    "p_003": ("job_pillow", "Gối cổ du lịch"),
    "p_004": ("job_bottle", "Steel Bottle 750 ml"),
    "p_005": ("job_bottle", "Glass Bottle 500 ml"),
    "p_006": ("job_bottle", "Kids' Bottle"),
}
_VIDEOS = {
    "v_review": (("job_pillow",), "youtube", "Ten pillows, one neck: a review", 24),
    "v_unboxing": (("job_pillow",), "tiktok", "Unboxing the pillow", 20),
    "v_haul": (("job_pillow", "job_bottle"), "youtube", "Travel haul: pillow and bottle", 40),
    "v_leaktest": (("job_bottle",), "bilibili", "Does it leak?", 30),
}
SCHEMA = """
CREATE TABLE jobs (job_id TEXT PRIMARY KEY, phase TEXT, updated_at TEXT, created_at TEXT);
CREATE TABLE products (
    product_id TEXT PRIMARY KEY, job_id TEXT, title TEXT, updated_at TEXT, created_at TEXT);
CREATE TABLE product_images (
    img_id TEXT PRIMARY KEY, product_id TEXT, local_path TEXT, seg_mask_path TEXT, emb_rgb TEXT,
    kp_blob_path TEXT, updated_at TEXT, created_at TEXT);
CREATE TABLE videos (
    video_id TEXT PRIMARY KEY, platform TEXT, url TEXT, title TEXT, duration_s REAL,
    updated_at TEXT, created_at TEXT);
CREATE TABLE job_videos (job_id TEXT, video_id TEXT, PRIMARY KEY (job_id, video_id));
CREATE TABLE video_frames (
    frame_id TEXT PRIMARY KEY, video_id TEXT, ts REAL, local_path TEXT, seg_mask_path TEXT, emb_rgb TEXT,
    kp_blob_path TEXT, updated_at TEXT, created_at TEXT);
"""


@dataclass(frozen=True)
class Asset:
    """A product image (``moment`` None) or the frame of a video at ``moment`` (0 to 1)."""

    id: str
    owner: str
    name: str
    suffix: str
    size: pictures.Size
    seed: int
    hue: float
    moment: float | None = None

    @property
    def is_frame(self) -> bool:
        """Whether it is a frame."""
        return self.moment is not None

    def made(self, feature: str) -> bytes:
        """What its image or artifact holds when it is intact."""
        moment = self.moment or 0.0
        if feature == "image":
            format = "PNG" if self.suffix == "png" else "JPEG"
            return pictures.picture(self.seed, self.hue, self.size, moment, format)
        if feature == "segment":
            return pictures.mask(self.seed, self.size, moment)
        if feature == "embedding":
            return pictures.embedding(self.seed)
        return pictures.keypoints(self.seed, self.size, moment)


@dataclass
class World:
    """The files below ``root``, the database ``path``, and which artifacts a worker has ``done``."""

    root: Path
    path: Path
    assets: dict[str, Asset] = field(default_factory=dict)
    done: set[tuple[str, str]] = field(default_factory=set)
    phases: dict[str, str] = field(default_factory=lambda: dict(JOBS))
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self.root.mkdir(exist_ok=True)
        self._database = self._open()

    def _open(self) -> Any:
        # The thread that works is another one than the thread that makes and closes it.
        database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        database.execute("PRAGMA journal_mode=WAL")
        database.executescript(SCHEMA)
        return database

    def _run(self, sql: str, values: Sequence[object]) -> None:
        self._database.execute(sql, values)

    def close(self) -> None:
        """Close the database; the files stay."""
        self._database.close()

    @property
    def url(self) -> str:
        """The database as ``database.url`` names it."""
        return f"sqlite:///{self.path}"

    # --- files -------------------------------------------------------------------------------------

    def file(self, asset: Asset, feature: str) -> Path:
        """Where the default layout has it."""
        folder = self.root / ("frames" if asset.is_frame else "products") / asset.owner
        if feature == "image":
            return folder / f"{asset.name}.{asset.suffix}"
        return folder / asset.name / FILE_NAMES[feature]

    def write(self, asset: Asset, feature: str, content: bytes) -> None:
        """Write a file so that nobody ever sees half of it."""
        path = self.file(asset, feature)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_bytes(content)
        part.replace(path)

    # --- rows --------------------------------------------------------------------------------------

    def insert(self, table: str, **values: object) -> None:
        """Insert a row; ``created_at`` and ``updated_at`` are now, but for ``job_videos``."""
        if table != "job_videos":
            values |= {"created_at": self._now(), "updated_at": self._now()}
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self._run(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))

    def claim(self, asset: Asset, feature: str, path: Path | None) -> None:
        """Record where an artifact is, or that there is none."""
        table, key = ("video_frames", "frame_id") if asset.is_frame else ("product_images", "img_id")
        self._run(
            f"UPDATE {table} SET {COLUMNS[feature]} = ?, updated_at = ? WHERE {key} = ?",
            (None if path is None else str(path), self._now(), asset.id),
        )

    def set_phase(self, job_id: str, phase: str) -> None:
        """Move a job to a phase."""
        self.phases[job_id] = phase
        self._run("UPDATE jobs SET phase = ?, updated_at = ? WHERE job_id = ?", (phase, self._now(), job_id))

    def _now(self) -> str:
        return self.clock().isoformat(timespec="microseconds")

    # --- both --------------------------------------------------------------------------------------

    def add(self, asset: Asset) -> None:
        """An image arrives: its file, then its row."""
        self.write(asset, "image", asset.made("image"))
        path = str(self.file(asset, "image"))
        if asset.is_frame:
            ts = int(asset.name) / FRAMES_PER_SECOND
            self.insert("video_frames", frame_id=asset.id, video_id=asset.owner, ts=ts, local_path=path)
        else:
            self.insert("product_images", img_id=asset.id, product_id=asset.owner, local_path=path)
        self.assets[asset.id] = asset

    def finish(self, asset: Asset, feature: str) -> None:
        """An artifact is made, or made again: its file, then its row."""
        self.write(asset, feature, asset.made(feature))
        self.claim(asset, feature, self.file(asset, feature))
        self.done.add((asset.id, feature))

    def discard(self, asset: Asset, feature: str) -> None:
        """An artifact is to be made anew: its row forgets it, and its file goes."""
        self.claim(asset, feature, None)
        self.file(asset, feature).unlink(missing_ok=True)
        self.done.discard((asset.id, feature))

    def frame(self, video_id: str, number: int) -> Asset:
        """The frame of a video with that number."""
        position = list(_VIDEOS).index(video_id)
        name, total = f"{number:06d}", _VIDEOS[video_id][3]
        moment = (number % (total + 1)) / (total + 1)
        return Asset(
            f"{video_id}_frame_{name}", video_id, name, "jpg", (320, 180),
            1000 * (position + 1) + number, 0.15 + position / 5, moment,
        )  # fmt: skip


def make_world(directory: Path, seed: int = 7) -> World:
    """Six products, four videos and their rows below ``directory``; the first job is about half done."""
    world = World(directory / "data", directory / "pipeline.db")
    try:
        fill(world, seed)
    except BaseException:
        world.close()
        raise
    return world


def videos() -> tuple[str, ...]:
    """The ids of all videos."""
    return tuple(_VIDEOS)


def fill(world: World, seed: int = 7) -> None:
    """Put the first files and rows into an empty world."""
    chance = random.Random(seed)
    for job_id, phase in JOBS.items():
        world.insert("jobs", job_id=job_id, phase=phase)
    for product_id, (job_id, title) in _PRODUCTS.items():
        world.insert("products", product_id=product_id, job_id=job_id, title=title)
    for video_id, (job_ids, platform, title, frames) in _VIDEOS.items():
        url = f"https://videos.example/{video_id}"
        duration = frames / FRAMES_PER_SECOND
        world.insert(
            "videos", video_id=video_id, platform=platform, url=url, title=title, duration_s=duration
        )
        for job_id in job_ids:
            world.insert("job_videos", job_id=job_id, video_id=video_id)
    for asset in _first_assets(world):
        world.add(asset)
        share = 0.15 if asset.owner in ("p_004", "p_005", "p_006", "v_leaktest") else 0.65
        for feature in FEATURES:
            if chance.random() < share:
                world.finish(asset, feature)


def _first_assets(world: World) -> Iterator[Asset]:
    for position, product_id in enumerate(_PRODUCTS):
        for number in range(3 + position % 3):
            suffix = "png" if number == 2 else "jpg"
            yield Asset(
                f"{product_id}_img_{number}", product_id, str(number), suffix, (480, 480),
                100 * (position + 1) + number, position / 6,
            )  # fmt: skip
    for video_id, (_, _, _, frames) in _VIDEOS.items():
        for number in range(1, frames + 1):
            yield world.frame(video_id, number)
