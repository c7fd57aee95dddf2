"""A data root and a database, SQLite or PostgreSQL, in which one thing after the other is made wrong.

:data:`CASES` names each way in which claim, disk and content can disagree: how it is made, and the findings
that must come of it, and no other. Every case is a job of its own.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from PIL import Image

SCHEMA = """
CREATE TABLE jobs (job_id TEXT PRIMARY KEY, phase TEXT);
CREATE TABLE products (product_id TEXT PRIMARY KEY, job_id TEXT);
CREATE TABLE videos (video_id TEXT PRIMARY KEY, job_id TEXT);
CREATE TABLE product_images (img_id TEXT PRIMARY KEY, product_id TEXT, local_path TEXT,
    seg_mask_path TEXT, emb_rgb TEXT, kp_blob_path TEXT);
CREATE TABLE video_frames (frame_id TEXT PRIMARY KEY, video_id TEXT, ts DOUBLE PRECISION, local_path TEXT,
    seg_mask_path TEXT, emb_rgb TEXT, kp_blob_path TEXT);
"""
COLUMNS = {"segment": "seg_mask_path", "embedding": "emb_rgb", "keypoints": "kp_blob_path"}
FILES = {"segment": "seg.png", "embedding": "emb.bin", "keypoints": "kp.bin"}
SIZE = (8, 6)
Key = tuple[str, str, str]
"""The id of the asset, the feature and the kind of a finding."""


class KindWorld:
    """Files below ``base/data``, rows in the database at ``url``; ``case`` is the job and the product."""

    def __init__(self, base: Path, url: str | None = None, schema: str = SCHEMA) -> None:
        self.base, self.root = base, base / "data"
        (self.root / "products").mkdir(parents=True)
        (self.root / "frames").mkdir()
        self.database: Any
        if url is None:
            self.database = sqlite3.connect(base / "pipeline.db", isolation_level=None)
            self.database.executescript(schema)
        else:
            self.database = psycopg.connect(url, autocommit=True)
            self.database.execute(schema)
        self.url = url or f"sqlite:///{base}/pipeline.db"
        self.mark = "?" if url is None else "%s"
        self.case = ""
        self.old = time.time() - 3600
        self._embeddings = 0

    def close(self) -> None:
        """Close the connection."""
        self.database.close()

    def begin(self, case: str) -> None:
        """What follows belongs to the job and the product of this name."""
        self.case = case
        self.insert("jobs", job_id=case, phase="feature_extraction")
        self.insert("products", product_id=case, job_id=case)
        self.insert("videos", video_id=case, job_id=case)

    # --- rows ----------------------------------------------------------------------------------------

    def insert(self, table: str, **values: object) -> None:
        """A row."""
        names, marks = ", ".join(values), ", ".join([self.mark] * len(values))
        self.database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))

    def row(self, name: str, **claims: object) -> None:
        """The row of an image; claims by feature, ``image`` among them."""
        values: dict[str, object] = {"img_id": self.id(name), "product_id": self.case}
        values["local_path"] = claims.pop("image", str(self.path(f"{name}.png")))
        values |= {COLUMNS[feature]: str(claim) for feature, claim in claims.items()}
        self.insert("product_images", **values)

    def id(self, name: str) -> str:
        """The id of an image of this case."""
        return f"{self.case}_img_{name}"

    # --- files ---------------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """Where a file of this case lies."""
        return self.root / "products" / self.case / name

    def write(self, name: str, content: bytes, age: float = 0) -> Path:
        """A file that was written an hour ago, and ``age`` seconds more."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (self.old - age, self.old - age))
        return path

    def image(self, name: str, **row: object) -> None:
        """An image, good in every way, with its row."""
        self.picture(f"{name}.png")
        self.row(name, **row)

    def picture(self, name: str, size: tuple[int, int] = SIZE, *, plain: bool = False) -> Path:
        """A picture of two shades, or of one."""
        path = self.write(name, b"")
        made = Image.new("L", size, 0)
        if not plain:
            made.putpixel((1, 1), 255)
        made.save(path)
        os.utime(path, (self.old, self.old))
        return path

    def artifact(self, name: str, feature: str, age: float = 0) -> Path:
        """A good artifact where the pattern looks for it; no two embeddings are the same."""
        place = f"{name}/{FILES[feature]}"
        if feature == "segment":
            path = self.picture(place)
            os.utime(path, (self.old - age, self.old - age))
            return path
        self._embeddings += 1
        numbers = np.full(512, self._embeddings) if feature == "embedding" else np.array([[1, 1, 0.5]])
        return self.write(place, numbers.astype("<f4").tobytes(), age)


# --- the cases ------------------------------------------------------------------------------------------


def _missing(world: KindWorld) -> set[Key]:
    world.row("gone")
    world.image("a", **{feature: world.path(f"a/none.{feature}") for feature in COLUMNS})
    rest = {(world.id("a"), feature, "missing") for feature in COLUMNS}
    return {(world.id("gone"), "image", "missing"), *rest}


def _misplaced(world: KindWorld) -> set[Key]:
    claims = {feature: world.path(f"a/none.{feature}") for feature in COLUMNS}
    for feature in COLUMNS:
        world.artifact("a", feature)
    world.image("a", **claims)
    world.picture("b.png")
    world.row("b", image=str(world.path("elsewhere/b.png")))
    rest = {(world.id("a"), feature, "misplaced") for feature in COLUMNS}
    return {(world.id("b"), "image", "misplaced"), *rest}


def _unrecorded(world: KindWorld) -> set[Key]:
    world.image("a")
    for feature in COLUMNS:
        world.artifact("a", feature)
    world.picture("stranger.png")
    rest = {(world.id("a"), feature, "unrecorded") for feature in COLUMNS}
    return {(world.id("stranger"), "image", "unrecorded"), *rest}


def _empty(world: KindWorld) -> set[Key]:
    world.image("a", **{feature: world.write(f"a/{file}", b"") for feature, file in FILES.items()})
    world.write("b.png", b"")
    world.row("b")
    rest = {(world.id("a"), feature, "empty") for feature in COLUMNS}
    return {(world.id("b"), "image", "empty"), *rest}


def _corrupt(world: KindWorld) -> set[Key]:
    junk = {feature: world.write(f"a/{file}", b"junk!") for feature, file in FILES.items()}
    world.image("a", **junk)
    world.write("b.png", world.picture("c.png").read_bytes()[:-30])
    world.row("b")
    world.row("c")
    rest = {(world.id("a"), feature, "corrupt") for feature in COLUMNS}
    return {(world.id("b"), "image", "corrupt"), *rest}


def _content(world: KindWorld) -> set[Key]:
    """Well-formed, but not what the image or the configuration calls for."""
    world.image("size", segment=world.picture("size/seg.png", (9, 6)))
    world.image("nan", embedding=world.write("nan/emb.bin", np.full(512, np.nan, "<f4").tobytes()))
    world.image("zero", embedding=world.write("zero/emb.bin", bytes(2048)))
    world.image("far", keypoints=world.write("far/kp.bin", np.array([[9, 1, 1]], "<f4").tobytes()))
    features = {"size": "segment", "nan": "embedding", "zero": "embedding", "far": "keypoints"}
    return {(world.id(name), feature, "corrupt") for name, feature in features.items()}


def _stale(world: KindWorld) -> set[Key]:
    world.image("a", **{feature: world.artifact("a", feature, 60) for feature in COLUMNS})
    world.image("b", segment=world.artifact("b", "segment", 0.5))
    return {(world.id("a"), feature, "stale") for feature in COLUMNS}


def _orphan(world: KindWorld) -> set[Key]:
    for feature in COLUMNS:
        world.artifact("a", feature)
    return {(world.id("a"), feature, "orphan") for feature in COLUMNS}


def _outside(world: KindWorld) -> set[Key]:
    world.image("a", **{feature: f"/elsewhere/{feature}" for feature in COLUMNS})
    world.row("b", image="../b.png")
    rest = {(world.id("a"), feature, "outside") for feature in COLUMNS}
    return {(world.id("b"), "image", "outside"), *rest}


def _duplicate(world: KindWorld) -> set[Key]:
    world.image("a", segment=world.picture("a/other.png"))
    world.artifact("a", "segment")
    world.picture("a.jpg")
    return {(world.id("a"), "image", "duplicate"), (world.id("a"), "segment", "duplicate")}


def _suspect(world: KindWorld) -> set[Key]:
    world.image("plain", segment=world.picture("plain/seg.png", plain=True))
    rows = b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3)}".ljust(
        69
    )
    world.image("rowless", keypoints=world.write("rowless/kp.bin", rows + b"\n"))
    shared = world.artifact("one", "keypoints")
    world.image("one", keypoints=shared)
    world.image("two", keypoints=shared)
    for number in range(4):
        same = world.write(f"same{number}/emb.bin", np.full(512, 0.25, "<f4").tobytes())
        world.image(f"same{number}", embedding=same)
    features = {"plain": "segment", "rowless": "keypoints", "one": "keypoints", "two": "keypoints"}
    features |= {f"same{number}": "embedding" for number in range(4)}
    return {(world.id(name), feature, "suspect") for name, feature in features.items()}


def _gap(world: KindWorld) -> set[Key]:
    for number in (1, 2, 3, 7, 8):
        path = world.root / "frames" / world.case / f"{number:06}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(world.picture("frame.png").read_bytes())
        os.utime(path, (world.old, world.old))
        key = f"{world.case}_frame_{number:06}"
        world.insert("video_frames", frame_id=key, video_id=world.case, ts=1.0, local_path=str(path))
    world.path("frame.png").unlink()
    return {(world.case, "image", "suspect")}


def _several(world: KindWorld) -> set[Key]:
    """One asset with as much wrong as can be."""
    stale = world.artifact("a", "embedding", 60)
    mask = world.write("a/other.png", b"junk!", 60)
    world.artifact("a", "segment")
    world.image("a", segment=mask, embedding=stale, keypoints=world.path("a/none"))
    found = {("segment", "corrupt"), ("segment", "stale"), ("segment", "duplicate")}
    found |= {("embedding", "stale"), ("keypoints", "missing")}
    return {(world.id("a"), feature, kind) for feature, kind in found}


def _good(world: KindWorld) -> set[Key]:
    world.image("a", **{feature: world.artifact("a", feature) for feature in COLUMNS})
    return set()


CASES: dict[str, Callable[[KindWorld], set[Key]]] = {
    "missing": _missing,
    "misplaced": _misplaced,
    "unrecorded": _unrecorded,
    "empty": _empty,
    "corrupt": _corrupt,
    "content": _content,
    "stale": _stale,
    "orphan": _orphan,
    "outside": _outside,
    "duplicate": _duplicate,
    "suspect": _suspect,
    "gap": _gap,
    "several": _several,
    "good": _good,
}


def make(world: KindWorld, case: str) -> set[Key]:
    """Make a case; its findings."""
    world.begin(case)
    return CASES[case](world)
