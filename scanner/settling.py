"""Which files may still be growing, and when to look at them again.

A file that was closed or renamed into place counts at once. Any other file that is younger than a second
counts when a second look, a second later, finds it unchanged; clocks of file servers are not trusted
beyond that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator

from scanner.records import Entry
from scanner.tree import join, split

SETTLE_SECONDS = 1.0


class Settling:
    """The files that were held back, each with the entry that was seen and when (monotonic seconds).

    ``seconds`` is how long a file must have been as it is.
    """

    def __init__(self, seconds: float = SETTLE_SECONDS) -> None:
        self.seconds = seconds
        self._held: dict[str, tuple[Entry, float]] = {}
        self._names: dict[str, set[str]] = {}
        self._due: deque[tuple[float, str]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, path: str) -> bool:
        """Whether the path is held back now."""
        return path in self._held

    def paths(self) -> frozenset[str]:
        """The paths that are held back now."""
        return frozenset(self._held)

    def holds(self, path: str, entry: Entry, *, settled: bool, wall_ns: int, now: float) -> bool:
        """Whether a new or different entry does not count yet; remembers it if so."""
        if settled or wall_ns - max(entry.mtime_ns, entry.ctime_ns) >= self.seconds * 1e9:
            self.drop(path)
            return False
        before = self._held.get(path)
        if before is not None and before[0] == entry:
            if now - before[1] >= self.seconds:
                self.drop(path)
                return False
            return True
        self._held[path] = (entry, now)
        directory, name = split(path)
        self._names.setdefault(directory, set()).add(name)
        self._due.append((now + self.seconds, path))
        return True

    def drop(self, path: str) -> None:
        """The file is gone, or is as the index has it."""
        if self._held.pop(path, None) is None:
            return
        directory, name = split(path)
        names = self._names[directory]
        names.discard(name)
        if not names:
            del self._names[directory]

    def looked_at(self, directory: str, names: Collection[str] | None, held: Collection[str]) -> None:
        """A directory, or some names in it, were looked at, and only these paths are held back now: any
        other is gone, or is again as it was before."""
        known = self._names.get(directory, set())
        for name in [name for name in known if names is None or name in names]:
            path = join(directory, name)
            if path not in held:
                self.drop(path)

    def drop_directory(self, directory: str) -> None:
        """The directory is gone, and no look at it will tell of its files any more."""
        for name in self._names.pop(directory, ()):
            del self._held[join(directory, name)]

    def drop_directories(self, directories: Iterable[str]) -> None:
        """Nothing in these may be growing still, or they are gone."""
        if self._held:
            for directory in directories:
                self.drop_directory(directory)

    def due(self, now: float) -> dict[str, dict[str, bool | None]]:
        """The names to look at again, by directory, in the form in which hints are marked."""
        result: dict[str, dict[str, bool | None]] = {}
        for path in self._pop_due(now):
            directory, name = split(path)
            result.setdefault(directory, {})[name] = None
        return result

    def next_due(self) -> float | None:
        """When the next look is due, in monotonic seconds."""
        return self._due[0][0] if self._due else None

    def _pop_due(self, now: float) -> Iterator[str]:
        while self._due and self._due[0][0] <= now:
            _, path = self._due.popleft()
            if path in self._held:
                yield path
