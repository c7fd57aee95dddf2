"""Where the positions of a long list lie, so that a page far down is found without passing what is above it.

A *rank* divides the list of one source in one order into blocks of some hundred assets. Of each it remembers
the key of the last one (the values that the list is sorted by), how many assets it holds with which features,
and which these are. The block in which a position lies follows from the counts, for any filter of features;
the page is then read by the numbers of its assets.

The log of moves says which keys have gone and which have come. Each changes the count of one block, whose
assets are then read from the index behind the key of the block before when somebody asks for them.
"""

from __future__ import annotations

import json
import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from scanner.querysql import (
    ALL,
    HAS_FILTERS,
    Branch,
    Filter,
    Order,
    Part,
    Row,
    Source,
    Term,
    behind,
    list_sql,
)
from scanner.stretches import Stretch

LOG = logging.getLogger(__name__)
BLOCK = 128
RUN = 256
"""How many blocks are read at once when a list is divided."""

Key = tuple[Any, ...]
Counts = np.ndarray[tuple[int, int], np.dtype[np.int64]]
Sums = np.ndarray[tuple[int], np.dtype[np.int64]]
Held = np.ndarray[tuple[int], np.dtype[Any]]
"""The assets of a block in order, unsigned: eight times the number, and in the lowest bits the features."""
Move = tuple[Any, ...]
"""A row of the log, in the order of :data:`MOVED`."""

MOVED = ("sign", "type", "scope", "owner", "id", "has", "updated", "image_updated", "ts")

_EVERY = np.arange(8)
_LETS = {None: _EVERY >= 0} | {
    name: ((_EVERY & bits) != 0) == wanted for name, (bits, wanted) in HAS_FILTERS.items()
}
"""Which of the eight combinations of features each filter lets through."""
_CHOSEN = {name: lets.astype(np.int64) for name, lets in _LETS.items()}
_SMALL, _LARGE = np.dtype(np.uint32), np.dtype(np.uint64)
_NO_FILTER = Filter()


class Division(NamedTuple):
    """A list that is to be divided."""

    source: Source
    order: Order

    @property
    def key(self) -> tuple[Any, ...]:
        """What it is remembered by."""
        return (self.source.type, tuple(self.source.scopes), self.source.owner, self.order)


class Rank:
    """The blocks of one list, as it was when it was divided and as the log has changed it since."""

    def __init__(self, db: Any, division: Division) -> None:
        self.division = division
        self._source, self._order = division
        self._key_of = _keys(self._order)
        # The end of every block but the last, inclusive: a part of the order, and what is sorted by in it,
        # so that it can be compared. A part alone is the end of the one before.
        self._ends: list[Key] = []
        self._counts: Counts = np.zeros((64, 8), np.int64)
        self._sums: dict[str | None, Sums] = {}
        self._sizes: list[int] = []  # of the blocks
        self._held: list[bytes | None] = []  # what is in them; None where something has moved since
        self._grown: set[int] = set()
        self.used = time.monotonic()
        while self._extend(db):
            pass

    def __len__(self) -> int:
        return len(self._ends) + 1

    # --- keeping it true ---------------------------------------------------------------------------

    def _extend(self, db: Any) -> bool:
        """Add the next blocks; False if they reach to the end."""
        part = self._part(len(self._ends))
        has, numbers = self._run(db, len(self._ends))
        held = _packed(list(map(int, numbers)), _digits(has))
        for start in range(0, len(held), BLOCK):
            self._add(held[start : start + BLOCK])
        last = numbers[BLOCK - 1 :: BLOCK]
        self._ends += (self._key(part, values) for values in _values_of(db, self._order[part], last))
        if len(has) == RUN * BLOCK:
            return True
        if len(has) % BLOCK == 0:
            self._add(held[:0])
        if part + 1 < len(self._order):
            self._ends.append((part + 1,))
            return True
        return False

    def _run(self, db: Any, place: int) -> tuple[str, list[str]]:
        """What begins with a block: the features, a digit each, and the numbers.

        It takes one or two steps of SQLite: at each of them this thread may have to wait for another.
        """
        has, numbers = "", ""
        part, within = self._begin(place)
        for stretch in within:
            sql, values = list_sql(self._source, part, _NO_FILTER, stretch, "asset, has & 7 AS has")
            both = f"SELECT group_concat(has, ''), group_concat(asset, ' ') FROM ({sql})"
            ((digits, assets),) = db.execute(both, [*values, RUN * BLOCK - len(has), 0])
            has, numbers = has + (digits or ""), f"{numbers} {assets or ''}"
            if len(has) == RUN * BLOCK:
                break
        return has, numbers.split()

    def _add(self, held: Held) -> None:
        self._counts[len(self._sizes)] = _counted(held)
        self._sizes.append(len(held))
        self._held.append(held.tobytes())
        if len(self._sizes) == len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])

    def follow(self, moves: Sequence[Move]) -> None:
        """Take in what has moved, in the order of the log."""
        type, scopes, owner = self._source.type, self._source.scopes, self._source.owner
        ours = [
            move
            for move in moves
            if move[1] == type and (move[2] in scopes if owner is None else move[3] == owner)
        ]
        for move in ours:
            place = bisect_left(self._ends, self._key_of(move))
            self._counts[place, move[5]] += move[0]
            self._sizes[place] += move[0]
            self._held[place] = None
            if self._sizes[place] > 2 * BLOCK:
                self._grown.add(place)
        if ours:
            self._sums.clear()

    def split(self, db: Any) -> bool:
        """Divide blocks that have grown to twice their size, as those where new assets arrive do.

        False if what is there is not what was counted, so that the rank is good for nothing.
        """
        grown, self._grown = self._grown, set()
        return all(
            self._sizes[place] <= 2 * BLOCK or self._split(db, place) for place in sorted(grown, reverse=True)
        )

    @property
    def scattered(self) -> bool:
        """Whether so much has moved that most blocks are nearly empty."""
        return len(self) > 64 and sum(self._sizes) < len(self) * BLOCK // 8

    def _split(self, db: Any, place: int) -> bool:
        size = self._sizes[place]
        rows = self._read(db, place, size)
        if len(rows) != size:
            LOG.error("a rank of %s counted %d assets where there are %d", self._source, size, len(rows))
            return False
        parts = [rows[start : start + BLOCK] for start in range(0, size, BLOCK)]
        counts = np.array([np.bincount([row[0] for row in part], minlength=8) for part in parts], np.int64)
        used = self._counts[: len(self)]
        self._counts = np.concatenate([used[:place], counts, used[place + 1 :]])
        self._sizes[place : place + 1] = map(len, parts)
        self._held[place : place + 1] = [None] * len(parts)
        number = self._part(place)
        self._ends[place:place] = [self._key(number, part[-1][1:]) for part in parts[:-1]]
        self._sums.clear()
        self._make_room()
        return True

    def _make_room(self) -> None:
        if len(self) >= len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])

    # --- asking --------------------------------------------------------------------------------------

    def total(self, has: str | None) -> int:
        """How many assets the filter lets through."""
        return int(self._until(has)[-1])

    def page(self, db: Any, has: str | None, offset: int, limit: int) -> list[int]:
        """The numbers of the assets at these positions, fewer where the index is not as it was counted."""
        until = self._until(has)
        place = int(until.searchsorted(offset, "right"))
        offset -= int(until[place - 1]) if place else 0
        found: list[int] = []
        while len(found) < limit and place < len(self):
            held = self._content(db, place)
            if held is None:
                break
            chosen = held if has is None else held[_LETS[has][held & 7]]
            found += (chosen[offset : offset + limit - len(found)] >> 3).tolist()
            place, offset = place + 1, 0
        return found

    def _content(self, db: Any, place: int) -> Held | None:
        """What is in a block; None where that is not what was counted."""
        content, size = self._held[place], self._sizes[place]
        if content is not None:
            return np.frombuffer(content, _SMALL if len(content) == size * _SMALL.itemsize else _LARGE)
        rows = self._rows(db, place, size)
        held = _packed([asset for asset, _ in rows], [has for _, has in rows])
        if not np.array_equal(_counted(held), self._counts[place]):
            return None
        self._held[place] = held.tobytes()
        return held

    def _part(self, place: int) -> int:
        """The part of the order in which a block lies; no block lies in two."""
        return int(self._ends[place - 1][0]) if place else 0

    def _until(self, has: str | None) -> Sums:
        """How many there are up to the end of each block."""
        sums = self._sums.get(has)
        if sums is None:
            sums = self._sums[has] = (self._counts[: len(self)] @ _CHOSEN[has]).cumsum()
        return sums

    def _rows(self, db: Any, place: int, size: int) -> list[Row]:
        """The number and the features of what begins with a block, in its part of the order."""
        found: list[Row] = []
        part, within = self._begin(place)
        for condition in within:
            if len(found) < size:
                stretch = Stretch(db, self._source, part, _NO_FILTER, condition)
                found += stretch.rows(size - len(found), 0, "asset, has & 7")
        return found

    def _read(self, db: Any, place: int, limit: int) -> list[tuple[Any, ...]]:
        """What begins with a block, in its part of the order: the features, and what it is sorted by."""
        rows: list[tuple[Any, ...]] = []
        part, within = self._begin(place)
        for stretch in within:
            sql, values = list_sql(self._source, part, _NO_FILTER, stretch, "has & 7")
            rows += db.execute(sql, [*values, limit - len(rows), 0]).fetchall()
            if len(rows) == limit:
                break
        return rows

    def _begin(self, place: int) -> tuple[Part, list[Branch]]:
        """The part in which a block lies, and where it begins: stretches that follow on each other."""
        part = self._order[self._part(place)]
        end = self._ends[place - 1][1:] if place else ()
        if not end:
            return part, [ALL]
        # What is equal to the end but for the id is passed over or sorted: where much is, it is read apart.
        near = self._ends[max(0, place - 2) : place + 1]
        few = sum(other[:2] == self._ends[place - 1][:2] for other in near) == 1
        return part, behind(part, _signed(part.terms, end), few=few)

    def _key(self, part: int, values: Sequence[Any]) -> Key:
        return (part, *_signed(self._order[part].terms, values))


def _keys(order: Order) -> Callable[[Move], Key]:
    """What gives the key of an asset in an order: it is in the part for which it has all values."""
    last = MOVED.index("id")
    valued = next((part for part in order if len(part.terms) == 2), None)
    if valued is None:
        return lambda move: (0, move[last])
    column, descending = MOVED.index(valued.terms[0].column), valued.terms[0].descending
    with_value = order.index(valued)
    without = 1 - with_value

    def key(move: Move) -> Key:
        value = move[column]
        if value is None:
            return (without, move[last])
        return (with_value, -value if descending else value, move[last])

    return key


def _signed(terms: Sequence[Term], values: Sequence[Any]) -> Key:
    """Values so that they compare as the order does, or back from that."""
    return tuple(
        -value if term.descending and term.column != "id" else value
        for term, value in zip(terms, values, strict=True)
    )


def _values_of(db: Any, part: Part, numbers: Sequence[str]) -> list[list[Any]]:
    """What these assets are sorted by, in one step of SQLite."""
    # JSON would round a number that is no integer; what is quoted comes back as it was.
    columns = ["quote(ts)" if term.column == "ts" else term.column for term in part.terms]
    sql = f"SELECT json_group_array(json_array(asset, {', '.join(columns)})) FROM assets WHERE asset IN "
    ((text,),) = db.execute(sql + "(SELECT value FROM json_each(?))", (f"[{','.join(numbers)}]",))
    found = {str(number): values for number, *values in json.loads(text)}
    rows = [found[number] for number in numbers]
    return [[float(values[0]), *values[1:]] for values in rows] if "quote(ts)" in columns else rows


def _digits(has: str) -> list[int]:
    """Combinations of features that are given as a digit each."""
    return [byte - 48 for byte in has.encode("ascii")]


def _packed(numbers: Sequence[int], has: Sequence[int]) -> Held:
    """The content of blocks, see :data:`Held`, in as few bytes as the largest number needs."""
    small = max(numbers, default=0) < 1 << 29
    packed: Held = np.array(numbers, np.uint64) << 3 | np.array(has, np.uint64)
    return packed.astype(_SMALL if small else _LARGE)


def _counted(held: Held) -> Sums:
    """How often each combination of features is in a block."""
    return np.bincount((held & 7).astype(np.int64), minlength=8)


def blocks(rows: int) -> int:
    """How many blocks a list of so many rows takes, roughly."""
    return rows // BLOCK
