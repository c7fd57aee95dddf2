"""A watchdog observer whose emitter does nothing but say where to look.

The emitter reads inotify and marks the dirty set at once; it puts no event into watchdog's queue, which
has no bound. Nothing it meets ends it silently: a fault makes everything dirty, and after several in a
row the thread ends, which :attr:`Observation.alive` tells.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from typing import Any, cast

from watchdog.events import FileSystemEventHandler
from watchdog.observers.api import BaseObserver, EventEmitter, EventQueue, ObservedWatch

from scanner import inotify
from scanner.dirty import DirtySet
from scanner.inotify import Batch, Instance, Special
from scanner.registry import Registry
from scanner.unclaimed import Unclaimed

LOG = logging.getLogger(__name__)

MAX_FAULTS = 5
PAUSE_SECONDS = 0.02
_WHEREABOUTS = inotify.IN_MOVE_SELF | inotify.IN_DELETE_SELF | inotify.IN_UNMOUNT
_MOVED = inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO


class Interpreter:
    """Turns events into dirty directories, by the map of the registry.

    ``lock`` guards the registry and what is unclaimed: whoever adds a watch holds it until the watch is in
    the map, so that no event of a new watch is met before its path is known. What another process watches
    comes into the map later, and what is told of it until then is kept.
    """

    def __init__(self, dirty: DirtySet, registry: Registry, lock: threading.RLock) -> None:
        self._dirty = dirty
        self._registry = registry
        self._lock = lock
        self.unclaimed = Unclaimed()
        self.overflows = 0
        self.last_overflow_us: int | None = None

    def handle(self, batch: Batch) -> None:
        """Mark what a batch of events is about."""
        with self._lock:
            for wd, names in batch.names.items():
                directories = self._registry.paths(wd)
                for directory in directories:
                    self._names(directory, names)
                if not directories:
                    self.unclaimed.names(wd, names)
            for special in batch.specials:
                self._special(special)

    def claimed(self, wd: int) -> None:
        """A watch that another process has put is in the map now: mark what was told of it before."""
        with self._lock:
            batch = self.unclaimed.take(wd)
            if batch is not None:
                self.handle(batch)

    def lost(self) -> None:
        """Events were read and not followed, for a fault: anything may have changed."""
        with self._lock:
            self.unclaimed.lose()
        self._dirty.mark_all()

    def _names(self, directory: str, names: dict[bytes, int]) -> None:
        looks: dict[str, bool | None] = {}
        for raw, mask in names.items():
            try:
                looks[raw.rstrip(b"\0").decode()] = _settled(mask)
            except UnicodeDecodeError:
                self._dirty.mark(directory)
        self._dirty.mark_names(directory, looks)

    def _special(self, event: Special) -> None:
        directories = self._registry.paths(event.wd)
        if event.mask & inotify.IN_Q_OVERFLOW:
            self._overflow()
        elif not directories:
            self.unclaimed.special(event)
        elif event.mask & inotify.IN_IGNORED:
            for directory in self._registry.ignored(event.wd):
                self._uprooted(directory)
        else:
            for directory in directories:
                if event.name:
                    self._child(directory, event)
                elif event.mask & _WHEREABOUTS:
                    self._uprooted(directory)
                else:
                    self._attributes(directory)

    def _overflow(self) -> None:
        """The kernel has dropped events. The watches are as good as before and stay."""
        self.overflows += 1
        self.last_overflow_us = time.time_ns() // 1000
        self.unclaimed.lose()
        self._dirty.mark_all()
        LOG.warning("the inotify queue overflowed (%d so far): looking at everything again", self.overflows)

    def _uprooted(self, directory: str) -> None:
        """A watched directory has moved, or is gone, or another one may be in its place."""
        if directory:
            parent, _, name = directory.rpartition("/")
            self._dirty.mark(parent, name)
        self._dirty.mark(directory, recursive=True)

    def _child(self, directory: str, event: Special) -> None:
        """Something befell a subdirectory; its name is marked already, which is enough for a new one."""
        try:
            name = event.name.decode()
        except UnicodeDecodeError:
            return
        child = f"{directory}/{name}" if directory else name
        if child not in self._registry:
            return
        self._dirty.mark(child, recursive=bool(event.mask & _MOVED))
        if event.mask & inotify.IN_ATTRIB:
            self._attributes(child)

    def _attributes(self, directory: str) -> None:
        """Permissions may have changed: what could not be watched below can be looked at again."""
        self._dirty.mark(directory)
        for other in self._registry.denied_below(directory):
            self._dirty.mark(other)


def _settled(mask: int) -> bool | None:
    if mask & inotify.SETTLING:
        return True
    return None if mask & inotify.IN_ATTRIB else False


class DirtyEmitter(EventEmitter):
    """The reader thread: drains the inotify instance and hands what it read to the interpreter."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        instance: Instance,
        interpreter: Interpreter,
        **options: Any,
    ) -> None:
        super().__init__(event_queue, watch, **options)
        self._instance = instance
        self._interpreter = interpreter
        self._faults = 0
        self.handling = False

    def queue_events(self, timeout: float) -> None:
        """Read once, waiting for at most ``timeout`` seconds, and mark what was read."""
        try:
            if self._instance.wait(timeout):
                self.handling = True  # before the kernel's queue is empty: see Observation.drained
                self._interpreter.handle(inotify.parse(self._instance.read()))
            self._faults = 0
        except Exception:
            self._faults += 1
            LOG.exception("reading file system events failed (%d in a row)", self._faults)
            self._recover()
        finally:
            self.handling = False

    def on_thread_stop(self) -> None:
        """End the blocking read."""
        self._instance.wake()

    def _recover(self) -> None:
        """What was read is lost, so everything has to be looked at again; try on, or give up loudly."""
        self._interpreter.lost()
        if self._faults >= MAX_FAULTS:
            LOG.error("file system events are no longer read; every directory is polled until that is mended")
            self.stop()
        else:
            self.stopped_event.wait(PAUSE_SECONDS * 2**self._faults)


class DirtyObserver(BaseObserver):
    """A watchdog observer over one inotify instance; its emitter marks the dirty set itself."""

    def __init__(self, instance: Instance, interpreter: Interpreter) -> None:
        emitter = functools.partial(DirtyEmitter, instance=instance, interpreter=interpreter)
        super().__init__(cast("type[EventEmitter]", emitter))


class Observation:
    """An inotify instance and the observer that reads it, from start to stop.

    Raises:
        OSError: there is no instance to be had (EMFILE, ENFILE, ENOSYS, ...).
    """

    def __init__(self, kernel: inotify.Kernel, data_root: str, interpreter: Interpreter) -> None:
        self.instance = Instance(kernel)
        self._observer = DirtyObserver(self.instance, interpreter)
        try:
            self._observer.schedule(FileSystemEventHandler(), data_root, recursive=True)
            self._emitters = tuple(self._observer.emitters)
            self._observer.start()
        except BaseException:
            self.stop()
            raise

    @property
    def alive(self) -> bool:
        """Whether events are being read."""
        return all(emitter.is_alive() for emitter in self._emitters)

    @property
    def drained(self) -> bool:
        """Whether all that had happened at the time of the call has been handed to the interpreter."""
        if self.instance.unread:  # asked first: whoever emptied the queue since says that it is handling it
            return False
        return not any(cast(DirtyEmitter, emitter).handling for emitter in self._emitters)

    def stop(self) -> None:
        """End the threads and close the descriptors; may be called again."""
        self._observer.stop()
        if self._observer.is_alive():
            self._observer.join()
        self.instance.close()
