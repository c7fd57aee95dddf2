"""Pages that are found by remembered positions are those that a sort of everything gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shuffle import FRAME, HAS, IMAGE, Shuffle

from scanner import assetqueries, division, ranks, schema, stretches
from scanner.queries import Queries
from scanner.querysql import order_of
from scanner.records import Page, VideoRow
from scanner.rows import BeginFull, FullPass, Table


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks of few assets, with small blocks."""
    monkeypatch.setattr(division, "BLOCK", 4)
    monkeypatch.setattr(division, "RUN", 3)
    monkeypatch.setattr(assetqueries, "_LONG", 1)
    monkeypatch.setattr(assetqueries, "_NEAR", -1)
    monkeypatch.setattr(assetqueries, "_FAR", -1)


@pytest.fixture(params=range(2))
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
    for round in range(9):
        made = _divided(shuffle, shuffle.random.choice([0, 1, 5]))
        shuffle.change(shuffle.random.choice([0, 1, 5, 60]))
        for rank, seq in made:  # of what the index was before the change
            shuffle.queries.adopt(shuffle.path, rank, seq)
        if round % 3:
            shuffle.prepare()
        for type, sort, descending in LISTS:
            has = None if sort == "image_updated_at" else shuffle.random.choice(HAS)
            shuffle.check(type, sort, descending, has)
        shuffle.queries.prepare()
        used += len(shuffle.queries._ranks)
    assert used > 40, "pages were found by ranks"
    largest = max(rank._counts.sum(axis=1).max() for rank in shuffle.queries._ranks._ranks.values())
    assert largest <= 2 * division.BLOCK + 1


def _divided(shuffle: Shuffle, number: int) -> list[tuple[division.Rank, int]]:
    """Some of what is wanted, divided by another reader, and then the index changes."""
    wanted = list(shuffle.queries._ranks._wanted.values())[:number]
    with closing(Queries(shuffle.path, shuffle.config)) as other:
        return [other.divided(division) for division in wanted]


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
    assert shuffle.queries.wanted is None
    assert not shuffle.queries.prepare()
    shuffle.index.finish_crawl()
    shuffle.check(FRAME, "updated_at", True, None)
    assert shuffle.queries.wanted is not None
    shuffle.prepare()
    shuffle.check(FRAME, "updated_at", True, None)
    assert (len(shuffle.queries._ranks), shuffle.queries.wanted) == (1, None)


def test_a_rank_of_another_index_is_not_used(shuffle: Shuffle) -> None:
    shuffle.change(100)
    shuffle.index.finish_crawl()
    shuffle.check(FRAME, "updated_at", True, None)
    ((rank, seq),) = _divided(shuffle, 1)
    shuffle.queries.adopt("another", rank, seq)
    shuffle.check(FRAME, "updated_at", True, None)
    assert len(shuffle.queries._ranks) == 0
    assert shuffle.queries.wanted == rank.division


@pytest.mark.parametrize("sort", ["updated_at", "frame_id"])
@pytest.mark.parametrize("late", [False, True], ids=["in use", "long in the making"])
def test_a_rank_that_fell_behind_the_log_is_made_anew(
    shuffle: Shuffle, monkeypatch: pytest.MonkeyPatch, late: bool, sort: str
) -> None:
    """The log may not have all that has happened meanwhile."""
    monkeypatch.setattr(ranks, "MOST_MOVES", 10)
    shuffle.change(100)
    shuffle.index.finish_crawl()
    shuffle.check(FRAME, sort, True, None)
    made = _divided(shuffle, 1)
    if not late:
        shuffle.prepare()
        shuffle.check(FRAME, sort, True, None)
        assert len(shuffle.queries._ranks) == 1
    shuffle.change(60)
    for rank, seq in made if late else ():
        shuffle.queries.adopt(shuffle.path, rank, seq)
    shuffle.check(FRAME, sort, True, None)
    assert len(shuffle.queries._ranks) == 0
    shuffle.prepare()
    shuffle.check(FRAME, sort, True, None)
    assert len(shuffle.queries._ranks) == 1


def test_the_log_keeps_the_latest_moves_only(shuffle: Shuffle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "LOGGED", 20)
    shuffle.index.finish_crawl()
    for _ in range(5):
        shuffle.change(30)
    first, last, count = shuffle.index.db.execute("SELECT min(seq), max(seq), count(*) FROM moves").fetchone()
    assert count <= 20
    assert last > 20
    assert last - first < 20


def test_ranks_make_room_for_others_once_nobody_asks_for_them(
    shuffle: Shuffle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "MOST_BLOCKS", 30)
    shuffle.change(300)
    shuffle.index.finish_crawl()

    def blocks() -> int:
        for type, sort, descending in LISTS:
            shuffle.check(type, sort, descending, None)
            shuffle.prepare()
        return sum(map(len, shuffle.queries._ranks._ranks.values()))

    assert blocks() <= 40
    kept = set(shuffle.queries._ranks._ranks)
    assert blocks() <= 40
    assert set(shuffle.queries._ranks._ranks) == kept, "those in use are not given up for others"
    monkeypatch.setattr(ranks, "IN_USE_SECONDS", -1.0)
    assert blocks() <= 60
    assert set(shuffle.queries._ranks._ranks) != kept


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


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=20))
@example([0.1, 1 / 3, 5e-324, -0.0, 1.7976931348623157e308, float("inf"), 2**53 + 1.0, 29.97002997002997])
def test_times_are_read_as_they_were_written(times: list[float]) -> None:
    """The end of a block is compared with what the log says of it: not a digit may be lost."""
    part = order_of("ts", descending=False)[0]
    with closing(apsw.Connection(":memory:")) as db:
        db.execute("CREATE TABLE assets(asset INTEGER PRIMARY KEY, id TEXT NOT NULL, ts REAL)")
        rows = [(f"i\x00\u00e9{n}", time) for n, time in enumerate(times)]
        db.executemany("INSERT INTO assets(id, ts) VALUES(?, ?)", rows)
        numbers = [str(n) for n in range(len(times), 0, -1)]
        found = division._values_of(db, part, numbers)
    assert found == [[time, id] for id, time in reversed(rows)]


@pytest.mark.parametrize("largest", [1, 2**29 - 1, 2**29, 2**60])
def test_numbers_of_any_size_are_held(largest: int) -> None:
    held = division._packed([largest, 0], [7, 5])
    assert ((held >> 3).tolist(), (held & 7).tolist()) == ([largest, 0], [7, 5])
    assert held.itemsize == (4 if largest < 2**29 else 8)


def test_rows_that_are_read_by_number_keep_their_order(shuffle: Shuffle) -> None:
    shuffle.change(150)
    numbers = [number for (number,) in shuffle.index.db.execute("SELECT asset FROM assets")]
    assert len(numbers) > stretches._SHORT
    for count in (0, 1, 20, len(numbers)):
        wanted = shuffle.random.sample(numbers, count)
        assert stretches.rows_of(shuffle.index.db, wanted, "asset, id") == [
            shuffle.index.db.execute("SELECT asset, id FROM assets WHERE asset=?", (number,)).fetchone()
            for number in wanted
        ]
    with pytest.raises(LookupError, match="does not have all"):
        stretches.rows_of(shuffle.index.db, [*numbers[:3], max(numbers) + 1], "id")


def test_a_block_that_is_not_what_was_counted_is_noticed(shuffle: Shuffle) -> None:
    shuffle.change(150)
    shuffle.index.finish_crawl()
    shuffle.check(FRAME, "frame_id", False, None)
    shuffle.prepare()
    shuffle.check(FRAME, "frame_id", False, None)
    (rank,) = shuffle.queries._ranks._ranks.values()
    whole = rank.page(shuffle.index.db, None, 0, 20)
    assert len(whole) > 8
    rank._held[1] = None
    assert rank.page(shuffle.index.db, None, 0, 20) == whole, "what has moved is read again"
    rank._held[1] = None
    rank._counts[1] = np.roll(rank._counts[1], 1)
    assert rank.page(shuffle.index.db, None, 0, 20) == whole[:4]
