"""Watching by watchdog's own observers, where there is no inotify: FSEvents, kqueue, Windows, ...

One recursive schedule covers the data root, one more each root that is a symlink. Their events are hints
like any other; what these observers lose, and they do not say when they do, the sweeps find.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from scanner.dirty import DirtySet
from scanner.pattern import encodable

LOG = logging.getLogger(__name__)

ObserverFactory = Callable[[], BaseObserver]
_READS = frozenset({"opened", "closed_no_write"})


@dataclass(frozen=True, slots=True)
class _Cover:
    """A recursive schedule, and the directory (device, inode) that it was made for."""

    watch: ObservedWatch
    identity: tuple[int, int]


class Marker(FileSystemEventHandler):
    """Marks what an event is about; ``base`` is the directory, relative to the data root, at ``path``.

    A fault makes everything dirty: a handler that raises would end watchdog's dispatcher for good.
    """

    def __init__(self, dirty: DirtySet, base: str, path: str) -> None:
        self._dirty = dirty
        self._base = base
        self._prefixes = tuple({os.path.abspath(path), os.path.realpath(path)})

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog for every event."""
        if event.event_type in _READS:
            return
        try:
            self._mark(event.src_path, event, settled=event.event_type == "closed")
            if event.dest_path:
                self._mark(event.dest_path, event, settled=True)
        except Exception:
            LOG.exception("a file system event could not be followed: looking at everything again")
            self._dirty.mark_all()

    def _mark(self, path: bytes | str, event: FileSystemEvent, *, settled: bool) -> None:
        relative = self._relative(os.fsdecode(path))
        if relative is None:
            self._dirty.mark(self._base, recursive=True)
            return
        parent, _, name = relative.rpartition("/")
        if relative:
            self._dirty.mark(parent, name if encodable(name) else None, settled=settled)
        if event.is_directory:
            self._dirty.mark(relative, recursive=event.event_type in {"moved", "deleted"})

    def _relative(self, path: str) -> str | None:
        for prefix in self._prefixes:
            if path == prefix:
                return self._base
            if path.startswith(prefix.rstrip(os.sep) + os.sep):
                below = path[len(prefix.rstrip(os.sep)) + 1 :].replace(os.sep, "/")
                return f"{self._base}/{below}" if self._base else below
        return None


class PortableWatcher:
    """One of watchdog's observers over a data root; ``factory`` makes it (default: the platform's own)."""

    def __init__(self, dirty: DirtySet, data_root: str, factory: ObserverFactory | None = None) -> None:
        self._dirty = dirty
        self._data_root = data_root
        self._factory: ObserverFactory = factory or Observer
        self._observer: BaseObserver | None = None
        self._covers: dict[str, _Cover] = {}

    @property
    def alive(self) -> bool:
        """Whether the observer and all its emitters run."""
        observer = self._observer
        if observer is None or not observer.is_alive():
            return False
        return all(emitter.is_alive() for emitter in observer.emitters)

    def start(self) -> None:
        """Start an observer; what it covers comes with :meth:`add`."""
        self._observer = self._factory()
        self._observer.start()

    def stop(self) -> None:
        """End its threads; may be called again."""
        observer, self._observer = self._observer, None
        self._covers.clear()
        if observer is not None:
            observer.stop()
            observer.join()

    def add(self, directory: str) -> None:
        """Make sure that a directory is covered.

        Raises:
            OSError: it is not there, cannot be looked at, or the platform refuses to watch it.
        """
        if self._observer is None:
            raise OSError(errno.ESHUTDOWN, "the observer is stopped", directory)
        status = os.stat(self._absolute(directory), follow_symlinks="/" not in directory)
        if "/" not in directory and (not directory or os.path.islink(self._absolute(directory))):
            self._cover(self._observer, directory, (status.st_dev, status.st_ino))
        elif "" not in self._covers and directory.partition("/")[0] not in self._covers:
            about = os.stat(self._data_root)
            self._cover(self._observer, "", (about.st_dev, about.st_ino))

    def forget(self, directory: str) -> None:
        """The directory is gone: end the schedules for it and for what is below."""
        prefix = directory + "/" if directory else ""
        for covered in [c for c in self._covers if c == directory or c.startswith(prefix)]:
            self._uncover(covered)

    def _absolute(self, directory: str) -> str:
        return os.path.join(self._data_root, directory) if directory else self._data_root

    def _cover(self, observer: BaseObserver, directory: str, identity: tuple[int, int]) -> None:
        cover = self._covers.get(directory)
        if cover is not None and cover.identity == identity:
            return
        self._uncover(directory)
        path = self._absolute(directory)
        marker = Marker(self._dirty, directory, path)
        watch = observer.schedule(marker, os.path.realpath(path), recursive=True)
        self._covers[directory] = _Cover(watch, identity)

    def _uncover(self, directory: str) -> None:
        cover = self._covers.pop(directory, None)
        if cover is None or self._observer is None:
            return
        try:
            self._observer.unschedule(cover.watch)
        except (KeyError, OSError):
            LOG.warning("the schedule of %s had ended by itself", self._absolute(directory), exc_info=True)
