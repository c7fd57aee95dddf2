"""How lists of assets are asked for: the order, the filters and the page as SQL.

The rows of one scope stand in an index in the order of the default sorts. Those of several scopes are
merged from one such stretch each, so that here too only as much is read as a page needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache
from typing import Any, NamedTuple

import apsw

from scanner.owners import search_key
from scanner.records import AssetType
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

HAS_FILTERS = {feature.wire: (bit, 1) for feature, bit in HAS.items()} | {"any": (7, 1), "none": (7, 0)}
"""What a filter of features asks: which bits of ``has``, and whether one of them is to be set."""

HAS_TERM = "((has & ?) <> 0) = ?"  # one text for all of them, so that there are fewer statements to keep


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


class Term(NamedTuple):
    """A column that is sorted by."""

    column: str
    descending: bool


class Part(NamedTuple):
    """A part of an order, all of which comes before the next: what has a value, and what has none."""

    terms: tuple[Term, ...]
    condition: str = "1"

    def turned(self) -> Part:
        """The same with the ids of what is equal the other way round."""
        *first, last = self.terms
        return self._replace(terms=(*first, Term(last.column, not last.descending)))


Order = tuple[Part, ...]


class Standing(Enum):
    """How an index stands to an order: it has it from one of its ends, but for the ids of equals, or not."""

    NATIVE = auto()
    TURNED = auto()
    OTHER = auto()


Branch = tuple[str, list[Any]]
"""A condition that holds for one stretch of an index, with its values."""


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

    def whole(self) -> Branch:
        """The condition for all of them at once."""
        head = f"type={int(self.type)} AND listed"
        if self.owner is not None:
            return f"{head} AND owner=?", [self.owner]
        if len(self.scopes) == 1:
            return f"{head} AND scope=?", [*self.scopes]
        return f"{head} AND scope IN (SELECT value FROM json_each(?))", [json.dumps(list(self.scopes))]

    def standing(self, part: Part) -> Standing:
        """How the index that has all of them, if one has, stands to an order."""
        if self.owner is None and len(self.scopes) != 1:
            return Standing.OTHER
        if len(part.terms) == 1:
            return Standing.NATIVE
        (column, descending), (_, backward) = part.terms
        frames = self.type is AssetType.VIDEO_FRAME
        if column == "ts" and frames:
            return Standing.NATIVE if descending == backward else Standing.TURNED
        if self.owner is not None or column == ("image_updated" if frames else "ts"):
            return Standing.OTHER
        return Standing.TURNED if descending == backward else Standing.NATIVE

    def branches(self) -> list[Branch]:
        """The condition of each stretch; of more than can be merged, and of none, that for all of them."""
        if self.owner is not None or not 0 < len(self.scopes) <= MERGED:
            return [self.whole()]
        return [(f"type={int(self.type)} AND listed AND scope=?", [scope]) for scope in self.scopes]


@lru_cache
def order_of(sort: str, descending: bool) -> Order:
    """The order of a list: nulls come last either way, ties are in ascending order of the id."""
    sorts = SORTS[sort]
    if not sorts:
        return (Part((Term("id", descending),)),)
    ((column, nullable),) = sorts
    terms = (Term(column, descending), Term("id", False))
    if not nullable:
        return (Part(terms),)
    null = f"({column} IS NULL)"
    return (
        Part(terms, f"{null}=0"),
        Part(terms[1:], f"{null}=1 AND {column} IS NULL"),
    )


@lru_cache
def reversed_order(order: Order) -> Order:
    """The same order from its end."""
    return tuple(
        part._replace(terms=tuple(Term(column, not descending) for column, descending in part.terms))
        for part in order[::-1]
    )


ALL: Branch = ("1", [])


def behind(part: Part, key: Sequence[Any], *, few: bool) -> list[Branch]:
    """Where in a part that lies which comes after a key (the values of the part's terms), in order.

    ``few`` says that few are equal to the key in all but the id: then it is one stretch.
    """
    *columns, last = part.terms
    beyond = f"{last.column} {'<' if last.descending else '>'} ?"
    if not columns:
        return [(beyond, [key[0]])]
    ((column, descending),) = columns
    sign = "<" if descending else ">"
    if few:
        return [(f"{column} {sign}= ? AND ({column} {sign} ? OR {beyond})", [key[0], *key])]
    return [(f"{column}=? AND {beyond}", [*key]), (f"{column} {sign} ?", [key[0]])]


def list_sql(
    source: Source,
    part: Part,
    filters: Filter,
    within: Branch = ALL,
    column: str = "asset",
    *,
    keys: bool = True,
) -> Branch:
    """The statement for a part of a list, in order, with its values; limit and offset are two more.

    ``column`` (or several, with commas) comes first in each row; behind it, unless they are not wanted, the
    values of the part's terms.
    """
    branches = source.branches()
    values = []
    for _, needed in branches:
        values += [*needed, *within[1], *filters.values]
    conditions = tuple(condition for condition, _ in branches)
    return _list_text(conditions, part, within[0], filters.sql(), column, keys), values


@lru_cache(maxsize=2048)
def _list_text(
    conditions: tuple[str, ...], part: Part, within: str, filters: str, column: str, keys: bool
) -> str:
    merged = len(conditions) > 1  # only what is selected can be merged by
    names = [f"k{place}" if merged else term.column for place, term in enumerate(part.terms)]
    columns = [column]
    if keys or merged:
        columns += [f"{term.column} AS k{place}" for place, term in enumerate(part.terms)]
    select, rest = f"SELECT {', '.join(columns)} FROM assets", f"{part.condition} AND {within}{filters}"
    selects = [f"{select} WHERE {condition} AND {rest}" for condition in conditions]
    return f"{' UNION ALL '.join(selects)} ORDER BY {_order(part, names)} LIMIT ? OFFSET ?"


def array_sql(source: Source, part: Part, filters: Filter) -> Branch:
    """The statement for the numbers of all that match in a part of a list, in order, as one JSON array."""
    condition, values = source.whole()
    where = f"{condition} AND {part.condition}{filters.sql()}"
    select = f"SELECT asset FROM assets WHERE {where} ORDER BY {order_sql(part)}"
    return f"SELECT json_group_array(asset) FROM ({select})", [*values, *filters.values]


def order_sql(part: Part) -> str:
    """What comes behind ``ORDER BY`` for a part of a list."""
    return _order(part, [term.column for term in part.terms])


def _order(part: Part, names: Sequence[str]) -> str:
    return ", ".join(
        f"{name} DESC" if term.descending else name for name, term in zip(names, part.terms, strict=True)
    )


def count_sql(source: Source, filters: Filter) -> Branch:
    """The statement for how many assets match, one row for each stretch, with its values."""
    selects, values = [], []
    for condition, needed in source.branches():
        selects.append(f"SELECT count(*) FROM assets WHERE {condition}{filters.sql()}")
        values += [*needed, *filters.values]
    return " UNION ALL ".join(selects), values
