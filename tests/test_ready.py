"""Rows that come ready are what applying the listings one by one makes of them, whatever else there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from test_fresh import EXAMPLES, SECOND, Script, World, expected, played, scripts, shown

from scanner.config import Config, DatabaseConfig
from scanner.index import Index
from scanner.layout import Layout
from scanner.listing import Listing
from scanner.matching import Placement
from scanner.portions import LARGE
from scanner.ready import Ready, make
from scanner.records import ARTIFACTS, AssetRow, AssetType, Entry, Feature
from scanner.resolve import Rules
from scanner.rows import Rows, Table
from scanner.settings import FRAMES, LayoutConfig
from scanner.tree import LINK, UNMATCHED, join, kind_flags

NOW = 100 * SECOND


class Families(World):
    """A crawl in which a directory comes with its folders, as far as the index knows nothing of them."""

    def __init__(self, directory: str, script: Script) -> None:
        super().__init__(directory, script)
        self.entered = 0

    def _look(self, directory: str, names: frozenset[str] | None) -> None:
        known = self.index.tree.directory_id
        family = [self.listing(directory, None)]
        family += [self.listing(join(directory, name), None) for name in family[0].directories]
        if names is not None or "/" not in directory or any(known(one.directory) for one in family):
            super()._look(directory, names)
            return
        ready = make(family, self.index.layout, self.index.assets.rules, SECOND)
        if ready is not None and self.index.enter(ready):
            self.entered += 1
            return
        coming = {listing.directory for listing in family}
        for listing in family:
            coming.discard(listing.directory)
            self.index.apply(listing, lambda path, entry: False, 0, frozenset(coming))


def play(script: Script, prepare: Callable[[Index], object]) -> tuple[Any, set[str], int]:
    """All that the index says in the end, the videos to look at, and how many families came ready."""
    with played(Families, script, prepare) as world:
        about = "SELECT d.path, p.path, d.inode, d.mtime, d.fingerprint FROM dirs d LEFT JOIN dirs p"
        directories = sorted(world.index.db.execute(f"{about} ON p.dir=d.parent").fetchall())
        videos = world.index.findings.take_videos()
        return (shown(world.index), expected(world.index), directories), videos, world.entered


def one_by_one(index: Index) -> None:
    """Take nothing that is ready."""
    index.enter = lambda ready: False  # type: ignore[method-assign]


@settings(max_examples=4 * EXAMPLES)
@given(scripts())
def test_what_comes_ready_is_what_the_general_way_gives(script: Script) -> None:
    ready, videos, entered = play(script, lambda index: None)
    event(f"{min(entered, 2)} or more families came ready")
    general, of_these, _ = play(script, one_by_one)
    assert ready == general
    assert videos >= of_these


@st.composite
def recorded_scripts(draw: st.DrawFn) -> Script:
    """A story in which most rows are there before the files and name exactly those."""
    script = draw(scripts())
    layout = Layout(script.layout)
    images = [(path, place) for path in script.disk for place in layout.classify(path)[:1] if is_told(place)]
    rows = [draw(_row(script, layout, place, path)) for path, place in images if draw(st.integers(0, 5))]
    tables = [Table.PRODUCT_IMAGES, Table.VIDEO_FRAMES]
    early = [(0, Rows(tables[row.type], [row])) for row in rows]
    return script._replace(database=True, rows=[*early, *script.rows], cuts=[1, *script.cuts])


def is_told(place: Placement) -> bool:
    """Whether it is of an image whose path tells its id."""
    return place.feature is Feature.IMAGE and place.asset_id is not None


@st.composite
def _row(draw: st.DrawFn, script: Script, layout: Layout, place: Placement, path: str) -> AssetRow:
    """The row of an image, with what is wrong about it now and then."""
    id = str(place.asset_id)
    claims: list[str | None] = [path]
    for feature in ARTIFACTS:
        keys = layout.keys_by_image(place.type, feature, id, path)
        claims.append(next((f"/data/{key}" for key in keys if key in script.disk), None))
    if draw(st.integers(0, 9)) == 0:
        claims[draw(st.integers(0, 3))] = draw(st.sampled_from([None, "/elsewhere/x.jpg", *script.disk]))
    owner = draw(st.sampled_from([None, place.owner_id, "another"]))
    time = draw(st.sampled_from([None, 500_000, 1_500_000, 1 << 60]))
    ts = draw(st.sampled_from([None, 1.5]))
    return AssetRow(place.type, id, owner, ts, *claims, draw(st.integers(0, 3)) == 0, time)


@settings(max_examples=2 * EXAMPLES)
@given(recorded_scripts(), st.booleans())
def test_rows_that_agree_with_the_disk_are_what_the_general_way_makes_of_them(
    script: Script, embeddings: bool
) -> None:
    """With a column for embeddings or without."""
    features = frozenset(Feature) if embeddings else frozenset(Feature) - {Feature.EMBEDDING}

    def prepare(index: Index) -> None:
        index.assets.recorded.update(dict.fromkeys(AssetType, features))

    def prepare_slowly(index: Index) -> None:
        prepare(index)
        one_by_one(index)

    ready, videos, entered = play(script, prepare)
    event(f"{min(entered, 2)} or more families came ready")
    general, of_these, _ = play(script, prepare_slowly)
    assert ready == general
    assert videos >= of_these


LAYOUT = Layout(LayoutConfig())
RULES = Rules(False, SECOND, frozenset({Feature.IMAGE, Feature.SEGMENT}))
PLAIN = ("seg.png", "emb.bin", "kp.bin")
PLAIN_PATHS = tuple(f"frames/v/1/{name}" for name in PLAIN)


def listing(directory: str, *names: str, folders: tuple[str, ...] = (), **about: Any) -> Listing:
    """A directory of files that are as old as each other."""
    files = {name: Entry(name, 7, 5, SECOND, SECOND) for name in names}
    return dataclasses.replace(
        Listing(directory, 1, 2, 3, files, folders, fingerprint=9, seen_ns=NOW), **about
    )


def family(*of_first: str, **about: Any) -> list[Listing]:
    """A video of two frames with all that belongs to them, and what else is in the first one's folder."""
    return [
        listing("frames/v", "1.jpg", "2.jpg", folders=("1", "2")),
        listing("frames/v/1", *PLAIN, *of_first, **about),
        listing("frames/v/2", *PLAIN),
    ]


def made(listed: list[Listing], layout: Layout = LAYOUT) -> Ready:
    """The rows of directories that come ready."""
    ready = make(listed, layout, RULES, SECOND)
    assert ready is not None
    return ready


def whole(ready: Ready) -> list[str]:
    """The ids of the assets that are whole."""
    return sorted(id for assets in ready.assets for id in assets.ids)


def test_frames_whose_artifacts_are_where_they_belong_are_whole() -> None:
    ready = made(family())
    (assets,) = ready.assets
    assert (assets.type, assets.owner, assets.ids) == (1, "v", ["v_frame_1", "v_frame_2"])
    assert (assets.has, assets.checks) == ([7, 7], [0b101, 0b101])
    assert (assets.images[0], assets.segments[0]) == ("frames/v/1.jpg", "frames/v/1/seg.png")
    assert (ready.rest, ready.deeper, assets.elsewhere) == ([], [], [])
    assert ready.directories.fingerprints == [9, 9, 9]


def enter(index: Index, *rows: AssetRow) -> None:
    """Put rows into the index, then the family; all that is to be looked into is marked afterwards."""
    index.put(Rows(Table.VIDEO_FRAMES, list(rows)))
    ready = make(family(), index.layout, index.assets.rules, SECOND)
    assert ready is not None
    assert index.enter(ready)


ROW = AssetRow(
    AssetType.VIDEO_FRAME, "v_frame_1", "w", 1.5, "frames/v/1.jpg", *PLAIN_PATHS, time_us=5_000_000
)


@pytest.mark.parametrize(
    ("row", "marked"),
    [
        (ROW, 0),
        (ROW._replace(segment=None), 1),
        (ROW._replace(keypoints="frames/v/2/kp.bin"), 2),
        (ROW._replace(asset_id="other"), 1),
    ],
    ids=["agrees", "lacks a file", "names another's", "has another id"],
)
def test_only_what_rows_dispute_is_looked_into(tmp_path: Path, row: AssetRow, marked: int) -> None:
    config = Config(database=DatabaseConfig(url="sqlite:///x"))
    with closing(Index(str(tmp_path / "index.db"), config)) as index, index.transaction():
        enter(index, row)
        assert index.assets.marked == marked


def test_a_row_that_agrees_adds_what_it_says(tmp_path: Path) -> None:
    config = Config(database=DatabaseConfig(url="sqlite:///x"))
    with closing(Index(str(tmp_path / "index.db"), config)) as index:
        with index.transaction():
            enter(index, ROW)
        assets = index.db.execute("SELECT id, owner, ts, image_mtime, image_updated, updated FROM assets")
        assert sorted(assets) == [
            ("v_frame_1", "w", 1.5, SECOND, 5 * SECOND, 5 * SECOND),
            ("v_frame_2", "v", None, SECOND, SECOND, SECOND),
        ]
        owners = index.db.execute("SELECT id, assets, newest FROM owners").fetchall()
        assert sorted(owners) == [("v", 1, SECOND), ("w", 1, SECOND)]


def test_an_asset_that_the_index_knows_is_looked_into(tmp_path: Path) -> None:
    with closing(Index(str(tmp_path / "index.db"), Config())) as index:
        with index.transaction():
            index.apply(listing("frames/w", "1.jpg"), lambda path, entry: False)
        with index.transaction():
            index.db.execute("UPDATE assets SET id='v_frame_1'")
            enter(index)
            assert index.assets.marked == 1


def test_what_comes_ready_and_is_rolled_back_leaves_nothing(tmp_path: Path) -> None:
    with closing(Index(str(tmp_path / "index.db"), Config())) as index:
        before = shown(index)
        transaction = index.transaction()
        transaction.__enter__()
        enter(index)
        assert not transaction.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
        assert shown(index) == before
        with index.transaction():
            enter(index)
        assert shown(index)["known"][0] == index.files == 8


def test_what_no_pattern_knows_is_among_the_rest() -> None:
    ready = made(family("notes"))
    assert whole(ready) == ["v_frame_1", "v_frame_2"]
    assert list(ready.states(ready.rest)) == ["frames/v/1/notes"]
    assert [state.flags for state in ready.states(ready.rest).values()] == [UNMATCHED]


@pytest.mark.parametrize(
    "entry",
    [Entry("seg.png", 7, 0, SECOND, SECOND), Entry("seg.png", 7, 5, -SECOND, SECOND)],
    ids=["empty", "stale"],
)
def test_an_asset_with_something_to_find_is_left_to_the_general_way(entry: Entry) -> None:
    listings = family()
    listings[1].files["seg.png"] = entry
    ready = made(listings)
    assert whole(ready) == ["v_frame_2"]
    assert len(ready.rest) == 4


def test_a_second_image_is_left_to_the_general_way_with_all_that_is_the_assets() -> None:
    first = listing("frames/v", "1.jpg", "1.png", "2.jpg", folders=("1", "2"))
    ready = made([first, *family()[1:]])
    assert whole(ready) == ["v_frame_2"]
    assert len(ready.rest) == 5


def test_an_artifact_without_an_image_is_left_to_the_general_way() -> None:
    ready = made([listing("frames/v", folders=("1",)), listing("frames/v/1", "seg.png")])
    assert whole(ready) == []
    assert ready.rest == [0]


def test_a_link_is_marked_as_one() -> None:
    listings = family()
    listings[0].files["1.jpg"] = Entry("1.jpg", 7, 5, SECOND, SECOND, link=True)
    ready = made(listings)
    assert ready.files.flags[:2] == [kind_flags(Feature.IMAGE) | LINK, kind_flags(Feature.IMAGE)]


def test_folders_of_folders_are_to_be_listed_and_leave_no_fingerprint() -> None:
    ready = made(family(folders=("more",)))
    assert ready.deeper == ["frames/v/1/more"]
    assert ready.directories.fingerprints == [9, 0, 9]


def test_what_was_not_met_in_a_folder_that_was_listed_is_not_there() -> None:
    layout = Layout(LayoutConfig(frames=dataclasses.replace(FRAMES, segment=("masks/{id}.png",))))
    listings = [listing("frames/v", "1.jpg", folders=("1",)), listing("frames/v/1", "kp.bin")]
    ready = made(listings, layout)
    assert ready.assets[0].elsewhere == [(0, "masks/v_frame_1.png")]


YOUNG = {"kp.bin": Entry("kp.bin", 7, 5, SECOND, NOW - SECOND)}


@pytest.mark.parametrize(
    "about",
    [
        {"device": 5},
        {"skipped": 1},
        {"unreadable": {"x": 5}},
        {"names": frozenset({"kp.bin"})},
        {"files": YOUNG},
        {"directory": "frames/v/3"},
        {"directories": tuple(map(str, range(LARGE)))},
    ],
    ids=lambda about: next(iter(about)),
)
def test_a_family_that_is_not_plain_does_not_come_ready(about: dict[str, Any]) -> None:
    listings = family()
    assert make(listings, LAYOUT, RULES, SECOND) is not None
    listings[1] = dataclasses.replace(listings[1], **about)
    assert make(listings, LAYOUT, RULES, SECOND) is None


def test_a_family_without_one_of_its_folders_does_not_come_ready() -> None:
    assert make(family()[:2], LAYOUT, RULES, SECOND) is None
