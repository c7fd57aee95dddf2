"""One poll of the pipeline database: all tables in one transaction, each read in the cheapest right way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scanner.database import Source
from scanner.naming import Numbers, hashes_of
from scanner.oddities import Oddities
from scanner.rows import BATCH, AssetColumns, BeginFull, FullPass, PollItem, Raw, Recorded, Rows, Table
from scanner.tableplan import Dirt, TablePlan
from scanner.timestamps import Clock
from scanner.window import TableState, digest, has_watermark, made_since, updated_since

SMALL_TABLE = 10 * BATCH  # rows that may be held to see whether any of them has changed
CHEAP = 0.05  # of the time between two polls, for a full comparison at each of them

_SNAPSHOT = sa.text("SELECT txid_snapshot_xmin(txid_current_snapshot())")
_AGE = sa.text("SELECT age(CAST(CAST(:xid AS text) AS xid))")


@dataclass(frozen=True, slots=True)
class Schema:
    """What the database looked like: a plan for each table that can be used."""

    fingerprints: Mapping[str, object]
    plans: Mapping[Table, TablePlan]


@dataclass(frozen=True, slots=True)
class Reader:
    """What every poll reads with."""

    source: Source
    clock: Clock
    oddities: Oddities
    poll_seconds: float
    overlap_us: int


class Poll:
    """One read of all tables within one transaction."""

    def __init__(
        self, reader: Reader, conn: Connection, schema: Schema, states: dict[Table, TableState]
    ) -> None:
        self._reader = reader
        self._source = reader.source
        self._conn = conn
        self._schema = schema
        self._states = states
        self._snapshot = self._take_snapshot()
        self._now_us = time.time_ns() // 1000
        self._any_window = any(self._has_window(table) for table in schema.plans)

    def table(self, table: Table, *, full: bool) -> Iterator[PollItem]:
        """What has changed in one table, or all of it."""
        plan, state = self._schema.plans.get(table), self._states[table]
        if plan is not None and plan.spec.asset_type is not None:
            yield Recorded(plan.spec.asset_type, plan.recorded)
        fingerprint = self._fingerprint(table)
        if state.fingerprint != fingerprint:
            state.fingerprint, state.complete = fingerprint, False
            state.watermark_us = None  # what the column meant then says nothing about what it means now
        if full or not state.complete:
            yield from self._full(table, plan, state)
        elif plan is None:
            return
        elif self._has_window(table) and not state.coarse:
            yield from self._window(plan, state)
        elif state.seconds <= CHEAP * self._reader.poll_seconds or not self._any_window:
            yield from self._compared(plan, state)
        state.snapshot = self._snapshot

    # --- the three ways to read a table ---------------------------------------------------------

    def _full(self, table: Table, plan: TablePlan | None, state: TableState) -> Iterator[PollItem]:
        """Everything, between the marks of a full comparison."""
        self._reader.oddities.forget(table)
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
            hashes = hashes_of(raw)
            if self._has_window(plan.table):
                state.seen.add(hashes)
            elif state.rows <= SMALL_TABLE:
                total += digest(hashes)
            yield from self._handed_on(plan, state, raw, hashes)
        state.digest = (state.rows, total) if state.rows <= SMALL_TABLE else None
        state.seconds = time.monotonic() - started

    def _window(self, plan: TablePlan, state: TableState) -> Iterator[PollItem]:
        """Only what may be new, without what was handed on before."""
        started, found = time.monotonic(), 0
        for raw in self._batches(self._recent(plan, state)):
            found += len(raw)
            hashes = hashes_of(raw)
            fresh = state.seen.fresh(hashes)
            if len(fresh):
                rows = raw if len(fresh) == len(raw) else [raw[place] for place in fresh.tolist()]
                yield from self._handed_on(plan, state, rows, hashes[fresh])
        costly = time.monotonic() - started > CHEAP * self._reader.poll_seconds
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
        total = sum(digest(hashes_of(raw)) for raw in held)
        if count <= SMALL_TABLE and state.digest == (count, total):
            return
        self._reader.oddities.forget(plan.table)
        yield BeginFull(plan.table)
        yield from self._everything(plan, state, _chain(held, batches))
        yield FullPass(plan.table)

    # --- rows ------------------------------------------------------------------------------------

    def _handed_on(self, plan: TablePlan, state: TableState, raw: Raw, hashes: Numbers) -> Iterator[Rows]:
        rows, updated = plan.build(raw, self._dirt(plan, raw))
        state.raise_watermark(updated, self._now_us)
        if isinstance(rows, AssetColumns) and len(rows) == len(raw) and plan.salt is not None:
            rows.digests = hashes ^ plan.salt
        if rows:
            yield Rows(plan.table, rows)

    def _dirt(self, plan: TablePlan, raw: Raw) -> Dirt:
        oddities = self._reader.oddities
        place_of_key = plan.cells[0].place or 0

        def found(column: str, place: int, reason: str) -> None:
            oddities.value(plan.table, column, reason, repr(raw[place][place_of_key])[:200])

        return found

    def _batches(self, statement: sa.Select[Any]) -> Iterator[Raw]:
        """The rows of a statement as they come, a batch at a time, never all of them in memory."""
        with closing(self._source.stream(self._conn, statement)) as batches:
            yield from batches

    # --- what may be new -------------------------------------------------------------------------

    def _recent(self, plan: TablePlan, state: TableState) -> sa.Select[Any]:
        if has_watermark(plan):
            lower_us = state.lower_us(self._reader.overlap_us)
            return updated_since(plan, lower_us, self._reader.clock)
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
