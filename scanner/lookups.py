"""Looks a key that a request asked for up in the database, before the next poll would see it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from scanner.exceptions import PipelineUnavailable
from scanner.pipeline import Pipeline
from scanner.records import (
    AssetRow,
    AssetType,
    JobRow,
    MembershipRow,
    PipelineRow,
    ProductRow,
    VideoRow,
)
from scanner.rows import ASSET_TABLES, Applied, Rows, SinkItem, Table

LOG = logging.getLogger(__name__)
WAIT_SECONDS = 1.0

_TABLES: tuple[tuple[type[PipelineRow], Table], ...] = (
    (JobRow, Table.JOBS),
    (ProductRow, Table.PRODUCTS),
    (VideoRow, Table.VIDEOS),
    (MembershipRow, Table.JOB_VIDEOS),
)


class Lookups:
    """Finds rows by key and hands them to the worker; may be called from several threads."""

    def __init__(self, pipeline: Pipeline, sink: Callable[[SinkItem], None]) -> None:
        self._pipeline = pipeline
        self._sink = sink

    def find(self, kind: str, keys: Sequence[str]) -> bool:
        """Look up a ``job``, ``video`` (job and video), ``product_image`` or ``video_frame``.

        True once rows that were found are in the index. False where there are none, where the database
        does not answer, or where the index did not take them within a second.
        """
        try:
            rows = self._rows(kind, keys)
        except PipelineUnavailable as error:
            LOG.debug("lookup of %s failed: %s", kind, error)
            return False
        if not rows:
            return False
        for row in rows:
            self._sink(Rows(_table_of(row), [row]))
        applied = Applied(threading.Event())
        self._sink(applied)
        return applied.event.wait(WAIT_SECONDS)

    def _rows(self, kind: str, keys: Sequence[str]) -> list[PipelineRow]:
        if kind == "job":
            return self._pipeline.lookup_job(keys[0])
        if kind == "video":
            return self._pipeline.lookup_video(keys[-1])
        return self._pipeline.lookup_asset(AssetType[kind.upper()], keys[0])


def _table_of(row: PipelineRow) -> Table:
    if isinstance(row, AssetRow):
        return ASSET_TABLES[row.type]
    return next(table for kind, table in _TABLES if isinstance(row, kind))
