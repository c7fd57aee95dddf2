"""The rows of a folder of images and of the folders of their artifacts, ready to be written.

Pure, so that whoever lists the directories can make them and whoever writes the index only has to. What the
patterns alone say is decided here: what each file is, and which assets are whole (see :mod:`scanner.fresh`)
with nothing to be found about them. All other files are named as the ``rest``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import NamedTuple

from scanner.columns import Assets, Directories, Files
from scanner.layout import Layout
from scanner.listing import Listing
from scanner.portions import is_large
from scanner.records import Entry
from scanner.resolve import Rules
from scanner.sighting import Sighted, Sorting
from scanner.tree import LINK, UNMATCHED, State, join


class Ready(NamedTuple):
    """All of it. ``rest`` are the positions of files that make no whole asset, those that no pattern knows
    included; ``deeper`` are the folders of the folders; ``seen_ns`` is when the first look began."""

    device: int
    seen_ns: int
    directories: Directories
    files: Files
    assets: list[Assets]
    rest: list[int]
    deeper: list[str]

    @property
    def directory(self) -> str:
        """The directory whose folders the others are."""
        return self.directories.paths[0]

    def path(self, position: int) -> str:
        """The path of a file."""
        return join(self.directories.paths[self.files.directories[position]], self.files.names[position])

    def unmatched(self) -> list[str]:
        """The files that no pattern knows."""
        return [self.path(position) for position in self.rest if self.files.flags[position] & UNMATCHED]

    def states(self, positions: Sequence[int]) -> dict[str, State]:
        """Files by their paths."""
        _, _, inodes, sizes, mtimes, ctimes, flags = self.files
        return {
            self.path(n): State(inodes[n], sizes[n], mtimes[n], ctimes[n], flags[n], 0) for n in positions
        }


def make(family: Sequence[Listing], layout: Layout, rules: Rules, settle_ns: int) -> Ready | None:
    """The rows of a directory and all its folders, the directory first, of none of which anything is known.

    None where any of them shows more than files that have not changed for ``settle_ns``, and folders, or
    where a folder is missing.
    """
    if not _is_plain(family):
        return None
    entries = [sorted(listing.files.values()) for listing in family]
    columns = [list(column) for column in zip(*chain.from_iterable(entries), strict=True)]
    names, inodes, sizes, mtimes, ctimes, links = columns or [[] for _ in Entry._fields]
    seen_ns = min(listing.seen_ns for listing in family)
    if max(chain(mtimes, ctimes), default=0) >= seen_ns - settle_ns:
        return None
    numbers = list(chain.from_iterable(repeat(n, len(some)) for n, some in enumerate(entries)))
    prefixes = [join(listing.directory, "") for listing in family]
    sighted = Sighted(layout)
    flags = sighted.take([prefixes[n] + name for n, name in zip(numbers, names, strict=True)])
    sighted.finish()
    flags = [one | LINK if link else one for one, link in zip(flags, links, strict=True)]
    files = Files(numbers, names, inodes, sizes, mtimes, ctimes, flags)
    directories = _directories(family)
    assets, rest = Sorting(sighted, sizes, mtimes, rules, frozenset(directories.paths)).by_owner()
    deeper = [join(listing.directory, name) for listing in family[1:] for name in listing.directories]
    return Ready(family[0].device, seen_ns, directories, files, assets, rest, deeper)


def _is_plain(family: Sequence[Listing]) -> bool:
    first = family[0]
    folders = {join(first.directory, name) for name in first.directories}
    return folders == {listing.directory for listing in family[1:]} and all(
        listing.device == first.device
        and listing.names is None
        and not listing.unreadable
        and not listing.skipped
        and not is_large(listing)
        for listing in family
    )


def _directories(family: Sequence[Listing]) -> Directories:
    """All of them; one with folders that have not been listed has no fingerprint yet."""
    return Directories(
        [listing.directory for listing in family],
        [listing.inode for listing in family],
        [listing.mtime_ns for listing in family],
        [listing.fingerprint if not n or not listing.directories else 0 for n, listing in enumerate(family)],
    )
