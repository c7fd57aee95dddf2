"""What the one process that writes the index remembers of mirrored rows, by eight bytes a value.

All hashes are Python's own, which hold for as long as the process lives.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
_Run = tuple[Numbers, Numbers]
_RUNS = 4  # how many runs a search looks through at most
_UNKNOWN = 0  # no digest; a row whose digest is 0 is merely compared each time


def hashes_of(values: Collection[Any]) -> Numbers:
    """The hash of each value."""
    return np.fromiter(map(hash, values), np.int64, len(values))


class _Runs:
    """Pairs of numbers in a few runs, each sorted by the first and at least twice as long as the next."""

    def __init__(self) -> None:
        self._added: list[_Run] = []
        self._sorted: list[_Run] = []

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in (*self._sorted, *self._added))

    def add(self, keys: Numbers, values: Numbers) -> None:
        """Remember these pairs too."""
        if len(keys):
            self._added.append((keys, values))

    def all(self) -> Sequence[_Run]:
        """Every run, in order."""
        if self._added:
            run, self._added = _merged(self._added), []
            while self._sorted and (len(self._sorted) >= _RUNS or len(self._sorted[-1][0]) < 2 * len(run[0])):
                run = _merged([self._sorted.pop(), run])
            self._sorted.append(run)
        return self._sorted


def _merged(parts: Sequence[_Run]) -> _Run:
    keys = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[1] for part in parts])
    order = np.argsort(keys, kind="stable")  # which takes advantage of what is in order already
    return keys[order], values[order]


class Naming:
    """Which rows may name a path.

    It only ever suggests: a row that it answers may have changed or gone since, so whoever asks holds the row
    itself against the path. That is why nothing is taken out of it, and why a transaction that is rolled back
    does not concern it.
    """

    def __init__(self) -> None:
        self._runs = _Runs()

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, paths: Sequence[str], rows: Sequence[int]) -> None:
        """Each path may be named by the row at the same place."""
        numbers = (
            np.arange(rows.start, rows.stop, rows.step)
            if isinstance(rows, range)
            else np.array(rows, np.int64)
        )
        self._runs.add(hashes_of(paths), numbers)

    def rows(self, paths: Collection[str]) -> list[int]:
        """The rows that may name any of the paths."""
        wanted = hashes_of(paths)
        found = [row for hashes, rows in self._runs.all() for row in _search(hashes, rows, wanted)]
        return list(dict.fromkeys(found))


def _search(hashes: Numbers, rows: Numbers, wanted: Numbers) -> list[int]:
    first = np.searchsorted(hashes, wanted, "left")
    last = np.searchsorted(hashes, wanted, "right")
    hits = np.flatnonzero(first != last)
    return [row for hit in hits.tolist() for row in rows[first[hit] : last[hit]].tolist()]


class Digests:
    """How each row was when it was last written: one that comes again is known without reading it."""

    def __init__(self) -> None:
        self._runs = _Runs()

    def same(self, keys: Numbers, digests: Numbers) -> Flags:
        """For each key whether its row is known to be like this."""
        result = np.zeros(len(keys), np.bool_)
        for known, values in self._runs.all():
            places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            result |= (known[places] == keys) & (values[places] == digests)
        known_now: Flags = result & (digests != _UNKNOWN)
        return known_now

    def add(self, keys: Numbers, digests: Numbers) -> None:
        """These rows, of which nothing was known, are like this."""
        self._runs.add(keys, digests)

    def put(self, keys: Numbers, digests: Numbers) -> None:
        """The rows are like this now; each key is there once."""
        new = np.ones(len(keys), np.bool_)
        for known, values in self._runs.all():
            places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            found = known[places] == keys
            values[places[found]] = digests[found]
            new &= ~found
        self._runs.add(keys[new], digests[new])

    def drop(self, keys: Numbers) -> None:
        """Know nothing of these rows any more."""
        self.put(keys, np.full(len(keys), _UNKNOWN, np.int64))

    def forget(self) -> None:
        """Know nothing of any row: what was remembered may never have been written."""
        self._runs = _Runs()
