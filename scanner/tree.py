"""The part of the index that says what is on disk: directories and the files in them.

A listing is made true here: what it shows is inserted or updated, what a successful listing no longer
shows is removed. Nothing else removes a file. What changed is returned, for the assets to be looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apsw

from scanner.records import Entry, Feature

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

    ``files`` maps a path to its new state, or None where it is gone. ``new_directories`` have to be
    listed, ``gone_directories`` are no longer watched. ``held`` are names not applied yet, because they
    may still be growing.
    """

    files: dict[str, State | None] = field(default_factory=dict)
    new_directories: list[str] = field(default_factory=list)
    gone_directories: list[str] = field(default_factory=list)
    held: list[tuple[str, Entry]] = field(default_factory=list)
    files_change: int = 0
    unmatched_change: int = 0
    census: Census = field(default_factory=Counter)


class Contents(NamedTuple):
    """What a directory was seen to hold: see :class:`scanner.listing.Listing` for the fields."""

    directory: str
    inode: int
    mtime_ns: int
    files: dict[str, Entry]
    directories: tuple[str, ...]
    names: frozenset[str] | None
    unreadable: frozenset[str]


class Tree:
    """Reads and writes ``dirs`` and ``files`` inside the caller's transaction."""

    def __init__(self, connection: apsw.Connection, flags_of: Callable[[str], int]) -> None:
        self._db: Any = connection  # rows are typed where they are unpacked
        self._flags_of = flags_of
        self._ids: dict[str, int | None] = {}
        self._fresh: dict[str, dict[str, State]] = {}

    def forget_cache(self) -> None:
        """Drop what was remembered of directories; call it at the end of every transaction."""
        self._ids.clear()
        self._fresh.clear()

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
        row = self._db.execute(
            "SELECT inode, size, mtime, ctime, flags, verdict FROM files WHERE dir=? AND name=?",
            (number, name),
        ).fetchone()
        return None if row is None else State(*row)

    def with_prefix(self, directory: str, prefix: str) -> Iterator[tuple[str, State]]:
        """The files of a directory whose names begin with ``prefix``, as (path, state)."""
        number = self.directory_id(directory)
        if number is None:
            return
        rows = self._db.execute(
            "SELECT name, inode, size, mtime, ctime, flags, verdict FROM files"
            " WHERE dir=? AND name>=? AND name<?",
            (number, prefix, prefix + "\U0010ffff"),
        )
        for name, *state in rows.fetchall():
            yield join(directory, name), State(*state)

    def known(self) -> Iterator[tuple[str, int, int]]:
        """Every directory as (path, mtime_ns, inode), read in portions so that writes can go between."""
        last = ""
        while True:
            rows = self._db.execute(
                "SELECT path, mtime, inode FROM dirs WHERE path>? ORDER BY path LIMIT 2000", (last,)
            ).fetchall()
            if not rows:
                return
            yield from rows
            last = rows[-1][0]

    def below(self, directory: str) -> list[str]:
        """The directory itself, if it is known, and every known directory below it."""
        if not directory:
            return [row[0] for row in self._db.execute("SELECT path FROM dirs")]
        rows = self._db.execute(
            "SELECT path FROM dirs WHERE path=? OR (path>? AND path<?)",
            (directory, directory + "/", directory + "0"),
        )
        return [row[0] for row in rows]

    def apply(self, contents: Contents, hold: Callable[[str, Entry], bool]) -> Changes:
        """Make the index agree with what a directory was seen to hold.

        ``hold`` is asked for each file that is new or different whether it may still be growing; if so
        the index keeps what it had and the file is returned in ``held``.
        """
        changes = Changes()
        known = self.directory_id(contents.directory) is not None
        number = self._enter(contents)
        fresh = self._fresh.pop(contents.directory, None)
        before: dict[str, tuple[int, ...]] = {}
        if not known:
            # Nothing to compare with: most of a first crawl goes this way.
            changes.new_directories.extend(join(contents.directory, name) for name in contents.directories)
        elif contents.names is None:
            before = self._files_of(number)
            self._subdirectories(number, contents, changes)
        else:
            before = self._files_named(number, contents.names)
            self._named_subdirectories(contents, changes)
        self._insert(number, contents, before, changes, hold)
        self._remove(number, contents, before, changes)
        if contents.names is None and (not known or fresh is not None):
            # Read for the first time in this transaction: all that the index has of it is at hand.
            self._fresh[contents.directory] = self._at_hand(contents.directory, fresh or {}, changes)
        return changes

    @staticmethod
    def _at_hand(directory: str, before: dict[str, State], changes: Changes) -> dict[str, State]:
        after = dict(before)
        for path, state in changes.files.items():
            parent, name = split(path)
            if parent == directory:
                if state is None:
                    after.pop(name, None)
                else:
                    after[name] = state
        return after

    def remove(self, directory: str) -> Changes:
        """Remove a directory that is gone, and everything below it."""
        changes = Changes()
        for path in self.below(directory):
            number = self.directory_id(path)
            for name, flags in self._db.execute("SELECT name, flags FROM files WHERE dir=?", (number,)):
                changes.files[join(path, str(name))] = None
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
        self._db.execute(
            "UPDATE files SET flags=? WHERE dir=? AND name=?", (flags, self.directory_id(directory), name)
        )

    def set_verdict(self, path: str, identity: tuple[int, int, int, int] | None, verdict: int) -> bool:
        """Keep the outcome of a content check; False where the file is not the one that was checked.

        ``identity`` is (inode, size, mtime_ns, ctime_ns); None: whatever the file is now.
        """
        directory, name = split(path)
        self._fresh.pop(directory, None)
        condition: str = ""
        values: tuple[int, ...] = ()
        if identity is not None:
            condition, values = " AND inode=? AND size=? AND mtime=? AND ctime=?", identity
        self._db.execute(
            f"UPDATE files SET verdict=? WHERE dir=? AND name=?{condition}",
            (verdict, self.directory_id(directory), name, *values),
        )
        return bool(self._db.changes())

    def _enter(self, contents: Contents) -> int:
        number = self.directory_id(contents.directory)
        if number is None:
            parent = self.directory_id(split(contents.directory)[0]) if contents.directory else None
            self._db.execute(
                "INSERT INTO dirs(parent, path, inode, mtime) VALUES(?,?,?,?)",
                (parent or 0, contents.directory, contents.inode, contents.mtime_ns),
            )
            number = self._db.last_insert_rowid()
            self._ids[contents.directory] = number
        elif contents.names is None:
            self._db.execute(
                "UPDATE dirs SET inode=?1, mtime=?2 WHERE dir=?3 AND (inode<>?1 OR mtime<>?2)",
                (contents.inode, contents.mtime_ns, number),
            )
        return number

    def _files_of(self, number: int) -> dict[str, tuple[int, ...]]:
        rows = self._db.execute(
            "SELECT name, inode, size, mtime, ctime, flags FROM files WHERE dir=?", (number,)
        )
        return {row[0]: row[1:] for row in rows}

    def _files_named(self, number: int, names: frozenset[str]) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for name in names:
            row = self._db.execute(
                "SELECT inode, size, mtime, ctime, flags FROM files WHERE dir=? AND name=?", (number, name)
            ).fetchone()
            if row is not None:
                found[name] = row
        return found

    def _subdirectories(self, number: int, contents: Contents, changes: Changes) -> None:
        prefix = len(contents.directory) + 1 if contents.directory else 0
        before = {
            path[prefix:]
            for (path,) in self._db.execute("SELECT path FROM dirs WHERE parent=?", (number,))
            if path
        }
        now = set(contents.directories)
        changes.new_directories.extend(join(contents.directory, name) for name in sorted(now - before))
        for name in before - now - contents.unreadable:
            self._remove_below(join(contents.directory, name), changes)

    def _named_subdirectories(self, contents: Contents, changes: Changes) -> None:
        now = set(contents.directories)
        for name in contents.names or ():
            path = join(contents.directory, name)
            if name in now:
                if self.directory_id(path) is None:
                    changes.new_directories.append(path)
            elif name not in contents.unreadable and self.directory_id(path) is not None:
                self._remove_below(path, changes)

    def _remove_below(self, directory: str, changes: Changes) -> None:
        removed = self.remove(directory)
        changes.files.update(removed.files)
        changes.files_change += removed.files_change
        changes.unmatched_change += removed.unmatched_change
        changes.census.update(removed.census)
        changes.gone_directories.extend(removed.gone_directories)

    def _insert(
        self,
        number: int,
        contents: Contents,
        before: dict[str, tuple[int, ...]],
        changes: Changes,
        hold: Callable[[str, Entry], bool],
    ) -> None:
        rows: list[tuple[int | str, ...]] = []
        directory, first = contents.directory, first_folder(contents.directory)
        for name, entry in contents.files.items():
            old = before.get(name)
            if old is not None and old[:4] == entry[1:5]:
                continue
            path = join(directory, name)
            if hold(path, entry):
                changes.held.append((path, entry))
                continue
            flags = self._flags_of(path) | (LINK if entry.link else 0)
            rows.append((number, name, *entry[1:5], flags, 0))
            changes.files[path] = State(*entry[1:5], flags, 0)
            changes.files_change += old is None
            changes.unmatched_change += bool(flags & UNMATCHED) - (
                old is not None and bool(old[4] & UNMATCHED)
            )
            if old is None:  # the same path is always of the same kind
                changes.census[first, kind_of(flags)] += 1
        if rows:
            self._db.executemany("INSERT OR REPLACE INTO files VALUES(?,?,?,?,?,?,?,?)", rows)

    def _remove(
        self, number: int, contents: Contents, before: dict[str, tuple[int, ...]], changes: Changes
    ) -> None:
        first = first_folder(contents.directory)
        gone = before.keys() - contents.files.keys() - contents.unreadable
        for name in gone:
            changes.files[join(contents.directory, name)] = None
            changes.files_change -= 1
            changes.unmatched_change -= bool(before[name][4] & UNMATCHED)
            changes.census[first, kind_of(before[name][4])] -= 1
        if gone:
            self._db.executemany(
                "DELETE FROM files WHERE dir=? AND name=?", ((number, name) for name in gone)
            )


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
