"""What a full comparison removes is removed even where its transaction has to be made twice."""

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
