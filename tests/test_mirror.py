"""Rows that come, change and go are what the index says of them, even where a transaction is made twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from scanner.config import load_config
from scanner.exceptions import IndexFull
from scanner.index import Index
from scanner.records import AssetRow, AssetType, JobRow, MembershipRow, PipelineRow, ProductRow, VideoRow
from scanner.rows import BeginFull, FullPass, Rows, SinkItem, Table

FRAME = AssetType.VIDEO_FRAME
KEPT_AND_GONE: dict[Table, tuple[PipelineRow, PipelineRow]] = {
    Table.JOBS: (JobRow("1"), JobRow("2")),
    Table.PRODUCTS: (ProductRow("1"), ProductRow("2")),
    Table.VIDEOS: (VideoRow("1"), VideoRow("2")),
    Table.JOB_VIDEOS: (MembershipRow("j", "1"), MembershipRow("j", "2")),
    Table.VIDEO_FRAMES: (AssetRow(FRAME, "1"), AssetRow(FRAME, "2")),
}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    environ = {"SIDECAR_DATA__ROOT": str(tmp_path), "SIDECAR_DATABASE__URL": "sqlite:///x"}
    config = load_config(environ=environ, cwd=str(tmp_path))
    with closing(Index(str(tmp_path / "index.db"), config)) as made:
        yield made


def put(index: Index, *items: SinkItem) -> None:
    """All of them in one transaction."""
    with index.transaction():
        for item in items:
            index.put(item)


def put_in_vain(index: Index, *items: SinkItem) -> None:
    """The same, and then there is no room."""
    with index.transaction():
        for item in items:
            index.put(item)
        raise apsw.FullError("no room")


def ids(index: Index, table: Table) -> set[str]:
    """The ids, or of memberships the videos, that are mirrored."""
    if table is Table.VIDEO_FRAMES:
        return set(index.claims.rows(FRAME, ["1", "2"]))
    if table is Table.JOB_VIDEOS:
        return {video for video, _ in index.owners.all_keys("memberships")}
    return {key[0] for key in index.owners.all_keys(table.value)}


@pytest.mark.parametrize("table", KEPT_AND_GONE)
@pytest.mark.parametrize("times", [1, 2])
def test_a_comparison_that_ends_where_there_is_no_room_removes_its_rows_later(
    index: Index, table: Table, times: int
) -> None:
    kept, gone = KEPT_AND_GONE[table]
    put(index, BeginFull(table), Rows(table, [kept, gone]), FullPass(table))
    put(index, BeginFull(table))
    put(index, Rows(table, [kept]))
    for _ in range(times):
        with pytest.raises(IndexFull):
            put_in_vain(index, FullPass(table))
        assert ids(index, table) == {"1", "2"}
    put(index, FullPass(table))
    assert ids(index, table) == {"1"}


@pytest.mark.parametrize("table", KEPT_AND_GONE)
def test_a_comparison_that_has_ended_does_not_end_again(index: Index, table: Table) -> None:
    kept, later = KEPT_AND_GONE[table]
    put(index, BeginFull(table), Rows(table, [kept]), FullPass(table))
    put(index, Rows(table, [later]))
    with pytest.raises(IndexFull):
        put_in_vain(index)
    put(index, FullPass(table))
    assert ids(index, table) == {"1", "2"}


def scope_of(index: Index, id: str) -> tuple[int, int]:
    """The scopes of an asset and of what was found about it."""
    (asset,) = index.db.execute("SELECT scope FROM assets WHERE id=?", (id,)).fetchone()
    (finding,) = index.db.execute("SELECT scope FROM findings WHERE id=?", (id,)).fetchone()
    return asset, finding


@pytest.mark.parametrize("member", [False, True])
def test_an_asset_without_an_image_follows_its_video_into_a_job(index: Index, member: bool) -> None:
    index.finish_crawl()
    put(index, Rows(Table.VIDEO_FRAMES, [AssetRow(FRAME, "1", "v", local_path="frames/v/1.jpg")]))
    assert scope_of(index, "1") == (0, 0)
    if member:
        put(index, Rows(Table.JOB_VIDEOS, [MembershipRow("j", "v")]))
    put(index, Rows(Table.VIDEOS, [VideoRow("v", None if member else "j")]))
    scope = index.owners.scope_of(["j"])
    assert scope_of(index, "1") == (scope, scope)
    assert index.db.execute("SELECT scope FROM owners WHERE id='v'").fetchone() == (scope,)
    counted = index.db.execute("SELECT scope, n FROM counters WHERE name='owners' AND n<>0").fetchall()
    assert counted == [(scope, 1)]


def test_a_row_that_goes_and_comes_in_one_transaction_is_found_once(index: Index) -> None:
    index.finish_crawl()
    row = AssetRow(FRAME, "1", "v", local_path="frames/v/1.jpg", segment="frames/v/1/seg.png")
    begin, end = BeginFull(Table.VIDEO_FRAMES), FullPass(Table.VIDEO_FRAMES)
    put(index, Rows(Table.VIDEO_FRAMES, [row]))
    with index.transaction():
        index.put(begin)
        index.put(end)
        index.assets.resolve_marked()
        index.put(Rows(Table.VIDEO_FRAMES, [row._replace(segment=None)]))
    found = index.db.execute("SELECT id, feature, kind FROM findings").fetchall()
    assert found == [("1", 0, "missing")]
    put(index, begin, end)
    assert index.db.execute("SELECT count(*) FROM findings").fetchone() == (0,)
    assert index.db.execute("SELECT count(*) FROM assets").fetchone() == (0,)


def test_every_row_is_compared_once_the_disk_is_read_however_they_lie(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of rows have gaps, and where assets are there a portion may find none."""
    monkeypatch.setattr("scanner.counterparts.LOOKED_THROUGH", 3)
    rows = [AssetRow(FRAME, f"{n:02}", "v", local_path=f"frames/v/{n:02}.jpg") for n in range(30)]
    begin, end = BeginFull(Table.VIDEO_FRAMES), FullPass(Table.VIDEO_FRAMES)
    put(index, begin, Rows(Table.VIDEO_FRAMES, rows), end)
    kept = rows[:5] + rows[17:23] + rows[29:]
    put(index, begin, Rows(Table.VIDEO_FRAMES, kept), end)
    with index.transaction():
        for row in kept[3:8]:
            index.assets.mark((FRAME, row.asset_id))
        index.assets.mark((FRAME, "without a row"), "frames/v/99.jpg")
    portions = sum(1 for _ in index.finishing())
    assert portions == 14
    found = index.db.execute("SELECT id FROM assets ORDER BY id").fetchall()
    assert found == [(row.asset_id,) for row in kept]
    assert index.db.execute("SELECT count(*) FROM findings WHERE kind='missing'").fetchone() == (len(kept),)
