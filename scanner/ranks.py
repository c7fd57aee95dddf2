"""The ranks of all lists that are asked for far down: which there are, and that each is true.

A rank (see :mod:`scanner.division`) is never older than the moment that is asked about. It is made beside the
requests, on a connection of its own, and then follows the log of moves from the moment that it was made of.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from scanner.division import MOVED, Division, Rank, blocks

MOST_MOVES = 5_000
"""What is further behind than this is built anew."""
IN_USE_SECONDS = 60.0
MOST_BLOCKS = 32_768
"""Of all ranks together; each takes some 750 bytes."""

_MOVES = f"SELECT {', '.join(MOVED)} FROM moves WHERE seq>?"


class Ranks:
    """Every rank that is remembered, as of one number of the log of moves; the oldest make room."""

    def __init__(self) -> None:
        self._ranks: OrderedDict[tuple[Any, ...], Rank] = OrderedDict()
        self._wanted: dict[tuple[Any, ...], Division] = {}
        self._made: list[tuple[Rank, int]] = []
        self._seq = 0

    def __len__(self) -> int:
        return len(self._ranks)

    @property
    def wanted(self) -> Division | None:
        """A list that was asked for and is not divided."""
        return next(iter(self._wanted.values()), None)

    def find(self, division: Division, rows: int | None) -> Rank | None:
        """The rank of a list, if it is there; where none is, one is wanted if the list has so many rows."""
        key, now = division.key, time.monotonic()
        rank = self._ranks.get(key)
        if rank is None:
            if rows is not None and self._has_room(rows, now):
                self._wanted[key] = division
            return None
        rank.used = now
        self._ranks.move_to_end(key)
        return rank

    def _has_room(self, rows: int, now: float) -> bool:
        """Whether a rank can be made without another in use being given up, to be made again in its turn."""
        needed = sum(map(len, self._ranks.values())) + blocks(rows)
        oldest = next(iter(self._ranks.values()), None)
        return needed <= MOST_BLOCKS or oldest is None or oldest.used < now - IN_USE_SECONDS

    def forget(self) -> None:
        """Drop everything."""
        self._ranks.clear()

    def adopt(self, rank: Rank, seq: int) -> None:
        """Take a rank that was made of the index as it was at this number of the log."""
        self._wanted.pop(rank.division.key, None)
        self._made.append((rank, seq))

    def catch_up(self, db: Any, seq: int) -> None:
        """Make all ranks true for this number of the log, in the reader's transaction."""
        if seq != self._seq and self._ranks:
            if 0 < seq - self._seq <= MOST_MOVES:
                self._follow(db, self._seq, list(self._ranks.values()))
            else:
                self.forget()
        self._seq = seq
        if self._made:
            self._take_in(db)

    def _take_in(self, db: Any) -> None:
        """Ranks that were made meanwhile, which is before the reader's transaction, follow the log too."""
        made, self._made = self._made, []
        for rank, seq in made:
            if 0 <= self._seq - seq <= MOST_MOVES:
                self._ranks[rank.division.key] = rank
                self._follow(db, seq, [rank])
        while len(self._ranks) > 1 and sum(map(len, self._ranks.values())) > MOST_BLOCKS:
            self._ranks.popitem(last=False)

    def _follow(self, db: Any, seq: int, ranks: Sequence[Rank]) -> None:
        moves = db.execute(_MOVES, (seq,)).fetchall()
        for rank in ranks:
            rank.follow(moves)
            if not rank.split(db) or rank.scattered:
                del self._ranks[rank.division.key]
