"""Counts the differences that a sweep or a full pass finds and no event told of: the watcher's measure.

That a check finds a difference does not mean that it was missed: its event may still wait in the kernel's
queue, or as a hint. So each one is a suspect at first. It is missed if it still is one when everything
that had been queued by then has been read and followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from scanner.dirty import Dirty, DirtySet, covers

MAX_SUSPECTS = 100_000
"""Beyond that many at once they are counted without waiting: no watcher is that much behind."""


class Missed:
    """Suspects by path, and in ``count`` how many were missed.

    ``caught_up`` is asked whether all events that had happened before a moment (monotonic seconds) have
    become hints.
    """

    def __init__(self, dirty: DirtySet, caught_up: Callable[[float], bool]) -> None:
        self._dirty = dirty
        self._caught_up = caught_up
        self._new: set[str] = set()
        self._since = 0.0
        self._waiting: set[str] = set()
        self._mark: int | None = None
        self.count = 0

    @property
    def suspects(self) -> int:
        """How many differences are not decided yet."""
        return len(self._new) + len(self._waiting)

    def suspect(self, paths: Iterable[str], now: float) -> None:
        """These paths were not as the index had them, and nothing had told so."""
        self._new.update(paths)
        self._since = now
        if len(self._new) > MAX_SUSPECTS:
            self.count += len(self._new)
            self._new.clear()

    def told(self, items: Sequence[Dirty]) -> None:
        """These hints were taken up: what they are about was not missed."""
        if not self._new and not self._waiting:
            return
        by_directory = {item.directory: item for item in items}
        for suspects in (self._new, self._waiting):
            suspects -= {path for path in suspects if covers(by_directory, path)}

    def settle(self) -> None:
        """Count what has not been told of in time; call it often."""
        if self._mark is not None and self._dirty.passed(self._mark):
            self.count += len(self._waiting)
            self._waiting.clear()
            self._mark = None
        if self._mark is None and self._new and self._caught_up(self._since):
            self._waiting, self._new = self._new, set()
            self._mark = self._dirty.mark_of_now()
