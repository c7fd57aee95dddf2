"""Rows by columns are the rows that their columns hold, and are known again only where they are the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from scanner.config import load_config
from scanner.index import Index
from scanner.pipeline import Pipeline
from scanner.records import AssetRow, AssetType
from scanner.rows import AssetColumns

FRAME = AssetType.VIDEO_FRAME
ROWS = [AssetRow(FRAME, f"f{n}", "v", n / 2, f"/data/{n}.jpg", time_us=n) for n in range(5)]


def test_columns_are_a_sequence_of_their_rows() -> None:
    columns = AssetColumns(list(zip(*ROWS, strict=True)))
    assert len(columns) == 5
    assert list(columns) == ROWS
    assert all(type(row) is AssetRow for row in columns)
    assert columns[2] == ROWS[2]
    assert columns[-1] == ROWS[-1]
    assert columns[1:4] == ROWS[1:4]
    assert ROWS[3] in columns


class Mirrored:
    """An index that mirrors a database, poll after poll."""

    def __init__(self, tmp_path: Path, url: str) -> None:
        environ = {"SIDECAR_DATA__ROOT": "/data", "SIDECAR_DATABASE__URL": url}
        config = load_config(environ=environ, cwd=str(tmp_path))
        self.index = Index(str(tmp_path / "index.db"), config)
        self.pipeline = Pipeline(config.database)

    def poll(self) -> AssetRow:
        """The only row of a frame after a full comparison."""
        with self.index.transaction():
            for item in self.pipeline.poll(full=True):
                self.index.put(item)
        return self.index.claims.rows(FRAME, ["f"])["f"]

    def close(self) -> None:
        self.pipeline.close()
        self.index.close()


@pytest.fixture
def of_postgres(tmp_path: Path, postgres: str) -> Iterator[Mirrored]:
    with closing(Mirrored(tmp_path, postgres)) as made:
        yield made


def test_the_same_values_under_the_name_of_another_column_are_another_row(
    postgres: str, of_postgres: Mirrored
) -> None:
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE video_frames(frame_id TEXT, video_id TEXT, local_path TEXT, seg_mask_path TEXT)"
        )
        conn.execute("INSERT INTO video_frames VALUES('f', 'v', '/data/f.jpg', '/data/f')")
        assert of_postgres.poll().segment == "/data/f"
        conn.execute("ALTER TABLE video_frames RENAME seg_mask_path TO kp_blob_path")
        row = of_postgres.poll()
    assert (row.segment, row.keypoints) == (None, "/data/f")


def test_a_path_that_was_bytes_and_is_text_of_the_same_letters_is_another_row(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as conn,
        closing(Mirrored(tmp_path, f"sqlite:///{path}")) as mirrored,
    ):
        conn.execute("CREATE TABLE video_frames(frame_id TEXT, video_id TEXT, local_path)")
        conn.execute("INSERT INTO video_frames VALUES('f', 'v', ?)", (b"/data/f.jpg",))
        assert mirrored.poll().local_path is None
        conn.execute("UPDATE video_frames SET local_path='/data/f.jpg'")
        assert mirrored.poll().local_path == "/data/f.jpg"
