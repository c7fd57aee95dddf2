"""What is asked of the sidecar: targets of every list and detail, at random, none of them twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from urllib.parse import quote

from benchmarks.largeworld import FRAMES, IMAGES, JOB, PLATFORMS, WORDS, Size

HAS = ("", "segment", "embedding", "keypoints", "any", "none")
Maker = Callable[[random.Random, Size], str]


def endpoints() -> dict[str, Maker]:
    """A maker of targets for each endpoint."""
    return {
        "status": lambda rng, size: f"/status/{JOB}?",
        "features/summary": lambda rng, size: f"/jobs/{JOB}/features/summary?",
        "jobs": lambda rng, size: "/jobs?",
        "videos": _videos,
        "videos with urls": lambda rng, size: _videos(rng, size) + "&include=urls",
        "frames of a video": _frames,
        "images": _images,
        "features/product-images": _product_images,
        "features/video-frames": _video_frames,
        "features/video-frames with urls": lambda rng, size: _video_frames(rng, size) + "&include=urls",
        "features/product-images/{id}": lambda rng, size: f"/features/product-images/{_image(rng, size)}?",
        "features/video-frames/{id}": lambda rng, size: f"/features/video-frames/{_frame(rng, size)}?",
        "verification": lambda rng, size: f"/jobs/{JOB}/verification?",
        "verification/findings": _findings,
    }


def distinct(make: Maker, size: Size, number: int, seed: int = 1) -> list[str]:
    """Targets that differ from each other, so that no answer can be one that was kept.

    A parameter that nobody knows takes the place of what an endpoint has too little of to vary.
    """
    rng = random.Random(seed)
    return [f"{make(rng, size)}&n={n}".replace("?&", "?") for n in range(number)]


def mixed(size: Size, number: int, seed: int = 2) -> list[str]:
    """All endpoints in turn."""
    makers = list(endpoints().values())
    rng = random.Random(seed)
    return [f"{makers[n % len(makers)](rng, size)}&n={n}".replace("?&", "?") for n in range(number)]


def polling() -> Iterator[str]:
    """What an open tab asks again and again."""
    yield f"/status/{JOB}"
    yield f"/jobs/{JOB}/features/summary"
    yield f"/jobs/{JOB}/videos?limit=10"


def _page(rng: random.Random, sorts: tuple[str, ...], rows: int) -> str:
    order = rng.choice(("asc", "desc"))
    return f"sort_by={rng.choice(sorts)}&order={order}&limit=20&offset={rng.randrange(max(1, rows))}"


def _videos(rng: random.Random, size: Size) -> str:
    sorts = ("updated_at", "duration_s", "frames_count", "title")
    filters = rng.choice(
        ("", f"&q={quote(rng.choice(WORDS))}", f"&platform={rng.choice(PLATFORMS)}", "&min_frames=100")
    )
    rows = size.videos // (4 if "q=" in filters or "platform" in filters else 1)
    return f"/jobs/{JOB}/videos?{_page(rng, sorts, rows - 20)}{filters}"


def _frames(rng: random.Random, size: Size) -> str:
    page = _page(rng, ("ts", "frame_id"), FRAMES - 20)
    return f"/jobs/{JOB}/videos/v_{rng.randrange(size.videos):05}/frames?{page}"


def _images(rng: random.Random, size: Size) -> str:
    if rng.random() < 0.1:
        return f"/jobs/{JOB}/images?product_id=p_{rng.randrange(size.products):05}"
    return f"/jobs/{JOB}/images?{_page(rng, ('img_id', 'updated_at'), size.products * IMAGES - 20)}"


def _product_images(rng: random.Random, size: Size) -> str:
    has = rng.choice(HAS)
    page = _page(rng, ("updated_at", "img_id"), _matching(size.products * IMAGES, has))
    return f"/jobs/{JOB}/features/product-images?{page}&has={has}"


def _video_frames(rng: random.Random, size: Size) -> str:
    has = rng.choice(HAS)
    sorts = ("updated_at", "frame_id", "ts")
    rows, video = size.videos * FRAMES, ""
    if rng.random() < 0.2:
        rows, video = FRAMES, f"&video_id=v_{rng.randrange(size.videos):05}"
    page = _page(rng, sorts, _matching(rows, has))
    return f"/jobs/{JOB}/features/video-frames?{page}&has={has}{video}"


def _matching(rows: int, has: str) -> int:
    """How many assets have a feature, roughly, less a page."""
    return int(rows * {"": 1.0, "any": 0.59, "none": 0.39}.get(has, 0.55)) - 20


def _image(rng: random.Random, size: Size) -> str:
    return f"p_{rng.randrange(size.products):05}_img_{rng.randrange(IMAGES)}"


def _frame(rng: random.Random, size: Size) -> str:
    return f"v_{rng.randrange(size.videos):05}_frame_{rng.randrange(FRAMES):06}"


def _findings(rng: random.Random, size: Size) -> str:
    page = f"sort_by={rng.choice(('asset_id', 'kind', 'path'))}&limit=20&offset={rng.randrange(50)}"
    return f"/jobs/{JOB}/verification/findings?{page}"
