"""A pipeline database that others lock, alter, replace, truncate or limit while the sidecar reads it."""

# ruff: noqa: F811 - fixtures that are imported
from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from mirror import Mirror
from test_pipeline import (  # noqa: F401 - fixtures
    FRAMES,
    Database,
    database,
    open_pipeline,
    postgres_database,
    sqlite,
    sqlite_database,
)

import scanner.pipeline
from scanner.exceptions import PipelineUnavailable
from scanner.rows import Table


def segments(mirror: Mirror) -> dict[str, str | None]:
    return {key: row.segment for key, row in mirror.tables[FRAMES].items()}


# --- definitions that change ---------------------------------------------------------------------------


def test_a_column_that_goes_between_polls_is_null_and_said(database: Database, open_pipeline: Any) -> None:
    database.frame("f", seg_mask_path="s", kp_blob_path="k")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    assert segments(mirror) == {"f": "s"}
    database.run("ALTER TABLE video_frames DROP COLUMN seg_mask_path")
    mirror.poll(pipeline)
    assert segments(mirror) == {"f": None}
    assert mirror.tables[FRAMES]["f"].keypoints == "k"
    database.run("ALTER TABLE video_frames ADD COLUMN seg_mask_path TEXT DEFAULT 'again'")
    mirror.poll(pipeline)
    assert segments(mirror) == {"f": "again"}


def test_a_key_column_that_is_renamed_leaves_the_table_unused_until_it_is_back(
    database: Database, open_pipeline: Any
) -> None:
    database.frame("f")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    database.run("ALTER TABLE video_frames RENAME COLUMN frame_id TO id")
    mirror.poll(pipeline)
    assert "video_frames has no column frame_id: it is not used" in pipeline.notices
    database.run("ALTER TABLE video_frames RENAME COLUMN id TO frame_id")
    mirror.poll(pipeline)
    assert set(mirror.tables[FRAMES]) == {"f"}
    assert not any("frame_id" in notice for notice in pipeline.notices)


@pytest.mark.parametrize(
    ("column", "change", "expected"),
    [
        ("ts", "TYPE TEXT USING '2.5'", 2.5),
        ("ts", "TYPE INTEGER USING 7", 7.0),
        ("frame_id", "TYPE VARCHAR(40)", None),
        ("updated_at", "TYPE TIMESTAMP", None),
        ("updated_at", "TYPE BIGINT USING 1600000000", None),
        ("updated_at", "TYPE TEXT", None),
    ],
)
def test_a_column_whose_type_changes_between_polls_is_read_as_what_it_is(
    postgres: str, open_pipeline: Any, column: str, change: str, expected: float | None
) -> None:
    database = postgres_database(postgres)
    with closing(database.conn):
        database.frame("f")
        mirror, pipeline = Mirror(), open_pipeline(postgres)
        mirror.poll(pipeline)
        database.run(f"ALTER TABLE video_frames ALTER COLUMN {column} {change}")
        mirror.poll(pipeline)
        assert mirror.tables[FRAMES]["f"].ts == expected
        database.run("UPDATE video_frames SET seg_mask_path = 'changed', updated_at = updated_at")
        mirror.poll(pipeline)
        assert segments(mirror) == {"f": "changed"}


def test_a_table_that_comes_later_and_one_that_goes(database: Database, open_pipeline: Any) -> None:
    database.run("DROP TABLE video_frames", "INSERT INTO jobs (job_id) VALUES ('j')")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    assert "there is no table video_frames" in pipeline.notices
    database.run("CREATE TABLE video_frames (frame_id TEXT PRIMARY KEY, video_id TEXT, local_path TEXT)")
    database.run("INSERT INTO video_frames VALUES ('f', 'v', 'p')", "DROP TABLE jobs")
    mirror.poll(pipeline)
    assert set(mirror.tables[FRAMES]) == {"f"}
    assert not mirror.tables[Table.JOBS]


# --- PostgreSQL: locks and limits -----------------------------------------------------------------------


def test_a_table_that_a_migration_has_locked_is_unavailable_until_it_is_free(
    postgres: str, open_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanner.pipeline, "STATEMENT_SECONDS", 1.0)
    database = postgres_database(postgres)
    with closing(database.conn):
        database.frame("f")
        mirror, pipeline = Mirror(), open_pipeline(postgres)
        mirror.poll(pipeline)
        with psycopg.connect(postgres) as migration:
            migration.execute("LOCK TABLE video_frames IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(PipelineUnavailable):
                mirror.poll(pipeline, full=True)
            migration.execute("UPDATE video_frames SET seg_mask_path = 's'")
        mirror.poll(pipeline)
        assert segments(mirror) == {"f": "s"}


def test_a_statement_timeout_of_the_database_does_not_end_a_long_read(
    postgres: str, open_pipeline: Any
) -> None:
    name = postgres.rpartition("/")[2]
    database = postgres_database(postgres)
    with closing(database.conn):
        database.run(
            "INSERT INTO video_frames (frame_id, updated_at)"
            " SELECT i, now() FROM generate_series(1, 30000) i",
            f"ALTER DATABASE {name} SET statement_timeout = '5ms'",
        )
        mirror, pipeline = Mirror(), open_pipeline(postgres)
        assert len(mirror.poll(pipeline)) == 30_000


# --- SQLite: locks, replacements, truncations -----------------------------------------------------------


def test_a_file_that_a_writer_has_locked_is_unavailable_until_it_is_free(
    sqlite: Database, open_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanner.pipeline, "BUSY_SECONDS", 0.1)
    sqlite.frame("f")
    mirror, pipeline = Mirror(), open_pipeline(sqlite.url)
    mirror.poll(pipeline)
    sqlite.conn.execute("BEGIN EXCLUSIVE")
    sqlite.conn.execute("UPDATE video_frames SET seg_mask_path = 's'")
    assert not pipeline.unchanged()
    with pytest.raises(PipelineUnavailable, match="locked"):
        mirror.poll(pipeline, full=True)
    sqlite.conn.commit()
    mirror.poll(pipeline)
    assert segments(mirror) == {"f": "s"}


def test_a_writer_of_a_wal_file_holds_up_no_poll(sqlite: Database, open_pipeline: Any) -> None:
    sqlite.conn.execute("PRAGMA journal_mode = WAL")
    sqlite.frame("f")
    mirror, pipeline = Mirror(), open_pipeline(sqlite.url)
    sqlite.conn.execute("BEGIN IMMEDIATE")
    sqlite.conn.execute("UPDATE video_frames SET seg_mask_path = 's'")
    mirror.poll(pipeline)
    assert segments(mirror) == {"f": None}
    sqlite.conn.commit()
    assert not pipeline.unchanged()
    mirror.poll(pipeline)
    assert segments(mirror) == {"f": "s"}


@pytest.mark.parametrize("left", [0, 1, 0.5])
def test_a_file_that_is_cut_off_is_unavailable_and_not_a_database_without_rows(
    tmp_path: Path, open_pipeline: Any, left: float
) -> None:
    """As ``cp`` leaves it for a moment when it writes another file over it."""
    path = tmp_path / "pipeline.db"
    made = sqlite_database(path)
    for number in range(200):
        made.frame(f"f{number}", local_path="p" * 100)
    made.conn.close()
    whole = shutil.copy(path, tmp_path / "whole.db")
    mirror, pipeline = Mirror(), open_pipeline(f"sqlite:///{path}")
    mirror.poll(pipeline)
    os.truncate(path, int(left if left == 1 else left * path.stat().st_size))
    assert not pipeline.unchanged()
    with pytest.raises(PipelineUnavailable):
        mirror.poll(pipeline, full=True)
    assert len(mirror.tables[FRAMES]) == 200
    shutil.copyfile(whole, path)
    assert len(mirror.poll(pipeline, full=True)) == 200


def test_a_read_only_file_is_read_anew_each_time_although_it_is_taken_for_immutable(
    tmp_path: Path, open_pipeline: Any
) -> None:
    directory = tmp_path / "db"
    directory.mkdir()
    made = sqlite_database(directory / "pipeline.db")
    made.frame("f")
    made.conn.close()
    mirror, pipeline = Mirror(), open_pipeline(made.url)
    for mask in ("a", "b"):
        directory.chmod(0o755)
        made = sqlite_database(directory / "pipeline.db", None)
        made.run(f"UPDATE video_frames SET seg_mask_path = '{mask}'")
        made.conn.close()
        directory.chmod(0o555)
        assert not pipeline.unchanged()
        mirror.poll(pipeline, full=True)
        assert segments(mirror) == {"f": mask}
        assert pipeline.unchanged()
    directory.chmod(0o755)
