"""Single rows of the pipeline database by key: what a request asks for before a poll has seen it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scanner.cleaning import is_sound
from scanner.postgres_source import PostgresSource
from scanner.records import AssetRow, AssetType, MembershipRow, PipelineRow, ProductRow, VideoRow
from scanner.rows import ASSET_TABLES, Table
from scanner.sqlite_source import SqliteSource
from scanner.tableplan import Kind, TablePlan

_ENOUGH = 1000  # rows for one key: more memberships than any video has
_IDS = {AssetType.PRODUCT_IMAGE: "img_id", AssetType.VIDEO_FRAME: "frame_id"}

Plans = Mapping[Table, TablePlan]


class Lookup:
    """Reads rows by key on connections of its own, so that a long poll delays none of it."""

    def __init__(self, source: SqliteSource | PostgresSource) -> None:
        self.source = source

    def job(self, plans: Plans, job_id: str) -> list[PipelineRow]:
        """The job's row."""
        with self._within_bounds() as conn:
            return self._by(conn, plans, Table.JOBS, "job_id", job_id)

    def video(self, plans: Plans, video_id: str) -> list[PipelineRow]:
        """The video's row and memberships, after its jobs'."""
        with self._within_bounds() as conn:
            return self._video(conn, plans, video_id)

    def asset(self, plans: Plans, type_: AssetType, asset_id: str) -> list[PipelineRow]:
        """The asset's row, after its owner's and their jobs'."""
        with self._within_bounds() as conn:
            found = self._by(conn, plans, ASSET_TABLES[type_], _IDS[type_], asset_id)
            owners: list[PipelineRow] = []
            for row in found:
                if isinstance(row, AssetRow) and row.owner_id is not None:
                    of = self._product if type_ is AssetType.PRODUCT_IMAGE else self._video
                    owners += of(conn, plans, row.owner_id)
            return [*owners, *found]

    @contextmanager
    def _within_bounds(self) -> Iterator[Connection]:
        """A connection for one lookup, which as a whole may take no longer than one statement."""
        with self.source.guard(), self.source.reading() as conn:
            yield conn

    def _product(self, conn: Connection, plans: Plans, product_id: str) -> list[PipelineRow]:
        found = self._by(conn, plans, Table.PRODUCTS, "product_id", product_id)
        jobs = [row.job_id for row in found if isinstance(row, ProductRow)]
        return [*self._jobs(conn, plans, jobs), *found]

    def _video(self, conn: Connection, plans: Plans, video_id: str) -> list[PipelineRow]:
        found = self._by(conn, plans, Table.VIDEOS, "video_id", video_id)
        found += self._by(conn, plans, Table.JOB_VIDEOS, "video_id", video_id)
        jobs = [row.job_id for row in found if isinstance(row, VideoRow | MembershipRow)]
        return [*self._jobs(conn, plans, jobs), *found]

    def _jobs(self, conn: Connection, plans: Plans, job_ids: list[str | None]) -> list[PipelineRow]:
        rows: list[PipelineRow] = []
        for job_id in sorted({job_id for job_id in job_ids if job_id is not None}):
            rows += self._by(conn, plans, Table.JOBS, "job_id", job_id)
        return rows

    def _by(self, conn: Connection, plans: Plans, table: Table, column: str, value: str) -> list[PipelineRow]:
        plan = plans.get(table)
        if plan is None or not value or not is_sound(value):
            return []
        statement = plan.select().where(_equals(plan, column, value)).limit(_ENOUGH)
        raw = [tuple(row) for row in conn.execute(statement)]
        return [*plan.build(raw, _unreported)[0]] if raw else []


def _equals(plan: TablePlan, name: str, value: str) -> sa.ColumnElement[bool]:
    """The key as text equals the value; numbers are compared as such, so that an index can be used."""
    column, kind = plan.relation.c[name], plan.kinds[name]
    number = _integer(value)
    if kind is Kind.TEXT:
        return column == value
    if kind is Kind.ANY:
        return column == value if number is None else column.in_([value, number])
    if kind is Kind.NUMBER:
        return sa.false() if number is None else column == number
    return sa.cast(column, sa.Text) == value


def _integer(value: str) -> int | None:
    """The integer that the value is the usual spelling of."""
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
        return None
    number = int(value)
    return number if str(number) == value and -(2**63) <= number < 2**63 else None


def _unreported(_column: str, _place: int, _reason: Any) -> None:
    """What a lookup finds odd the next poll reports."""
