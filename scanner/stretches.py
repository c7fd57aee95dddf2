"""Reading what stands at some positions of a list, so that nothing is sorted that an index has in order.

An index that is read from its end has the ids of equal times in descending order, while lists have them in
ascending order either way. SQLite would sort every row that it passes over for that. Here the page is read in
the order of the index and only what is equal changes places; where that goes on behind an end of the page,
what is equal to it is read by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from scanner.querysql import Branch, Filter, Part, Row, Source, Standing, list_sql

_AROUND = (1, 24)  # rows that are read on each side of a page, to see what is equal to its ends
_ALIKE = 4  # times of which all that is equal is read by itself, before everything is sorted
_SHORT = 50  # up to this many numbers have a statement of their own
_EQUAL, _ID, _REST = itemgetter(0), itemgetter(1), slice(2, None)


class Stretch:
    """A part of a list: what the filters let through of a source ``within`` a condition, in order."""

    def __init__(self, db: Any, source: Source, part: Part, filters: Filter, within: Branch) -> None:
        self._db = db
        self._source = source
        self._part = part
        self._filters = filters
        self._within = within

    def rows(self, limit: int, offset: int, columns: str) -> list[Row]:
        """These columns of the assets at these positions."""
        standing = self._source.standing(self._part)
        if standing is Standing.NATIVE or (standing is Standing.TURNED and self._is_of_one_time()):
            return self._select(self._part, columns, limit, offset)
        if standing is Standing.TURNED:
            for around in _AROUND:
                found = self._turned(limit, offset, columns, around)
                if found is not None:
                    return found
            found = self._alike(limit, offset, columns)
            if found is not None:
                return found
        # Of rows that are merged or sorted only the numbers are read, until it is known which are wanted.
        numbers = [row[0] for row in self._select(self._part, "asset", limit, offset)]
        return rows_of(self._db, numbers, columns)

    def count(self, most: int) -> int:
        """How many there are, at most so many."""
        return len(self._select(self._part, "asset", most, 0)) if most else 0

    def _is_of_one_time(self) -> bool:
        """Whether all of it is equal but for the id, in which case an index has it either way."""
        return self._within[0].startswith(f"{self._part.terms[0].column}=?")

    def _select(self, part: Part, columns: str, limit: int, offset: int) -> list[Row]:
        sql, values = list_sql(self._source, part, self._filters, self._within, columns, keys=False)
        found: list[Row] = self._db.execute(sql, (*values, limit, offset)).fetchall()
        return found

    def _turned(self, limit: int, offset: int, columns: str, around: int) -> list[Row] | None:
        """The page by way of the index's order, with some rows around it.

        None where what is equal to an end of the page may go on behind these.
        """
        (column, _), (_, descending) = self._part.terms
        before = min(offset, around)
        end, wanted = before + limit, before + limit + around
        rows = self._select(self._part.turned(), f"{column}, id, {columns}", wanted, offset - before)
        if len(rows) <= before:
            return []
        if before < offset and rows[0][0] == rows[before][0]:
            return None
        if len(rows) == wanted and rows[-1][0] == rows[end - 1][0]:
            return None
        if len(set(map(_EQUAL, rows))) < len(rows):
            equal = (group for _, group in groupby(rows, _EQUAL))
            rows = [row for group in equal for row in sorted(group, key=_ID, reverse=descending)]
        return [row[_REST] for row in rows[before:end]]

    def _alike(self, limit: int, offset: int, columns: str) -> list[Row] | None:
        """The page by what is equal, one time after the other; None where those are too many."""
        (column, descending), _ = self._part.terms
        found: list[Row] = []
        rest = self
        for _ in range(_ALIKE):
            first = rest._select(self._part.turned(), column, 1, 0)
            if not first:
                return found
            equal = rest._narrowed(f"{column}=?", first[0])
            rows = equal._select(self._part, columns, limit - len(found), offset)
            found += rows
            if len(found) == limit:
                return found
            offset = 0 if rows else offset - equal.count(offset)
            rest = rest._narrowed(f"{column} {'<' if descending else '>'} ?", first[0])
        return None

    def _narrowed(self, condition: str, values: Sequence[Any]) -> Stretch:
        sql, needed = self._within
        within = (f"{sql} AND {condition}", [*needed, *values])
        return Stretch(self._db, self._source, self._part, self._filters, within)


def rows_of(db: Any, numbers: Sequence[int], columns: str) -> list[Row]:
    """These columns of the assets with these numbers, in the order given; LookupError if one is missing."""
    values: Sequence[Any] = numbers
    wanted = _values(len(numbers))
    if len(numbers) > _SHORT:
        wanted, values = "SELECT value FROM json_each(?)", (json.dumps(numbers),)
    # A cross join goes through its tables in the order in which they are written.
    sql = f"WITH wanted(n) AS ({wanted}) SELECT {columns} FROM wanted CROSS JOIN assets ON asset=n"
    found: list[Row] = db.execute(sql, values).fetchall() if numbers else []
    if len(found) != len(numbers):
        raise LookupError(f"the index does not have all of the assets {numbers}")
    return found


@lru_cache
def _values(count: int) -> str:
    """So many parameters as a table, which takes less time than a condition that lists them."""
    return f"VALUES {', '.join(['(?)'] * count)}"
