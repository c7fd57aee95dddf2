"""Where the positions of long lists lie, so that a page far down is found without passing what is above it.

A *rank* divides the list of one source in one order into blocks of some hundred assets. Of each it remembers
the key of the last one (the values that the list is sorted by) and how many assets it holds with which
features. The block in which a position lies follows from the counts, for any filter of features; the page is
then read from the index behind the key of the block before.

A rank is never older than the moment that is asked about: the log of moves says which keys have gone and
which have come, and each changes the count of one block. It is built in small portions, between requests.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scanner.querysql import ALL, Branch, Filter, Order, Part, Row, Source, Term, behind, list_sql
from scanner.stretches import Stretch

LOG = logging.getLogger(__name__)
BLOCK = 128
MOST_MOVES = 5_000
"""What is further behind than this is built anew."""
IN_USE_SECONDS = 60.0
MOST_BLOCKS = 32_768
"""Of all ranks together; each takes some 200 bytes."""

Key = tuple[Any, ...]
Counts = np.ndarray[tuple[int, int], np.dtype[np.int64]]

COMBINATIONS = {
    None: list(range(8)),
    "segment": [has for has in range(8) if has & 1],
    "embedding": [has for has in range(8) if has & 2],
    "keypoints": [has for has in range(8) if has & 4],
    "any": list(range(1, 8)),
    "none": [0],
}
"""Which of the eight combinations of features each filter lets through."""

_NO_FILTER = Filter()


class Rank:
    """The blocks of one list. ``complete`` once they reach to its end; until then they cover its head."""

    def __init__(self, source: Source, order: Order) -> None:
        self._source = source
        self._order = order
        # The end of every block but the last, inclusive: a part of the order, and what is sorted by in it,
        # so that it can be compared. A part alone is the end of the one before.
        self._ends: list[Key] = []
        self._counts: Counts = np.zeros((64, 8), np.int64)
        self._sums: dict[str | None, list[int]] = {}
        self.complete = False
        self.used = time.monotonic()

    def __len__(self) -> int:
        return len(self._ends) + 1

    # --- keeping it true ---------------------------------------------------------------------------

    def extend(self, db: Any) -> None:
        """Add the next block."""
        place = len(self._ends)
        rows = self._read(db, place, BLOCK)
        self._sums.clear()
        self._counts[place] = np.bincount([row[0] for row in rows], minlength=8)
        if len(rows) == BLOCK:
            self._ends.append(self._key(self._part(place), rows[-1][1:]))
        elif self._part(place) + 1 < len(self._order):
            self._ends.append((self._part(place) + 1,))
        else:
            self.complete = True
        self._make_room()

    def concerns(self, type: int, scope: int, owner: str | None) -> bool:
        """Whether an asset is in this list."""
        source = self._source
        if type != source.type:
            return False
        return scope in source.scopes if source.owner is None else owner == source.owner

    def move(self, sign: int, has: int, values: dict[str, Any]) -> None:
        """An asset with these values has come or gone."""
        key = self._key_of(values)
        place = bisect_left(self._ends, key)
        if place < len(self._ends) or self.complete:
            self._counts[place, has] += sign
            self._sums.clear()

    def split(self, db: Any) -> bool:
        """Divide blocks that have grown to twice their size, as those where new assets arrive do.

        False if what is there is not what was counted, so that the rank is good for nothing.
        """
        grown = np.flatnonzero(self._counts[: len(self)].sum(axis=1) > 2 * BLOCK)
        return all(self._split(db, place) for place in grown[::-1].tolist())

    @property
    def scattered(self) -> bool:
        """Whether so much has moved that most blocks are nearly empty."""
        return self.complete and len(self) > 64 and self.total(None) < len(self) * BLOCK // 8

    def _split(self, db: Any, place: int) -> bool:
        size = int(self._counts[place].sum())
        rows = self._read(db, place, size)
        if len(rows) != size:
            LOG.error("a rank of %s counted %d assets where there are %d", self._source, size, len(rows))
            return False
        parts = [rows[start : start + BLOCK] for start in range(0, size, BLOCK)]
        counts = np.array([np.bincount([row[0] for row in part], minlength=8) for part in parts], np.int64)
        used = self._counts[: len(self)]
        self._counts = np.concatenate([used[:place], counts, used[place + 1 :]])
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
        return self._until(has)[-1]

    def page(
        self, db: Any, has: str | None, filters: Filter, offset: int, limit: int, columns: str
    ) -> list[Row]:
        """These columns of the assets at these positions; ``filters`` is what ``has`` means in SQL."""
        until = self._until(has)
        limit = min(limit, until[-1] - offset)
        found: list[Row] = []
        place = bisect_right(until, offset)
        while limit > 0:
            before = until[place - 1] if place else 0
            end = self._run_end(until, place, offset + limit)
            size = min(until[end - 1] - offset, limit)
            found += self._rows(db, place, filters, size, offset - before, columns)
            offset, limit = offset + size, limit - size
            place = bisect_right(until, offset)
        return found

    def _run_end(self, until: Sequence[int], place: int, wanted: int) -> int:
        """Behind the last of the blocks that are read at once: what follows an empty one is read apart."""
        end, part = place + 1, self._part(place)
        while (
            end < len(until)
            and until[end - 1] < wanted
            and until[end] > until[end - 1]
            and self._part(end) == part
        ):
            end += 1
        return end

    def _part(self, place: int) -> int:
        """The part of the order in which a block lies; no block lies in two."""
        return int(self._ends[place - 1][0]) if place else 0

    def _until(self, has: str | None) -> list[int]:
        """How many there are up to the end of each block."""
        sums = self._sums.get(has)
        if sums is None:
            counts = self._counts[: len(self)]
            sums = self._sums[has] = counts[:, COMBINATIONS[has]].sum(axis=1).cumsum().tolist()
        return sums

    def _rows(self, db: Any, place: int, filters: Filter, limit: int, offset: int, columns: str) -> list[Row]:
        """These columns of assets behind the begin of a block, in its part of the order."""
        found: list[Row] = []
        part, within = self._begin(place)
        for condition in within:
            stretch = Stretch(db, self._source, part, filters, condition)
            rows = stretch.rows(limit - len(found), offset, columns)
            found += rows
            if len(found) == limit or condition is within[-1]:
                break
            offset = 0 if rows else offset - stretch.count(offset)
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

    def _key_of(self, named: Mapping[str, Any]) -> Key:
        """The key of an asset: it is in the first part for which it has all values."""
        rows = [[named[term.column] for term in part.terms] for part in self._order]
        part = next(number for number, values in enumerate(rows) if None not in values)
        return self._key(part, rows[part])


def _signed(terms: Sequence[Term], values: Sequence[Any]) -> Key:
    """Values so that they compare as the order does, or back from that."""
    return tuple(
        -value if term.descending and term.column != "id" else value
        for term, value in zip(terms, values, strict=True)
    )


_MOVES = "SELECT sign, type, scope, owner, id, has, updated, image_updated, ts FROM moves WHERE seq>?"


class Ranks:
    """Every rank that is remembered, as of one number of the log of moves; the oldest make room."""

    def __init__(self) -> None:
        self._ranks: OrderedDict[tuple[Any, ...], Rank] = OrderedDict()
        self._seq = 0

    def __len__(self) -> int:
        return len(self._ranks)

    @property
    def building(self) -> bool:
        """Whether there is something for :meth:`build` to do."""
        return any(not rank.complete for rank in self._ranks.values())

    def find(self, source: Source, order: Order, rows: int) -> Rank | None:
        """The rank of a list of so many rows, if it is there and complete; where none is, one is begun."""
        key = (source.type, tuple(source.scopes), source.owner, order)
        rank, now = self._ranks.get(key), time.monotonic()
        if rank is None:
            if self._has_room(rows, now):
                self._ranks[key] = Rank(source, order)
            return None
        rank.used = now
        self._ranks.move_to_end(key)
        return rank if rank.complete else None

    def _has_room(self, rows: int, now: float) -> bool:
        """Whether a rank can be made without another in use being given up, to be made again in its turn."""
        blocks = sum(map(len, self._ranks.values())) + rows // BLOCK
        oldest = next(iter(self._ranks.values()), None)
        return blocks <= MOST_BLOCKS or oldest is None or oldest.used < now - IN_USE_SECONDS

    def forget(self) -> None:
        """Drop everything."""
        self._ranks.clear()

    def catch_up(self, db: Any, seq: int) -> None:
        """Make all ranks true for this number of the log, in the reader's transaction."""
        if seq == self._seq or not self._ranks:
            self._seq = seq
            return
        if not 0 < seq - self._seq <= MOST_MOVES:
            self.forget()
        else:
            self._apply(db)
        self._seq = seq

    def build(self, db: Any, blocks: int) -> None:
        """Extend a rank that is not complete by some blocks, in the reader's transaction."""
        rank = next((rank for rank in self._ranks.values() if not rank.complete), None)
        while rank is not None and blocks and not rank.complete:
            rank.extend(db)
            blocks -= 1
        while len(self._ranks) > 1 and sum(map(len, self._ranks.values())) > MOST_BLOCKS:
            self._ranks.popitem(last=False)

    def _apply(self, db: Any) -> None:
        moved = set()
        for sign, type, scope, owner, *values in db.execute(_MOVES, (self._seq,)):
            named = dict(zip(("id", "has", "updated", "image_updated", "ts"), values, strict=True))
            for key, rank in self._ranks.items():
                if sign and rank.concerns(type, scope, owner):
                    rank.move(sign, named["has"], named)
                    moved.add(key)
        for key in moved:
            if not self._ranks[key].split(db) or self._ranks[key].scattered:
                del self._ranks[key]
