"""A random world's files: contents as bytes, and a directory that is made to agree with the world."""

from __future__ import annotations

import io
import os
import random
import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from model_assets import ARTIFACTS, SECTIONS
from model_content import Content
from PIL import Image
from world_data import DIM, FileSpec, World

# --- contents as bytes ------------------------------------------------------------------------------

STATIC = Content("image", "png", 12, 8, shade=9)  # what links point to


@lru_cache(maxsize=512)
def encoded(content: Content) -> bytes:
    """The bytes of a file with this content."""
    if content.form == "empty":
        return b""
    if content.form == "junk":
        return b"junk %d" % content.shade
    if content.broken:
        return (
            encoded(replace(content, broken=False))[:45] if content.form == "image" else b"\x93NUMPY\x01\x00"
        )
    return _picture(content) if content.form == "image" else _numbers(content)


def _picture(content: Content) -> bytes:
    shape = (content.height, content.width)
    pixels = np.full(shape, content.shade % 256, np.uint8)
    if not content.uniform:
        pixels[: max(1, content.height // 2)] = (content.shade + 100) % 256
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG" if content.encoding == "jpeg" else "PNG")
    return buffer.getvalue()


def _numbers(content: Content) -> bytes:
    table = content.values if content.form == "embedding" else content.rows
    array = np.array(table, dtype="<f4")
    if not table and content.form == "keypoints":
        array = array.reshape(0, 3)
    if content.encoding == "raw":
        return array.tobytes()
    buffer = io.BytesIO()
    if content.encoding == "npy":
        np.save(buffer, array)
    else:
        np.savez(buffer, keypoints=array, scores=np.ones(3))
    return buffer.getvalue()


def some_content(rng: random.Random, feature: str, path: str, good: float = 0.85) -> Content:
    """Content for a file of this feature: good by that chance, else bad in some way."""
    bad = rng.random() >= good
    if feature in ("image", "segment"):
        return _some_picture(rng, path, feature, bad)
    encoding = path.rpartition(".")[2] if path.endswith((".npy", ".npz")) else "raw"
    if feature == "embedding":
        values = [float(rng.randint(1, 3)), *(1.0,) * (DIM - 1)]
        flaw = rng.choice(("dim", "nan", "zero", "broken")) if bad else ""
        values = {"dim": values[:-1], "nan": [float("nan"), *values[1:]], "zero": [0.0] * DIM}.get(
            flaw, values
        )
        return Content(
            "embedding",
            "npy" if flaw == "broken" else encoding,
            broken=flaw == "broken",
            values=tuple(values),
        )
    rows = tuple((float(rng.randint(0, 8)), float(rng.randint(0, 8)), 0.5) for _ in range(rng.randint(1, 3)))
    if not bad:
        return Content("keypoints", encoding, rows=rows)
    flaw = rng.choice(("far", "nan", "none", "broken"))
    wrong = {"far": ((999.0, 1.0, 1.0),), "nan": ((float("nan"), 1.0, 1.0),), "none": ()}.get(flaw, rows)
    return Content("keypoints", "npz" if encoding == "npz" else "npy", broken=flaw == "broken", rows=wrong)


def _some_picture(rng: random.Random, path: str, feature: str, bad: bool) -> Content:
    encoding = "jpeg" if path.lower().endswith((".jpg", ".jpeg")) else "png"
    width, height = rng.choice(((12, 8), (12, 8), (12, 8), (16, 10))) if not bad else (12, 9)
    flaw = rng.choice(("broken", "junk", "size", "uniform")) if bad else ""
    if flaw == "junk":
        return Content("junk", shade=rng.randint(0, 99))
    uniform = flaw == "uniform" and feature == "segment"
    return Content("image", encoding, width, height, flaw == "broken", uniform, rng.randint(0, 99))


# --- on disk ----------------------------------------------------------------------------------------


class FileTree:
    """A directory that is made to agree with a world; first folders, once there, stay."""

    def __init__(self, root: Path, seed: int = 0) -> None:
        self.root, self.applied = root, dict[str, FileSpec]()
        self.rng = random.Random(seed)
        store = root / "store"
        store.mkdir(parents=True, exist_ok=True)
        (store / "picture.png").write_bytes(encoded(STATIC))
        (root.parent / "outside.png").write_bytes(encoded(STATIC))

    def sync(self, world: World) -> None:
        """Renames, removals, then new and changed files."""
        self._make_roots(world)
        for old, new in world.renames:
            self._rename(old, new)
        world.renames.clear()
        for path in [path for path, spec in self.applied.items() if world.files.get(path) != spec]:
            if path not in world.files or world.files[path].link or self.applied[path].link:
                self._remove(path)
        for path, spec in world.files.items():
            if self.applied.get(path) != spec:
                self._write(path, spec)
                self.applied[path] = spec

    def _make_roots(self, world: World) -> None:
        for section in SECTIONS.values():
            for feature in ("image", *ARTIFACTS):
                value = world.whole["layout"][section][feature]
                for text in [value] if isinstance(value, str) else value:
                    (self.root / text.partition("/")[0]).mkdir(exist_ok=True)

    def _rename(self, old: str, new: str) -> None:
        source, target = self.root / old, self.root / new
        if not source.is_dir():
            return
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        if not target.exists():
            source.rename(target)
            self.applied = {
                new + path[len(old) :] if path.startswith(old + "/") else path: spec
                for path, spec in self.applied.items()
            }

    def _remove(self, path: str) -> None:
        (self.root / path).unlink()
        del self.applied[path]
        folder = (self.root / path).parent
        if self.rng.random() < 0.7:
            while folder.parent != self.root and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent

    def _write(self, path: str, spec: FileSpec) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if spec.link is not None:
            base = self.root.parent if spec.link == "outside.png" else self.root
            target.symlink_to(base / spec.link)
            return
        known = self.applied.get(path)
        if known is None or known.content != spec.content or spec.mtime_ns is None:
            self._write_bytes(target, encoded(spec.content), spec.mtime_ns)
        if spec.mtime_ns is not None:
            os.utime(target, ns=(spec.mtime_ns, spec.mtime_ns))

    def _write_bytes(self, target: Path, data: bytes, mtime_ns: int | None) -> None:
        """As pipelines do it: in place, or beside it and renamed."""
        if self.rng.random() < 0.5:
            target.write_bytes(data)
            return
        beside = target.with_name(f".{self.rng.randint(0, 10**9)}.tmp")
        beside.write_bytes(data)
        if mtime_ns is not None:
            os.utime(beside, ns=(mtime_ns, mtime_ns))
        beside.replace(target)


def build_files(world: World, root: Path) -> FileTree:
    """The world's files below ``root``, which is made."""
    shutil.rmtree(root, ignore_errors=True)
    tree = FileTree(root)
    tree.sync(world)
    return tree
