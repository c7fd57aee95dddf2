"""How lists of assets are asked for: the order, the filters and the page as SQL.

The rows of one scope stand in an index in the order of the default sorts. Those of several scopes are
merged from one such stretch each, so that here too only as much is read as a page needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import apsw

from scanner.owners import search_key
from scanner.records import AssetType, Page
from scanner.resolve import HAS

Row = tuple[Any, ...]
MERGED = 16
"""Up to this many scopes are merged; more are read as a whole and sorted."""

SORTS = {
    "updated_at": (("updated", False),),
    "image_updated_at": (("image_updated", False),),
    "asset_id": (),
    "img_id": (),
    "frame_id": (),
    "ts": (("ts", True),),
}
"""What a list is sorted by before the id: each column, and whether it may be null."""

HAS_FILTERS = {feature.wire: f"has & {bit}" for feature, bit in HAS.items()} | {
    "any": "has & 7",
    "none": "has & 7 = 0",
}


def prepare(connection: apsw.Connection) -> None:
    """Give SQL the functions by which text is compared."""
    connection.create_scalar_function("search_key", _search_key, 1, deterministic=True)
    connection.create_scalar_function("fold", _fold, 1, deterministic=True)


def _search_key(*given: apsw.SQLiteValue) -> str | None:
    (text,) = given
    return search_key(text) if isinstance(text, str) else None


def _fold(*given: apsw.SQLiteValue) -> str | None:
    (text,) = given
    return text.casefold() if isinstance(text, str) else None


@dataclass(slots=True)
class Filter:
    """Conditions that all have to hold, with the values that they need in order."""

    terms: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, term: str, *values: Any) -> None:
        """One more condition."""
        self.terms.append(term)
        self.values.extend(values)

    def sql(self) -> str:
        """The conditions behind a ``WHERE`` that already has one."""
        return "".join(f" AND ({term})" for term in self.terms)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the assets of a list come from: the stretches of an index that hold them all.

    ``owner`` is set where the list is of one product or video, whose assets are in one stretch.
    """

    type: AssetType
    scopes: Sequence[int] = ()
    owner: str | None = None

    def branches(self) -> list[tuple[str, list[Any]]]:
        """The conditions of each stretch, with their values."""
        head = f"type={int(self.type)} AND listed"
        if self.owner is not None:
            return [(f"{head} AND owner=?", [self.owner])]
        if len(self.scopes) <= MERGED:
            return [(f"{head} AND scope=?", [scope]) for scope in self.scopes]
        return [(f"{head} AND scope IN (SELECT value FROM json_each(?))", [json.dumps(list(self.scopes))])]


def order_terms(sort: str, descending: bool) -> tuple[list[str], list[str]]:
    """The columns that are sorted by, named ``k0``, ``k1``…, and the terms of ``ORDER BY``.

    Nulls come last in both orders, ties are in ascending order of the id.
    """
    direction = " DESC" if descending else ""
    columns: list[str] = []
    terms: list[str] = []
    for column, nullable in SORTS[sort]:
        if nullable:
            terms.append(f"k{len(columns)}")
            columns.append(f"{column} IS NULL")
        terms.append(f"k{len(columns)}{direction}")
        columns.append(column)
    terms.append("id" if SORTS[sort] else f"id{direction}")
    return [f"{column} AS k{place}" for place, column in enumerate(columns)], terms


def page_sql(source: Source, sort: str, filters: Filter, page: Page) -> tuple[str, list[Any]]:
    """The statement for the numbers of the assets of a page, in order, with its values."""
    columns, order = order_terms(sort, page.descending)
    selected = ", ".join(["asset", *columns, "id"])
    selects, values = [], []
    for condition, needed in source.branches():
        selects.append(f"SELECT {selected} FROM assets WHERE {condition}{filters.sql()}")
        values += [*needed, *filters.values]
    sql = " UNION ALL ".join(selects) + f" ORDER BY {', '.join(order)} LIMIT ? OFFSET ?"
    return sql, [*values, page.limit, page.offset]


def count_sql(source: Source, filters: Filter) -> tuple[str, list[Any]]:
    """The statement for how many assets match, one row for each stretch, with its values."""
    selects, values = [], []
    for condition, needed in source.branches():
        selects.append(f"SELECT count(*) FROM assets WHERE {condition}{filters.sql()}")
        values += [*needed, *filters.values]
    return " UNION ALL ".join(selects), values
