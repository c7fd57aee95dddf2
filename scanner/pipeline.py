"""The pipeline database, which is only ever read: its rows, as polls that hand on what has changed."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.engine.reflection import ObjectKind

from scanner.exceptions import ConfigError, PipelineUnavailable
from scanner.lookup import Lookup
from scanner.oddities import Oddities
from scanner.postgres_source import PostgresSource
from scanner.records import AssetType, PipelineRow
from scanner.rows import BATCH, BeginFull, FullPass, PollItem, Rows, Table
from scanner.sqlite_source import SqliteSource
from scanner.tableplan import Dirt, Raw, TablePlan, TableSpec, missing_columns, plan_table, table_specs
from scanner.timestamps import MICROS, Clock
from scanner.window import TableState, digest, has_watermark, made_since, updated_since

if TYPE_CHECKING:
    from scanner.config import DatabaseConfig

__all__ = ["BeginFull", "FullPass", "Pipeline", "Rows", "Table"]

Source = SqliteSource | PostgresSource

CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 30.0
LOOKUP_SECONDS = 1.0
BUSY_SECONDS = 5.0
SMALL_TABLE = 10 * BATCH  # rows that may be held to see whether any of them has changed
CHEAP = 0.05  # of the time between two polls, for a full comparison at each of them

_SNAPSHOT = sa.text("SELECT txid_snapshot_xmin(txid_current_snapshot())")
_AGE = sa.text("SELECT age(CAST(CAST(:xid AS text) AS xid))")


@dataclass(frozen=True, slots=True)
class Schema:
    """What the database looked like: a plan for each table that can be used."""

    fingerprints: Mapping[str, object]
    plans: Mapping[Table, TablePlan]


class Pipeline:
    """One pipeline database, SQLite or PostgreSQL.

    ``poll`` and ``unchanged`` are for one thread, the lookups and ``abort`` for any. Nothing is opened
    before the first of them. Raises ``ConfigError`` for a URL of no known kind.
    """

    def __init__(self, config: DatabaseConfig) -> None:
        self._url = _parse(config.url)
        self._clock = Clock(ZoneInfo(str(config.timezone)))
        self._poll_seconds = config.poll_seconds
        self._overlap_us = int(config.overlap_seconds * MICROS)
        columns = config.columns
        self._specs = table_specs(columns.segment, columns.embedding, columns.keypoints)
        self._source = _source(self._url, STATEMENT_SECONDS, BUSY_SECONDS, pool_size=1)
        self._lookup = Lookup(_source(self._url, LOOKUP_SECONDS, LOOKUP_SECONDS, pool_size=4))
        self._schema: Schema | None = None
        self._states = {table: TableState() for table in Table}
        self._oddities = Oddities()
        self._mark: object = None

    @property
    def notices(self) -> tuple[str, ...]:
        """What reading found odd, one line each; from any thread."""
        return self._oddities.notices

    def unchanged(self) -> bool:
        """True where nothing can have changed since the last poll that ended well; costs next to nothing."""
        return self._mark is not None and self._source.mark() == self._mark

    def poll(self, *, full: bool) -> Iterator[PollItem]:
        """Read what may have changed, or everything, in one consistent view of the database.

        Where the iteration breaks off, nothing counts as handed on. Raises ``PipelineUnavailable``, whose
        text never shows the password.
        """
        self._mark = None
        mark = self._source.mark()
        pending = {table: self._begin(table) for table in Table}
        with self._translated(), self._source.reading() as conn:
            schema = self._look_at(conn)
            read = Poll(self, conn, schema, pending)
            for table in Table:
                yield from read.table(table, full=full)
        for state in pending.values():
            state.seen.commit()
        self._states = pending
        self._mark = mark

    def lookup_job(self, job_id: str) -> list[PipelineRow]:
        """The rows of one job by its id; empty where there is none. Raises ``PipelineUnavailable``."""
        with self._translated():
            return self._lookup.job(self._plans_for_lookup(), job_id)

    def lookup_product(self, product_id: str) -> list[PipelineRow]:
        """The rows of one product and of its job."""
        with self._translated():
            return self._lookup.product(self._plans_for_lookup(), product_id)

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
            self._schema = Schema(fingerprints, self._plans(found))
        return self._schema

    def _plans(self, found: Mapping[str, dict[str, Any]]) -> dict[Table, TablePlan]:
        dynamic = self._url.get_backend_name() == "sqlite"
        plans: dict[Table, TablePlan] = {}
        problems: list[str] = []
        remarks: list[str] = []
        memberships = _unusable(Table.JOB_VIDEOS, self._specs[Table.JOB_VIDEOS], found) is None
        for table, spec in self._specs.items():
            columns = dict(found.get(table.value, {}))
            if table is Table.VIDEOS and memberships:
                columns.pop("job_id", None)
            unusable = _unusable(table, spec, found)
            if unusable is None:
                plans[table] = plan_table(table, spec, columns, self._clock, dynamic=dynamic)
                for line, needed in _lacks(plans[table], columns):
                    (problems if needed else remarks).append(line)
            elif columns or spec.needed:
                problems.append(unusable)
        if not found:
            problems = ["the database has none of the tables: " + ", ".join(Table)]
        self._oddities.schema(problems, remarks)
        return plans

    def _plans_for_lookup(self) -> Mapping[Table, TablePlan]:
        return self._schema.plans if self._schema is not None else {}

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.SQLAlchemyError, psycopg.Error, sqlite3.Error, OSError, UnicodeError) as exc:
            raise PipelineUnavailable(_one_line(exc, self._url)) from exc


class Poll:
    """One read of all tables within one transaction."""

    def __init__(
        self, pipeline: Pipeline, conn: Connection, schema: Schema, states: dict[Table, TableState]
    ) -> None:
        self._pipeline = pipeline
        self._source = pipeline._source
        self._conn = conn
        self._schema = schema
        self._states = states
        self._snapshot = self._take_snapshot()
        self._now_us = time.time_ns() // 1000
        self._any_window = any(self._has_window(table) for table in schema.plans)

    def table(self, table: Table, *, full: bool) -> Iterator[PollItem]:
        """What has changed in one table, or all of it."""
        plan, state = self._schema.plans.get(table), self._states[table]
        fingerprint = self._fingerprint(table)
        if state.fingerprint != fingerprint:
            state.fingerprint, state.complete = fingerprint, False
        if full or not state.complete:
            yield from self._full(table, plan, state)
        elif plan is None:
            return
        elif self._has_window(table) and not state.coarse:
            yield from self._window(plan, state)
        elif state.seconds <= CHEAP * self._pipeline._poll_seconds or not self._any_window:
            yield from self._compared(plan, state)
        state.snapshot = self._snapshot

    # --- the three ways to read a table ---------------------------------------------------------

    def _full(self, table: Table, plan: TablePlan | None, state: TableState) -> Iterator[PollItem]:
        """Everything, between the marks of a full comparison."""
        self._pipeline._oddities.forget(table)
        yield BeginFull(table)
        if plan is not None:
            yield from self._everything(plan, state, self._batches(plan.select()))
        state.complete, state.coarse = True, False
        yield FullPass(table)

    def _everything(self, plan: TablePlan, state: TableState, batches: Iterator[Raw]) -> Iterator[PollItem]:
        started = time.monotonic()
        state.seen.forget()
        state.rows = total = 0
        for raw in batches:
            state.rows += len(raw)
            if self._has_window(plan.table):
                state.seen.add(raw)
            elif state.rows <= SMALL_TABLE:
                total += digest(raw)[1]
            yield from self._handed_on(plan, state, raw)
        state.digest = (state.rows, total) if state.rows <= SMALL_TABLE else None
        state.seconds = time.monotonic() - started

    def _window(self, plan: TablePlan, state: TableState) -> Iterator[PollItem]:
        """Only what may be new, without what was handed on before."""
        started, found = time.monotonic(), 0
        for raw in self._batches(self._recent(plan, state)):
            found += len(raw)
            fresh = state.seen.fresh(raw)
            if fresh:
                yield from self._handed_on(plan, state, fresh)
        costly = time.monotonic() - started > CHEAP * self._pipeline._poll_seconds
        state.coarse = costly and found > SMALL_TABLE and 2 * found > state.rows

    def _compared(self, plan: TablePlan, state: TableState) -> Iterator[PollItem]:
        """Everything; but a small table in which nothing has changed is not handed on again."""
        batches = self._batches(plan.select())
        held: list[Raw] = []
        count = 0
        for raw in batches:
            held.append(raw)
            count += len(raw)
            if count > SMALL_TABLE:
                break
        total = sum(digest(raw)[1] for raw in held)
        if count <= SMALL_TABLE and state.digest == (count, total):
            return
        self._pipeline._oddities.forget(plan.table)
        yield BeginFull(plan.table)
        yield from self._everything(plan, state, _chain(held, batches))
        yield FullPass(plan.table)

    # --- rows ------------------------------------------------------------------------------------

    def _handed_on(self, plan: TablePlan, state: TableState, raw: Raw) -> Iterator[Rows]:
        rows, updated = plan.build(raw, self._dirt(plan, raw))
        state.raise_watermark(updated, self._now_us)
        if rows:
            yield Rows(plan.table, rows)

    def _dirt(self, plan: TablePlan, raw: Raw) -> Dirt:
        oddities = self._pipeline._oddities
        place_of_key = plan.cells[0].place or 0

        def found(column: str, place: int, reason: str) -> None:
            oddities.value(plan.table, column, reason, repr(raw[place][place_of_key])[:200])

        return found

    def _batches(self, statement: sa.Select[Any]) -> Iterator[Raw]:
        """The rows of a statement as they come, a batch at a time, never all of them in memory."""
        with self._source.guard():
            result = self._conn.execute(statement, execution_options={"yield_per": BATCH})
        with closing(result):
            while True:
                with self._source.guard():
                    raw = result.fetchmany(BATCH)
                if not raw:
                    return
                yield raw

    # --- what may be new -------------------------------------------------------------------------

    def _recent(self, plan: TablePlan, state: TableState) -> sa.Select[Any]:
        if has_watermark(plan):
            lower_us = state.lower_us(self._pipeline._overlap_us)
            return updated_since(plan, lower_us, self._pipeline._clock)
        with self._source.guard():
            age = self._conn.execute(_AGE, {"xid": str((state.snapshot or 0) % 2**32)}).scalar_one()
        return made_since(plan, age)

    def _has_window(self, table: Table) -> bool:
        plan = self._schema.plans.get(table)
        return plan is not None and (has_watermark(plan) or self._has_versions(table))

    def _has_versions(self, table: Table) -> bool:
        """True for PostgreSQL's ordinary tables, whose rows name the transaction that made them."""
        found: Any = self._schema.fingerprints[table.value]
        return self._snapshot is not None and found[2] in ("r", "m") and not found[3]

    def _take_snapshot(self) -> int | None:
        if self._conn.dialect.name != "postgresql":
            return None
        with self._source.guard():
            return int(self._conn.execute(_SNAPSHOT).scalar_one())

    def _fingerprint(self, table: Table) -> object:
        own = self._schema.fingerprints.get(table.value)
        if table is Table.VIDEOS:
            return own, Table.JOB_VIDEOS in self._schema.plans
        return own


def _chain(held: list[Raw], rest: Iterator[Raw]) -> Iterator[Raw]:
    yield from held
    yield from rest


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


# --- URLs and errors ----------------------------------------------------------------------------------


def _parse(url: str) -> URL:
    """The URL, if it is of a kind that can be read."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as exc:
        raise ConfigError([f"database.url: is no database URL; {_ALLOWED}"]) from exc
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:") or parsed.query:
            raise ConfigError(["database.url: sqlite needs the path of a file and no options"])
        return parsed
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError([f"database.url: found {parsed.drivername}://; {_ALLOWED}"])


_ALLOWED = "allowed are sqlite:///path and postgresql://user:password@host:port/name"


def _source(url: URL, statement_seconds: float, busy_seconds: float, *, pool_size: int) -> Source:
    if url.get_backend_name() == "sqlite":
        return SqliteSource(os.path.abspath(url.database or ""), busy_seconds=busy_seconds)
    connect_seconds = min(CONNECT_SECONDS, statement_seconds)
    try:
        return PostgresSource(
            url, connect_seconds=connect_seconds, statement_seconds=statement_seconds, pool_size=pool_size
        )
    except psycopg.Error as exc:
        raise ConfigError([f"database.url: {_one_line(exc, url)}"]) from exc


def _one_line(exc: BaseException, url: URL) -> str:
    """What went wrong, in one line and without the password."""
    cause = exc.orig if isinstance(exc, sa.exc.DBAPIError) and exc.orig is not None else exc
    text = " ".join(str(cause).split()) or type(cause).__name__
    for secret in {str(url.password or ""), quote(str(url.password or ""), safe="")}:
        if secret:
            text = text.replace(secret, "***")
    return text[:500]
