"""When directories are swept, and which: all of them now and then, those without events more often."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from scanner.config import Config
from scanner.index import Index
from scanner.sweep import Changed, Slice, SweepClock, changed_directories, stat_below
from scanner.watch import DirectoryWatcher

SWEEP_SECONDS = 10.0
IN_FLIGHT_NS = 2_000_000_000
"""Two changes of a directory can share an mtime: one that was recent at a sweep is looked at once more."""


class Sweeper:
    """Sweeps a tree of known directories, a slice at a time."""

    def __init__(self, config: Config, index: Index, watcher: DirectoryWatcher) -> None:
        self._tree = index.tree
        self._db: Any = index.db
        self._watcher = watcher
        self._look = stat_below(config.data.root)
        self.everything = SweepClock(SWEEP_SECONDS)
        self.without_events = SweepClock(config.scan.polling_seconds)
        self._clock = self.everything
        self._slices: Iterator[Slice] | None = None
        self._spent = 0.0
        self._began_ns: dict[SweepClock, int] = {}

    @property
    def running(self) -> bool:
        """Whether a sweep is under way."""
        return self._slices is not None

    def begin(self, now: float) -> bool:
        """Begin the sweep that is due; False where none is."""
        if self.everything.due(now):
            self._begin(self.everything, self._tree.known(), now)
            return True
        if not self.without_events.due(now):
            return False
        polled = self._watcher.polled()
        if not polled:
            self.without_events.started(now)
            self.without_events.finished(now)
            return False
        most = len(polled) * 2 > self._watcher.stats().needed
        self._begin(self.without_events, self._tree.known() if most else self._some(polled), now)
        return True

    def step(self) -> list[Changed] | None:
        """Sweep one slice; what has changed in it, None at the end of the sweep."""
        if self._slices is None:
            return None
        started = time.monotonic()
        part = next(self._slices, None)
        now = time.monotonic()
        self._spent += now - started
        if part is not None:
            return part.changed
        self._slices = None
        self._clock.finished(now, self._spent)
        return None

    def abandon(self) -> None:
        """A full pass looks at everything anyway."""
        if self._slices is not None:
            self._slices = None
            self._clock.finished(time.monotonic(), self._spent)

    def _begin(self, clock: SweepClock, known: Iterable[tuple[str, int, int]], now: float) -> None:
        clock.started(now)
        self._clock, self._spent = clock, 0.0
        before = self._began_ns.get(clock)
        self._began_ns[clock] = time.time_ns()
        recent = None if before is None else before - IN_FLIGHT_NS
        self._slices = changed_directories(known, self._look, recent_ns=recent)

    def _some(self, paths: Iterable[str]) -> Iterator[tuple[str, int, int]]:
        for path in sorted(paths):
            row = self._db.execute("SELECT path, mtime, inode FROM dirs WHERE path=?", (path,)).fetchone()
            if row is not None:
                yield row
