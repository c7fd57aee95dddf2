"""The roots: first folders below the data root, and whether what they answer can be believed.

A root that disappears, whose device changes or that answers with an error is unavailable: what is known
below it stays. It is available again when it is back on its device, or when something is mounted in its
place and holds anything; an unmounted volume leaves an empty directory on another device behind.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scanner.listing import GONE, Lister


@dataclass(slots=True)
class Root:
    """One root; ``device`` and ``inode`` are those it was last believed with, None if it never was.

    ``by_pattern`` says that a pattern names it (otherwise only claims do). ``reason`` is None while it is
    available. ``flat`` is the data root where only files directly in it are claimed. ``telling``: its file
    system tells of changes, so what lies on the same device need not be asked.
    """

    path: str
    by_pattern: bool
    flat: bool = False
    device: int | None = None
    inode: int | None = None
    reason: str | None = None
    telling: bool = False

    @property
    def available(self) -> bool:
        """Whether what is seen below it can be believed."""
        return self.reason is None

    @property
    def present(self) -> bool:
        """Whether it is there and can be listed."""
        return self.available and self.inode is not None


class Roots:
    """Watches the roots of one data root. ``claimed_below`` says whether a row names a file below one."""

    def __init__(self, lister: Lister, patterns: Iterable[str], claimed_below: Callable[[str], bool]) -> None:
        self._lister = lister
        self._claimed_below = claimed_below
        self.all: dict[str, Root] = {path: Root(path, by_pattern=True) for path in patterns}
        self._waiting: set[str] = set()
        self._changed: set[str] = set()
        self._lister.use_roots(self.all)

    def claim(self, folders: Iterable[str]) -> None:
        """Claims name files below these first folders (``""``: directly in the data root)."""
        if "" in self.all and not self.all[""].flat:
            return
        self._waiting.update(folder for folder in folders if folder not in self.all)

    def identities(self) -> dict[str, tuple[int, int]]:
        """Device and inode of every root that has been believed, for :meth:`remember`."""
        return {
            root.path: (root.device, root.inode)
            for root in self.all.values()
            if root.device is not None and root.inode is not None
        }

    def remember(self, identities: Mapping[str, Sequence[int]]) -> None:
        """What an earlier process believed: a root that has gone since is one that disappeared."""
        for path, (device, inode) in identities.items():
            root = self.all.setdefault(path, Root(path, by_pattern=False, flat=not path))
            root.device, root.inode = device, inode
            self._waiting.discard(path)
        self._lister.use_roots(self.all)

    def of(self, directory: str) -> Root | None:
        """The root that a directory lies in."""
        whole = self.all.get("")
        if whole is not None and (not whole.flat or not directory):
            return whole
        return self.all.get(directory.split("/", 1)[0])

    def check(self) -> list[Root]:
        """Look at every root; returns those that have to be reconciled as a whole."""
        self._adopt_claimed()
        for root in self.all.values():
            self._check_one(root)
        changed = [self.all[path] for path in sorted(self._changed)]
        self._changed.clear()
        if changed:
            self._lister.use_roots(self.all)
        return changed

    def _check_one(self, root: Root) -> None:
        """Look at one root, and note if it came, came back or is another directory now."""
        try:
            status = os.stat(self._lister.absolute(root.path))
        except OSError as error:
            root.reason = self._absent(root, error)
            return
        if not stat.S_ISDIR(status.st_mode):
            root.reason = "is not a directory"
            return
        if root.device is not None and status.st_dev != root.device and not self._remounted(root, status):
            root.reason = "is on another device: an unmounted volume?"
            return
        if not root.available or (root.device, root.inode) != (status.st_dev, status.st_ino):
            self._changed.add(root.path)
        root.device, root.inode, root.reason = status.st_dev, status.st_ino, None

    def is_another(self, root: Root) -> bool:
        """Whether the root came or was replaced, and has not been returned by :meth:`check` since."""
        return root.path in self._changed

    def believable(self, root: Root) -> bool:
        """Whether what was just seen below the root can be believed: it is there, on its device."""
        self._check_one(root)
        return root.present

    def unavailable(self) -> list[Root]:
        """The roots below which nothing can be said now."""
        return [root for root in self.all.values() if not root.available]

    def _absent(self, root: Root, error: OSError) -> str | None:
        if error.errno not in GONE:
            return os.strerror(error.errno or 0)
        never = root.inode is None
        if never and not self._claimed_below(root.path):
            return None
        return "is not there"

    def _remounted(self, root: Root, status: os.stat_result) -> bool:
        """Something else is mounted in its place, and it is not empty."""
        where = self._lister.absolute(root.path)
        try:
            parent = os.stat(os.path.dirname(os.path.realpath(where)))
            return parent.st_dev != status.st_dev and bool(os.listdir(where))
        except OSError:
            return False

    def _adopt_claimed(self) -> None:
        for folder in list(self._waiting):
            where = self._lister.absolute(folder)
            if not self._lister.is_ignored(folder) and os.path.isdir(where):
                self._waiting.discard(folder)
                self.all[folder] = Root(folder, by_pattern=False, flat=not folder)
