"""What a listing process has seen: its answers as looks, and what the directories were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from scanner.listing import Gone, Listing, Look, Unreadable
from scanner.listworker import GONE, LISTED, READY, SAME
from scanner.parcel import listings, unpacked
from scanner.portions import is_large
from scanner.ready import Ready
from scanner.records import Entry
from scanner.worklist import Task


@dataclass(frozen=True, slots=True)
class Same:
    """The directory shows what its fingerprint says."""

    directory: str
    device: int
    inode: int
    mtime_ns: int


class Seen(NamedTuple):
    """What a directory was seen to hold, what it was asked for, and what its folders hold, if asked: all of
    that may have come ready to be written.

    ``again`` are those of them that have to be listed once more: what befell them since was not told.
    """

    look: Look | Same | Ready
    task: Task
    folders: tuple[Look, ...] = ()
    again: tuple[str, ...] = ()

    def each(self) -> list[tuple[Look | Same, Task]]:
        """The directory and its folders, each with what it was asked for."""
        looks = listings(self.look) if isinstance(self.look, Ready) else [self.look, *self.folders]
        _, *about = self.task
        return [(look, Task(look.directory, *about)) for look in looks]

    @property
    def listed(self) -> list[str]:
        """Those of them that were listed and are not large."""
        if isinstance(self.look, Ready):
            return self.look.directories.paths
        looks = (self.look, *self.folders)
        return [look.directory for look in looks if isinstance(look, Listing) and not is_large(look)]

    @property
    def below(self) -> list[str]:
        """The folders of which it tells."""
        if isinstance(self.look, Ready):
            return self.look.directories.paths[1:]
        return [look.directory for look in self.folders]


def seen_in(looks: Sequence[tuple[Any, ...]], task: Task) -> Seen:
    """The looks of an answer."""
    first, *folders = map(_look, looks)
    return Seen(first, task, cast(tuple[Look, ...], tuple(folders)))


def _look(answer: tuple[Any, ...]) -> Look | Same | Ready:
    kind, directory = answer[:2]
    if kind == READY:
        return unpacked(answer[2])
    if kind == SAME:
        return Same(*answer[1:])
    if kind == GONE:
        return Gone(directory)
    if kind != LISTED:
        return Unreadable(*answer[1:])
    device, inode, mtime_ns, files, directories, skipped, unreadable, number, seen_ns = answer[2:]
    return Listing(
        directory,
        device,
        inode,
        mtime_ns,
        {entry[0]: Entry(*entry) for entry in files},
        directories,
        None,
        skipped,
        unreadable,
        number,
        seen_ns,
    )
