"""Many rows a statement: each one costs, and each of its steps lets another thread of Python go first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any

TOGETHER = 50
"""How many rows a statement inserts: more gain little, unless another thread waits at each."""


class Insertion:
    """Inserts rows ``into`` a table, each by ``values``, the text of one row, ``together`` so many.

    ``verb`` may say to replace what is there.
    """

    def __init__(self, into: str, values: str, together: int = TOGETHER, verb: str = "INSERT") -> None:
        self._together = together
        self._one = f"{verb} INTO {into} VALUES {values}"
        self._many = self._one + f",{values}" * (together - 1)

    def run(self, connection: Any, rows: Iterable[Sequence[Any]]) -> None:
        """Insert them, in order, inside the caller's transaction. Raises :class:`apsw.ConstraintError`."""
        waiting = iter(rows)
        while len(some := list(islice(waiting, self._together))) == self._together:
            connection.execute(self._many, list(chain.from_iterable(some)))
        connection.executemany(self._one, some)
