"""The pipeline database is read as it is: incrementally, consistently, and without ever being written to."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from mirror import PEERS_SCHEMA, SCHEMA, Mirror
from postgres import Cluster

from scanner.exceptions import ConfigError, PipelineUnavailable
from scanner.pipeline import Pipeline
from scanner.records import AssetRow, AssetType, Feature, JobRow, MembershipRow, ProductRow, VideoRow
from scanner.rows import BeginFull, Recorded, Rows, Table
from scanner.settings import ColumnsConfig, DatabaseConfig

FRAMES = Table.VIDEO_FRAMES
OLD = "2025-08-23T07:25:00+00:00"
OLD_US = 1_755_933_900_000_000


class Database:
    """A pipeline's side of a database: one connection that writes, the same SQL for both kinds."""

    def __init__(self, url: str, conn: Any) -> None:
        self.url, self.conn = url, conn

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.conn.execute(statement)
        self.conn.commit()

    def frame(self, frame_id: str, updated_at: str = OLD, **columns: str) -> None:
        """Write or replace a frame; values are texts."""
        values = {"frame_id": frame_id, "video_id": "v", "updated_at": updated_at, **columns}
        names, texts = ", ".join(values), ", ".join(f"'{value}'" for value in values.values())
        self.run(
            f"DELETE FROM video_frames WHERE frame_id = '{frame_id}'",
            f"INSERT INTO video_frames ({names}) VALUES ({texts})",
        )


def sqlite_database(path: Path, schema: str | None = SCHEMA) -> Database:
    conn = sqlite3.connect(path, check_same_thread=False)
    if schema is not None:
        conn.executescript(schema.format(time="TEXT"))
    return Database(f"sqlite:///{path}", conn)


def postgres_database(url: str, schema: str = SCHEMA) -> Database:
    conn = psycopg.connect(url)
    database = Database(url, conn)
    if schema:
        database.run(schema.format(time="TIMESTAMPTZ"))
    return database


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    database = sqlite_database(tmp_path / "pipeline.db")
    with closing(database.conn):
        yield database


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        made = sqlite_database(tmp_path / "pipeline.db")
    else:
        made = postgres_database(request.getfixturevalue("postgres"))
    with closing(made.conn):
        yield made


@pytest.fixture
def open_pipeline() -> Iterator[Any]:
    opened: list[Pipeline] = []

    def make(url: str, **changes: Any) -> Pipeline:
        opened.append(Pipeline(replace(DatabaseConfig(url=url), **changes)))
        return opened[-1]

    yield make
    for pipeline in opened:
        pipeline.close()


# --- rows ---------------------------------------------------------------------------------------------


def test_rows_of_all_tables_become_records(database: Database, open_pipeline: Any) -> None:
    database.run(
        f"INSERT INTO jobs VALUES ('j', 'matching', 62.5, '{OLD}')",
        f"INSERT INTO products VALUES ('p', 'j', 'Gối', '{OLD}')",
        f"INSERT INTO videos VALUES ('v', 'j', 'youtube', 'https://x', 'T', 120, '{OLD}', NULL)",
        f"INSERT INTO product_images VALUES ('i', 'p', '/data/i.jpg', '', 'e.bin', NULL, '{OLD}')",
        f"INSERT INTO video_frames VALUES ('f', 'v', 30, 'f.jpg', 's', 'e', 'k', NULL, '{OLD}')",
    )
    mirror = Mirror()
    mirror.poll(open_pipeline(database.url), full=True)
    found = {table: list(rows.values()) for table, rows in mirror.tables.items()}
    image, frame = AssetType.PRODUCT_IMAGE, AssetType.VIDEO_FRAME
    assert found == {
        Table.JOBS: [JobRow("j", "matching", 62.5, OLD_US)],
        Table.PRODUCTS: [ProductRow("p", "j", "Gối", OLD_US)],
        Table.VIDEOS: [VideoRow("v", "j", "youtube", "https://x", "T", 120, OLD_US)],
        Table.JOB_VIDEOS: [],
        Table.PRODUCT_IMAGES: [
            AssetRow(image, "i", "p", None, "/data/i.jpg", None, "e.bin", None, False, OLD_US)
        ],
        FRAMES: [AssetRow(frame, "f", "v", 30.0, "f.jpg", "s", "e", "k", False, OLD_US)],
    }


def test_numbers_and_ids_of_any_type(postgres: str, open_pipeline: Any) -> None:
    database = postgres_database(postgres, "CREATE TABLE videos (video_id INT, duration_s NUMERIC, url UUID)")
    uuid = "9f1c2d7e-0000-4000-8000-000000000001"
    database.run(f"INSERT INTO videos VALUES (1, 120, '{uuid}'), (2, 0.5, NULL), (3, 'NaN', NULL)")
    database.conn.close()
    mirror, pipeline = Mirror(), open_pipeline(postgres)
    mirror.poll(pipeline)
    videos = mirror.tables[Table.VIDEOS]
    assert [(row.video_id, row.duration_s) for row in videos.values()] == [
        ("1", 120),
        ("2", 0.5),
        ("3", None),
    ]
    assert type(videos["1"].duration_s) is int
    assert videos["1"].url == uuid
    assert "videos.duration_s is no finite number in 1 row, for example '3'" in pipeline.notices
    assert pipeline.lookup_video("1") == [videos["1"]]
    assert pipeline.lookup_video("01") == pipeline.lookup_video("x") == []


def test_absurd_rows_are_used_as_far_as_they_make_sense(sqlite: Database, open_pipeline: Any) -> None:
    sqlite.run("DROP TABLE video_frames", "CREATE TABLE video_frames (frame_id, video_id, ts, local_path,"
               " seg_mask_path, emb_rgb, kp_blob_path, updated_at)")  # fmt: skip
    rows = [
        (None, "v", 1, "x", None, None, None, None),
        (7, 8, "2.5", "x", None, b"\0\1", None, 1755933900),
        ("nan", "v", "NaN", "x", None, None, None, "soon"),
        ("inf", "v", 9e999, "x", b"\0", 5, None, "0000-00-00"),
        ("nul", "v", 1, "a\0b", None, "", None, 1e300),
    ]
    sqlite.conn.executemany("INSERT INTO video_frames VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    sqlite.run("INSERT INTO video_frames (frame_id, local_path) VALUES ('utf', CAST(X'61FF' AS TEXT))",
               "INSERT INTO video_frames (frame_id, local_path) VALUES ('sur', CAST(X'EDA080' AS TEXT))"
               )  # fmt: skip
    mirror, pipeline = Mirror(), open_pipeline(sqlite.url)
    mirror.poll(pipeline, full=True)
    frame = AssetType.VIDEO_FRAME
    assert mirror.tables[FRAMES] == {
        "7": AssetRow(frame, "7", "8", 2.5, "x", embedding_in_db=True, time_us=OLD_US),
        "nan": AssetRow(frame, "nan", "v", None, "x"),
        "inf": AssetRow(frame, "inf", "v", None, "x", embedding_in_db=True),
        "nul": AssetRow(frame, "nul", "v", 1.0, None),
        "utf": AssetRow(frame, "utf"),
        "sur": AssetRow(frame, "sur"),
    }
    said = "\n".join(pipeline.notices)
    assert "video_frames.frame_id is null: the row is left out in 1 row" in said
    assert "video_frames.ts is no finite number in 2 rows, for example 'nan'" in said
    assert "video_frames.updated_at is no usable time in 3 rows, for example 'nan'" in said
    assert "video_frames.local_path is not valid text in 3 rows" in said
    assert "video_frames.seg_mask_path is not text in 1 row, for example 'inf'" in said


def test_absurd_times_and_numbers_of_postgresql_do_not_stop_the_poll(
    postgres: str, open_pipeline: Any
) -> None:
    database = postgres_database(postgres)
    database.frame("inf", "infinity", ts="NaN")
    database.frame("bc", "4000-01-01 00:00:00 BC", ts="Infinity")
    database.frame("far", "200000-01-01", ts="-3")
    database.frame("ok", OLD)
    database.conn.close()
    mirror, pipeline = Mirror(), open_pipeline(postgres)
    mirror.poll(pipeline)
    found = {key: (row.ts, row.time_us) for key, row in mirror.tables[FRAMES].items()}
    assert found == {"inf": (None, None), "bc": (None, None), "far": (-3.0, None), "ok": (None, OLD_US)}
    assert any("updated_at is no usable time in 3 rows" in line for line in pipeline.notices)


def test_text_that_is_not_utf8_in_a_database_without_encoding(
    postgres_cluster: Cluster, postgres: str, open_pipeline: Any
) -> None:
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS ascii")
        conn.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    url = postgres_cluster.url("ascii")
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE jobs (job_id text, phase text)")
        conn.execute(r"INSERT INTO jobs VALUES ('j', E'x\377'), ('k', 'good')")
    mirror, pipeline = Mirror(), open_pipeline(url)
    mirror.poll(pipeline)
    assert mirror.tables[Table.JOBS] == {"j": JobRow("j", None), "k": JobRow("k", "good")}
    assert "jobs.phase is not valid text in 1 row, for example 'j'" in pipeline.notices


def test_local_times_are_read_in_the_configured_zone(postgres: str, open_pipeline: Any) -> None:
    database = postgres_database(postgres, SCHEMA.replace("{time}", "TIMESTAMP"))
    database.frame("f", "2025-08-23 14:25:00")
    database.conn.close()
    mirror = Mirror()
    mirror.poll(open_pipeline(postgres, timezone="Asia/Ho_Chi_Minh"))
    assert mirror.tables[FRAMES]["f"].time_us == OLD_US


def test_the_schema_of_the_pipelines_own_api(postgres: str, open_pipeline: Any) -> None:
    database = postgres_database(postgres, PEERS_SCHEMA)
    vector = "[" + ",".join(["0.5"] * 512) + "]"
    database.run(
        "INSERT INTO jobs VALUES ('j', 'collection'), ('k', 'collection')",
        "INSERT INTO videos VALUES ('v', 'youtube')",
        "INSERT INTO job_videos VALUES ('j', 'v'), ('k', 'v')",
        f"INSERT INTO video_frames VALUES ('f', 'v', 1, '/app/data/f.jpg', 'm.png', '{vector}', 'f.npz')",
        "INSERT INTO video_frames (frame_id, video_id) VALUES ('g', 'v')",
    )
    mirror = Mirror()
    pipeline = open_pipeline(postgres, columns=ColumnsConfig(segment="masked_local_path"))
    mirror.poll(pipeline, full=True)
    frames = mirror.tables[FRAMES]
    assert (frames["f"].segment, frames["f"].embedding, frames["f"].embedding_in_db) == ("m.png", None, True)
    assert not frames["g"].embedding_in_db
    assert frames["f"].time_us is not None
    assert set(mirror.tables[Table.JOB_VIDEOS]) == {("j", "v"), ("k", "v")}
    assert pipeline.notices == ()
    database.run("UPDATE video_frames SET masked_local_path = 'new' WHERE frame_id = 'g'")
    assert mirror.poll(pipeline) == ["g"]
    assert mirror.poll(pipeline) == []
    found = pipeline.lookup_asset(AssetType.VIDEO_FRAME, "f")
    assert {type(row) for row in found} == {JobRow, VideoRow, MembershipRow, AssetRow}
    assert {row.job_id for row in found if isinstance(row, JobRow)} == {"j", "k"}
    database.conn.close()


def test_job_videos_decides_even_where_videos_name_a_job(database: Database, open_pipeline: Any) -> None:
    database.run("INSERT INTO videos (video_id, job_id) VALUES ('v', 'j')")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    assert mirror.tables[Table.VIDEOS]["v"].job_id == "j"
    database.run(
        "CREATE TABLE job_videos (job_id TEXT, video_id TEXT)", "INSERT INTO job_videos VALUES ('k', 'v')"
    )
    mirror.poll(pipeline)
    assert mirror.tables[Table.VIDEOS]["v"].job_id is None
    assert mirror.tables[Table.JOB_VIDEOS] == {("k", "v"): MembershipRow("k", "v")}


# --- what is missing -----------------------------------------------------------------------------------


def test_what_is_missing_costs_only_what_it_would_have_given(tmp_path: Path, open_pipeline: Any) -> None:
    database = sqlite_database(tmp_path / "x.db", "CREATE TABLE video_frames (frame_id TEXT)")
    database.run("INSERT INTO video_frames VALUES ('f')")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    assert mirror.tables[FRAMES] == {"f": AssetRow(AssetType.VIDEO_FRAME, "f")}
    assert "there is no table jobs" in pipeline.notices
    assert "video_frames has no column local_path" in pipeline.notices
    assert not any("job_videos" in line or "seg_mask_path" in line for line in pipeline.notices)
    database.run("CREATE TABLE jobs (job_id TEXT, phase TEXT)", "INSERT INTO jobs VALUES ('j', 'x')",
                 "ALTER TABLE video_frames ADD COLUMN local_path TEXT DEFAULT 'p'")  # fmt: skip
    mirror.poll(pipeline)
    assert mirror.tables[Table.JOBS] == {"j": JobRow("j", "x")}
    assert mirror.tables[FRAMES]["f"].local_path == "p"
    database.run("DROP TABLE jobs")
    mirror.poll(pipeline)
    assert mirror.tables[Table.JOBS] == {}
    database.conn.close()


def test_a_database_with_none_of_the_tables_still_polls(database: Database, open_pipeline: Any) -> None:
    database.run(*(f"DROP TABLE {table}" for table in Table if table is not Table.JOB_VIDEOS))
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    assert mirror.poll(pipeline) == []
    assert len(pipeline.notices) == 1
    assert "none of the tables" in pipeline.notices[0]


def test_a_view_serves_as_a_table(database: Database, open_pipeline: Any) -> None:
    database.run(
        "ALTER TABLE video_frames RENAME TO raw_frames",
        "INSERT INTO raw_frames (frame_id) VALUES ('f')",
        "CREATE VIEW video_frames AS SELECT frame_id, video_id, local_path FROM raw_frames",
    )
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    database.run("INSERT INTO raw_frames (frame_id) VALUES ('g')")
    mirror.poll(pipeline)
    assert set(mirror.tables[FRAMES]) == {"f", "g"}


def test_a_claim_column_that_is_not_text_is_ignored_and_said(postgres: str, open_pipeline: Any) -> None:
    columns = "frame_id TEXT, video_id TEXT, local_path TEXT, seg_mask_path JSONB, emb_rgb REAL[]"
    schema = f"CREATE TABLE video_frames ({columns})"
    database = postgres_database(postgres, schema)
    database.run("INSERT INTO video_frames VALUES ('f', 'v', 'p', '{}', '{1}')")
    database.conn.close()
    mirror, pipeline = Mirror(), open_pipeline(postgres)
    mirror.poll(pipeline)
    assert mirror.tables[FRAMES]["f"] == AssetRow(
        AssetType.VIDEO_FRAME, "f", "v", local_path="p", embedding_in_db=True
    )
    assert "video_frames.seg_mask_path is not text: it is ignored" in pipeline.notices


def test_each_poll_says_which_features_the_rows_can_name(postgres: str, open_pipeline: Any) -> None:
    """A vector can be null, and says something; a column that is ignored or not there says nothing."""
    columns = "frame_id TEXT, local_path TEXT, seg_mask_path JSONB, emb_rgb REAL[]"
    database = postgres_database(postgres, f"CREATE TABLE video_frames ({columns})")
    pipeline = open_pipeline(postgres)

    def recorded(*, full: bool) -> list[Recorded]:
        return [item for item in pipeline.poll(full=full) if isinstance(item, Recorded)]

    features = {Feature.IMAGE, Feature.EMBEDDING}
    assert recorded(full=True) == [Recorded(AssetType.VIDEO_FRAME, frozenset(features))]
    database.run("ALTER TABLE video_frames ADD COLUMN kp_blob_path TEXT")
    features.add(Feature.KEYPOINTS)
    assert recorded(full=False) == [Recorded(AssetType.VIDEO_FRAME, frozenset(features))]
    database.conn.close()


# --- increments ----------------------------------------------------------------------------------------


def test_a_poll_hands_on_only_what_has_changed(database: Database, open_pipeline: Any) -> None:
    for number in range(5):
        database.frame(f"f{number}")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    assert len(mirror.poll(pipeline)) == 5
    assert mirror.poll(pipeline) == []
    database.frame("f3", "2025-08-23T07:25:30+00:00", seg_mask_path="s")
    database.frame("new", "2025-08-24T00:00:00+00:00")
    assert sorted(mirror.poll(pipeline)) == ["f3", "new"]
    assert mirror.tables[FRAMES]["f3"].segment == "s"
    assert mirror.poll(pipeline) == []


def test_a_row_that_changes_back_is_handed_on_again(database: Database, open_pipeline: Any) -> None:
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    for path in ("a", "b", "a"):
        database.frame("f", seg_mask_path=path)
        mirror.poll(pipeline)
        assert mirror.tables[FRAMES]["f"].segment == path


def test_a_row_without_updated_at_is_seen_all_the_same(database: Database, open_pipeline: Any) -> None:
    database.frame("f")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    database.run("INSERT INTO video_frames (frame_id) VALUES ('null')")
    assert mirror.poll(pipeline) == ["null"]


def test_a_transaction_that_commits_late_is_not_lost(postgres: str, open_pipeline: Any) -> None:
    late = postgres_database(postgres)
    prompt = postgres_database(postgres, "")
    mirror, pipeline = Mirror(), open_pipeline(postgres)
    prompt.frame("first", "2025-08-23T07:24:00Z")
    mirror.poll(pipeline)
    late.conn.execute(f"INSERT INTO video_frames (frame_id, updated_at) VALUES ('late', '{OLD}')")
    prompt.frame("prompt", "2025-08-23T07:25:50Z")
    assert mirror.poll(pipeline) == ["prompt"]
    late.conn.commit()
    assert mirror.poll(pipeline) == ["late"]
    late.conn.close()
    prompt.conn.close()


def test_without_updated_at_late_transactions_are_found_by_row_versions(
    postgres: str, open_pipeline: Any
) -> None:
    late = postgres_database(postgres, PEERS_SCHEMA)
    prompt = postgres_database(postgres, "")
    mirror, pipeline = Mirror(), open_pipeline(postgres)
    mirror.poll(pipeline)
    late.conn.execute("INSERT INTO video_frames (frame_id) VALUES ('late')")
    for number in range(3):
        prompt.run(f"INSERT INTO video_frames (frame_id) VALUES ('p{number}')")
        assert mirror.poll(pipeline) == [f"p{number}"]
    late.conn.commit()
    assert mirror.poll(pipeline) == ["late"]
    late.conn.close()
    prompt.conn.close()


def test_a_time_in_the_far_future_hides_no_later_update(database: Database, open_pipeline: Any) -> None:
    database.frame("future", "2999-01-01T00:00:00+00:00")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    database.frame("f")
    assert mirror.poll(pipeline) == ["f"]
    database.frame("g")
    assert mirror.poll(pipeline) == ["g"]


@pytest.mark.parametrize(
    "updated_at",
    [
        "'2025-08-23 07:25:01'",
        "'2025-08-23T07:25:01Z'",
        "'2025-08-23T14:25:01.5+07:00'",
        "1755933901",
        "1755933901000",
        "'1755933901'",
        "'2025-08-23T14:25:01+0700'",
        "1755933901.25",
        "'23/08/2025'",
        "X'00'",
    ],
)
def test_sqlite_loses_no_update_whatever_its_timestamps_look_like(
    sqlite: Database, open_pipeline: Any, updated_at: str
) -> None:
    sqlite.run("DROP TABLE video_frames", "CREATE TABLE video_frames (frame_id TEXT, local_path, updated_at)")
    old = ["'2025-08-23 07:25:00'", "'2025-08-23T14:25:00+07:00'", "1755933900", "'never'"]
    sqlite.run(*(f"INSERT INTO video_frames VALUES ('f{i}', 'p', {value})" for i, value in enumerate(old)))
    mirror, pipeline = Mirror(), open_pipeline(sqlite.url, overlap_seconds=0.0)
    mirror.poll(pipeline)
    sqlite.run(f"INSERT INTO video_frames VALUES ('new', 'p', {updated_at})")
    assert mirror.poll(pipeline) == ["new"]
    assert mirror.poll(pipeline) == []


def test_integer_epochs_of_postgresql_do_not_overflow(postgres: str, open_pipeline: Any) -> None:
    database = postgres_database(postgres, SCHEMA.replace("{time}", "INTEGER"))
    database.frame("f", "1755933900")
    mirror, pipeline = Mirror(), open_pipeline(postgres)
    mirror.poll(pipeline)
    assert mirror.tables[FRAMES]["f"].time_us == OLD_US
    database.frame("g", "1755933901")
    assert mirror.poll(pipeline) == ["g"]
    database.conn.close()


def test_deletions_are_found_by_a_full_comparison(database: Database, open_pipeline: Any) -> None:
    database.frame("f")
    database.frame("g")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    database.run("DELETE FROM video_frames WHERE frame_id = 'f'")
    mirror.poll(pipeline)
    assert set(mirror.tables[FRAMES]) == {"f", "g"}
    mirror.poll(pipeline, full=True)
    assert set(mirror.tables[FRAMES]) == {"g"}


def test_where_no_table_has_updated_at_every_poll_compares(tmp_path: Path, open_pipeline: Any) -> None:
    schema = "CREATE TABLE video_frames (frame_id TEXT, local_path TEXT)"
    database = sqlite_database(tmp_path / "x.db", schema)
    database.run("INSERT INTO video_frames VALUES ('f', 'p'), ('g', 'p')")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    assert mirror.poll(pipeline) == []
    database.run("DELETE FROM video_frames WHERE frame_id = 'f'", "UPDATE video_frames SET local_path = 'q'")
    mirror.poll(pipeline)
    assert {key: row.local_path for key, row in mirror.tables[FRAMES].items()} == {"g": "q"}
    database.conn.close()


def test_a_poll_that_breaks_off_counts_for_nothing(database: Database, open_pipeline: Any) -> None:
    database.frame("f")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    database.frame("f", seg_mask_path="b")
    with closing(pipeline.poll(full=False)) as items:
        assert isinstance(next(item for item in items if not isinstance(item, Recorded)), Rows)
    database.frame("f")
    assert "f" in mirror.poll(pipeline)
    assert mirror.tables[FRAMES]["f"].segment is None


def test_one_poll_is_one_moment(database: Database, open_pipeline: Any) -> None:
    """What is committed while a poll runs is not in it: no frame without the video written before it."""
    if database.url.startswith("sqlite"):
        database.conn.execute("PRAGMA journal_mode = WAL")
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    with closing(pipeline.poll(full=True)) as items:
        mirror(next(items))
        database.run(
            "INSERT INTO videos (video_id) VALUES ('v')", "INSERT INTO video_frames (frame_id) VALUES ('f')"
        )
        for item in items:
            mirror(item)
    assert not any(mirror.tables.values())
    assert not pipeline.unchanged()
    mirror.poll(pipeline)
    assert set(mirror.tables[Table.VIDEOS]) == {"v"}
    assert set(mirror.tables[FRAMES]) == {"f"}


def test_unchanged_says_so_until_a_transaction_of_postgresql_ends(postgres: str, open_pipeline: Any) -> None:
    """A transaction that began before a poll and commits after it is seen to end."""
    database = postgres_database(postgres)
    mirror, pipeline = Mirror(), open_pipeline(postgres)
    assert not pipeline.unchanged()
    with psycopg.connect(postgres) as late:
        late.execute("INSERT INTO video_frames (frame_id, updated_at) VALUES ('late', '2020-01-01')")
        mirror.poll(pipeline)
        assert pipeline.unchanged()
        late.commit()
    assert not pipeline.unchanged()
    mirror.poll(pipeline, full=True)
    assert set(mirror.tables[FRAMES]) == {"late"}
    assert pipeline.unchanged()
    for statement in (
        "UPDATE video_frames SET ts = 1",
        "DELETE FROM video_frames",
        "ALTER TABLE video_frames DROP COLUMN ts",
        "TRUNCATE video_frames",
        "CREATE TABLE job_videos (job_id TEXT, video_id TEXT)",
    ):
        database.run(statement)
        assert not pipeline.unchanged(), statement
        mirror.poll(pipeline, full=True)
        assert pipeline.unchanged(), statement
    database.conn.close()


def test_a_view_may_change_whatever_the_server_says(postgres: str, open_pipeline: Any) -> None:
    database = postgres_database(postgres)
    database.run("DROP TABLE jobs", "CREATE VIEW jobs AS SELECT now()::text AS job_id, 'x' AS phase")
    mirror, pipeline = Mirror(), open_pipeline(postgres)
    for _ in range(2):
        mirror.poll(pipeline, full=True)
        assert not pipeline.unchanged()
    assert len(mirror.tables[Table.JOBS]) == 1
    database.conn.close()


def test_memory_does_not_grow_with_the_table(postgres: str, open_pipeline: Any) -> None:
    database = postgres_database(postgres)
    database.run(
        "INSERT INTO video_frames SELECT 'f' || i, 'v', i, repeat('p', 200), repeat('s', 200),"
        " repeat('e', 200), repeat('k', 200), now(), now() FROM generate_series(1, 50000) i"
    )
    database.conn.close()
    pipeline = open_pipeline(postgres)
    for _ in pipeline.poll(full=False):  # imports and caches
        break
    tracemalloc.start()
    try:
        count = sum(len(item.rows) for item in pipeline.poll(full=True) if isinstance(item, Rows))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 50_000
    assert peak < 12 * 2**20  # all rows together take more than 50 MB


# --- SQLite files ----------------------------------------------------------------------------------------


def test_unchanged_says_so_until_somebody_writes_or_replaces_the_file(
    sqlite: Database, tmp_path: Path, open_pipeline: Any
) -> None:
    mirror, pipeline = Mirror(), open_pipeline(sqlite.url)
    assert not pipeline.unchanged()
    mirror.poll(pipeline)
    assert pipeline.unchanged()
    sqlite.frame("f")
    assert not pipeline.unchanged()
    mirror.poll(pipeline)
    assert pipeline.unchanged()
    other = sqlite_database(tmp_path / "other.db")
    other.frame("replaced")
    other.conn.close()
    (tmp_path / "other.db").replace(tmp_path / "pipeline.db")
    assert not pipeline.unchanged()
    mirror.poll(pipeline, full=True)
    assert set(mirror.tables[FRAMES]) == {"replaced"}


def snapshot(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_reading_sqlite_leaves_file_and_directory_as_they_are(
    tmp_path: Path, open_pipeline: Any, journal: str
) -> None:
    directory = tmp_path / "db"
    directory.mkdir()
    database = sqlite_database(directory / "a #% b.db")
    database.conn.execute(f"PRAGMA journal_mode = {journal}")
    database.frame("f")
    database.conn.close()
    directory.chmod(0o555)
    before = snapshot(directory)
    mirror, pipeline = Mirror(), open_pipeline(database.url)
    mirror.poll(pipeline)
    assert pipeline.unchanged()
    mirror.poll(pipeline, full=True)
    assert len(pipeline.lookup_asset(AssetType.VIDEO_FRAME, "f")) == 1
    pipeline.close()
    assert set(mirror.tables[FRAMES]) == {"f"}
    assert snapshot(directory) == before
    directory.chmod(0o755)


def test_a_relative_path_is_relative_to_the_working_directory(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_pipeline: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline = open_pipeline("sqlite:///pipeline.db")
    sqlite.frame("f")
    assert Mirror().poll(pipeline) == ["f"]


@pytest.mark.parametrize("what", ["missing", "directory", "garbage"])
def test_a_file_that_is_no_database_is_unavailable_until_it_is_one(
    tmp_path: Path, open_pipeline: Any, what: str
) -> None:
    path = tmp_path / "x.db"
    if what == "directory":
        path.mkdir()
    elif what == "garbage":
        path.write_bytes(b"no database at all" * 100)
    pipeline = open_pipeline(f"sqlite:///{path}")
    assert not pipeline.unchanged()
    with pytest.raises(PipelineUnavailable, match=r"x\.db|not a database"):
        Mirror().poll(pipeline)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"x.db"}
    if what == "missing":
        database = sqlite_database(path)
        database.frame("f")
        database.conn.close()
        assert Mirror().poll(pipeline) == ["f"]


# --- PostgreSQL connections -----------------------------------------------------------------------------


def test_a_session_cannot_write(postgres: str, open_pipeline: Any) -> None:
    postgres_database(postgres).conn.close()
    pipeline = open_pipeline(postgres)
    with pipeline._source.reading() as conn:
        assert conn.exec_driver_sql("SHOW default_transaction_read_only").scalar() == "on"
        assert conn.exec_driver_sql("SHOW application_name").scalar() == "artifact-sidecar"
        assert conn.exec_driver_sql("SHOW transaction_isolation").scalar() == "repeatable read"
        with pytest.raises(Exception, match="read-only transaction"):
            conn.exec_driver_sql("CREATE TABLE evil (x INT)")


def test_a_role_that_may_only_read_is_enough(
    postgres: str, postgres_cluster: Cluster, open_pipeline: Any
) -> None:
    database = postgres_database(postgres)
    database.frame("f")
    name = postgres.rpartition("/")[2]
    database.run(
        f"CREATE ROLE reader_{name} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader_{name}"
    )
    url = postgres.replace("postgres@", f"reader_{name}@")
    assert Mirror().poll(open_pipeline(url)) == ["f"]
    database.run(f"DROP OWNED BY reader_{name}", f"DROP ROLE reader_{name}")
    database.conn.close()


def test_tables_are_found_by_the_search_path(postgres: str, open_pipeline: Any) -> None:
    database = postgres_database(postgres, 'CREATE SCHEMA "App"; SET search_path = "App"' + ";" + SCHEMA)
    database.frame("f")
    database.conn.close()
    assert Mirror().poll(open_pipeline(postgres)) == []
    assert Mirror().poll(open_pipeline(postgres + "?options=-csearch_path%3D%22App%22%2Cpublic")) == ["f"]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+psycopg"])
def test_other_spellings_of_the_scheme(postgres: str, open_pipeline: Any, scheme: str) -> None:
    database = postgres_database(postgres)
    database.frame("f")
    database.conn.close()
    assert Mirror().poll(open_pipeline(postgres.replace("postgresql", scheme, 1))) == ["f"]


@pytest.mark.parametrize(
    "url",
    ["mysql://h/d", "postgresql+asyncpg://h/d", "nonsense", "sqlite://", "sqlite:///:memory:", "oracle:///x"],
)
def test_a_url_of_no_known_kind_is_a_mistake_in_the_configuration(url: str) -> None:
    with pytest.raises(ConfigError, match=r"database\.url"):
        Pipeline(DatabaseConfig(url=url))


def test_errors_do_not_show_the_password(open_pipeline: Any) -> None:
    pipeline = open_pipeline("postgresql://user:s3cret%2Fword@127.0.0.1:1/db")
    with pytest.raises(PipelineUnavailable) as caught:
        Mirror().poll(pipeline)
    text = str(caught.value)
    assert "127.0.0.1" in text
    assert "\n" not in text
    assert "s3cret" not in text


def test_a_lookup_is_quick_while_a_poll_is_under_way_and_fails_soon_where_the_server_hangs(
    postgres: str, postgres_cluster: Cluster, open_pipeline: Any
) -> None:
    database = postgres_database(postgres)
    database.frame("f")
    database.conn.close()
    pipeline = open_pipeline(postgres)
    Mirror().poll(pipeline)
    with closing(pipeline.poll(full=True)) as items:
        assert isinstance(next(items), BeginFull)
        assert len(pipeline.lookup_asset(AssetType.VIDEO_FRAME, "f")) == 1
    with postgres_cluster.frozen():
        started = time.monotonic()
        with pytest.raises(PipelineUnavailable):
            pipeline.lookup_asset(AssetType.VIDEO_FRAME, "f")
        assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "value", ["", "a\0b", "\ud800", "'; DROP TABLE jobs", "x" * 10_000, "9" * 40, "%s", "😀"]
)
def test_lookups_of_odd_ids_find_nothing(database: Database, open_pipeline: Any, value: str) -> None:
    database.run("INSERT INTO jobs (job_id) VALUES ('j')")
    pipeline = open_pipeline(database.url)
    Mirror().poll(pipeline)
    assert pipeline.lookup_job(value) == []
    assert pipeline.lookup_video(value) == []
    assert pipeline.lookup_asset(AssetType.PRODUCT_IMAGE, value) == []
    assert pipeline.lookup_job("j") == [JobRow("j")]


def waits_for_the_server(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and "psycopg" in frame.f_code.co_filename


def test_abort_ends_a_poll_that_waits_for_a_hung_server(
    postgres: str, postgres_cluster: Cluster, open_pipeline: Any
) -> None:
    postgres_database(postgres).conn.close()
    pipeline = open_pipeline(postgres)
    Mirror().poll(pipeline)
    failed: list[BaseException] = []

    def poll() -> None:
        try:
            Mirror().poll(pipeline, full=True)
        except PipelineUnavailable as exc:
            failed.append(exc)

    with postgres_cluster.frozen():
        thread = threading.Thread(target=poll)
        thread.start()
        deadline = time.monotonic() + 30
        while not waits_for_the_server(thread):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        pipeline.abort()
        thread.join(10)
        assert not thread.is_alive()
    assert failed


def test_no_descriptor_is_left_open(postgres: str) -> None:
    postgres_database(postgres).conn.close()

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    Mirror().poll(warm := Pipeline(DatabaseConfig(url=postgres)))
    warm.close()
    before = descriptors()
    for _ in range(3):
        pipeline = Pipeline(DatabaseConfig(url=postgres))
        with closing(pipeline.poll(full=True)) as items:
            next(items)
        Mirror().poll(pipeline)
        pipeline.lookup_job("j")
        pipeline.close()
    assert descriptors() == before
