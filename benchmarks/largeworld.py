"""The large world: a data root of up to 1,600,000 files with a pipeline database beside it.

At scale 1 it has 2,000 videos of 250 frames and 20,000 products of 5 images: 600,000 assets in one job, 60 %
with artifacts. Files have a size of one byte and no blocks: nothing here is read but names and times.

    python -m benchmarks.largeworld storm DATA_ROOT 500

changes 500 files a second below ``DATA_ROOT`` until its standard input ends.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from running import SCHEMA

JOB = "j_large"
FRAMES, IMAGES = 250, 5
ARTIFACTS = ("seg.png", "emb.bin", "kp.bin")
PLATFORMS = ("youtube", "tiktok", "bilibili", "douyin")
WORDS = [
    "neck",
    "pillow",
    "soft",
    "cloud",
    "travel",
    "memory",
    "foam",
    "lamp",
    "desk",
    "chair",
    "gối",
    "cổ",
    "phone",
    "case",
    "holder",
    "stand",
    "light",
    "mini",
    "pro",
    "max",
]
_START = 1_755_900_000  # every file and row is of the thirty days from here on
_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of it."""

    videos: int
    products: int

    @property
    def assets(self) -> int:
        """Images and frames together."""
        return self.videos * FRAMES + self.products * IMAGES


def size_of(scale: float) -> Size:
    """The size at a scale; 1 is the large world."""
    return Size(max(2, round(2000 * scale)), max(4, round(20_000 * scale)))


def make_world(base: Path, scale: float) -> Size:
    """Make ``base/data`` and ``base/pipeline.db``, or take them as they are where they were made before."""
    size, done = size_of(scale), base / f"complete-{scale}"
    if done.exists():
        return size
    rng = random.Random(1)
    rows: dict[str, list[tuple[object, ...]]] = {"video_frames": [], "product_images": []}
    for owner, kind, names in _owners(size):
        directory = base / "data" / kind / owner
        directory.mkdir(parents=True)
        for name in names:
            claims = _make_asset(directory, f"{kind}/{owner}", name, rng)
            if kind == "frames":
                rows["video_frames"].append((f"{owner}_frame_{name}", owner, int(name) / 2, *claims))
            else:
                rows["product_images"].append((f"{owner}_img_{name}", owner, *claims))
    _write_database(base / "pipeline.db", size, rows, rng)
    done.touch()
    return size


def _owners(size: Size) -> Iterator[tuple[str, str, list[str]]]:
    for number in range(size.videos):
        yield f"v_{number:05}", "frames", [f"{frame:06}" for frame in range(FRAMES)]
    for number in range(size.products):
        yield f"p_{number:05}", "products", [str(image) for image in range(IMAGES)]


def _make_asset(directory: Path, path: str, name: str, rng: random.Random) -> tuple[object, ...]:
    """Make an image and maybe its artifacts; returns the last columns of its row."""
    made = _START + rng.random() * _SECONDS
    _make_file(f"{directory}/{name}.jpg", made)
    claims: list[str | None] = [None, None, None]
    if rng.random() < 0.6:
        os.mkdir(f"{directory}/{name}")
        for place, artifact in enumerate(ARTIFACTS):
            if rng.random() < 0.93:
                # One in a hundred is older than its image, and a finding.
                age = -3600 if rng.random() < 0.01 else rng.random() * _SECONDS / 30
                _make_file(f"{directory}/{name}/{artifact}", made + age)
                claims[place] = f"{path}/{name}/{artifact}"
    return (f"{path}/{name}.jpg", *claims, _moment(rng))


def _make_file(path: str, seconds: float) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
    os.truncate(descriptor, 1)
    time_ns = int(seconds * 1e9)
    os.utime(descriptor, ns=(time_ns, time_ns))
    os.close(descriptor)


def _moment(rng: random.Random) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(_START + rng.random() * _SECONDS))


def _title(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=4)).title()


def _write_database(
    path: Path, size: Size, rows: dict[str, list[tuple[object, ...]]], rng: random.Random
) -> None:
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executescript(SCHEMA)
        db.execute("INSERT INTO jobs VALUES(?, 'feature_extraction', NULL, ?)", (JOB, _moment(rng)))
        products = [(f"p_{n:05}", JOB, _title(rng), _moment(rng)) for n in range(size.products)]
        db.executemany("INSERT INTO products VALUES(?,?,?,?)", products)
        videos = [
            (id, JOB, rng.choice(PLATFORMS), f"https://example.org/{id}", _title(rng), n % 900, _moment(rng))
            for n in range(size.videos)
            for id in [f"v_{n:05}"]
        ]
        db.executemany("INSERT INTO videos VALUES(?,?,?,?,?,?,?)", videos)
        for table, values in rows.items():
            marks = ",".join("?" * len(values[0]))
            db.executemany(f"INSERT INTO {table} VALUES({marks})", values)


def storm_arguments(root: Path, rate: float) -> tuple[str, str, Path, float]:
    """What :func:`benchmarks.beside.beside` needs to change files meanwhile."""
    return "benchmarks.largeworld", "storm", root, rate


# --- changes -----------------------------------------------------------------------------------------------


def storm(root: Path, rate: float) -> None:
    """Write and remove artifacts at a rate (files a second) until standard input ends."""
    rng = random.Random(time.time_ns())
    owners = [entry.path for entry in os.scandir(root / "frames")]
    started, changed = time.monotonic(), 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        while changed < (time.monotonic() - started) * rate:
            _change(rng.choice(owners), rng)
            changed += 1
        time.sleep(0.005)


def _change(owner: str, rng: random.Random) -> None:
    folder = f"{owner}/{rng.randrange(FRAMES):06}"
    path = f"{folder}/{rng.choice(ARTIFACTS)}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    if rng.random() < 0.2:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            return
    Path(path).write_bytes(b"x")


if __name__ == "__main__":
    storm(Path(sys.argv[2]), float(sys.argv[3]))
