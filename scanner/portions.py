"""Large directories that are known already, looked at a part at a time.

To list 300,000 files and to compare them with the index takes seconds, in which no event would be followed.
So their names are read and looked at a thousand at a time, and events go between. What the index has and
the directory did not show is looked at by name in the end, which tells whether it is gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Any

from scanner.listing import LARGE, Listing
from scanner.tree import join
from scanner.worklist import Task

PORTION = 1000
PAUSE_FACTOR = 100.0
"""A sweep lists a large directory again after this many times what it took: a file that is created changes
the directory's mtime, and where files are created all the time every sweep would list everything."""
POLLED_FACTOR = 20.0


def is_large(look: Listing) -> bool:
    """Whether a directory holds more than should be looked at in one step."""
    return len(look.files) + len(look.directories) >= LARGE


class Portions:
    """One large directory under way; an iterator over the names to look at next.

    ``mtime_ns`` and ``inode`` are the directory's when it was begun. Iterating and making it raise OSError
    where the directory cannot be read. ``again`` is what was asked for while it was under way, if anything.
    """

    def __init__(self, task: Task, where: str, connection: Any) -> None:
        about = os.stat(where)
        self.mtime_ns, self.inode = about.st_mtime_ns, about.st_ino
        self.task = task
        self.again: Task | None = None
        self.failed = False
        self.count = 0
        self.seconds = 0.0
        self._db = connection
        self._seen: set[str] = set()
        self._entries = os.scandir(where)
        self._parts = self._read()

    @property
    def whole(self) -> Task:
        """What is to be done if nothing of this can be kept."""
        return self.task if self.again is None else self.task.joined(self.again)

    def __next__(self) -> frozenset[str]:
        return next(self._parts)

    def __iter__(self) -> Iterator[frozenset[str]]:
        return self

    def close(self) -> None:
        """Let go of the directory; may be called again."""
        self._parts.close()
        self._entries.close()

    def _read(self) -> Generator[frozenset[str], None, None]:
        while part := frozenset(entry.name for entry in islice(self._entries, PORTION)):
            self.count += len(part)
            self._seen |= part
            yield part
        for known in self._known():
            if unseen := frozenset(known - self._seen):
                yield unseen

    def _known(self) -> Iterator[set[str]]:
        """The names that the index has in the directory, files first."""
        row = self._db.execute("SELECT dir FROM dirs WHERE path=?", (self.task.directory,)).fetchone()
        if row is None:
            return
        last = ""
        while names := self._files(row[0], last):
            yield set(names)
            last = names[-1]
        prefix = len(join(self.task.directory, ""))
        rows = self._db.execute("SELECT path FROM dirs WHERE parent=? AND path<>''", row).fetchall()
        yield {path[prefix:] for (path,) in rows}

    def _files(self, number: int, after: str) -> list[str]:
        rows = self._db.execute(
            "SELECT name FROM files WHERE dir=? AND name>? ORDER BY name LIMIT ?", (number, after, PORTION)
        )
        return [name for (name,) in rows.fetchall()]


class LargeDirectories:
    """Which directories are large, and which of them are under way."""

    def __init__(self, connection: Any) -> None:
        self._db = connection
        self._not_before: dict[str, float] = {}
        self._under_way: dict[str, Portions] = {}

    def __contains__(self, directory: str) -> bool:
        return directory in self._not_before

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._under_way)

    def note(self, directory: str, entries: int) -> None:
        """A directory was seen to hold so many entries."""
        if entries >= LARGE:
            self._not_before.setdefault(directory, 0.0)
        else:
            self._not_before.pop(directory, None)

    def rests(self, directory: str, now: float) -> bool:
        """Whether a sweep should leave it for now."""
        return now < self._not_before.get(directory, 0.0) or directory in self._under_way

    def begin(self, task: Task, where: str) -> None:
        """Start with a directory; one that is under way is begun again afterwards. Raises OSError."""
        current = self._under_way.get(task.directory)
        if current is None:
            self._under_way[task.directory] = Portions(task, where, self._db)
        else:
            current.again = task if current.again is None else current.again.joined(task)

    def tell(self, directory: str) -> None:
        """A hint was about all of the directory: what is still to be found in it now is told of."""
        current = self._under_way.get(directory)
        if current is not None:
            current.task = current.task._replace(told=True)

    def next(self) -> tuple[Portions, frozenset[str] | None]:
        """One that is under way and what to look at in it, None at its end; each has its turn.

        One that cannot be read any more is at its end as well, and has ``failed``.
        """
        directory = next(iter(self._under_way))
        portions = self._under_way.pop(directory)
        try:
            names = next(portions, None)
        except OSError:
            names, portions.failed = None, True
        if names is None:
            portions.close()
        else:
            self._under_way[directory] = portions
        return portions, names

    def ended(self, portions: Portions, *, polled: bool) -> None:
        """A directory was looked at as a whole."""
        directory = portions.task.directory
        factor = POLLED_FACTOR if polled else PAUSE_FACTOR
        self.note(directory, portions.count)
        if directory in self._not_before:
            self._not_before[directory] = time.monotonic() + factor * portions.seconds

    def forget(self, directory: str) -> None:
        """The directory is gone."""
        self._not_before.pop(directory, None)
        portions = self._under_way.pop(directory, None)
        if portions is not None:
            portions.close()

    def forget_all(self, directories: Iterable[str]) -> None:
        """These are not large, or are gone."""
        if self._not_before or self._under_way:
            for directory in directories:
                self.forget(directory)

    def close(self) -> None:
        """Let go of all that are under way."""
        for directory in list(self._under_way):
            self.forget(directory)
