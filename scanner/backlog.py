"""Work on very many rows of the index, a slice at a time, so that nothing else waits for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

from scanner.index import Index

STEP_SECONDS = 0.02
SLICE = 200
"""How many rows a slice should take in hand: a few milliseconds."""

Slices = Iterator[None]
"""Does a slice of the work with every ``next``, inside a transaction that others may share; ends when there
is no more."""


Work = Callable[[], Slices]


class Backlog:
    """Does one piece of work after the other, in the order in which they came."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._waiting: deque[Work] = deque()
        self._current: Slices | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, work: Work) -> None:
        """Do this as well, behind what waits already."""
        self._waiting.append(work)

    def step(self) -> bool:
        """Go on for a moment; True while there is more.

        Raises :class:`scanner.exceptions.IndexFull`; the work that it came of begins anew with the next call.
        """
        if not self._waiting:
            return False
        done: list[Work] = []
        try:
            with self._index.transaction():
                self._go_on(time.monotonic() + STEP_SECONDS, done)
        except BaseException:
            self._current = None
            self._waiting.extendleft(reversed(done))
            raise
        return bool(self._waiting)

    def _go_on(self, end: float, done: list[Work]) -> None:
        while self._waiting and time.monotonic() < end:
            slices = self._current or self._waiting[0]()
            self._current = None
            if next(slices, self) is self:
                done.append(self._waiting.popleft())
            else:
                self._current = slices
