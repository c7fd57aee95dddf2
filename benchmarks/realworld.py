"""A world whose files have content, for what happens while content is checked."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.largeworld import Size, make_world

VIDEOS = 16


def make_real_world(base: Path) -> Size:
    """As the large world at a small scale, its images, masks, embeddings and keypoints whole and sound."""
    base.mkdir(parents=True, exist_ok=True)
    size = make_world(base, VIDEOS / 2000)
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (90, 160, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((1280, 720))
    mask = Image.fromarray((np.indices((720, 1280)).sum(axis=0) % 255).astype(np.uint8))
    contents = {
        ".jpg": encoded(picture, "JPEG"),
        "seg.png": encoded(mask, "PNG"),
        "emb.bin": rng.normal(size=512).astype("<f4").tobytes(),
        "kp.bin": rng.uniform(1, 700, (30, 3)).astype("<f4").tobytes(),
    }
    for path in sorted((base / "data").rglob("*.*")):
        content = next(content for name, content in contents.items() if path.name.endswith(name))
        path.write_bytes(content)
    return size


def encoded(image: Image.Image, form: str) -> bytes:
    """A picture as a file."""
    buffer = BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()
