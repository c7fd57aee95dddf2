"""One directory read into a listing; a crawl is nothing but repeated listing.

What vanishes between two system calls is normal here. Only ``ENOENT`` and ``ENOTDIR`` say that a
directory is gone; any other error is a fact of its own, carried by :class:`Unreadable`, so that nothing
below is mistaken for deleted.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from scanner.pattern import encodable
from scanner.records import Entry

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
"""What says that a file is not there. A name that is too long is one that no file here can have: only a
claim brings it about, never a file that was seen."""

LARGE = 5000
"""From how many entries on a directory is more than should be looked at in one step."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What one directory holds, or what a few of its names are now.

    ``names`` is None when the whole directory was read; otherwise only those names were looked at and
    each of them that is in neither ``files`` nor ``directories`` is not there. ``unreadable`` maps names
    that could not be looked at to the errno: what is known of them stays as it was. ``fingerprint`` is a
    number that equal whole listings share (0: not known), ``seen_ns`` when the look began, by the wall clock.
    """

    directory: str
    device: int
    inode: int
    mtime_ns: int
    files: dict[str, Entry]
    directories: tuple[str, ...]
    names: frozenset[str] | None = None
    skipped: int = 0
    unreadable: dict[str, int] = field(default_factory=dict)
    fingerprint: int = 0
    seen_ns: int = 0


@dataclass(frozen=True, slots=True)
class Gone:
    """The directory is not there (ENOENT, ENOTDIR)."""

    directory: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The directory answered with an error that says nothing about what is in it."""

    directory: str
    errno: int


Look = Listing | Gone | Unreadable


@dataclass(slots=True)
class _Found:
    """What a look has come across so far."""

    files: dict[str, Entry] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    unreadable: dict[str, int] = field(default_factory=dict)
    skipped: int = 0

    def note(self, error: OSError, name: str) -> None:
        """A name could not be looked at; if it has vanished meanwhile, it is not there."""
        if error.errno not in GONE:
            self.unreadable[name] = error.errno or errno.EIO

    def listing(
        self, directory: str, about: os.stat_result, names: frozenset[str] | None, seen_ns: int
    ) -> Listing:
        """All of it, about a directory of which ``stat`` said this just before."""
        return Listing(
            directory,
            about.st_dev,
            about.st_ino,
            about.st_mtime_ns,
            self.files,
            tuple(self.directories),
            names,
            self.skipped,
            self.unreadable,
            seen_ns=seen_ns,
        )


def ignored(patterns: Sequence[str]) -> Callable[[str], bool]:
    """A predicate over names (not paths): does one of the shell patterns match, case and all?"""
    if not patterns:
        return lambda name: False
    match = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match

    @lru_cache(4096)  # the same names come again in every directory, among many that come once
    def is_ignored(name: str) -> bool:
        return match(name) is not None

    return is_ignored


class Lister:
    """Lists directories below one data root.

    ``root`` is the data root as configured; it and its first folders may be symlinks. ``ignore`` are
    shell patterns of names that are not there.
    """

    def __init__(self, root: str, ignore: Sequence[str]) -> None:
        self.root = root
        self.ignore = tuple(ignore)
        self.is_ignored = ignored(ignore)
        self.generation = 0
        """How often :meth:`use_roots` was called."""
        self._roots: frozenset[str] = frozenset()
        self._real_roots: tuple[str, ...] = ()

    def absolute(self, path: str) -> str:
        """The path on this machine of a path relative to the data root."""
        return os.path.join(self.root, path) if path else self.root

    @property
    def roots(self) -> tuple[str, ...]:
        """What :meth:`use_roots` was told last."""
        return tuple(sorted(self._roots))

    def use_roots(self, roots: Iterable[str]) -> None:
        """Say which first folders are roots: they may be symlinks, and file symlinks may point into them.

        Call it again when a root has come, gone or been replaced.
        """
        self.generation += 1
        self._roots = frozenset(roots)
        places = {
            os.path.realpath(self.root),
            *(os.path.realpath(self.absolute(root)) for root in self._roots),
        }
        self._real_roots = tuple(sorted(places))

    def look(self, directory: str, names: frozenset[str] | None = None) -> Look:
        """List a directory whole, or look at some of its names.

        Never raises for what the file system answers: an error is a :class:`Gone` or
        :class:`Unreadable` result.
        """
        where = self.absolute(directory)
        seen_ns = time.time_ns()
        found = _Found()
        try:
            if names is None:
                about = self._whole(found, directory, where)
            else:
                about = self._some(found, directory, where, names)
            return found.listing(directory, about, names, seen_ns)
        except OSError as error:
            return _failed(directory, error)

    def _may_be_link(self, directory: str) -> bool:
        return not directory or directory in self._roots

    def _whole(self, found: _Found, directory: str, where: str) -> os.stat_result:
        """Read it all through a descriptor, so that ``stat`` is about what is listed, and names are found
        without their paths."""
        follow = 0 if self._may_be_link(directory) else os.O_NOFOLLOW
        descriptor = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow)
        try:
            about = os.fstat(descriptor)
            with os.scandir(descriptor) as entries:
                self._entries(found, directory, where, entries)
            return about
        finally:
            os.close(descriptor)

    def _entries(
        self, found: _Found, directory: str, where: str, entries: Iterable[os.DirEntry[str]]
    ) -> None:
        files, directories = found.files, found.directories
        is_ignored = self.is_ignored
        linkable = self._roots if not directory else frozenset()
        for entry in entries:
            name = entry.name
            if is_ignored(name):
                continue
            if not encodable(name):
                found.skipped += 1
                continue
            try:
                if entry.is_file(follow_symlinks=False):
                    files[name] = _entry(name, entry.stat(follow_symlinks=False))
                elif entry.is_dir(follow_symlinks=name in linkable):
                    directories.append(name)
                elif entry.is_symlink():
                    self._link(os.path.join(where, name), name, files)
            except OSError as error:
                found.note(error, name)

    def _some(self, found: _Found, directory: str, where: str, names: frozenset[str]) -> os.stat_result:
        about = os.stat(where) if self._may_be_link(directory) else os.lstat(where)
        if not stat.S_ISDIR(about.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), where)
        for name in names:
            if self.is_ignored(name) or not encodable(name):
                continue
            path = os.path.join(where, name)
            try:
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    found.files[name] = _entry(name, status)
                elif stat.S_ISDIR(status.st_mode):
                    found.directories.append(name)
                elif stat.S_ISLNK(status.st_mode):
                    if not directory and name in self._roots and os.path.isdir(path):
                        found.directories.append(name)
                    else:
                        self._link(path, name, found.files)
            except OSError as error:
                found.note(error, name)
        return about

    def _link(self, path: str, name: str, files: dict[str, Entry]) -> None:
        """A file symlink counts if what it points to is a regular file below the data root."""
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno in GONE or error.errno == errno.ELOOP:
                return
            raise
        target = os.path.realpath(path)
        if stat.S_ISREG(status.st_mode) and any(_below(target, root) for root in self._real_roots):
            files[name] = _entry(name, status, link=True)


def _entry(name: str, status: os.stat_result, *, link: bool = False) -> Entry:
    about = (name, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, link)
    return tuple.__new__(Entry, about)  # as the class does it, in a third of the time


def _below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")


def _failed(directory: str, error: OSError) -> Gone | Unreadable:
    if error.errno in GONE:
        return Gone(directory)
    return Unreadable(directory, error.errno or errno.EIO)
