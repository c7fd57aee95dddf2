"""How a table is read without reading all of it: which rows may be new, and which of those are.

A table with a column ``updated_at`` is asked for the rows from a watermark on, less an overlap, because a
transaction that began earlier can commit later. A PostgreSQL table without one is asked for the row versions
that transactions made which an earlier snapshot did not see.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa

from scanner.naming import Numbers
from scanner.tableplan import SERVER_TIMES, Kind, TablePlan, epoch_micros
from scanner.timestamps import EARLIEST_US, LATEST_US, MICROS, Clock

LARGE_WINDOW = 10_000  # rows that may be read again at each poll without a thought

_JULIAN_EPOCH = 2440587.5
_DAY_US = 86_400 * MICROS
_EPOCH = dt.datetime(1970, 1, 1)


class Seen:
    """Remembers the rows of a window by eight bytes each, so that each is handed on once."""

    def __init__(self) -> None:
        self._known: Numbers = np.empty(0, np.int64)
        self._found: list[Numbers] = []

    def __len__(self) -> int:
        return len(self._known)

    def add(self, hashes: Numbers) -> None:
        """The rows with these hashes have been handed on."""
        self._found.append(hashes)

    def fresh(self, hashes: Numbers) -> Numbers:
        """The places of the rows that were not there, or not like this, when the window was last read."""
        self._found.append(hashes)
        if not len(self._known):
            return np.arange(len(hashes))
        places = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        return np.flatnonzero(self._known[places] != hashes)

    def commit(self) -> None:
        """What was found since the last commit is what is known from now on."""
        self._known = np.sort(np.concatenate(self._found)) if self._found else np.empty(0, np.int64)
        self._found = []

    def forget(self) -> None:
        """Know nothing: every row of the window is handed on again."""
        self._known, self._found = np.empty(0, np.int64), []


@dataclass(slots=True)
class TableState:
    """What is known of a table between two polls."""

    fingerprint: object = None
    complete: bool = False  # it has been read in full under this fingerprint
    seconds: float = 0.0  # what the last full comparison took
    rows: int = 0  # how many rows it found
    watermark_us: int | None = None
    raised_at: float = 0.0  # when the watermark last rose (monotonic)
    snapshot: int | None = None  # the oldest transaction that the last read may not have seen
    coarse: bool = False  # reading the window was hardly cheaper than reading everything
    digest: tuple[int, int] | None = None
    seen: Seen = field(default_factory=Seen)

    def raise_watermark(self, updated: Sequence[int | None], now_us: int) -> None:
        """Follow the latest update; times that lie in the future do not count."""
        latest = max(filter(None, updated), default=None)
        if latest is not None and latest > now_us:
            latest = max((us for us in updated if us is not None and us <= now_us), default=None)
        if latest is not None and (self.watermark_us is None or latest > self.watermark_us):
            self.watermark_us = latest
            self.raised_at = time.monotonic()

    def lower_us(self, overlap_us: int) -> int:
        """From which update time on the next read begins.

        A large window (a bulk load in one transaction) is left behind once nothing has been updated for
        as long as the overlap: what could commit late has done so.
        """
        if self.watermark_us is None:
            return EARLIEST_US
        quiet = (time.monotonic() - self.raised_at) * MICROS > overlap_us
        if quiet and len(self.seen) > LARGE_WINDOW:
            return self.watermark_us + 1
        return max(self.watermark_us - overlap_us, EARLIEST_US)


def digest(hashes: Numbers) -> int:
    """A number for the whole content of a small table, in whatever order its rows come."""
    return sum(hashes.tolist())


def has_watermark(plan: TablePlan) -> bool:
    """True where rows say when they were updated in a form that the database can compare."""
    kind = plan.kinds.get("updated_at")
    return plan.spec.timed and kind in (Kind.ANY, Kind.NUMBER, *SERVER_TIMES)


def updated_since(plan: TablePlan, lower_us: int, clock: Clock) -> sa.Select[Any]:
    """The rows updated at ``lower_us`` or later, or of which nobody can say; in the order of updates."""
    column = plan.relation.c.updated_at
    kind = plan.kinds["updated_at"]
    if kind is Kind.ANY:
        recent = _dynamic(column, lower_us, clock)
    elif kind is Kind.NUMBER:
        recent = epoch_micros(column) >= sa.literal_column(str(lower_us))
    else:
        recent = column >= _literal(kind, lower_us, clock)
    return plan.select().where(sa.or_(recent, column.is_(None))).order_by(column, *plan.keys)


def made_since(plan: TablePlan, age: int) -> sa.Select[Any]:
    """The row versions that transactions no older than this have made (PostgreSQL)."""
    return plan.select().where(sa.func.age(sa.literal_column("xmin")) <= sa.literal_column(str(age)))


def _literal(kind: Kind, us: int, clock: Clock) -> sa.ColumnElement[Any]:
    local = us if kind is Kind.ZONED else clock.earliest_local(us)
    return sa.literal_column(f"{SERVER_TIMES[kind]} '{_iso(local)}'")


def _iso(us: int) -> str:
    return (_EPOCH + dt.timedelta(microseconds=min(max(us, EARLIEST_US), LATEST_US))).isoformat(sep=" ")


def _dynamic(column: sa.ColumnElement[Any], lower_us: int, clock: Clock) -> sa.ColumnElement[Any]:
    """SQLite: ISO texts with or without an offset, numbers of any unit; what is neither counts as recent."""
    earliest = min(lower_us, clock.earliest_local(lower_us))
    # Whatever the offset, a text of an earlier day but one is too old: the cheapest look goes first.
    day = _iso(earliest - _DAY_US)[:10]
    zoned = sa.or_(column.op("GLOB")("*[zZ]"), column.op("GLOB")("*[+-][0-9][0-9]:[0-9][0-9]"))
    lower = sa.case((zoned, _julian(lower_us)), else_=_julian(clock.earliest_local(lower_us)))
    text = sa.case(
        (sa.and_(column.op("GLOB")("[0-9][0-9][0-9][0-9]-[0-9][0-9]-*"), column < day), 0),
        else_=sa.func.coalesce(sa.func.julianday(column) >= lower, 1),
    )
    number = epoch_micros(column) >= sa.literal_column(str(lower_us))
    is_number = sa.func.typeof(column).in_(["integer", "real"])
    return sa.case((is_number, number), (sa.func.typeof(column) == "text", text), else_=1) == 1


def _julian(us: int) -> sa.ColumnElement[Any]:
    """The Julian day, less two milliseconds for what its arithmetic rounds away."""
    return sa.literal_column(repr(_JULIAN_EPOCH + (us - 2000) / _DAY_US))
