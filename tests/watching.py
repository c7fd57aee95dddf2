"""What the watcher's tests share: a small worker that follows hints, and system calls that fail at will."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

from scanner.dirty import Dirty, DirtySet
from scanner.inotify import LibcKernel
from scanner.sweep import changed_directories, stat_below
from scanner.watch import DirectoryWatcher

DEADLINE = 30.0
Model = dict[str, tuple[int, int, int]]


def walk(root: str) -> Model:
    """Every regular file below a root as a fresh walk shows it: path → (inode, size, mtime)."""
    files: Model = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            try:
                about = os.lstat(path)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(about.st_mode):
                files[os.path.relpath(path, root)] = (about.st_ino, about.st_size, about.st_mtime_ns)
    return files


class Worker:
    """Follows hints as plainly as can be: add, list, compare. A known subdirectory is not listed again
    unless a hint names it, so what the watcher fails to say is missed here."""

    def __init__(self, root: str, dirty: DirtySet, watcher: DirectoryWatcher) -> None:
        self.root = root
        self.dirty = dirty
        self.watcher = watcher
        self.files: dict[str, Model] = {}
        self.subdirectories: dict[str, set[str]] = {}
        self.listed: dict[str, tuple[int, int]] = {}
        self.identity: tuple[int, int] | None = None

    @property
    def model(self) -> Model:
        return {name: about for names in self.files.values() for name, about in names.items()}

    def check_root(self) -> None:
        """A data root that is another inode than before is a tree that is not known."""
        try:
            about = os.stat(self.root)
            identity = (about.st_dev, about.st_ino)
        except FileNotFoundError:
            identity = None
        if identity != self.identity:
            self.identity = identity
            self.remove("")
            self.dirty.mark("", recursive=True)

    def follow(self, item: Dirty) -> None:
        if item.names is not None:
            self.some(item.directory, item.names)
            return
        below = self.below(item.directory) if item.recursive else [item.directory]
        for directory in below:
            self.whole(directory)

    def below(self, directory: str) -> list[str]:
        if not directory:
            return list(self.files) or [""]
        prefix = directory + "/"
        return [directory, *(d for d in list(self.files) if d.startswith(prefix))]

    def whole(self, directory: str) -> None:
        self.watcher.add(directory)
        where = self._absolute(directory)
        files: Model = {}
        found: set[str] = set()
        try:
            about = os.lstat(where) if directory else os.stat(where)
            if not stat.S_ISDIR(about.st_mode):
                raise NotADirectoryError(where)
            with os.scandir(where) as entries:
                for entry in entries:
                    path = f"{directory}/{entry.name}" if directory else entry.name
                    self._note(path, files, found)
        except (FileNotFoundError, NotADirectoryError):
            self.remove(directory)
            return
        gone = self.subdirectories.get(directory, set()) - found
        new = found - self.subdirectories.get(directory, set())
        self.files[directory] = files
        self.listed[directory] = (about.st_mtime_ns, about.st_ino)
        self.subdirectories[directory] = found
        for path in gone:
            self.remove(path)
        for path in new:
            self.whole(path)

    def some(self, directory: str, names: frozenset[str]) -> None:
        if directory not in self.files:
            self.whole(directory)
            return
        for name in names:
            path = f"{directory}/{name}" if directory else name
            self.files[directory].pop(path, None)
            found: set[str] = set()
            self._note(path, self.files[directory], found)
            known = path in self.subdirectories[directory]
            if found and not known:
                self.subdirectories[directory].add(path)
                self.whole(path)
            elif known and not found:
                self.subdirectories[directory].discard(path)
                self.remove(path)

    def remove(self, directory: str) -> None:
        for path in self.below(directory):
            self.files.pop(path, None)
            self.subdirectories.pop(path, None)
            self.listed.pop(path, None)
        parent = directory.rpartition("/")[0]
        self.subdirectories.get(parent, set()).discard(directory)
        self.watcher.forget(directory)

    def turn(self, timeout: float = 0.0) -> None:
        """Take what is dirty now and follow it."""
        self.check_root()
        self.dirty.wait(timeout)
        items = self.dirty.take(100)
        for item in items:
            self.follow(item)
        self.dirty.done(items)

    def sweep(self) -> None:
        """Mark what the mtimes of directories say has changed."""
        known = [(path, *listed) for path, listed in self.listed.items()]
        for part in changed_directories(known, stat_below(self.root)):
            for directory, _ in part.changed:
                self.dirty.mark(directory)

    def settle(self, sweep_after: float = DEADLINE) -> None:
        """Follow hints until nothing is pending and the model equals a fresh walk, or fail.

        After ``sweep_after`` seconds sweeps help.
        """
        started = time.monotonic()
        while time.monotonic() < started + DEADLINE:
            self.turn(0.02)
            if time.monotonic() > started + sweep_after:
                self.sweep()
            if not self.dirty.pending and self.model == walk(self.root):
                return
        found, truth = self.model, walk(self.root)
        missing = sorted(set(truth) - set(found))
        false = sorted(set(found) - set(truth))
        other = sorted(path for path in set(found) & set(truth) if found[path] != truth[path])
        raise AssertionError(f"missing {missing[:5]}, false {false[:5]}, different {other[:5]}")

    def _note(self, path: str, files: Model, found: set[str]) -> None:
        try:
            about = os.lstat(self._absolute(path))
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISDIR(about.st_mode):
            found.add(path)
        elif stat.S_ISREG(about.st_mode):
            files[path] = (about.st_ino, about.st_size, about.st_mtime_ns)

    def _absolute(self, directory: str) -> str:
        return os.path.join(self.root, directory) if directory else self.root


class FaultyKernel(LibcKernel):
    """The real system calls, except where a test wants an error or a reader that stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.refuse: Callable[[str], int] = lambda path: 0
        self.init_error = 0
        self.read_errors: list[Exception] = []
        self.reading = threading.Event()
        self.reading.set()
        self.standing = threading.Event()
        self.watches: set[int] = set()
        self.max_watches: int | None = None

    def init(self) -> int:
        if self.init_error:
            raise OSError(self.init_error, os.strerror(self.init_error))
        self.watches.clear()
        return super().init()

    def add_watch(self, fd: int, path: str, mask: int) -> int:
        number = self.refuse(path)
        if number:
            raise OSError(number, os.strerror(number), path)
        wd = super().add_watch(fd, path, mask)
        self._count(fd, path, wd)
        return wd

    def _count(self, fd: int, path: str, wd: int) -> None:
        full = self.max_watches is not None and len(self.watches) >= self.max_watches
        if full and wd not in self.watches:
            super().rm_watch(fd, wd)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        self.watches.add(wd)

    def rm_watch(self, fd: int, wd: int) -> None:
        self.watches.discard(wd)
        super().rm_watch(fd, wd)

    def read(self, fd: int, buffer: bytearray) -> int:
        if not self.reading.is_set():
            self.standing.set()
            if not self.reading.wait(DEADLINE):
                raise TimeoutError("the test never let the reader go on")
        if self.read_errors:
            raise self.read_errors.pop(0)
        return super().read(fd, buffer)


_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: Path | str, other: Path | str) -> None:
    """renameat2(RENAME_EXCHANGE)."""
    if _libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def grow(directory: Path, depth: int = 2, width: int = 2) -> Path:
    """A little tree: ``depth`` levels of ``width`` directories, a file in each; returns its root."""
    directory.mkdir()
    (directory / "file.bin").write_bytes(b"x")
    if depth:
        for number in range(width):
            grow(directory / f"d{number}", depth - 1, width)
    return directory


def clear(directory: Path) -> None:
    """Remove everything in a directory."""
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
