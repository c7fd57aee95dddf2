"""Pages that are found by remembered positions are those that a sort of everything gives."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scanner import assetqueries, ranks, schema
from scanner.config import Config
from scanner.index import Index
from scanner.listing import Listing
from scanner.queries import Queries
from scanner.records import AssetItem, AssetRow, AssetType, Entry, JobRow, Page, ProductRow, VideoRow
from scanner.rows import BeginFull, FullPass, Rows, Table

IMAGE, FRAME = AssetType.PRODUCT_IMAGE, AssetType.VIDEO_FRAME
HAS = (None, "segment", "embedding", "keypoints", "any", "none")
FILES = {"segment": "seg.png", "embedding": "emb.bin", "keypoints": "kp.bin"}


class Shuffle:
    """An index in which files come, go and change at random, and the pages that it should give."""

    def __init__(self, directory: Path, seed: int) -> None:
        config = Config()
        config = dataclasses.replace(config, database=dataclasses.replace(config.database, url="sqlite:///x"))
        self.random = random.Random(seed)
        self.index = Index(str(directory / "index.db"), config)
        self.queries = Queries(str(directory / "index.db"), config)
        self._inode = 100
        self.rows(Table.JOBS, [JobRow("j"), JobRow("k")])
        self.rows(Table.VIDEOS, [VideoRow(f"v{n}", "j") for n in range(3)])
        self.rows(Table.PRODUCTS, [ProductRow(f"p{n}", "j", f"Title {n}") for n in range(3)])
        times = [None, 0.0, 1.5, 1.5, 7.0, -3.0]
        self.rows(
            Table.VIDEO_FRAMES,
            [
                AssetRow(
                    FRAME, f"v{v}_frame_{n:03}", f"v{v}", self.random.choice(times), f"frames/v{v}/{n:03}.jpg"
                )
                for v in range(3)
                for n in range(40)
            ],
        )

    def rows(self, table: Table, rows: list[Any]) -> None:
        with self.index.transaction():
            self.index.put(Rows(table, rows))

    def change(self, times: int) -> None:
        """Change some files in one transaction."""
        with self.index.transaction():
            for _ in range(times):
                self._change_one()

    def _change_one(self) -> None:
        number, owner = self.random.randrange(40), self.random.randrange(3)
        folder = self.random.choice([f"frames/v{owner}", f"products/p{owner}"])
        directory, name = self.random.choice(
            [(folder, f"{number:03}.jpg"), *((f"{folder}/{number:03}", name) for name in FILES.values())]
        )
        files = {}
        if self.random.random() < 0.75:
            self._inode += 1
            time = self.random.randrange(1, 12) * 1_000_000_000  # few enough that many are equal
            files[name] = Entry(name, self._inode, 5, time, time)
        listing = Listing(directory, 1, 2, 3, files, (), names=frozenset([name]))
        self.index.apply(listing, lambda path, entry: False)

    def prepare(self) -> None:
        while self.queries.prepare():
            pass

    def check(self, type: AssetType, sort: str, descending: bool, has: str | None) -> None:
        """Every page, and single positions, against a sort of all that is listed."""
        expected = self._sorted(type, sort, descending, has)
        size = self.random.choice([1, 3, 7, 50])
        for offset in range(0, len(expected) + size, size):
            page = Page(size, offset, sort, descending)
            if type is IMAGE and sort == "image_updated_at":
                found = self.queries.images("j", None, None, dataclasses.replace(page, sort_by="updated_at"))
            elif type is IMAGE:
                found = self.queries.product_images("j", has, page)
            else:
                found = self.queries.video_frames("j", None, has, page)
            assert found is not None
            assert found[1] == len(expected)
            assert [item.asset_id for item in found[0]] == expected[offset : offset + size]

    def _sorted(self, type: AssetType, sort: str, descending: bool, has: str | None) -> list[str]:
        rows = self.index.db.execute("SELECT id FROM assets WHERE type=? AND listed ORDER BY id", (type,))
        items = [item for (id,) in rows.fetchall() if (item := self.queries.asset(type, id)) is not None]
        items = [item for item in items if _has(item, has)]
        if sort in ("img_id", "frame_id"):
            return [item.asset_id for item in (items[::-1] if descending else items)]
        field = {"updated_at": "updated_us", "image_updated_at": "image_updated_us", "ts": "ts"}[sort]
        known = [item for item in items if getattr(item, field) is not None]
        known.sort(key=lambda item: getattr(item, field), reverse=descending)
        return [item.asset_id for item in known] + [i.asset_id for i in items if getattr(i, field) is None]


def _has(item: AssetItem, has: str | None) -> bool:
    features = (item.has_segment, item.has_embedding, item.has_keypoints)
    if has is None:
        return True
    if has in ("any", "none"):
        return any(features) == (has == "any")
    return features[list(FILES).index(has)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks of few assets, with small blocks."""
    monkeypatch.setattr(ranks, "BLOCK", 4)
    monkeypatch.setattr(assetqueries, "_LONG", 1)
    monkeypatch.setattr(assetqueries, "_FAR", -1)


@pytest.fixture(params=range(4))
def shuffle(
    small: None, tmp_path: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[Shuffle]:
    made = Shuffle(tmp_path, request.param)
    yield made
    made.queries.close()
    made.index.close()
    assert not caplog.records, "no rank was found to be wrong"


LISTS = [
    *((FRAME, sort, desc) for sort in ("updated_at", "frame_id", "ts") for desc in (False, True)),
    *((IMAGE, sort, desc) for sort in ("updated_at", "img_id") for desc in (False, True)),
    (IMAGE, "image_updated_at", False),
    (IMAGE, "image_updated_at", True),
]


def test_pages_stay_right_while_files_come_and_go(shuffle: Shuffle) -> None:
    shuffle.change(150)
    shuffle.index.finish_crawl()
    used = 0
    for round in range(12):
        shuffle.change(shuffle.random.choice([0, 1, 5, 60]))
        if round % 3:
            shuffle.prepare()  # else some are built in part while files change
        for type, sort, descending in LISTS:
            has = None if sort == "image_updated_at" else shuffle.random.choice(HAS)
            shuffle.check(type, sort, descending, has)
        shuffle.queries.prepare()
        used += sum(rank.complete for rank in shuffle.queries._ranks._ranks.values())
    assert used > 60, "pages were found by ranks"
    largest = max(rank._counts.sum(axis=1).max() for rank in shuffle.queries._ranks._ranks.values())
    assert largest <= 2 * ranks.BLOCK + 1


def test_ranks_follow_a_video_out_of_its_job_and_back(shuffle: Shuffle) -> None:
    shuffle.change(150)
    shuffle.index.finish_crawl()
    for job in ("j", "k", "j"):
        shuffle.rows(Table.VIDEOS, [VideoRow("v1", job)])
        for sort in ("updated_at", "ts"):
            found = shuffle.queries.video_frames("j", None, None, Page(100, 5, sort, False))
            assert found is not None
            assert found[1] == len(found[0]) + 5
            owners = {item.owner_id for item in found[0]}
            assert ("v1" in owners) == (job == "j")
        shuffle.prepare()


def test_nothing_is_remembered_before_the_log_begins(shuffle: Shuffle) -> None:
    shuffle.change(100)
    shuffle.check(FRAME, "updated_at", True, None)
    assert len(shuffle.queries._ranks) == 0
    assert not shuffle.queries.prepare()
    shuffle.index.finish_crawl()
    shuffle.check(FRAME, "updated_at", True, None)
    assert len(shuffle.queries._ranks) == 1


def test_a_reader_that_fell_behind_the_log_begins_anew(
    shuffle: Shuffle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "MOST_MOVES", 10)
    shuffle.change(100)
    shuffle.index.finish_crawl()
    shuffle.check(FRAME, "frame_id", False, None)
    shuffle.prepare()
    shuffle.change(60)
    shuffle.check(FRAME, "frame_id", False, None)
    assert not any(rank.complete for rank in shuffle.queries._ranks._ranks.values())
    shuffle.prepare()
    shuffle.check(FRAME, "frame_id", False, None)


def test_the_log_keeps_the_latest_moves_only(shuffle: Shuffle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "LOGGED", 20)
    shuffle.index.finish_crawl()
    for _ in range(5):
        shuffle.change(30)
    first, last, count = shuffle.index.db.execute("SELECT min(seq), max(seq), count(*) FROM moves").fetchone()
    assert count <= 20
    assert last > 20
    assert last - first < 20


def test_ranks_make_room_for_others(shuffle: Shuffle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "MOST_BLOCKS", 30)
    shuffle.change(300)
    shuffle.index.finish_crawl()
    for type, sort, descending in LISTS:
        shuffle.check(type, sort, descending, None)
        shuffle.prepare()
    assert sum(map(len, shuffle.queries._ranks._ranks.values())) <= 60


def test_removed_rows_leave_the_pages(shuffle: Shuffle) -> None:
    shuffle.change(200)
    shuffle.index.finish_crawl()
    shuffle.check(FRAME, "ts", True, None)
    shuffle.prepare()
    with shuffle.index.transaction():
        shuffle.index.put(BeginFull(Table.VIDEO_FRAMES))
        shuffle.index.put(FullPass(Table.VIDEO_FRAMES))
    for has in HAS:
        shuffle.check(FRAME, "ts", True, has)
