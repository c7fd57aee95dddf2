"""What ``sidecar verify`` ends with where not all could be looked at, or much is one problem: always 2.

Real processes: files that may not be read, that need too much memory, and claims with a prefix of elsewhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kindworld import COLUMNS, KindWorld, make
from PIL import Image
from postgres import Cluster
from running import REPOSITORY, unprivileged


def verify(world: KindWorld, *arguments: str, **settings: str) -> tuple[int, list[str], str]:
    """Exit code, lines of standard output and complaints, for a user who may not read everything."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")}
    done = subprocess.run(
        [*unprivileged(), sys.executable, "-m", "web.cli", "verify", *arguments],
        cwd=REPOSITORY,
        env={
            **kept,
            "SIDECAR_DATA__ROOT": str(world.root),
            "SIDECAR_DATABASE__URL": world.url,
            **{f"SIDECAR_{key}": value for key, value in settings.items()},
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.fixture
def world(tmp_path: Path) -> Iterator[KindWorld]:
    """One good image with all that belongs to it, in the job ``good``."""
    with closing(KindWorld(tmp_path)) as made:
        make(made, "good")
        yield made


@pytest.mark.parametrize("feature", ["image", *COLUMNS])
def test_a_file_that_may_not_be_read_is_unchecked_and_the_rest_is_looked_at(
    world: KindWorld, feature: str
) -> None:
    names = {"image": "a.png", "segment": "a/seg.png", "embedding": "a/emb.bin", "keypoints": "a/kp.bin"}
    world.path(names[feature]).chmod(0)
    code, out, complaints = verify(world)
    assert code == 2
    assert complaints == "1 files could not be checked: EACCES: permission denied (1)\n"
    decoded = ", ".join(f"{int(name != feature)} {name}" for name in names)
    assert out == [
        "no findings so far, and not everything could be looked at;"
        f" looked at 1 assets, decoded 3 files: {decoded}"
    ]
    world.path(names[feature]).chmod(0o644)
    assert verify(world)[0] == 0


def test_what_needs_more_memory_than_allowed_is_unchecked(world: KindWorld) -> None:
    world.image("large", segment=world.artifact("large", "segment"))
    for name in ("large.png", "large/seg.png"):
        Image.new("1", (20_000, 8_000)).save(world.path(name), "PNG")
        os.utime(world.path(name), (world.old, world.old))
    code, out, complaints = verify(world, VERIFY__MEMORY_MB="64")
    assert (code, "2 files could not be checked" in complaints) == (2, True), complaints
    assert "more than the 64 MB" in complaints
    assert "decoded 4 files" in out[-1]
    assert verify(world)[0] == 1, "the mask has a single value"


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_a_problem_instead_of_a_flood_is_two_and_says_what_to_change(
    tmp_path: Path, request: pytest.FixtureRequest, dialect: str
) -> None:
    url = None
    if dialect == "postgres":
        cluster: Cluster = request.getfixturevalue("postgres_cluster")
        cluster.start()
        url = cluster.create_database(vector=False)
    with closing(KindWorld(tmp_path, url)) as world:
        make(world, "stale")
        for number in range(20):
            world.image(f"n{number}", segment=f"/elsewhere/data/products/stale/n{number}/seg.png")
        code, out, complaints = verify(world, "--format", "ndjson")
        assert (code, len(out)) == (2, 3), complaints
        assert f'add "/elsewhere/data" = "{world.root}" to [database.path_map]' in complaints
        assert "20 findings are withheld" in complaints
        config = tmp_path / "config.toml"
        config.write_text(f'[database.path_map]\n"/elsewhere/data" = "{world.root}"\n')
        code, out, complaints = verify(world, "--format", "ndjson", CONFIG=str(config))
        assert (code, len(out)) == (1, 23), complaints
