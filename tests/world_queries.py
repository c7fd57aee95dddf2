"""Questions about a random world: all that shows everything, and random ones, good and bad."""

from __future__ import annotations

import random
from collections.abc import Callable
from urllib.parse import quote, urlencode

from model import ENDPOINTS, Model
from model_assets import ARTIFACTS, FRAME, KINDS, PRODUCT
from world_data import PHASES, QUESTIONS, TITLES

Query = tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]

STRANGE_IDS = (
    "nope",
    "..",
    ".",
    "a/b",
    "x" * 3000,
    "😀",
    "'; DROP TABLE jobs;--",
    "a\x00b",
    "%2e%2e",
    "a?b#c",
    " ",
)
BAD_NUMBERS = (
    "0x1",
    "1e3",
    "９",
    "9" * 40,
    "-1",
    "+1",
    " 1",
    "1.0",
    "1_0",
    "٣",
    "abc",
    "9223372036854775808",
)
SORTS = {
    "jobs": ("updated_at", "job_id"),
    "videos": ("updated_at", "duration_s", "frames_count", "title"),
    "frames": ("ts", "frame_id"),
    "images": ("img_id", "updated_at"),
    "product_images": ("updated_at", "img_id"),
    "video_frames": ("updated_at", "frame_id", "ts"),
}
LISTS = tuple(SORTS)


def url_of(query: Query) -> str:
    """The path and query string that ask it."""
    endpoint, names, pairs = query
    path = ENDPOINTS[endpoint].format(*(quote(name, safe="") for name in names))
    return f"{path}?{urlencode(pairs)}" if pairs else path


def baseline(model: Model) -> list[Query]:
    """Questions that between them show everything: each list whole in each order, each detail."""
    jobs = model.job_ids()
    whole = ("limit", "1000")
    found: list[Query] = [("jobs", (), (whole, ("order", "asc")))]
    for job in jobs:
        found += [("status", (job,), ()), ("summary", (job,), ())]
        for endpoint in ("videos", "images", "product_images", "video_frames"):
            found += [
                (endpoint, (job,), (whole, ("sort_by", sort_by), ("include", "urls")))
                for sort_by in SORTS[endpoint]
            ]
        for video in model.answer("videos", (job,), (whole,))["items"]:
            found.append(("frames", (job, video["video_id"]), (whole,)))
    for asset in model.assets.all.values():
        found.append((asset.kind, (asset.id,), ()))
    return found


def random_query(rng: random.Random, model: Model) -> Query:
    """Some endpoint with known or strange ids and good or bad parameters."""
    endpoint = rng.choice(list(ENDPOINTS))
    names = _some_names(rng, model, endpoint)
    pairs: list[tuple[str, str]] = []
    makers: list[Callable[[], tuple[str, str]]] = _parameters(rng, model, endpoint)
    pairs += [rng.choice(makers)() for _ in range(rng.choice((0, 1, 2, 3, 4)))]
    if endpoint == "jobs" and ("sort_by", "job_id") in pairs:
        pairs.append(("order", rng.choice(("asc", "desc"))))
    return endpoint, names, tuple(pairs)


def _some_names(rng: random.Random, model: Model, endpoint: str) -> tuple[str, ...]:
    strange = rng.random() < 0.1
    if endpoint == "jobs":
        return ()
    if endpoint in KINDS:
        ids = [asset.id for asset in model.assets.all.values() if asset.kind == endpoint]
        return (rng.choice(STRANGE_IDS) if strange or not ids else rng.choice(ids),)
    jobs = model.job_ids()
    job = rng.choice(STRANGE_IDS) if strange or not jobs else rng.choice(jobs)
    if endpoint != "frames":
        return (job,)
    return job, rng.choice([*_owners(model, FRAME), rng.choice(STRANGE_IDS)])


def _owners(model: Model, kind: str) -> list[str]:
    return sorted({asset.owner for asset in model.listed if asset.kind == kind and asset.owner is not None})


def _parameters(rng: random.Random, model: Model, endpoint: str) -> list[Callable[[], tuple[str, str]]]:
    def among(name: str, *values: str) -> Callable[[], tuple[str, str]]:
        return lambda: (name, rng.choice(values))

    junk = among("unknown", "1", "")
    include = among("include", "urls", "urls", "urls", "", "foo")
    if endpoint in KINDS:
        return [include, junk]
    if endpoint not in SORTS:
        return [junk, among("limit", "0")]
    ids = [asset.id for asset in model.listed]
    text = [*QUESTIONS, *(title[1:4] for title in TITLES), *(ident[-3:] for ident in ids[:5])]
    known = {
        "videos": [
            among("platform", "youtube", "YOUTUBE", "tik"),
            among("min_frames", "0", "1", "2", "5", *BAD_NUMBERS),
            among("q", *text),
        ],
        "images": [among("product_id", *_owners(model, PRODUCT), "none"), among("q", *text)],
        "product_images": [_has(rng)],
        "video_frames": [_has(rng), among("video_id", *_owners(model, FRAME), "none")],
        "jobs": [among("q", "j", "J_1", "việc", "%"), among("phase", *PHASES, "unknown")],
    }
    common = [
        among("limit", "1", "2", "3", "7", "1000", "007", "0", "1001", "", *rng.sample(BAD_NUMBERS, 2)),
        among("offset", "0", "1", "2", "5", "100", "9223372036854775807", "", *rng.sample(BAD_NUMBERS, 2)),
        among("sort_by", *SORTS[endpoint], *SORTS[endpoint], rng.choice(("UPDATED_AT", "size", ""))),
        among("order", "asc", "desc", "ASC", "Desc", rng.choice(("up", "", "descending"))),
    ]
    also = [] if endpoint == "jobs" else [include]
    return [*common, *known.get(endpoint, []), *known.get(endpoint, []), *also, junk]


def _has(rng: random.Random) -> Callable[[], tuple[str, str]]:
    good = (*ARTIFACTS, "none", "any")
    return lambda: ("has", rng.choice((*good, *good, "foo", "Any", "")))
