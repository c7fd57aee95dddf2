"""Which directories, and which names in them, have to be looked at again.

The set holds hints, never facts: that a directory is in it says "look", not what happened there. It is
bounded whatever the rate of events. Many names collapse into their directory, many directories into
their parents, at worst into the data root; a coarser hint costs time and loses nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MAX_NAMES = 500
MAX_DIRECTORIES = 50_000
MAX_HELD_NAMES = 200_000
SETTLED_FACTOR = 10
"""A directory that is dirty as a whole remembers this many times ``max_names`` settled names."""


@dataclass(frozen=True, slots=True)
class Dirty:
    """A directory (relative to the data root, ``""`` = the data root) to look at again.

    ``names`` are the names to look at, None for the whole directory. ``settled`` are names whose last
    event said that their writer is done. ``recursive`` asks for every known directory below as well.
    """

    directory: str
    names: frozenset[str] | None
    settled: frozenset[str]
    recursive: bool

    @property
    def paths(self) -> int:
        """For how many pending paths this stands."""
        return 1 if self.names is None else len(self.names)


@dataclass(slots=True)
class _Entry:
    """``looks`` maps names to "is settled"; once ``whole``, only settled names are kept in it."""

    whole: bool = False
    recursive: bool = False
    looks: dict[str, bool] = field(default_factory=dict)

    @property
    def paths(self) -> int:
        return 1 if self.whole else len(self.looks)


class DirtySet:
    """A thread-safe, bounded, self-deduplicating queue of directories, oldest first.

    A directory keeps its place while further names are marked in it, and goes to the end when it is
    marked after it was taken; so neither a busy directory nor a quiet one starves. The same directory
    can be handed out again while an earlier hint for it has not been reported as done.
    """

    def __init__(
        self,
        max_names: int = MAX_NAMES,
        max_directories: int = MAX_DIRECTORIES,
        max_held_names: int = MAX_HELD_NAMES,
    ) -> None:
        if min(max_names, max_directories, max_held_names) < 1:
            raise ValueError("the bounds of a dirty set are at least 1")
        self._max_names = max_names
        self._max_directories = max_directories
        self._max_held = max_held_names
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._held = 0
        self._queued = 0
        self._taken = 0
        self._served = 0
        self._woken = False
        self._changed = threading.Condition(threading.Lock())

    def mark(
        self,
        directory: str,
        name: str | None = None,
        *,
        settled: bool | None = False,
        recursive: bool = False,
    ) -> None:
        """Ask for a look at one name, or with ``name`` None at the whole directory.

        ``settled`` True says that the name's writer has closed it or renamed it into place, False that
        it may be growing, None leaves what was known. ``recursive`` implies the whole directory.
        """
        with self._changed:
            entry = self._entry(directory)
            if name is None or recursive:
                self._make_whole(entry)
                entry.recursive |= recursive
            if name is not None:
                self._look(entry, name, settled)
            self._bound()
            self._changed.notify()

    def mark_names(self, directory: str, names: Mapping[str, bool | None]) -> None:
        """Mark several names of one directory at once; the values are as ``settled`` of :meth:`mark`."""
        if not names:
            return
        with self._changed:
            entry = self._entry(directory)
            for name, settled in names.items():
                self._look(entry, name, settled)
            self._bound()
            self._changed.notify()

    def mark_all(self) -> None:
        """Say that anything may have changed: the data root becomes dirty, recursively, in O(1)."""
        self.mark("", recursive=True)

    def take(self, limit: int) -> list[Dirty]:
        """Remove and return up to ``limit`` directories, oldest first; report them with :meth:`done`."""
        taken: list[Dirty] = []
        with self._changed:
            while self._entries and len(taken) < limit:
                directory, entry = self._entries.popitem(last=False)
                taken.append(_frozen(directory, entry))
                self._held -= len(entry.looks)
                self._queued -= entry.paths
                self._taken += entry.paths
                self._served += 1
        return taken

    def mark_of_now(self) -> int:
        """For :meth:`passed`: stands for all the hints that are here now."""
        with self._changed:
            return self._served + len(self._entries)

    def passed(self, mark: int) -> bool:
        """Whether every hint that was here at :meth:`mark_of_now` has been taken."""
        with self._changed:
            return self._served >= mark or not self._entries

    def done(self, items: Iterable[Dirty]) -> None:
        """Say that taken hints have been followed; until then they count as pending.

        Raises:
            ValueError: more was reported as done than had been taken.
        """
        paths = sum(item.paths for item in items)
        with self._changed:
            if paths > self._taken:
                raise ValueError(f"{paths} paths reported as done, but only {self._taken} were taken")
            self._taken -= paths

    def wait(self, timeout: float | None) -> bool:
        """Block until something is dirty or :meth:`wake` was called; False after ``timeout`` seconds."""
        with self._changed:
            happened = self._changed.wait_for(lambda: self._woken or bool(self._entries), timeout)
            self._woken = False
            return happened

    def wake(self) -> None:
        """End the current :meth:`wait`, or the next one if nobody waits now."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    @property
    def pending(self) -> int:
        """How many paths are dirty, those that were taken and are not done included."""
        with self._changed:
            return self._queued + self._taken

    @property
    def directories(self) -> int:
        """How many directories wait to be taken."""
        with self._changed:
            return len(self._entries)

    def __len__(self) -> int:
        return self.pending

    def __bool__(self) -> bool:
        """An empty set is still a set: use :attr:`pending` to ask whether anything is dirty."""
        return True

    def _entry(self, directory: str) -> _Entry:
        entry = self._entries.get(directory)
        if entry is None:
            entry = self._entries[directory] = _Entry()
        return entry

    def _make_whole(self, entry: _Entry) -> None:
        if entry.whole:
            return
        settled = {name: True for name, is_settled in entry.looks.items() if is_settled}
        self._queued += 1 - len(entry.looks)
        self._held += len(settled) - len(entry.looks)
        entry.looks = settled
        entry.whole = True

    def _look(self, entry: _Entry, name: str, settled: bool | None) -> None:
        looks = entry.looks
        if not entry.whole:
            if name in looks:
                if settled is not None:
                    looks[name] = settled
                return
            if len(looks) < self._max_names and self._held < self._max_held:
                looks[name] = bool(settled)
                self._held += 1
                self._queued += 1
                return
            self._make_whole(entry)
        self._settle(entry.looks, name, settled)

    def _settle(self, looks: dict[str, bool], name: str, settled: bool | None) -> None:
        """In a directory that is dirty as a whole: remember who is settled, as far as there is room."""
        if settled is False and looks.pop(name, False):
            self._held -= 1
        room = len(looks) < self._max_names * SETTLED_FACTOR and self._held < self._max_held
        if settled and room and name not in looks:
            looks[name] = True
            self._held += 1

    def _bound(self) -> None:
        """Past the bound, lift the deepest directories into their parents until half is free again."""
        if len(self._entries) <= self._max_directories:
            return
        while len(self._entries) > max(1, self._max_directories // 2):
            deepest = max(map(_depth, self._entries))
            self._lift(deepest)

    def _lift(self, depth: int) -> None:
        lifted: OrderedDict[str, _Entry] = OrderedDict()
        for directory, entry in self._entries.items():
            if _depth(directory) < depth:
                _merge(lifted.setdefault(directory, _Entry()), entry)
            else:
                parent = lifted.setdefault(directory.rpartition("/")[0], _Entry())
                parent.whole = parent.recursive = True
                parent.looks = {name: True for name, is_settled in parent.looks.items() if is_settled}
        self._entries = lifted
        self._held = sum(len(entry.looks) for entry in lifted.values())
        self._queued = sum(entry.paths for entry in lifted.values())


def _merge(into: _Entry, entry: _Entry) -> None:
    """Take an entry's hints over into one that is new or has been made whole by a child before."""
    if into.whole and not entry.whole:
        into.looks = {name: True for name, is_settled in entry.looks.items() if is_settled}
    else:
        into.looks = entry.looks
    into.whole |= entry.whole
    into.recursive |= entry.recursive


def _frozen(directory: str, entry: _Entry) -> Dirty:
    settled = frozenset(name for name, is_settled in entry.looks.items() if is_settled)
    return Dirty(directory, None if entry.whole else frozenset(entry.looks), settled, entry.recursive)


def covers(hints: Mapping[str, Dirty], path: str) -> bool:
    """Whether one of the hints, by directory, is about the path or anything above it."""
    while path:
        directory, _, name = path.rpartition("/")
        hint = hints.get(directory)
        if hint is not None and (hint.names is None or name in hint.names):
            return True
        path = directory
    return False


def _depth(directory: str) -> int:
    """0 for the data root, 1 for its children, and so on."""
    return directory.count("/") + 1 if directory else 0
