"""The watcher: one directory after the other is given to it, changes in them come out as dirty.

The worker that keeps the index calls :meth:`DirectoryWatcher.add` *before* it lists a directory: what
happens after the call is marked, what happened before is in the listing. What cannot be watched is
polled: remembered with the reason, swept by the worker, tried again later.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from scanner.dirty import DirtySet
from scanner.emitter import Interpreter, Observation
from scanner.filesystems import EventSupport
from scanner.inotify import Kernel, LibcKernel
from scanner.portable import ObserverFactory, PortableWatcher
from scanner.registry import Registry
from scanner.watchstats import Shared, WatchStats

LOG = logging.getLogger(__name__)

Mode = Literal["auto", "inotify", "polling"]
RETRY_LIMIT = 10_000
POLLING = "polling"
"""The reason of a directory that is polled because the configuration says so."""

_DELAY_SECONDS = 2.0
"""By when watchdog's own observers have told what they tell."""
NOT_THERE = "not there"
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_EXHAUSTED = frozenset({errno.ENOSPC, errno.ENOMEM})
_EXHAUSTED_NAMES = frozenset(errno.errorcode[number] for number in _EXHAUSTED)


class DirectoryWatcher:
    """Watches directories below a data root, each by its path relative to it (``""`` = the data root).

    ``mode`` is ``auto`` (watch where the file system tells about changes), ``inotify`` (watch whatever
    the file system) or ``polling`` (watch nothing). Where there is no inotify, or with ``observer``, one
    of watchdog's own observers is used. ``kernel`` and ``has_events`` replace what asks the system.

    All methods may be called from any thread; one worker is expected to call them.
    """

    def __init__(
        self,
        dirty: DirtySet,
        data_root: str,
        mode: Mode,
        *,
        kernel: Kernel | None = None,
        has_events: Callable[[str], tuple[bool, str]] | None = None,
        observer: ObserverFactory | None = None,
    ) -> None:
        if mode not in ("auto", "inotify", "polling"):
            raise ValueError(f"no such way of watching: {mode!r}")
        self._dirty = dirty
        self._data_root = data_root
        self._mode = mode
        self._kernel = kernel or LibcKernel()
        self._has_events = has_events or EventSupport()
        self._operations = threading.RLock()
        self._map_lock = threading.RLock()
        self._registry = Registry()
        self._interpreter = Interpreter(dirty, self._registry, self._map_lock)
        self._portable = _portable(dirty, data_root, mode, observer)
        self._observation: Observation | None = None
        self._generation = 0
        self._strays = False
        self._no_instance = errno.ESHUTDOWN
        self._running = False

    def start(self) -> None:
        """Begin to read events. Never raises for what the system refuses: then everything is polled."""
        with self._operations:
            if self._running:
                return
            self._running = True
            if self._portable is not None:
                self._portable.start()
            elif self._mode != "polling":
                self._observe()

    def stop(self) -> None:
        """End all threads, close all descriptors and forget every directory; may be called again."""
        with self._operations:
            self._running = False
            self._no_instance = errno.ESHUTDOWN
            if self._portable is not None:
                self._portable.stop()
            if self._observation is not None:
                self._observation.stop()
                self._observation = None
            with self._map_lock:
                self._registry.forget("")

    def add(self, directory: str, *, telling: bool = False) -> bool:
        """Watch a directory, before it is listed; True if it is watched from now on.

        Call it before every listing: it is cheap, and it notices that the path leads to another inode.
        False says that the directory is polled, or not there. ``telling``: its file system is taken for one
        that tells of changes, and is not asked.
        """
        with self._operations:
            silent = self._silence(directory, telling=telling)
            if silent is not None:
                with self._map_lock:
                    unused = self._registry.poll(directory, silent, silent=True)
                self._remove(unused)
                return False
            try:
                self._watch(directory)
            except OSError as error:
                return self._refused(directory, error)
            return True

    @property
    def shares(self) -> bool:
        """Whether another process can put watches."""
        return self._observation is not None

    @property
    def shared(self) -> Shared | None:
        """What another process needs to put watches, None where there are none to be put."""
        with self._map_lock:
            if self._observation is None:
                return None
            return Shared(self._observation.instance.fd, self._generation, self._interpreter.unclaimed.epoch)

    def expect(self, *, more: bool) -> None:
        """Watches were asked of another process, before it puts any; or all that it has put were told."""
        with self._map_lock:
            self._interpreter.unclaimed.expect(more=more)
            if self._strays and not more:
                self._strays = False
                self._remove_strays()

    def expect_strays(self) -> None:
        """Another process has ended, and did not tell all watches that it has put."""
        self._strays = True

    def enter(self, watches: Sequence[tuple[str, int]], asked: Shared | None) -> list[str]:
        """Another process has looked at a directory and folders in it, and before that put a watch on each,
        as :meth:`add`.

        Each with its watch descriptor, ``-errno`` where the kernel refused, or 0 where it was not to be
        watched; ``asked`` is :attr:`shared` as of before. Returns those that have to be listed again: they
        are watched, but something may have happened between the look and that.
        """
        with self._operations, self._map_lock:
            good = asked is not None and asked == self.shared
            if good and not self._interpreter.unclaimed and self._registry.assign_all(watches):
                return []  # all is new, as it mostly is, and nothing was told of it
            return [directory for directory, wd in watches if not self._enter(directory, wd, good=good)]

    def drop(self, wds: Iterable[int], asked: Shared | None) -> None:
        """Another process has put watches, and what it saw is not used: remove those that nobody else has."""
        with self._operations, self._map_lock:
            if asked is not None and asked.generation == self._generation:
                self._remove([wd for wd in wds if wd > 0 and not self._registry.paths(wd)])

    def forget(self, directory: str) -> None:
        """The directory and everything below it is gone: drop it, and the watches that only it had."""
        with self._operations:
            with self._map_lock:
                unused = self._registry.forget(directory)
            if self._portable is not None:
                self._portable.forget(directory)
            self._remove(unused)

    def watches(self, directory: str) -> bool:
        """Whether changes in a directory are told now."""
        with self._map_lock:
            return self._alive() and self._registry.is_watched(directory)

    def caught_up(self, since: float) -> bool:
        """Whether all that had happened by ``since`` (monotonic seconds) and is told has been marked."""
        with self._operations:
            if self._portable is not None:
                return time.monotonic() - since >= _DELAY_SECONDS
            return self.drained

    @property
    def drained(self) -> bool:
        """Whether every event that the kernel had queued by now has been marked, as far as anybody reads.

        What watchdog's own observers have on the way cannot be asked.
        """
        with self._operations:
            if self._observation is None or not self._observation.alive:
                return True
            return self._observation.drained and not len(self._interpreter.unclaimed)

    def polled(self) -> frozenset[str]:
        """The directories that have to be polled; all that are known once the reader has died."""
        with self._map_lock:
            return self._registry.polled_paths() if self._alive() else self._registry.known_paths()

    def retry_polled(self, limit: int = RETRY_LIMIT) -> list[str]:
        """Try again to watch up to ``limit`` directories; returns those that are watched now.

        They have to be listed again: what happened in them since the last listing was not seen. A reader
        that has died, or could not be had at start, is started anew first.
        """
        watched: list[str] = []
        with self._operations:
            if not self._running or not self._revived():
                return watched
            with self._map_lock:
                candidates = self._registry.retryable(limit)
            for directory in candidates:
                if self.add(directory):
                    watched.append(directory)
                elif self._exhausted(directory):
                    break
                else:
                    self._look_if_gone(directory)
        return watched

    def stats(self) -> WatchStats:
        """Counts and limits as of now."""
        limit, limit_sysctl = self._kernel.limit("max_user_watches")
        instance_limit, instance_sysctl = self._kernel.limit("max_user_instances")
        with self._map_lock:
            registry = self._registry
            return WatchStats(
                watched=registry.watched,
                polled=registry.polled,
                needed=registry.known,
                limit=limit,
                limit_sysctl=limit_sysctl,
                instance_limit=instance_limit,
                instance_sysctl=instance_sysctl,
                overflows=self._interpreter.overflows,
                last_overflow_us=self._interpreter.last_overflow_us,
                reasons=registry.reasons,
                reader_alive=self._alive(),
            )

    def _absolute(self, directory: str) -> str:
        return os.path.join(self._data_root, directory) if directory else self._data_root

    def _silence(self, directory: str, *, telling: bool) -> str | None:
        """Why events cannot be expected of a directory at all, or None."""
        if self._mode == "polling":
            return POLLING
        if telling or self._mode == "inotify":
            return None
        try:
            tells, name = self._has_events(self._absolute(directory))
        except OSError:
            return None  # watching it meets the same error and says so
        return None if tells else name

    def _watch(self, directory: str) -> None:
        if self._portable is not None:
            self._portable.add(directory)
            with self._map_lock:
                self._registry.cover(directory)
            return
        if self._observation is None:
            raise OSError(self._no_instance, "no inotify instance")
        try:
            self._put_watch(directory, self._observation)
        except OSError as error:
            if error.errno not in _EXHAUSTED or not self._freed(directory):
                raise
            self._put_watch(directory, self._observation)

    def _put_watch(self, directory: str, observation: Observation) -> None:
        with self._map_lock:
            wd = observation.instance.add(self._absolute(directory), follow=_may_be_link(directory))
            self._assign(directory, wd)

    def _assign(self, directory: str, wd: int) -> None:
        unused, displaced = self._registry.assign(directory, wd, self._same)
        self._remove(unused)
        for other in displaced:
            self._dirty.mark(other, recursive=True)

    def _enter(self, directory: str, wd: int, *, good: bool) -> bool:
        """Enter a watch that is put already; False if the directory has to be listed again.

        ``good``: whatever has befallen it since is in what is unclaimed.
        """
        if good and wd > 0 and not self._interpreter.unclaimed.has_gone(wd):
            earlier = self._registry.paths(wd)
            self._assign(directory, wd)
            if not earlier:
                self._interpreter.claimed(wd)
            if not earlier or directory in earlier:
                return True
        return not self.add(directory, telling=wd != 0)

    def _freed(self, directory: str) -> bool:
        """There is no watch left, but the path may still hold one for an inode that is elsewhere now."""
        with self._map_lock:
            unused = self._registry.poll(directory, "ENOSPC")
        self._remove(unused)
        return bool(unused)

    def _refused(self, directory: str, error: OSError) -> bool:
        """Remember why a directory is not watched; returns False."""
        number = error.errno or errno.EIO
        name = errno.errorcode.get(number, str(number))
        unused: tuple[int, ...] = ()
        with self._map_lock:
            if number in _GONE:
                self._registry.set_adrift(directory, NOT_THERE)
            else:
                unused = self._registry.poll(directory, name, keep_watch=number not in _EXHAUSTED)
        self._remove(unused)
        return False

    def _exhausted(self, directory: str) -> bool:
        """Whether a watch was refused because there are no more of them."""
        with self._map_lock:
            return self._registry.reason(directory) in _EXHAUSTED_NAMES

    def _look_if_gone(self, directory: str) -> None:
        """A directory that is not there when a watch is retried should have been forgotten: look again."""
        with self._map_lock:
            gone = self._registry.reason(directory) == NOT_THERE
        if gone:
            self._dirty.mark(directory, recursive=True)

    def _same(self, one: str, other: str) -> bool:
        """Whether two paths lead to the same directory now."""
        try:
            first, second = (_status(self._absolute(path), path) for path in (one, other))
        except OSError:
            return False
        return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)

    def _remove(self, wds: Iterable[int]) -> None:
        if self._observation is not None:
            for wd in wds:
                self._observation.instance.remove(wd)

    def _remove_strays(self) -> None:
        """Remove the watches that nobody knows: of directories that are elsewhere by now."""
        if self._observation is not None:
            self._remove([wd for wd in self._observation.instance.watches() if not self._registry.paths(wd)])

    def _observe(self) -> None:
        self._generation += 1
        try:
            self._observation = Observation(self._kernel, self._data_root, self._interpreter)
        except OSError as error:
            self._no_instance = error.errno or errno.EIO
            LOG.warning("no inotify instance: %s; every directory is polled", error)

    def _alive(self) -> bool:
        if self._portable is not None:
            return self._portable.alive
        return self._observation is None or self._observation.alive

    def _revived(self) -> bool:
        """Make sure that somebody reads events; False where that cannot be had (now)."""
        if self._mode == "polling":
            return False
        if self._portable is not None:
            return self._portable.alive or self._revive_portable(self._portable)
        if self._observation is not None and not self._observation.alive:
            self._observation.stop()
            self._observation = None
            with self._map_lock:
                self._registry.lose_watches("reader died")
        if self._observation is None:
            self._observe()
        return self._observation is not None

    def _revive_portable(self, portable: PortableWatcher) -> bool:
        portable.stop()
        with self._map_lock:
            self._registry.lose_watches("observer died")
        portable.start()
        return portable.alive


def _portable(
    dirty: DirtySet, data_root: str, mode: Mode, observer: ObserverFactory | None
) -> PortableWatcher | None:
    wanted = observer is not None or (mode == "auto" and not sys.platform.startswith("linux"))
    return PortableWatcher(dirty, data_root, observer) if wanted and mode != "polling" else None


def _may_be_link(directory: str) -> bool:
    """The data root and the roots right below it may be symlinks."""
    return "/" not in directory


def _status(absolute: str, directory: str) -> os.stat_result:
    return os.stat(absolute, follow_symlinks=_may_be_link(directory))
