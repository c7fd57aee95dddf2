"""What a reader of polls holds: every row that was handed on, less what full comparisons say is gone."""

from __future__ import annotations

from typing import Any

from scanner.records import AssetRow, JobRow, MembershipRow, ProductRow, VideoRow
from scanner.rows import BeginFull, FullPass, PollDone, PollFailed, Rows, SinkItem, Table

SCHEMA = """
CREATE TABLE jobs (job_id TEXT PRIMARY KEY, phase TEXT, percent DOUBLE PRECISION, updated_at {time});
CREATE TABLE products (product_id TEXT PRIMARY KEY, job_id TEXT, title TEXT, updated_at {time});
CREATE TABLE videos (video_id TEXT PRIMARY KEY, job_id TEXT, platform TEXT, url TEXT, title TEXT,
    duration_s DOUBLE PRECISION, created_at {time}, updated_at {time});
CREATE TABLE product_images (img_id TEXT PRIMARY KEY, product_id TEXT, local_path TEXT, seg_mask_path TEXT,
    emb_rgb TEXT, kp_blob_path TEXT, updated_at {time});
CREATE TABLE video_frames (frame_id TEXT PRIMARY KEY, video_id TEXT, ts DOUBLE PRECISION, local_path TEXT,
    seg_mask_path TEXT, emb_rgb TEXT, kp_blob_path TEXT, created_at {time}, updated_at {time});
"""

PEERS_SCHEMA = """
CREATE TABLE jobs (job_id TEXT PRIMARY KEY, phase TEXT, created_at TIMESTAMP DEFAULT now());
CREATE TABLE products (product_id TEXT PRIMARY KEY, job_id TEXT, title TEXT,
    created_at TIMESTAMP DEFAULT now());
CREATE TABLE videos (video_id TEXT PRIMARY KEY, platform TEXT, created_at TIMESTAMP DEFAULT now());
CREATE TABLE job_videos (job_id TEXT, video_id TEXT, PRIMARY KEY (job_id, video_id));
CREATE TABLE product_images (img_id TEXT PRIMARY KEY, product_id TEXT, local_path TEXT,
    masked_local_path TEXT, emb_rgb vector(512), kp_blob_path TEXT, created_at TIMESTAMP DEFAULT now());
CREATE TABLE video_frames (frame_id TEXT PRIMARY KEY, video_id TEXT, ts DOUBLE PRECISION, local_path TEXT,
    masked_local_path TEXT, emb_rgb vector(512), kp_blob_path TEXT, created_at TIMESTAMP DEFAULT now());
"""


class Mirror:
    """A sink; ``tables`` is what is known, ``handed`` the keys that came since it was last cleared."""

    def __init__(self) -> None:
        self.tables: dict[Table, dict[Any, Any]] = {table: {} for table in Table}
        self.handed: list[Any] = []
        self.done: list[PollDone] = []
        self.failed: list[PollFailed] = []
        self._full: dict[Table, set[Any]] = {}

    def __call__(self, item: SinkItem) -> None:
        match item:
            case Rows(table, rows):
                assert 0 < len(rows) <= 2000
                for row in rows:
                    self.tables[table][key(row)] = row
                    self._full.get(table, set()).add(key(row))
                    self.handed.append(key(row))
            case BeginFull(table):
                self._full[table] = set()
            case FullPass(table):
                kept = self._full.pop(table)
                self.tables[table] = {k: row for k, row in self.tables[table].items() if k in kept}
            case PollDone():
                assert not self._full
                self.done.append(item)
            case PollFailed():
                self._full = {}
                self.failed.append(item)

    def poll(self, pipeline: Any, *, full: bool = False) -> list[Any]:
        """Take in one poll; the keys of the rows that it handed on."""
        self.handed = []
        for item in pipeline.poll(full=full):
            self(item)
        return self.handed


def key(row: Any) -> Any:
    """What identifies a row in its table."""
    match row:
        case JobRow():
            return row.job_id
        case ProductRow():
            return row.product_id
        case VideoRow():
            return row.video_id
        case MembershipRow():
            return row.job_id, row.video_id
        case AssetRow():
            return row.asset_id
    raise AssertionError(row)
