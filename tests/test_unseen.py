"""What cannot be seen refutes what rests on its absence: no orphan, nothing missing, no gap.

Real directories without permission and roots that are away, looked at by ``sidecar verify``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from kindworld import KindWorld
from running import REPOSITORY, unprivileged

from scanner.pattern import Template
from scanner.secondlook import read_id

LAYOUT = """
[layout.frames]
image = ["frames/{video_id}/{part}/{frame}.{ext}"]
id = "{video_id}_frame_{frame}"
segment = ["masks/{video_id}/{frame}.png", "frames/{video_id}/{part}/{frame}.seg.png"]
embedding = []
keypoints = []
"""
Key = tuple[str, str, str]


class Trees:
    """Frames in parts, their masks in a tree of their own, and rows of all of them."""

    def __init__(self, base: Path) -> None:
        self.world = KindWorld(base)
        (base / "config.toml").write_text(LAYOUT)
        self.world.begin("v")
        self.world.insert("videos", video_id="w", job_id="v")

    def frame(self, video: str, part: str, number: int, *, row: bool = True) -> None:
        """A frame with its mask."""
        self.picture(f"frames/{video}/{part}/{number:06}.png")
        self.picture(f"masks/{video}/{number:06}.png")
        if row:
            self.row(video, part, number)

    def row(self, video: str, part: str, number: int, mask: str | None = None) -> None:
        """The row of a frame."""
        root = self.world.root
        self.world.insert(
            "video_frames",
            frame_id=f"{video}_frame_{number:06}",
            video_id=video,
            local_path=str(root / f"frames/{video}/{part}/{number:06}.png"),
            seg_mask_path=str(root / (mask or f"masks/{video}/{number:06}.png")),
        )

    def picture(self, path: str) -> Path:
        """A picture anywhere below the root."""
        made = self.world.picture("made.png")
        target = self.world.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return made.rename(target)

    def verify(self) -> tuple[int, set[Key], str]:
        """The exit code, the findings and the complaints of a user who may not read everything."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")}
        done = subprocess.run(
            [*unprivileged(), sys.executable, "-m", "web.cli", "verify", "--format", "ndjson"],
            cwd=REPOSITORY,
            env={
                **kept,
                "SIDECAR_CONFIG": str(self.world.base / "config.toml"),
                "SIDECAR_DATA__ROOT": str(self.world.root),
                "SIDECAR_DATABASE__URL": self.world.url,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found = [json.loads(line) for line in done.stdout.splitlines()]
        keys = {(item["asset_id"], item["feature"], item["kind"]) for item in found}
        return done.returncode, keys, done.stderr


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[Trees]:
    """An empty world."""
    made = Trees(tmp_path)
    with closing(made.world):
        yield made


@contextmanager
def forbidden(path: Path) -> Iterator[None]:
    """Nobody may list the directory."""
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(0o755)


@contextmanager
def away(path: Path) -> Iterator[None]:
    """The directory is somewhere else."""
    elsewhere = path.parent.parent / "away"
    path.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(path)


HIDINGS: dict[str, Callable[[Trees], AbstractContextManager[None]]] = {
    "root": lambda trees: away(trees.world.root / "frames"),
    "tree": lambda trees: forbidden(trees.world.root / "frames"),
    "video": lambda trees: forbidden(trees.world.root / "frames/v"),
    "part": lambda trees: forbidden(trees.world.root / "frames/v/a"),
}


@pytest.mark.parametrize(
    ("hiding", "row"), [("root", True), ("tree", False), ("video", True), ("part", False)]
)
def test_a_mask_is_no_orphan_while_its_image_may_be_where_nothing_can_be_seen(
    trees: Trees, hiding: str, row: bool
) -> None:
    trees.frame("v", "a", 1, row=row)
    trees.row("w", "a", 1)  # without a root that a row names, one that is not there is empty
    trees.picture("frames/w/a/000001.png")
    trees.picture("masks/w/000001.png")
    with HIDINGS[hiding](trees):
        code, found, complaints = trees.verify()
    assert (code, found) == (2, set()), complaints
    assert "could not be looked at a second time" in complaints
    assert trees.verify()[:2] == ((0, set()) if row else (1, {("v_frame_000001", "image", "unrecorded")}))


def test_what_cannot_lie_where_nothing_can_be_seen_is_found_all_the_same(trees: Trees) -> None:
    trees.frame("v", "a", 1)
    trees.frame("w", "a", 1)
    trees.picture("masks/w/000002.png")
    trees.row("w", "a", 3)
    with forbidden(trees.world.root / "frames/v"):
        code, found, complaints = trees.verify()
    missing = {("w_frame_000003", feature, "missing") for feature in ("image", "segment")}
    assert (code, found) == (2, {("w_frame_000002", "segment", "orphan"), *missing}), complaints


def test_a_mask_is_not_missing_while_a_pattern_looks_for_it_where_nothing_can_be_seen(trees: Trees) -> None:
    """The image has another place by its row, the mask is claimed in a directory that can be read."""
    trees.picture("frames/v/a/000001.seg.png")
    trees.row("v", "a", 1, mask="masks/none.png")
    trees.picture("frames/v/a/000001.png")
    (trees.world.root / "masks").mkdir()
    with forbidden(trees.world.root / "frames/v/a"):
        assert trees.verify()[:2] == (2, set())
    assert trees.verify()[:2] == (1, {("v_frame_000001", "segment", "misplaced")})


def test_frames_are_not_missing_in_the_middle_while_they_may_be_where_nothing_can_be_seen(
    trees: Trees,
) -> None:
    for video in ("v", "w"):
        for part, number in (("a", 1), ("a", 2), ("b", 3), ("b", 4), ("c", 5), ("c", 6)):
            if (video, part) != ("w", "b"):
                trees.frame(video, part, number)
    with forbidden(trees.world.root / "frames/v/b"):
        assert trees.verify()[:2] == (2, {("w", "image", "suspect")})
    assert trees.verify()[:2] == (1, {("w", "image", "suspect")})


@pytest.mark.parametrize(
    ("template", "id", "expected"),
    [
        ("{video_id}_frame_{frame}", "v_1_frame_02", {"video_id": "v_1", "frame": "02"}),
        ("{a}{b}", "xyz", {"a": "xy", "b": "z"}),
        ("{a}-{a}", "x-x", {"a": "x"}),
        ("{a}-{a}", "x-y", None),
        ("100%.{a}", "100%.b", {"a": "b"}),
        ("100%.{a}", "100%xb", None),
        ("fixed", "fixed", {}),
    ],
)
def test_an_id_is_read_as_its_template_made_it(
    template: str, id: str, expected: dict[str, str] | None
) -> None:
    assert read_id(Template.of(template), id) == expected
