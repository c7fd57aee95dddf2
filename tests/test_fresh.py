"""Assets that a first look shows whole are what the general way makes of them, whatever else there is."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.config import Config
from scanner.fresh import FreshAssets
from scanner.index import Index
from scanner.layout import Layout
from scanner.listing import Listing
from scanner.matching import Placement
from scanner.records import AssetRow, AssetType, Entry, Feature, JobRow, ProductRow, VideoRow
from scanner.rows import Rows, Table
from scanner.settings import FRAMES, PRODUCTS, LayoutConfig
from scanner.tree import State, split

SECOND = 1_000_000_000
NEW = dataclasses.replace
LAYOUTS = {
    "default": LayoutConfig(),
    "flat by id": LayoutConfig(
        frames=NEW(FRAMES, segment=("masks/{id}.png",), keypoints=("points/{id}.npz",), fps=2.0),
        products=NEW(PRODUCTS, segment=("pmasks/{id}.png",)),
    ),
    "flat by id, both kinds in one": LayoutConfig(
        frames=NEW(FRAMES, segment=("masks/{id}.png",)), products=NEW(PRODUCTS, segment=("masks/{id}.png",))
    ),
    "trees of masks": LayoutConfig(
        frames=NEW(FRAMES, segment=("masks/frames/{video_id}/{frame}.png",)),
        products=NEW(PRODUCTS, segment=("masks/products/{product_id}/{image}.png",)),
    ),
    "one tree of masks for both": LayoutConfig(
        frames=NEW(FRAMES, segment=("masks/{video_id}/{frame}.png",)),
        products=NEW(PRODUCTS, segment=("masks/{product_id}/{image}.png",)),
    ),
    "several patterns": LayoutConfig(
        frames=NEW(
            FRAMES,
            image=("frames/{video_id}/{frame}.{ext}", "raw/{video_id}/{frame}.{ext}"),
            segment=("frames/{video_id}/{frame}/seg.png", "masks/{id}.png", "masks/{video_id}.png"),
        )
    ),
    "two places for a mask": LayoutConfig(
        frames=NEW(FRAMES, segment=("frames/{video_id}/{frame}/seg.png", "masks/{video_id}/{frame}.png")),
        products=NEW(PRODUCTS, segment=("masks/{id}.png", "products/{product_id}/{image}/{image}.{ext}")),
    ),
    "side by side": LayoutConfig(
        frames=NEW(FRAMES, segment=("frames/{video_id}/{frame}_mask.png",)),
        products=NEW(PRODUCTS, segment=("products/{product_id}/{image}.mask.{ext}",)),
    ),
    "any extension": LayoutConfig(frames=NEW(FRAMES, segment=("masks/{video_id}/{frame}.{ext}",))),
    "no owner": LayoutConfig(
        frames=NEW(FRAMES, image=("frames/{frame}.{ext}",), id="{frame}", segment=("frames/{frame}/s.png",))
    ),
    "the extension in the id": LayoutConfig(frames=NEW(FRAMES, id="{video_id}-{frame}.{ext}")),
    "two names in one part": LayoutConfig(
        frames=NEW(
            FRAMES, image=("frames/{video_id}_{frame}.{ext}",), segment=("masks/{video_id}_{frame}.png",)
        )
    ),
    "the same name twice": LayoutConfig(
        frames=NEW(FRAMES, image=("frames/{video_id}/{frame}/{frame}.{ext}",))
    ),
    "no artifacts": LayoutConfig(frames=NEW(FRAMES, segment=(), embedding=(), keypoints=())),
    "an artifact where images lie": LayoutConfig(
        frames=NEW(FRAMES, segment=("frames/{video_id}/{frame}.png",), embedding=("products/{id}/0/emb.bin",))
    ),
}
WORDS = ["1", "2", "a", "a_frame_1", "1_frame_2", "1_mask", "0"]
EXAMPLES = int(os.environ.get("FRESH_EXAMPLES", "25"))
EXTENSIONS = ["jpg", "png", "JPG"]


class Edit(NamedTuple):
    """A file that comes (size 0 to 2 MB), changes or goes (None), and whether the whole directory is read."""

    path: str
    size: int | None
    time: int
    whole: bool


class Script(NamedTuple):
    """What happens: the disk at first, rows by when they come, how a crawl is cut, and what follows."""

    layout: LayoutConfig
    database: bool
    disk: dict[str, tuple[int, int]]
    rows: list[tuple[int, Rows]]
    cuts: list[int]
    edits: list[list[Edit]]


def paths(layout: LayoutConfig, words: list[str]) -> st.SearchStrategy[str]:
    """Paths that match the patterns, and a few that match none."""
    patterns = [
        pattern
        for section in (layout.frames, layout.products)
        for feature in Feature
        for pattern in getattr(section, feature.wire)
    ]
    names = st.fixed_dictionaries(
        {name: st.sampled_from(words) for name in ("video_id", "frame", "product_id", "image")}
        | {"ext": st.sampled_from(EXTENSIONS), "id": ids(words)}
    )
    filled = st.builds(lambda pattern, names: pattern.format(**names), st.sampled_from(patterns), names)
    return filled | st.sampled_from(["frames/readme.txt", "frames/1/notes", "products/1/1/other.bin"])


def ids(words: list[str]) -> st.SearchStrategy[str]:
    """Ids that templates give."""
    word = st.sampled_from(words)
    return st.builds("{}_frame_{}".format, word, word) | st.builds("{}_img_{}".format, word, word) | word


def rows(layout: LayoutConfig, words: list[str]) -> st.SearchStrategy[Rows]:
    """One row of any table, whose claims may be anything."""
    path = paths(layout, words)
    claim = st.none() | path | path.map("/data/{}".format) | st.just("/elsewhere/x.jpg")
    word, job = st.sampled_from(words), st.sampled_from([None, "j", "k"])
    owner = st.none() | word

    def asset(type: AssetType) -> st.SearchStrategy[AssetRow]:
        return st.builds(
            AssetRow,
            st.just(type),
            ids(words),
            owner,
            st.none() | st.just(1.5),
            claim,
            claim,
            claim,
            claim,
            st.booleans(),
            st.none() | st.just(1_700_000_000_000_000),
        )

    def of(table: Table, row: st.SearchStrategy[Any]) -> st.SearchStrategy[Rows]:
        return st.builds(lambda one: Rows(table, [one]), row)

    return st.one_of(
        of(Table.VIDEO_FRAMES, asset(AssetType.VIDEO_FRAME)),
        of(Table.PRODUCT_IMAGES, asset(AssetType.PRODUCT_IMAGE)),
        of(Table.VIDEOS, st.tuples(word, job).map(lambda row: VideoRow(*row))),
        of(Table.PRODUCTS, st.tuples(word, job).map(lambda row: ProductRow(*row))),
        of(Table.JOBS, st.sampled_from(["j", "k"]).map(JobRow)),
    )


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Any story of a small tree."""
    layout = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True))
    database = draw(st.booleans())
    sizes = st.sampled_from([5, 5, 5, 6, 0])
    times = st.sampled_from([1, 1, 1, 2, 9])
    disk = draw(st.dictionaries(paths(layout, words), st.tuples(sizes, times), max_size=14))
    edit = st.builds(Edit, paths(layout, words), st.none() | sizes, times, st.booleans())
    return Script(
        layout,
        database,
        _consistent(disk),
        draw(st.lists(st.tuples(st.integers(0, 8), rows(layout, words)), max_size=6)) if database else [],
        draw(st.lists(st.integers(1, 6), max_size=8)),
        draw(st.lists(st.lists(edit, max_size=4), max_size=4)),
    )


def _consistent(disk: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Without files that would have to be directories as well."""
    folders = {path[:end] for path in disk for end in range(len(path)) if path[end] == "/"}
    return {path: about for path, about in disk.items() if path not in folders}


class World:
    """An index and the disk that it is told of."""

    def __init__(self, directory: str, script: Script) -> None:
        config = Config()
        database = NEW(config.database, url="sqlite:///x" if script.database else "")
        self.index = Index(f"{directory}/index.db", NEW(config, layout=script.layout, database=database))
        self.disk = dict(script.disk)
        self.script = script

    def run(self) -> None:
        """All of the script: the crawl with rows between, its end, and the edits."""
        waiting = list(self._directories())
        rows = sorted(self.script.rows, key=lambda item: item[0])
        cuts = iter(self.script.cuts)
        moment = 0
        while waiting or rows:
            portion, waiting = waiting[: (cut := next(cuts, 3))], waiting[cut:]
            with self.index.transaction():
                for directory in portion:
                    self._look(directory, None)
                while rows and (rows[0][0] <= moment or not waiting):
                    self.index.put(rows.pop(0)[1])
            moment += 1
        self.index.finish_crawl()
        for edits in self.script.edits:
            with self.index.transaction():
                for edit in edits:
                    self._edit(edit)

    def _edit(self, edit: Edit) -> None:
        before = dict(self.disk)
        self.disk.pop(edit.path, None)
        if edit.size is not None:
            self.disk[edit.path] = (edit.size, edit.time)
            if _consistent(self.disk) != self.disk:
                self.disk = before
                return
        directory, name = split(edit.path)
        known = self.index.tree.directory_id(directory) is not None
        self._look(directory, None if edit.whole or not known else frozenset([name]))

    def _look(self, directory: str, names: frozenset[str] | None) -> None:
        self.index.apply(self.listing(directory, names), lambda path, entry: False)

    def listing(self, directory: str, names: frozenset[str] | None) -> Listing:
        """What the directory, or these names in it, show."""
        files = {}
        for path, (size, time) in self.disk.items():
            folder, name = split(path)
            if folder == directory and (names is None or name in names):
                files[name] = Entry(name, abs(hash(path)) % 10**9, size, time * SECOND, time * SECOND)
        found = tuple(sorted({folder for folder in self._directories() if split(folder)[0] == directory}))
        folders = () if names is not None or not directory else tuple(split(folder)[1] for folder in found)
        number = abs(hash((directory, *files))) % 10**9
        return Listing(directory, 1, 1, 1, files, folders, names, fingerprint=number, seen_ns=100 * SECOND)

    def _directories(self) -> Iterator[str]:
        """All directories of the disk, those above first."""
        found = set()
        for path in self.disk:
            while path := split(path)[0]:
                found.add(path)
        yield from sorted(found)


def shown(index: Index) -> dict[str, Any]:
    """All that the index says, but for numbers that stand for something else, and times of the clock."""
    jobs = dict(index.db.execute("SELECT scope, jobs FROM scopes").fetchall())

    def table(sql: str, *scoped: int) -> list[tuple[Any, ...]]:
        rows = index.db.execute(sql).fetchall()
        named = [
            tuple(jobs.get(value) if n in scoped else value for n, value in enumerate(row)) for row in rows
        ]
        return sorted(named, key=repr)

    return {
        "assets": table(
            "SELECT scope, type, id, listed, owner, has, checks, ts, image, segment, embedding, keypoints,"
            " others, image_mtime, image_updated, updated FROM assets",
            0,
        ),
        "files": table("SELECT path, name, size, f.mtime, flags, verdict FROM files f JOIN dirs USING(dir)"),
        "counters": table("SELECT scope, type, name, n FROM counters WHERE n<>0", 0),
        "findings": table(
            "SELECT scope, type, id, feature, kind, state, path, claimed, detail, reason FROM findings", 0
        ),
        "owners": table("SELECT scope, type, id, recorded, job, title, assets, newest FROM owners", 0),
        "known": (index.files, index.unmatched, +index.census, +index.totals),
        "unlisted": index.assets.unlisted,
    }


def expected(index: Index) -> list[tuple[Any, ...]]:
    """Which assets look for which paths."""
    return sorted(index.db.execute("SELECT hash, type, id FROM expected JOIN assets USING(asset)").fetchall())


W = TypeVar("W", bound=World)


def temporary() -> tempfile.TemporaryDirectory[str]:
    """A directory in memory."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)


@contextmanager
def played(make: type[W], script: Script, prepare: Callable[[Index], object]) -> Iterator[W]:
    """A world at the end of the script, in an index that was prepared."""
    with temporary() as directory:
        world = make(directory, script)
        with closing(world.index):
            prepare(world.index)
            world.run()
            assert not world.index.assets.marked
            yield world


def play(script: Script, prepare: Callable[[Index], object]) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """All that the index says in the end."""
    with played(World, script, prepare) as world:
        return shown(world.index), expected(world.index)


def one_by_one(index: Index) -> None:
    """Let somebody be told of each asset, so that none is written with others."""
    index._told = lambda key, found: None


def slowly(index: Index) -> None:
    """Switch every fast way off."""
    one_by_one(index)
    index.assets._fresh.offer = lambda *args: False  # type: ignore[method-assign]


def tell_nothing(index: Index) -> None:
    """Let no type's artifacts tell whose they are: then every image says where it looks for its own."""
    index.layout.telling = frozenset()


@settings(max_examples=EXAMPLES)
@given(scripts())
def test_the_fast_way_gives_what_the_general_one_gives(script: Script) -> None:
    slow = play(script, slowly)
    assert play(script, lambda index: None) == slow
    assert play(script, one_by_one) == slow


def test_an_image_that_comes_later_finds_an_artifact_that_a_row_of_another_id_uses() -> None:
    """The artifact has left no asset of the id that its path tells: the one of the row has it."""
    row = AssetRow(AssetType.VIDEO_FRAME, "another", local_path="frames/1/2.jpg")
    script = Script(
        LAYOUTS["default"],
        True,
        {"frames/1/2.jpg": (5, 1), "frames/1/2/seg.png": (5, 1), "frames/1/9.jpg": (5, 1)},
        [(0, Rows(Table.VIDEO_FRAMES, [row]))],
        [],
        [[Edit("frames/1/2.png", 5, 2, whole=False)]],
    )
    found = play(script, lambda index: None)
    assert found == play(script, slowly)
    assert [(asset[2], asset[5]) for asset in found[0]["assets"] if asset[2] == "1_frame_2"] == [
        ("1_frame_2", 1)
    ]


def test_an_image_that_comes_later_finds_an_empty_artifact() -> None:
    """Though its asset, without an image and in no row, was looked at again at the end of the crawl."""
    script = Script(
        LAYOUTS["default"],
        True,
        {"frames/1/2/seg.png": (0, 1)},
        [],
        [],
        [[Edit("frames/1/2.png", 5, 2, whole=False)]],
    )
    found = play(script, lambda index: None)
    assert [finding[3:5] for finding in found[0]["findings"]] == [(0, "unrecorded"), (1, "empty")]
    assert found == play(script, slowly)


@settings(max_examples=EXAMPLES)
@given(scripts())
def test_paths_that_tell_their_asset_need_nobody_who_looks_for_them(script: Script) -> None:
    assert play(script, lambda index: None)[0] == play(script, tell_nothing)[0]


def test_the_fast_way_is_taken_where_artifacts_tell_their_asset() -> None:
    """So that the comparison above compares anything."""
    telling = {name: Layout(layout).telling for name, layout in LAYOUTS.items()}
    assert telling["default"] == telling["flat by id"] == telling["trees of masks"] == set(AssetType)
    assert telling["one tree of masks for both"] == set()
    assert AssetType.VIDEO_FRAME not in telling["two names in one part"]


LAYOUT = Layout(LayoutConfig())
IMAGE, MASK = "frames/v/000001.jpg", "frames/v/000001/seg.png"
KEY = (AssetType.VIDEO_FRAME, "v_frame_000001")
STATE = State(1, 5, 1, 1, 0, 0)


def offered(*files: str, state: State = STATE) -> tuple[FreshAssets, list[bool]]:
    """What became of offering them in this order."""
    fresh = FreshAssets(LAYOUT)
    return fresh, [fresh.offer(path, state, LAYOUT.classify) for path in files]


@pytest.mark.parametrize("files", [(IMAGE, MASK), (MASK, IMAGE)])
def test_files_make_an_asset_in_either_order(files: tuple[str, str]) -> None:
    fresh, taken = offered(*files)
    assert taken == [True, True]
    (asset,) = fresh.take(10)[AssetType.VIDEO_FRAME]
    assert (asset.key, sorted(asset.paths())) == (KEY, [IMAGE, MASK])
    assert len(fresh) == 0
    assert fresh.expected(MASK) is None


def test_an_empty_file_is_not_taken() -> None:
    assert offered(IMAGE, state=STATE._replace(size=0))[1] == [False]


def test_a_second_image_of_an_asset_is_not_taken() -> None:
    assert offered(IMAGE, "frames/v/000001.png")[1] == [True, False]


def test_what_no_pattern_knows_is_not_taken() -> None:
    assert offered("frames/v/readme", "x")[1] == [False, False]


def test_an_image_says_where_its_artifacts_are() -> None:
    fresh, _ = offered(IMAGE)
    assert fresh.expected(MASK) is Feature.SEGMENT
    asset = fresh.pop(KEY)
    assert asset is not None
    assert asset.owner_id == "v"
    assert (fresh.expected(MASK), fresh.pop(KEY)) == (None, None)


def test_after_a_rollback_nothing_is_left() -> None:
    fresh, _ = offered(IMAGE, MASK)
    fresh.clear()
    assert (len(fresh), fresh.expected(MASK), fresh.take(1), list(fresh.keys())) == (0, None, {}, [])


def test_a_limited_portion_leaves_the_rest() -> None:
    fresh, _ = offered(IMAGE, "frames/v/000002.jpg", "products/p/0.jpg")
    assert sum(map(len, fresh.take(2).values())) == 2
    assert len(fresh) == 1


def test_a_file_of_two_types_is_not_taken() -> None:
    places = [Placement(type, Feature.SEGMENT, 0, 0, "x", None, "k") for type in AssetType]
    assert not FreshAssets(LAYOUT).offer("m/x.png", STATE, lambda path: places)
