"""Listings that come into the index together: a folder of images, and the folders of their artifacts.

An asset and its artifacts then appear in one transaction, and the asset is resolved once. A listing that
waits is not in the index yet; whatever is found out about its directory in the meantime replaces it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from scanner.listing import Listing
from scanner.listpool import Seen
from scanner.portions import is_large
from scanner.tree import join, split
from scanner.worklist import Task


@dataclass(slots=True)
class Family:
    """A directory, and those of its folders that have been listed.

    ``again`` are folders of which an event has told since: they are listed once more.
    """

    parent: Seen
    missing: set[str]
    children: list[Seen] = field(default_factory=list)
    again: set[str] = field(default_factory=set)

    def seen(self) -> list[Seen]:
        """All that was seen, the directory first."""
        return [self.parent, *self.children]


class Families:
    """The families that wait, by the directory that they are of."""

    def __init__(self) -> None:
        self._waiting: dict[str, Family] = {}
        self._again: list[str] = []

    def __len__(self) -> int:
        """How many directories have been listed and wait."""
        return sum(1 + len(family.children) for family in self._waiting.values())

    def arrived(self, seen: Seen, *, known: bool) -> tuple[list[Seen], list[Task]]:
        """A directory was listed; ``known``: the index has it already.

        Returns what may go into the index now, and what has to be listed first.
        """
        look, task = seen.look, seen.task
        family = self._waiting.get(split(look.directory)[0])
        if family is not None and look.directory in family.missing:
            family.children.append(seen)
            return self.without(look.directory), []
        if known or not task.recursive or not isinstance(look, Listing) or not waits(look):
            return [seen], []
        folders = [join(look.directory, name) for name in look.directories]
        self._waiting[look.directory] = Family(seen, set(folders))
        return [], [task._replace(directory=folder) for folder in folders]

    def without(self, directory: str) -> list[Seen]:
        """A folder needs no more waiting for; returns its family if it was the last."""
        parent = split(directory)[0]
        family = self._waiting.get(parent)
        if family is None:
            return []
        family.missing.discard(directory)
        if family.missing:
            return []
        self._again.extend(family.again)
        return self._waiting.pop(parent).seen()

    def remember(self, directory: str) -> bool:
        """An event has told of a directory; True if it is a folder of one that waits."""
        family = self._waiting.get(split(directory)[0])
        if family is not None:
            family.again.add(directory)
        return family is not None

    def take_again(self) -> list[str]:
        """The directories to list once more, their families being in the index."""
        again, self._again = self._again, []
        return again

    def overtake(self, directory: str) -> Task | None:
        """The directory is looked at otherwise; what its listing was for, if that was waiting.

        Its folders are new to the index then and are listed again: what was seen of them is forgotten,
        since it would come behind what is seen of them next.
        """
        family = self._waiting.pop(directory, None)
        return None if family is None else family.parent.task

    def drop_below(self, directory: str) -> None:
        """The directory is gone, and everything below it."""
        below = directory + "/"
        for path in [path for path in self._waiting if path == directory or path.startswith(below)]:
            del self._waiting[path]
        for family in self._waiting.values():
            family.children = [seen for seen in family.children if seen.look.directory != directory]

    def release(self) -> list[list[Seen]]:
        """Give up waiting: every family as far as it has come."""
        released = [family.seen() for family in self._waiting.values()]
        self._again.extend(path for family in self._waiting.values() for path in family.again)
        self._waiting.clear()
        return released


def by_family(seen: Sequence[Seen]) -> Iterator[Sequence[Seen]]:
    """The same in parts: a directory that is followed by all of its folders is one with them."""
    at = 0
    while at < len(seen):
        look, end = seen[at].look, at + 1
        if isinstance(look, Listing) and look.directories:
            folders = {join(look.directory, name) for name in look.directories}
            followers = seen[end : end + len(folders)]
            if folders == {one.look.directory for one in followers}:
                end += len(folders)
        yield seen[at:end]
        at = end


def waits(look: Listing) -> bool:
    """Whether a directory holds files to which its folders may belong, and not too much to wait with."""
    return bool(look.files and look.directories) and not is_large(look)
