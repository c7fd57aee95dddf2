"""Looking for a text in the ids of a job's assets and in the titles of their products or videos.

Of a search the first answer is wanted soon: how many match, and the first of them. What titles match is told
by the counts of their owners; only ids have to be looked at one by one, in an index that has little else. In
which place all others stand is found out when somebody asks for them.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from scanner.querysql import Branch, Filter, Order, Part, Source, Standing, list_sql, order_sql
from scanner.records import Kind

HEAD = 512
"""How many of the first are found at once where there are many."""
FEW = 4096
"""Up to so many are put in order by themselves: to meet them in the list, most of it would be passed over."""
_LONGEST = 1000  # of a pattern; what is longer is not looked for by one
_WILD = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
_ASCII = "octet_length(id)=length(id)"


class Search(NamedTuple):
    """What is looked for in a list; see :func:`scanner.assetqueries.search_filter`."""

    source: Source
    q: str | None
    has: str | None = None
    kinds: tuple[Kind, ...] = ()


@dataclass(frozen=True, slots=True)
class Matches:
    """How many assets match, and the numbers of the first of them, or of all, in order."""

    total: int
    numbers: array[int]

    def reach(self, end: int) -> bool:
        """Whether all before a position are known."""
        return min(end, self.total) <= len(self.numbers)


def id_term(key: str) -> Branch:
    """The condition that an id holds a text, which is given in the form that texts are compared in.

    ASCII needs no Unicode to be folded, and is what ids are made of: there a pattern, in which SQLite ignores
    the case of ASCII alone, says the same and takes half the time.
    """
    if not key.isascii():
        return f"CASE WHEN {_ASCII} THEN 0 ELSE instr(search_key(id), ?) END", [key]
    if len(key) > _LONGEST or "\0" in key:  # where a pattern would end
        return f"instr(CASE WHEN {_ASCII} THEN lower(id) ELSE search_key(id) END, ?)", [key]
    pattern = f"%{key.translate(_WILD)}%"
    return f"CASE WHEN {_ASCII} THEN id LIKE ? ESCAPE '\\' ELSE instr(search_key(id), ?) END", [pattern, key]


class TextSearch:
    """One search of whole scopes, in the reader's transaction."""

    def __init__(self, db: Any, source: Source, key: str) -> None:
        self._db = db
        self._source = source
        self._id, self._id_values = id_term(key)
        # The plus keeps SQLite from an index of the scopes, by which it would look each owner up.
        self._titled = f"type={int(source.type)} AND +scope IN (SELECT value FROM json_each(?))"
        self._titled += " AND instr(title_key, ?)"
        self._titled_values = [json.dumps(list(source.scopes)), key]
        self._owners = f"SELECT id FROM owners WHERE {self._titled}"

    def first(self, order: Order) -> Matches:
        """How many match, and the first of them."""
        if not self._source.scopes:
            return Matches(0, array("q"))
        by_title = self._count_titled()
        if not by_title and all(self._source.standing(part) is not Standing.TURNED for part in order):
            return self._named_in(order)
        named = self._named(titled=by_title > 0)
        total = by_title + _count(named)
        if total <= FEW:
            numbers = self._sorted([*self._numbers_titled(), *_parsed(named)], order)
            return Matches(len(numbers), numbers)
        return Matches(total, self._head(order))

    def _count_titled(self) -> int:
        sql = f"SELECT coalesce(sum(assets), 0) FROM owners WHERE {self._titled}"
        return int(self._db.execute(sql, self._titled_values).fetchone()[0])

    def _numbers_titled(self) -> array[int]:
        sql = f"SELECT asset FROM assets WHERE type={int(self._source.type)} AND listed"
        return _parsed(self._text(f"{sql} AND owner IN ({self._owners})", self._titled_values))

    def _named_in(self, order: Order) -> Matches:
        """All of which the id matches, where no title does: they are met in their order.

        Where an index has the ids of equals the other way round, SQLite would sort all of them for that.
        """
        filters, total, found = Filter(), 0, array("q")
        filters.add(self._id, *self._id_values)
        for part in order:
            sql, values = list_sql(self._source, part, filters, keys=False)
            text = self._text(sql, [*values, -1, 0])
            total += _count(text)
            if len(found) < HEAD:
                found += _parsed(text, HEAD - len(found))
        return Matches(total, found)

    def _named(self, *, titled: bool) -> str:
        """Those of which the id matches and the title, where any does, does not; in whatever order."""
        condition, values = self._source.whole()
        sql, values = (
            f"SELECT asset FROM assets WHERE {condition} AND ({self._id})",
            [*values, *self._id_values],
        )
        if titled:
            sql += f" AND (owner IS NULL OR owner NOT IN ({self._owners}))"
            values += self._titled_values
        return self._text(sql, values)

    def _head(self, order: Order) -> array[int]:
        filters, found = Filter(), array("q")
        filters.add(f"owner IN ({self._owners}) OR ({self._id})", *self._titled_values, *self._id_values)
        for part in order:
            sql, values = list_sql(self._source, part, filters, keys=False)
            found += _parsed(self._text(sql, [*values, HEAD - len(found), 0]))
        return found

    def _sorted(self, numbers: Iterable[int], order: Order) -> array[int]:
        given, found = json.dumps(list(numbers)), array("q")
        for part in order:
            found += _parsed(self._text(_chosen(part), [given]))
        return found

    def _text(self, sql: str, values: Iterable[Any]) -> str:
        """The numbers that a statement selects, with commas: one step, since at each the thread may wait."""
        ((text,),) = self._db.execute(f"SELECT group_concat(asset) FROM ({sql})", tuple(values))
        return text or ""


def _count(text: str) -> int:
    return text.count(",") + 1 if text else 0


def _parsed(text: str, most: int = -1) -> array[int]:
    """The first numbers, or all."""
    return array("q", map(int, text.split(",", most)[: most if most > 0 else None])) if text else array("q")


def _chosen(part: Part) -> str:
    chosen = f"SELECT asset FROM assets WHERE asset IN (SELECT value FROM json_each(?)) AND {part.condition}"
    return f"{chosen} ORDER BY {order_sql(part)} LIMIT -1"
