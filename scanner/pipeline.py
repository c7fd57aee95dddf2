"""The pipeline database, which is only ever read: its rows, as polls that hand on what has changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine.reflection import ObjectKind

from scanner.database import one_line, open_source, parse_url
from scanner.exceptions import PipelineUnavailable
from scanner.lookup import Lookup
from scanner.oddities import Oddities
from scanner.poll import Poll, Reader, Schema
from scanner.records import AssetType, PipelineRow
from scanner.rows import PollItem, Table
from scanner.tableplan import TablePlan, missing_columns, plan_table
from scanner.tablespec import TableSpec, table_specs
from scanner.timestamps import MICROS, Clock
from scanner.window import TableState

if TYPE_CHECKING:
    from scanner.config import DatabaseConfig

STATEMENT_SECONDS = 30.0
LOOKUP_SECONDS = 1.0
BUSY_SECONDS = 5.0


class Pipeline:
    """One pipeline database, SQLite or PostgreSQL.

    ``poll`` and ``unchanged`` are for one thread, the lookups and ``abort`` for any. Nothing is opened
    before the first of them. Raises ``ConfigError`` for a URL of no known kind.
    """

    def __init__(self, config: DatabaseConfig) -> None:
        self._url = parse_url(config.url)
        self._clock = Clock(ZoneInfo(str(config.timezone)))
        columns = config.columns
        self._specs = table_specs(columns.segment, columns.embedding, columns.keypoints)
        self._source = open_source(self._url, STATEMENT_SECONDS, BUSY_SECONDS, pool_size=1)
        self._lookup = Lookup(open_source(self._url, LOOKUP_SECONDS, LOOKUP_SECONDS, pool_size=4))
        self._reader = Reader(
            self._source, self._clock, Oddities(), config.poll_seconds, int(config.overlap_seconds * MICROS)
        )
        self._schema: Schema | None = None
        self._states = {table: TableState() for table in Table}
        self._mark: object = None

    @property
    def notices(self) -> tuple[str, ...]:
        """What reading found odd, one line each; from any thread."""
        return self._reader.oddities.notices

    @property
    def lacking(self) -> tuple[str, ...]:
        """Those of the notices that say which tables are not there or cannot be used."""
        return self._reader.oddities.lacking

    def unchanged(self) -> bool:
        """True where nothing can have changed since the last poll that ended well; costs next to nothing.

        Raises ``PipelineUnavailable``.
        """
        if self._mark is None:
            return False
        with self._translated():
            return bool(self._source.mark() == self._mark)

    def poll(self, *, full: bool) -> Iterator[PollItem]:
        """Read what may have changed, or everything, in one consistent view of the database.

        Where the iteration breaks off, nothing counts as handed on. Raises ``PipelineUnavailable``, whose
        text never shows the password.
        """
        self._mark = None
        with self._translated():
            mark = self._source.mark()
        pending = {table: self._begin(table) for table in Table}
        with self._translated(), self._source.reading() as conn:
            schema = self._look_at(conn)
            read = Poll(self._reader, conn, schema, pending)
            for table in Table:
                yield from read.table(table, full=full)
        for state in pending.values():
            state.seen.commit()
        self._states = pending
        self._mark = mark if self._source.is_marked(schema.fingerprints) else None

    def lookup_job(self, job_id: str) -> list[PipelineRow]:
        """The rows of one job by its id; empty where there is none. Raises ``PipelineUnavailable``."""
        with self._translated():
            return self._lookup.job(self._plans_for_lookup(), job_id)

    def lookup_video(self, video_id: str) -> list[PipelineRow]:
        """The rows of one video, its memberships and its jobs."""
        with self._translated():
            return self._lookup.video(self._plans_for_lookup(), video_id)

    def lookup_asset(self, type_: AssetType, asset_id: str) -> list[PipelineRow]:
        """The row of one asset and those of its product or video; owners come first."""
        with self._translated():
            return self._lookup.asset(self._plans_for_lookup(), type_, asset_id)

    def abort(self) -> None:
        """End whatever is under way, in any thread, and refuse everything from now on."""
        self._source.abort()
        self._lookup.source.abort()

    def close(self) -> None:
        """Close every connection; no poll may be under way."""
        self._source.close()
        self._lookup.source.close()

    # --- the parts of a poll --------------------------------------------------------------------

    def _begin(self, table: Table) -> TableState:
        """A working copy of the table's state. The memory moves: if the poll breaks off, it is gone."""
        state = self._states[table]
        self._states[table] = TableState()
        return state

    def _look_at(self, conn: Connection) -> Schema:
        """The plans for the tables, reflected anew only where a definition has changed."""
        fingerprints = self._source.fingerprint(conn, [table.value for table in Table])
        if self._schema is None or self._schema.fingerprints != fingerprints:
            with self._source.guard():
                found = _reflect(conn)
            self._schema = Schema(fingerprints, self._plans(found, sound=self._source.is_sound(conn)))
        return self._schema

    def _plans(self, found: Mapping[str, dict[str, Any]], *, sound: bool) -> dict[Table, TablePlan]:
        dynamic = self._url.get_backend_name() == "sqlite"
        plans: dict[Table, TablePlan] = {}
        lacking: list[str] = []
        problems: list[str] = []
        remarks: list[str] = []
        memberships = _unusable(Table.JOB_VIDEOS, self._specs[Table.JOB_VIDEOS], found) is None
        for table, spec in self._specs.items():
            columns = dict(found.get(table.value, {}))
            if table is Table.VIDEOS and memberships:
                columns.pop("job_id", None)
            unusable = _unusable(table, spec, found)
            if unusable is None:
                plans[table] = plan_table(table, spec, columns, self._clock, dynamic=dynamic, sound=sound)
                for line, needed in _lacks(plans[table], columns):
                    (problems if needed else remarks).append(line)
            elif spec.needed:
                lacking.append(unusable)
            elif columns:
                problems.append(unusable)
        if not found:
            lacking = ["the database has none of the tables: " + ", ".join(Table)]
        self._reader.oddities.schema(lacking, problems, remarks)
        return plans

    def _plans_for_lookup(self) -> Mapping[Table, TablePlan]:
        return self._schema.plans if self._schema is not None else {}

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.SQLAlchemyError, psycopg.Error, sqlite3.Error, OSError, UnicodeError) as exc:
            raise PipelineUnavailable(one_line(exc, self._url)) from exc


def _reflect(conn: Connection) -> dict[str, dict[str, Any]]:
    """The columns of each table or view that is found, by name."""
    names = [table.value for table in Table]
    found = sa.inspect(conn).get_multi_columns(kind=ObjectKind.ANY, filter_names=names)
    return {key[1]: {column["name"]: column["type"] for column in columns} for key, columns in found.items()}


def _unusable(table: Table, spec: TableSpec, found: Mapping[str, Mapping[str, object]]) -> str | None:
    """Why the table cannot be used, if it cannot."""
    columns = found.get(table.value)
    if not columns:
        return f"there is no table {table.value}"
    lacking = [name for name in spec.keys if name not in columns]
    return f"{table.value} has no column {lacking[0]}: it is not used" if lacking else None


def _lacks(plan: TablePlan, columns: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Lines about columns that are missing or of no use; True where that is a problem."""
    for wanted in missing_columns(plan.spec, columns):
        if not (plan.table is Table.VIDEOS and wanted.name == "job_id"):  # job_videos may stand for it
            yield f"{plan.table.value} has no column {wanted.name}", wanted.needed
    for name in plan.ignored:
        yield f"{plan.table.value}.{name} is not text: it is ignored", True
