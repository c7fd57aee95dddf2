"""The part of the index that says what is on disk: directories and the files in them.

A listing is made true here: what it shows is inserted or updated, what a successful listing no longer
shows is removed. Nothing else removes a file. What changed is returned, for the assets to be looked at.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, NamedTuple

import apsw

from scanner.bulk import Insertion
from scanner.columns import Directories, Files
from scanner.listing import Listing
from scanner.pattern import is_exact
from scanner.records import Entry, Feature

_DIRECTORIES = Insertion("dirs", "(?,?,?,?,?,?)")
_FILES = Insertion("files", "(?,?,?,?,?,?,?,0)")
_REPLACEMENT = Insertion("files", "(?,?,?,?,?,?,?,0)", verb="INSERT OR REPLACE")
FEW = 4
"""Up to so many names are asked for one by one: no more than it takes to ask for them together."""
LINK = 1
UNMATCHED = 2
KIND = 7 << 2
"""The bits of the flags that hold what the patterns make of a file's path: 0 nothing, else feature + 1."""

Census = Counter[tuple[str, int]]
"""Numbers of files by first folder ("" for the data root itself) and kind, as :func:`kind_of` gives it."""


class State(NamedTuple):
    """A file as the index holds it; ``verdict`` is the content check's outcome, 0 where there is none."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    flags: int
    verdict: int


@dataclass(slots=True)
class Changes:
    """What making one listing true has changed; paths are relative to the data root.

    ``files`` maps a path to its new state, or None where it is gone; ``known`` are those that were there
    before. ``new_directories`` have to be listed, ``gone_directories`` are no longer watched. ``held`` are
    files not applied yet, because they may still be growing. ``fresh`` says that nothing was known of the
    directory before.
    """

    files: dict[str, State | None] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    new_directories: list[str] = field(default_factory=list)
    gone_directories: list[str] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    files_change: int = 0
    unmatched_change: int = 0
    census: Census = field(default_factory=Counter)
    fresh: bool = False


class Tree:
    """Reads and writes ``dirs`` and ``files`` inside the caller's transaction.

    ``arrive`` is told of files that were not there before, by path, and returns the flags of each.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        flags_of: Callable[[str], int],
        arrive: Callable[[Sequence[str], Sequence[Entry]], list[int]],
    ) -> None:
        self._db: Any = connection  # rows are typed where they are unpacked
        self._flags_of = flags_of
        self._arrive = arrive
        self._ids: dict[str, int | None] = {}
        self._fresh: dict[str, dict[str, State]] = {}
        self._new_dirs: list[tuple[int | str, ...]] = []
        self._new_files: list[tuple[int | str, ...]] = []
        self._next = 1 + (self._db.execute("SELECT coalesce(max(dir), 0) FROM dirs").get)

    def forget_cache(self) -> None:
        """Drop what was remembered of directories; call it at the end of every transaction."""
        self._ids.clear()
        self._fresh.clear()
        self._new_dirs.clear()
        self._new_files.clear()

    def flush(self) -> None:
        """Write what was gathered; call it before anything else reads these tables, and before a commit."""
        if self._new_dirs:
            self._db.executemany("INSERT INTO dirs VALUES(?,?,?,?,?,?)", self._new_dirs)
            self._new_dirs.clear()
        if self._new_files:
            _REPLACEMENT.run(self._db, self._new_files)
            self._new_files.clear()

    def directory_id(self, path: str) -> int | None:
        """The id of a directory, or None if the index does not know it."""
        try:
            return self._ids[path]
        except KeyError:
            found = self._db.execute("SELECT dir FROM dirs WHERE path=?", (path,)).fetchone()
            result = self._ids[path] = None if found is None else found[0]
            return result

    def state(self, path: str) -> State | None:
        """The file at a path, or None if the index has none there."""
        directory, name = split(path)
        fresh = self._fresh.get(directory)
        if fresh is not None:
            return fresh.get(name)
        number = self.directory_id(directory)
        if number is None:
            return None
        self.flush()
        row = self._db.execute(
            "SELECT inode, size, mtime, ctime, flags, verdict FROM files WHERE dir=? AND name=?",
            (number, name),
        ).fetchone()
        return None if row is None else State(*row)

    def may_have(self, key: str) -> bool:
        """Whether a file may be there by the key of a pattern; only of an exact one it can be denied."""
        return not is_exact(key) or self.state(key) is not None

    def present(self, paths: Collection[str]) -> dict[str, State]:
        """Those of the paths at which there is a file."""
        self._learn({split(path)[0] for path in paths})
        found = {}
        for path in paths:
            state = self.state(path)
            if state is not None:
                found[path] = state
        return found

    def _learn(self, directories: Iterable[str]) -> None:
        """Look up the ids of many directories together."""
        unknown = [path for path in directories if path not in self._ids]
        rows = self._db.execute(
            "SELECT path, dir FROM dirs WHERE path IN (SELECT value FROM json_each(?))",
            (json.dumps(unknown),),
        )
        self._ids.update(dict.fromkeys(unknown))
        self._ids.update(rows)

    @property
    def any(self) -> bool:
        """Whether there is any file."""
        self.flush()
        return self._db.execute("SELECT 1 FROM files LIMIT 1").fetchone() is not None

    def with_prefix(self, directory: str, prefix: str) -> Iterator[tuple[str, State]]:
        """The files of a directory whose names begin with ``prefix``, as (path, state)."""
        number = self.directory_id(directory)
        if number is None:
            return
        self.flush()
        rows = self._db.execute(
            "SELECT name, inode, size, mtime, ctime, flags, verdict FROM files"
            " WHERE dir=? AND name>=? AND name<?",
            (number, prefix, prefix + "\U0010ffff"),
        )
        for name, *state in rows.fetchall():
            yield join(directory, name), State(*state)

    def known(self) -> Iterator[tuple[str, int, int]]:
        """Every directory as (path, mtime_ns, inode), read in portions so that writes can go between."""
        for portion in self.catalogue():
            for path, mtime_ns, inode, _ in portion:
                yield path, mtime_ns, inode

    def catalogue(self, size: int = 2000) -> Catalogue:
        """Every directory as (path, mtime_ns, inode, fingerprint), in the order of the paths, in portions."""
        return Catalogue(self, size)

    def directories(self, after: str | None, size: int) -> list[tuple[str, int, int, int]]:
        """A portion of :meth:`catalogue`: directories whose path is greater than ``after``."""
        self.flush()
        compare = ">=" if after is None else ">"  # the data root itself is "", where it is known
        rows: list[tuple[str, int, int, int]] = self._db.execute(
            f"SELECT path, mtime, inode, fingerprint FROM dirs WHERE path{compare}? ORDER BY path LIMIT ?",
            (after or "", size),
        ).fetchall()
        return rows

    def touch(self, directory: str, mtime_ns: int, inode: int) -> None:
        """The directory holds what is known, but something in it came and went."""
        self.flush()
        self._db.execute("UPDATE dirs SET mtime=?, inode=? WHERE path=?", (mtime_ns, inode, directory))

    def below(self, directory: str) -> list[str]:
        """The directory itself, if it is known, and every known directory below it."""
        self.flush()
        if not directory:
            return [row[0] for row in self._db.execute("SELECT path FROM dirs")]
        rows = self._db.execute(
            "SELECT path FROM dirs WHERE path=? OR (path>? AND path<?)",
            (directory, directory + "/", directory + "0"),
        )
        return [row[0] for row in rows]

    def apply(
        self,
        listing: Listing,
        hold: Callable[[str, Entry], bool],
        young_ns: int = 0,
        together: AbstractSet[str] = frozenset(),
    ) -> Changes:
        """Make the index agree with what a directory was seen to hold.

        ``hold`` is asked for each file that is new or different, and not older than ``young_ns``, whether
        it may still be growing; if so the index keeps what it had and the file is returned in ``held``.
        ``together`` are directories that are applied in the same transaction.
        """
        changes = Changes()
        number = self.directory_id(listing.directory)
        fresh = self._fresh.pop(listing.directory, None)
        if number is None:
            # Nothing to compare with: most of a first crawl goes this way.
            changes.fresh = True
            number = self._ids[listing.directory] = self._next
            self._next += 1
            changes.new_directories.extend(join(listing.directory, name) for name in listing.directories)
            before: dict[str, tuple[int, ...]] = {}
        else:
            self.flush()
            before = self._before(number, listing, changes)
        states = self._insert(number, listing, before, changes, hold, young_ns)
        self._remove(number, listing, before, changes)
        self._enter(number, listing, changes, together)
        if listing.names is None and (changes.fresh or fresh is not None):
            # Read for the first time in this transaction: all that the index has of it is at hand.
            self._fresh[listing.directory] = self._at_hand(fresh or {}, states, listing)
        return changes

    @staticmethod
    def _at_hand(before: dict[str, State], states: dict[str, State], listing: Listing) -> dict[str, State]:
        if not before:
            return states
        keep = listing.files.keys() | listing.unreadable.keys()
        return {name: state for name, state in before.items() if name in keep} | states

    def _before(self, number: int, listing: Listing, changes: Changes) -> dict[str, tuple[int, ...]]:
        """The files to compare with; what is different about subdirectories goes into ``changes``."""
        if listing.names is None:
            self._subdirectories(number, listing, changes)
            return self._files_of(number)
        self._named_subdirectories(listing, changes)
        return self._files_named(number, listing.names)

    def insert(self, directories: Directories, files: Files) -> None:
        """Insert directories of which the index knows none, or the first one as empty, and the files in
        them, by columns."""
        known = self.directory_id(directories.paths[0])
        parent = self.directory_id(split(directories.paths[0])[0]) or 0
        new = range(self._next, self._next + len(directories.paths) - (known is not None))
        self._next = new.stop
        numbers = [*new] if known is None else [known, *new]
        self._ids.update(zip(directories.paths, numbers, strict=True))
        rows = zip(numbers, chain([parent], repeat(numbers[0])), *directories, strict=False)
        if known is not None:
            self._fill(next(rows))
        _DIRECTORIES.run(self._db, rows)
        _FILES.run(self._db, zip(map(numbers.__getitem__, files.directories), *files[1:], strict=True))

    def _fill(self, row: tuple[Any, ...]) -> None:
        """An empty directory has this row now."""
        number, _, path, *about = row
        self.flush()
        self._fresh.pop(path, None)
        self._db.execute("UPDATE dirs SET inode=?, mtime=?, fingerprint=? WHERE dir=?", (*about, number))

    def is_empty(self, directory: str) -> bool:
        """Whether the index knows nothing in a directory, or not even that."""
        number = self.directory_id(directory)
        if number is None:
            return True
        self.flush()
        found = self._db.execute(
            "SELECT EXISTS(SELECT 1 FROM files WHERE dir=?1) OR EXISTS(SELECT 1 FROM dirs WHERE parent=?1)",
            (number,),
        )
        return not found.fetchone()[0]

    def remove(self, directory: str) -> Changes:
        """Remove a directory that is gone, and everything below it."""
        changes = Changes()
        self.flush()
        self._db.execute("UPDATE dirs SET fingerprint=0 WHERE path=?", (split(directory)[0],))
        for path in self.below(directory):
            number = self.directory_id(path)
            for name, flags in self._db.execute("SELECT name, flags FROM files WHERE dir=?", (number,)):
                changes.files[join(path, str(name))] = None
                changes.known.append(join(path, str(name)))
                changes.files_change -= 1
                changes.unmatched_change -= bool(int(flags) & UNMATCHED)
                changes.census[first_folder(path), kind_of(int(flags))] -= 1
            self._db.execute("DELETE FROM files WHERE dir=?", (number,))
            self._db.execute("DELETE FROM dirs WHERE dir=?", (number,))
            self._ids[path] = None
            self._fresh.pop(path, None)
            changes.gone_directories.append(path)
        return changes

    def set_flags(self, path: str, flags: int) -> None:
        """Change the flags of a file that is in the index."""
        directory, name = split(path)
        self._fresh.pop(directory, None)
        self.flush()
        self._db.execute(
            "UPDATE files SET flags=? WHERE dir=? AND name=?", (flags, self.directory_id(directory), name)
        )

    def set_verdict(self, path: str, identity: tuple[int, int, int, int] | None, verdict: int) -> bool:
        """Keep the outcome of a content check; False where the file is not the one that was checked.

        ``identity`` is (inode, size, mtime_ns, ctime_ns); None: whatever the file is now.
        """
        directory, name = split(path)
        self._fresh.pop(directory, None)
        self.flush()
        condition: str = ""
        values: tuple[int, ...] = ()
        if identity is not None:
            condition, values = " AND inode=? AND size=? AND mtime=? AND ctime=?", identity
        self._db.execute(
            f"UPDATE files SET verdict=? WHERE dir=? AND name=?{condition}",
            (verdict, self.directory_id(directory), name, *values),
        )
        return bool(self._db.changes())

    def _enter(self, number: int, listing: Listing, changes: Changes, together: AbstractSet[str]) -> None:
        """Write the directory itself. Its fingerprint stands for what the index has of it, all of it: a
        folder that has still to be listed may never be, and is met again by who lists this one."""
        whole = listing.names is None
        complete = whole and not changes.held and not listing.unreadable
        print_ = listing.fingerprint if complete and together >= set(changes.new_directories) else 0
        if changes.fresh:
            parent = self.directory_id(split(listing.directory)[0]) if listing.directory else None
            about = (listing.inode, listing.mtime_ns, print_)
            self._new_dirs.append((number, parent or 0, listing.directory, *about))
        elif whole:
            self._db.execute(
                "UPDATE dirs SET inode=?1, mtime=?2, fingerprint=?3"
                " WHERE dir=?4 AND (inode<>?1 OR mtime<>?2 OR fingerprint<>?3)",
                (listing.inode, listing.mtime_ns, print_, number),
            )
        elif changes.files or changes.new_directories or changes.gone_directories:
            self._db.execute("UPDATE dirs SET fingerprint=0 WHERE dir=? AND fingerprint<>0", (number,))

    def _files_of(self, number: int) -> dict[str, tuple[int, ...]]:
        rows = self._db.execute(
            "SELECT name, inode, size, mtime, ctime, flags FROM files WHERE dir=?", (number,)
        )
        return {row[0]: row[1:] for row in rows}

    def _files_named(self, number: int, names: frozenset[str]) -> dict[str, tuple[int, ...]]:
        columns = "SELECT name, inode, size, mtime, ctime, flags FROM files WHERE dir=? AND name"
        if len(names) > FEW:
            together = f"{columns} IN (SELECT value FROM json_each(?))"
            rows = self._db.execute(together, (number, json.dumps(list(names)))).fetchall()
        else:
            rows = [row for name in names for row in self._db.execute(f"{columns}=?", (number, name))]
        return {row[0]: row[1:] for row in rows}

    def _subdirectories(self, number: int, listing: Listing, changes: Changes) -> None:
        prefix = len(listing.directory) + 1 if listing.directory else 0
        before = {
            path[prefix:]
            for (path,) in self._db.execute("SELECT path FROM dirs WHERE parent=?", (number,))
            if path
        }
        now = set(listing.directories)
        changes.new_directories.extend(join(listing.directory, name) for name in sorted(now - before))
        for name in before - now - listing.unreadable.keys():
            self._remove_below(join(listing.directory, name), changes)

    def _named_subdirectories(self, listing: Listing, changes: Changes) -> None:
        now = set(listing.directories)
        names = listing.names or ()
        if len(names) > FEW:
            self._learn(join(listing.directory, name) for name in names)
        for name in names:
            path = join(listing.directory, name)
            if name in now:
                if self.directory_id(path) is None:
                    changes.new_directories.append(path)
            elif name not in listing.unreadable and self.directory_id(path) is not None:
                self._remove_below(path, changes)

    def _remove_below(self, directory: str, changes: Changes) -> None:
        removed = self.remove(directory)
        changes.files.update(removed.files)
        changes.known.extend(removed.known)
        changes.files_change += removed.files_change
        changes.unmatched_change += removed.unmatched_change
        changes.census.update(removed.census)
        changes.gone_directories.extend(removed.gone_directories)

    def _insert(
        self,
        number: int,
        listing: Listing,
        before: dict[str, tuple[int, ...]],
        changes: Changes,
        hold: Callable[[str, Entry], bool],
        young_ns: int,
    ) -> dict[str, State]:
        """Gather what is new or different; returns the states by name."""
        new: list[Entry] = []
        different: list[Entry] = []
        prefix = f"{listing.directory}/" if listing.directory else ""
        for name, entry in listing.files.items():
            old = before.get(name)
            if old is not None and old[:4] == entry[1:5]:
                continue
            path = prefix + name
            if (entry[3] >= young_ns or entry[4] >= young_ns) and hold(path, entry):
                changes.held.add(path)
                continue
            (new if old is None else different).append(entry)
        if not new and not different:
            return {}
        paths = [prefix + entry[0] for entry in new]
        flags = self._arrive(paths, new) if new else []
        self._count(first_folder(listing.directory), flags, changes)
        for entry in different:
            path = prefix + entry[0]
            paths.append(path)
            flags.append(self._flags_of(path) | (LINK if entry[5] else 0))
            changes.known.append(path)  # the same path is always of the same kind
            changes.unmatched_change += bool(flags[-1] & UNMATCHED) - bool(before[entry[0]][4] & UNMATCHED)
        return self._gather(number, paths, new + different, flags, changes)

    @staticmethod
    def _count(first: str, flags: Sequence[int], changes: Changes) -> None:
        """Count files that are new, by the flags of each."""
        changes.files_change += len(flags)
        for one in set(flags):
            number = flags.count(one)
            changes.census[first, kind_of(one)] += number
            changes.unmatched_change += number * bool(one & UNMATCHED)

    def _gather(
        self,
        number: int,
        paths: Sequence[str],
        entries: Sequence[Entry],
        flags: Sequence[int],
        changes: Changes,
    ) -> dict[str, State]:
        """Have files written with the others; returns their states by name."""
        states: dict[str, State] = {}
        for path, (name, inode, size, mtime, ctime, _), one in zip(paths, entries, flags, strict=True):
            self._new_files.append((number, name, inode, size, mtime, ctime, one))
            states[name] = changes.files[path] = State(inode, size, mtime, ctime, one, 0)
        return states

    def _remove(
        self, number: int, listing: Listing, before: dict[str, tuple[int, ...]], changes: Changes
    ) -> None:
        if before.keys() <= listing.files.keys():
            return
        first = first_folder(listing.directory)
        gone = before.keys() - listing.files.keys() - listing.unreadable.keys()
        for name in gone:
            changes.files[join(listing.directory, name)] = None
            changes.known.append(join(listing.directory, name))
            changes.files_change -= 1
            changes.unmatched_change -= bool(before[name][4] & UNMATCHED)
            changes.census[first, kind_of(before[name][4])] -= 1
        if gone:
            self._db.executemany(
                "DELETE FROM files WHERE dir=? AND name=?", ((number, name) for name in gone)
            )


class Catalogue:
    """An iterator over all directories; where reading a portion raises, the next call reads it again."""

    def __init__(self, tree: Tree, size: int) -> None:
        self._tree = tree
        self._size = size
        self._last: str | None = None
        self._ended = False

    def __iter__(self) -> Iterator[list[tuple[str, int, int, int]]]:
        return self

    def __next__(self) -> list[tuple[str, int, int, int]]:
        portion = [] if self._ended else self._tree.directories(self._last, self._size)
        if not portion:
            self._ended = True  # what comes into the index from now on has just been listed
            raise StopIteration
        self._last = portion[-1][0]
        return portion


def kind_flags(feature: Feature | None) -> int:
    """The bits for a file that the patterns take for this; None where they know nothing of it."""
    return 0 if feature is None else (feature + 1) << 2


def kind_of(flags: int) -> int:
    """What the patterns make of a file with these flags: 0 nothing, else its feature + 1."""
    return (flags & KIND) >> 2


def first_folder(directory: str) -> str:
    """The folder directly below the data root in which a directory lies."""
    return directory.partition("/")[0]


def split(path: str) -> tuple[str, str]:
    """The directory and the name of a path; the directory of ``x.jpg`` is ``""``."""
    directory, _, name = path.rpartition("/")
    return directory, name


def join(directory: str, name: str) -> str:
    """The path of a name in a directory."""
    return f"{directory}/{name}" if directory else name
