"""New files that come one by one: whole assets are written together, whatever directories they lie in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from scanner.assets import AssetTable
from scanner.config import Config, DatabaseConfig
from scanner.index import Index
from scanner.listing import Listing
from scanner.records import AssetRow, AssetType, Entry
from scanner.rows import Rows, Table

SECOND = 10**9


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index of three videos without frames."""
    with closing(Index(str(tmp_path / "index.db"), Config())) as made:
        with made.transaction():
            for directory in ("frames", "frames/a", "frames/b", "frames/c"):
                made.apply(Listing(directory, 1, 1, 1, {}, ()), never)
        yield made


def never(path: str, entry: Entry) -> bool:
    return False


def look(index: Index, directory: str, *names: str, size: int = 5, time: int = SECOND) -> None:
    """Names in a directory are looked at, and are there; of an empty size they are not."""
    files = {name: Entry(name, 7, size, time, time) for name in names}
    index.apply(Listing(directory, 1, 1, 1, files, (), frozenset(names)), never)


def assets(index: Index) -> list[tuple[str, str, int]]:
    """Id, owner and artifacts of those that are listed."""
    return index.db.execute("SELECT id, owner, has FROM assets WHERE listed ORDER BY id").fetchall()


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that go the general way."""
    paths: list[str] = []
    mark = AssetTable.mark_new_files

    def note(self: AssetTable, files: dict[str, object]) -> None:
        paths.extend(files)
        mark(self, files)  # type: ignore[arg-type]

    monkeypatch.setattr(AssetTable, "mark_new_files", note)
    return paths


def test_images_of_many_videos_are_written_together(index: Index, marked: list[str]) -> None:
    """And counted for each video and for the job."""
    with index.transaction():
        for video in "abc":
            look(index, f"frames/{video}", "1.jpg", "2.jpg")
    assert not marked
    assert [(id, owner) for id, owner, _ in assets(index)] == [
        (f"{video}_frame_{number}", video) for video in "abc" for number in (1, 2)
    ]
    owners = index.db.execute("SELECT id, assets, newest FROM owners ORDER BY id").fetchall()
    assert owners == [(video, 2, SECOND) for video in "abc"]
    assert index.totals[AssetType.VIDEO_FRAME, "total"] == 6
    assert index.totals[AssetType.VIDEO_FRAME, "owners"] == 3
    assert index.files == 6


@pytest.mark.parametrize("image_first", [False, True])
def test_an_image_and_an_artifact_from_different_directories_are_one_asset(
    index: Index, marked: list[str], image_first: bool
) -> None:
    """Whichever is met first."""
    looks = [("frames/a", "1.jpg"), ("frames/a/1", "seg.png")]
    with index.transaction():
        index.apply(Listing("frames/a/1", 1, 1, 1, {}, ()), never)
    with index.transaction():
        for directory, name in looks if image_first else reversed(looks):
            look(index, directory, name)
    assert not marked
    assert assets(index) == [("a_frame_1", "a", 1)]


def test_an_artifact_that_comes_to_a_known_image_goes_the_general_way(
    index: Index, marked: list[str]
) -> None:
    """The asset is changed, not written a second time."""
    with index.transaction():
        index.apply(Listing("frames/a/1", 1, 1, 1, {}, ()), never)
        look(index, "frames/a", "1.jpg")
    with index.transaction():
        look(index, "frames/a/1", "seg.png")
        look(index, "frames/b", "1.jpg")
    assert marked == ["frames/a/1/seg.png"]
    assert assets(index) == [("a_frame_1", "a", 1), ("b_frame_1", "b", 0)]


def test_what_is_empty_goes_the_general_way(index: Index, marked: list[str]) -> None:
    """There is something to be found about it."""
    with index.transaction():
        look(index, "frames/a", "1.jpg", size=0)
        look(index, "frames/a", "2.jpg")
    assert marked == ["frames/a/1.jpg"]
    assert [id for id, _, _ in assets(index)] == ["a_frame_2"]
    assert index.db.execute("SELECT id, kind FROM findings").fetchall() == [("a_frame_1", "empty")]


def test_a_file_that_comes_and_goes_in_one_transaction_leaves_nothing(index: Index) -> None:
    """And of one that changes only its last state stays."""
    with index.transaction():
        look(index, "frames/a", "1.jpg", "2.jpg")
        index.apply(Listing("frames/a", 1, 1, 1, {}, (), frozenset(["1.jpg"])), never)
        look(index, "frames/a", "2.jpg", time=2 * SECOND)
    assert [id for id, _, _ in assets(index)] == ["a_frame_2"]
    assert index.db.execute("SELECT assets, newest FROM owners").fetchall() == [(1, 2 * SECOND)]
    assert index.files == 1


def test_what_was_gathered_goes_with_a_transaction_that_fails(index: Index) -> None:
    """The next one begins without it."""

    def fail() -> None:
        with index.transaction():
            look(index, "frames/a", "1.jpg")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert index.files == 0
    with index.transaction():
        look(index, "frames/a", "2.jpg")
    assert [id for id, _, _ in assets(index)] == ["a_frame_2"]
    assert index.files == 1


def test_a_file_that_a_row_names_and_no_pattern_knows_is_matched(tmp_path: Path) -> None:
    """It is the asset of that row."""
    config = replace(Config(), database=replace(DatabaseConfig(), url="sqlite:///x"))
    row = AssetRow(AssetType.VIDEO_FRAME, "x", local_path="frames/a/odd.name")
    with closing(Index(str(tmp_path / "index.db"), config)) as index:
        with index.transaction():
            index.put(Rows(Table.VIDEO_FRAMES, [row]))
            index.apply(Listing("frames/a", 1, 1, 1, {}, ()), never)
            look(index, "frames/a", "odd.name", "odder.name")
        assert index.unmatched == 1
        assert index.unmatched_example() == "frames/a/odder.name"
        assert [id for id, _, _ in assets(index)] == ["x"]
