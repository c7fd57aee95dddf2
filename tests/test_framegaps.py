"""Gaps in a video's frames are looked for when the video is quiet, in slices, and not again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scanner import backlog, framegaps
from scanner.backlog import Backlog
from scanner.config import load_config
from scanner.framegaps import FrameGaps
from scanner.index import Index
from scanner.listing import Lister, Listing


class Video:
    """A video of a few frames in an index, and what looks for its gaps."""

    def __init__(self, base: Path) -> None:
        self.folder = base / "data" / "frames" / "v"
        self.folder.mkdir(parents=True)
        environ = {"SIDECAR_DATA__ROOT": str(base / "data"), "SIDECAR_VERIFY__CONTENT": "false"}
        self.config = load_config(environ=environ, cwd=str(base))
        self.index = Index(str(base / "index.db"), self.config)
        self.backlog = Backlog(self.index)
        self.gaps = FrameGaps(self.index, self.backlog)

    def add(self, *numbers: int) -> None:
        """Frames come."""
        for number in numbers:
            (self.folder / f"{number:06}.jpg").write_bytes(b"x")
        lister = Lister(self.config.data.root, self.config.scan.ignore)
        with self.index.transaction():
            for folder in ("frames", "frames/v"):
                listing = lister.look(folder)
                assert isinstance(listing, Listing)
                self.index.apply(listing, lambda path, entry: False)

    def found(self) -> list[str]:
        """What is said of the video."""
        return [detail for (detail,) in self.index.db.execute("SELECT detail FROM findings")]

    def look(self, now: float) -> bool:
        """Look at what is due; whether anything was."""
        self.gaps.step(now)
        due = len(self.backlog) > 0
        while self.backlog.step():
            pass
        return due


@pytest.fixture
def video(tmp_path: Path) -> Iterator[Video]:
    made = Video(tmp_path)
    with closing(made.index):
        yield made


def test_a_video_is_looked_at_once_it_is_quiet(video: Video) -> None:
    video.add(1, 2, 3, 5)
    assert not video.look(100.0), "its frames have changed just now"
    video.add(6)
    assert not video.look(100.9)
    assert not video.look(101.5), "the later change counts"
    assert video.look(102.0)
    assert video.found() == ["frames are missing in the middle of the video: 4 to 4"]
    assert (video.look(110.0), video.gaps.pending) == (False, 0)
    video.add(4)
    video.gaps.step(120.0)
    assert video.look(10_000_000.0)
    assert video.found() == []


def test_a_video_that_takes_long_is_left_alone_for_longer(
    video: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that come one by one must not cost a look at all of them each."""
    clock = [50.0]

    def tick() -> float:
        clock[0] += 1.0
        return clock[0]

    monkeypatch.setattr(framegaps, "_SLICE", 2)
    monkeypatch.setattr(framegaps.time, "monotonic", tick)
    monkeypatch.setattr(backlog, "STEP_SECONDS", 1000.0)
    video.add(1, 2, 3, 5, 6)
    video.gaps.step(0.0)
    assert video.look(1.0)
    looked = clock[0]
    video.add(4)
    assert not video.look(looked)
    assert not video.look(looked + 100.0), "it took four seconds, by this clock"
    assert video.found(), "meanwhile what was found stands"
    assert video.look(looked + 4 * framegaps.PAUSE_FACTOR + 10)
    assert video.found() == []
