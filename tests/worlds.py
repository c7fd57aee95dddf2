"""Random worlds for the tests that hold the product to the model.

A :class:`World` is plain data; :func:`make_world` grows one by the same small steps (:func:`mutate`) by
which tests change it afterwards, so everything comes from a seed. :class:`FileTree` makes a directory agree
with a world, :func:`open_store` a database, and :func:`random_query` asks about it. Corners that the
specification leaves open are not entered.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st
from model_assets import ARTIFACTS
from world_data import COLUMNS, DIM, JOB_IDS, LAYOUTS, PHASES, ROOT, FileSpec, World, to_toml
from world_db import Store, build_postgres, build_sqlite, open_store
from world_files import FileTree, build_files
from world_growth import Gardener
from world_queries import Query, baseline, random_query, url_of

__all__ = [
    "COLUMNS",
    "LAYOUTS",
    "FileSpec",
    "FileTree",
    "Gardener",
    "Query",
    "Store",
    "World",
    "baseline",
    "build_files",
    "build_postgres",
    "build_sqlite",
    "make_world",
    "mutate",
    "open_store",
    "random_query",
    "to_toml",
    "url_of",
    "worlds",
]

COLUMN_SETS = {
    "jobs": (("job_id", "phase"), ("percent",)),
    "products": (("product_id", "job_id"), ("title",)),
    "product_images": (("img_id", "product_id", "local_path"), tuple(COLUMNS[f] for f in ARTIFACTS)),
    "videos": (("video_id", "job_id"), ("platform", "url", "title", "duration_s")),
    "video_frames": (("frame_id", "video_id", "local_path"), ("ts", *(COLUMNS[f] for f in ARTIFACTS))),
    "job_videos": (("job_id", "video_id"), ()),
}
EMBEDDINGS = {"sqlite": ("text", "text", "blob"), "postgres": ("text", "vector", "vector", "array", "blob")}


def make_world(
    rng: random.Random, variant: str = "default", dialect: str | None = "sqlite", steps: int = 40
) -> World:
    """A world of one layout, grown by ``steps`` random steps; the dialect is sqlite, postgres or None."""
    settings: dict[str, Any] = {
        "layout": LAYOUTS[variant],
        "jobs": {"default": "local"},
        "database": {
            "timezone": rng.choice(("UTC", "Asia/Ho_Chi_Minh")),
            "path_map": {"/app": "/elsewhere", "/app/data": ROOT},
        },
        "verify": {"embedding": {"dim": DIM}},
        "web": {"utc_offset": rng.choice(("+07:00", "+07:00", "-03:30", "+00:00")), "max_limit": 1000},
    }
    world = World(variant, dialect, settings)
    world.aware = dialect == "postgres" and rng.random() < 0.5
    if dialect is not None:
        world.embedding = rng.choice(EMBEDDINGS[dialect])
        _make_tables(world, rng)
    gardener = Gardener(world, rng)
    if dialect is not None:
        for job in JOB_IDS[:2]:
            gardener.store("jobs", job, {"job_id": job, "phase": rng.choice(PHASES)})
        for _ in range(12):
            gardener.change_owner_row()
            gardener.change_membership()
    for _ in range(14):
        gardener.add_asset()
    for _ in range(steps):
        gardener.step()
    world.renames.clear()
    return world


def _make_tables(world: World, rng: random.Random) -> None:
    with_links = rng.random() < 0.5
    for table, (needed, optional) in COLUMN_SETS.items():
        if table == "job_videos" and not with_links:
            continue
        times = rng.choice(
            (("updated_at", "created_at"), ("updated_at",), ("updated_at",), ("created_at",), ())
        )
        kept = tuple(name for name in optional if rng.random() < 0.9)
        if with_links and table == "videos" and rng.random() < 0.5:
            needed = ("video_id",)
        world.columns[table] = (*needed, *kept, *(times if table != "job_videos" else ()))
        world.tables[table] = {}


def mutate(world: World, rng: random.Random, steps: int = 1) -> list[str]:
    """Changes the world in place; says what was done."""
    gardener = Gardener(world, rng)
    return [gardener.step() for _ in range(steps)]


@st.composite
def worlds(draw: st.DrawFn, dialect: str | None = "sqlite") -> World:
    """Hypothesis' way to a world: a seed, a layout, and how many steps it grew."""
    rng = random.Random(draw(st.integers(0, 2**32 - 1)))
    return make_world(rng, draw(st.sampled_from(sorted(LAYOUTS))), dialect, draw(st.integers(0, 60)))
