"""Every endpoint of a real server against the model, over random worlds that change, and random questions.

A server lives through one layout and one kind of database, while files and rows come, change and go in random
steps. After each of them all answers must become those of the model, and random questions, good and bad, are
asked. ``MODEL_SECONDS`` is the time for all cases together (40 by default), ``MODEL_SEED`` another start.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import closing
from pathlib import Path

import pytest
from comparison import Client, compare, settle
from model_assets import merged
from running import Serving
from worlds import World, build_files, make_world, mutate, open_store, random_query, to_toml

SECONDS = float(os.environ.get("MODEL_SECONDS", "40"))
SEED = os.environ.get("MODEL_SEED", "1")
CASES = (
    ("default", "sqlite", False),
    ("several", "postgres", False),
    ("default", None, False),
    ("flat", "sqlite", False),
    ("beside", "sqlite", False),
    ("claims", "postgres", False),
    ("default", "postgres", True),
    ("flat", "sqlite", True),
    ("several", None, True),
)


def quick(content: bool, url: str) -> dict[str, dict[str, object]]:
    """Settings by which changes show soon."""
    return {
        "database": {"url": url, "poll_seconds": 0.2, "full_sync_seconds": 2.0},
        "verify": {"content": content, "grace_seconds": 0.3},
    }


@pytest.mark.timeout(120 + SECONDS)
@pytest.mark.parametrize(("variant", "dialect", "content"), CASES)
def test_a_server_says_what_the_model_says(
    tmp_path: Path, request: pytest.FixtureRequest, variant: str, dialect: str | None, content: bool
) -> None:
    """Through all changes of the world; with content checks its findings, too."""
    rng = random.Random(f"{SEED} {variant} {dialect} {content}")
    world = make_world(rng, variant, dialect)
    root = tmp_path / "data"
    tree = build_files(world, root)
    place = request.getfixturevalue("postgres") if dialect == "postgres" else tmp_path / "pipeline.db"
    store = open_store(world, root, place) if dialect else None
    world.settings = merged(quick(content, store.url if store else ""), world.settings)
    config = tmp_path / "config.toml"
    config.write_text(to_toml(world.config(str(root))), encoding="utf-8")
    environment = {
        "SIDECAR_CONFIG": config,
        "SIDECAR_VERIFY__CONTENT": str(content).lower(),
        "SIDECAR_INDEX__DIRECTORY": "auto",
    }
    history = ["the beginning"]
    try:
        with (
            Serving(tmp_path, environment) as serving,
            closing(Client(f"http://127.0.0.1:{serving.port}")) as client,
        ):
            serving.ready()
            deadline = time.monotonic() + SECONDS / len(CASES)
            rounds = 0
            while rounds < 3 or time.monotonic() < deadline:
                _agree(client, world, root, rng, content)
                history = mutate(world, rng, rng.choice((1, 1, 3, 8)))
                tree.sync(world)
                if store:
                    store.sync(world)
                rounds += 1
            _agree(client, world, root, rng, content)
    except AssertionError as exc:
        exc.add_note(f"{variant} {dialect} seed {SEED!r}, after: {history}\nin {tmp_path}")
        raise
    finally:
        if store:
            store.close()


def _agree(client: Client, world: World, root: Path, rng: random.Random, findings: bool) -> None:
    model = world.model(root)
    settle(client, model, findings)
    queries = [random_query(rng, model) for _ in range(60)]
    wrong = compare(client, model, queries)
    end = time.monotonic() + 20
    while wrong and time.monotonic() < end:  # a change in no list may still be on its way
        time.sleep(0.1)
        wrong = compare(client, model, queries)
    assert not wrong, "\n".join(wrong[:5])
