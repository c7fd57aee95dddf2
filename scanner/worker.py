"""The work of the scanner: dirty directories, crawls, sweeps and rows, in small steps, into the index.

One thread does all of it. Each step is short, so that the heartbeat, the roots and what is most urgent
are never far away; what a step takes in hand becomes visible in one transaction.
"""

from __future__ import annotations

import logging
import os
import queue
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from scanner.config import Config
from scanner.dirty import Dirty, DirtySet
from scanner.exceptions import IndexFull
from scanner.index import Index
from scanner.listing import Gone, Lister, Listing, Look, Unreadable, is_utf8
from scanner.records import Entry
from scanner.roots import Root, Roots
from scanner.rows import Applied, PollDone, SinkItem
from scanner.settling import Settling
from scanner.sweep import RescanClock, Slice, SweepClock, changed_directories, stat_below
from scanner.tree import Changes, join, split
from scanner.watch import DirectoryWatcher, Mode

LOG = logging.getLogger(__name__)

STEP_SECONDS = 0.05
"""How long one transaction may gather work."""
CRAWL_SECONDS = 0.25
"""The same while the tree is read for the first time: a folder of images and those of their artifacts
mostly fall into one transaction, and each asset is resolved once."""
SWEEP_SECONDS = 10.0
RETRY_SECONDS = 5.0
IN_FLIGHT_NS = 2_000_000_000
"""A change younger than this may still be on its way through the watcher."""


class Worker:
    """Keeps an index equal to the disk and the database. ``rows`` is what the poller yields."""

    def __init__(self, config: Config, index: Index, rows: queue.Queue[SinkItem]) -> None:
        self.config = config
        self.index = index
        self.rows = rows
        self.dirty = DirtySet()
        self.lister = Lister(config.data.root, config.scan.ignore)
        self.watcher = DirectoryWatcher(self.dirty, config.data.root, cast(Mode, config.scan.watcher))
        self.roots = Roots(self.lister, index.layout.roots, index.claimed_below)
        self.settling = Settling()
        now = time.monotonic()
        pause = config.scan.polling_seconds if config.scan.watcher == "polling" else SWEEP_SECONDS
        self.sweeps = SweepClock(pause)
        self.rescans = RescanClock(config.scan.rescan_seconds, now)
        self._stack: list[tuple[str, bool]] = []
        self._sweep: Iterator[Slice] | None = None
        self._sweep_started_ns: int | None = None
        self._swept: set[str] = set()
        self._pass_started: float | None = None
        self._first_held: frozenset[str] | None = None
        self._settled: frozenset[str] = frozenset()
        self._retry_at = 0.0
        self._roots_at = 0.0
        self.unreadable: dict[str, int] = {}
        self.skipped: dict[str, int] = {}
        self.crawled = False
        self.synced = not config.database.url
        self.full: str | None = None
        self.missed = 0
        self.last_pass_ns: int | None = None
        self.pass_seconds: float | None = None
        self.pass_files: int | None = None
        self.listed = 0

    @property
    def ready(self) -> bool:
        """Whether the first full scan, and the first read of the database, are in the index."""
        return self.crawled and self.synced and self.index.mirror.crawled

    @property
    def pass_running(self) -> bool:
        """Whether a full pass is under way."""
        return self._pass_started is not None

    @property
    def listing(self) -> int:
        """How many directories a pass, or the discovery of new ones, has still to list."""
        return len(self._stack)

    @property
    def pending(self) -> int:
        """How many paths are known to need a look, or to be looked at."""
        return self.dirty.pending + len(self._stack) + len(self.settling) + self.rows.qsize()

    def start(self) -> None:
        """Begin the first full pass."""
        self.watcher.start()
        self.index.claims.note_all_folders()
        self.roots.claim(self.index.claims.folders)
        self.begin_pass()

    def stop(self) -> None:
        """End the watcher's threads."""
        self.watcher.stop()

    def begin_pass(self) -> None:
        """Reconcile everything: list every directory below every root."""
        self.roots.check()
        self._roots_at = time.monotonic() + 1.0
        self._pass_started = time.monotonic()
        self._sweep = None
        self.listed = 0
        self._stack.extend((root.path, True) for root in self.roots.all.values() if root.present)
        if not self._stack:
            self._end_pass()

    def step(self) -> float:
        """Do what is most urgent; returns for how many seconds there is nothing to do."""
        now = time.monotonic()
        self._look_at_roots(now)
        for directory, names in self.settling.due(now).items():
            self.dirty.mark_names(directory, names)
        if self.full is not None and now < self._retry_at:
            return self._retry_at - now
        try:
            busy = self._take_rows() or self._take_dirty()
            busy = self._take_stack() or busy
            self.full = None
        except IndexFull as error:
            self.full = str(error)
            self._retry_at = now + RETRY_SECONDS
            return RETRY_SECONDS
        if not busy:
            self._finish_what_is_done()
            busy = self._timers(time.monotonic())
        return 0.0 if busy else self._idle_seconds()

    def look_again(self, paths: Iterable[str]) -> None:
        """Look at single paths now and make the index agree; inside the caller's transaction."""
        names: dict[str, set[str]] = {}
        for path in paths:
            directory, name = split(path)
            while directory and self.index.tree.directory_id(directory) is None:
                directory, name = split(directory)
            names.setdefault(directory, set()).add(name)
        for directory, some in names.items():
            self._look(directory, frozenset(some), frozenset(), recursive=False)

    # --- what comes in -------------------------------------------------------------------------------

    def _take_rows(self) -> bool:
        items: list[SinkItem] = []
        while len(items) < 4:
            try:
                items.append(self.rows.get_nowait())
            except queue.Empty:
                break
        if not items:
            return False
        with self.index.transaction():
            for item in items:
                self.index.put(item)
        self.roots.claim(self.index.claims.folders)
        for item in items:
            if isinstance(item, Applied):
                item.event.set()
            self.synced = self.synced or isinstance(item, PollDone)
        return True

    def _take_dirty(self) -> bool:
        items = self.dirty.take(500)
        if not items:
            return False
        try:
            self._follow(items)
        except IndexFull:
            for item in items:
                self.dirty.mark(item.directory, recursive=item.recursive)
            raise
        finally:
            self.dirty.done(items)
        return True

    def _follow(self, items: Sequence[Dirty]) -> None:
        position = 0
        while position < len(items):
            deadline = time.monotonic() + STEP_SECONDS
            with self.index.transaction():
                while position < len(items) and time.monotonic() < deadline:
                    self._follow_one(items[position])
                    position += 1

    def _follow_one(self, item: Dirty) -> None:
        if item.recursive:
            self._push_below(item.directory)
            return
        if item.names is not None and self.index.tree.directory_id(item.directory) is None:
            self._look(item.directory, None, item.settled, recursive=False)
        else:
            self._look(item.directory, item.names, item.settled, recursive=False)

    def _push_below(self, directory: str) -> None:
        """List a directory and all that is known or found below it."""
        if directory:
            self._stack.append((directory, True))
        else:
            self._stack.extend((root.path, True) for root in self.roots.all.values() if root.present)

    def _take_stack(self) -> bool:
        if not self._stack:
            return False
        deadline = time.monotonic() + (STEP_SECONDS if self.crawled else CRAWL_SECONDS)
        taken: list[tuple[str, bool]] = []
        try:
            with self.index.transaction():
                while self._stack and time.monotonic() < deadline:
                    directory, recursive = self._stack.pop()
                    taken.append((directory, recursive))
                    self._look(directory, None, frozenset(), recursive=recursive)
                    self.listed += 1
        except IndexFull:
            self._stack.extend(taken)
            raise
        return True

    # --- looking -------------------------------------------------------------------------------------

    def _look(
        self, directory: str, names: frozenset[str] | None, settled: frozenset[str], *, recursive: bool
    ) -> None:
        """Look at a directory or names in it and make the index agree."""
        root = self.roots.of(directory)
        if root is None or not root.present or not self._belongs(root, directory):
            return
        if names is None:
            self.watcher.add(directory)
        look = self.lister.look(directory, names)
        if not self.roots.believable(root) or _elsewhere(root, look):
            return
        if isinstance(look, Gone):
            self._gone(look.directory)
            return
        if isinstance(look, Unreadable):
            self._note_unreadable(directory, look.errno)
            return
        self._note_readable(directory, look)
        if root.flat:
            look = self._without_directories(look)
        self._settled = frozenset(settled)
        changes = self.index.apply(look, self._hold)
        self._after(directory, changes, look, recursive=recursive)

    def _without_directories(self, look: Listing) -> Listing:
        """A data root of which only the files count: it says nothing of the roots that lie in it."""
        roots = {path: 0 for path in self.roots.all if path}
        return replace(look, directories=(), unreadable={**look.unreadable, **roots})

    def _belongs(self, root: Root, directory: str) -> bool:
        """Whether the directory may be indexed now; one whose parent is not known waits for the parent."""
        if directory == root.path:
            return True
        parent, name = split(directory)
        if self.lister.is_ignored(name) or not is_utf8(name):
            return False
        if self.index.tree.directory_id(parent) is None:
            self._stack.append((parent, True))
            return False
        return True

    def _hold(self, path: str, entry: Entry) -> bool:
        return self.settling.holds(
            path,
            entry,
            settled=entry.name in self._settled,
            wall_ns=time.time_ns(),
            now=time.monotonic(),
        )

    def _after(self, directory: str, changes: Changes, look: Listing, *, recursive: bool) -> None:
        for gone in changes.gone_directories:
            self._forget(gone)
        for name in look.names or ():
            if name not in look.files:
                self.settling.drop(join(directory, name))
        new = look.directories if recursive or look.names is not None else ()
        for path in changes.new_directories:
            self._stack.append((path, True))
        known = set(changes.new_directories)
        self._stack.extend((path, recursive) for name in new if (path := join(directory, name)) not in known)
        if directory in self._swept:
            self._swept.discard(directory)
            self._count_missed(changes)

    def _count_missed(self, changes: Changes) -> None:
        """A difference that a sweep found, old enough that the watcher should have told, was missed."""
        old = time.time_ns() - IN_FLIGHT_NS
        self.missed += sum(state is None or state.ctime_ns < old for state in changes.files.values())

    def _gone(self, directory: str) -> None:
        changes = self.index.remove(directory)
        for gone in changes.gone_directories:
            self._forget(gone)
        self._forget(directory)

    def _forget(self, directory: str) -> None:
        self.watcher.forget(directory)
        self.unreadable.pop(directory, None)
        self.skipped.pop(directory, None)

    def _note_unreadable(self, directory: str, number: int) -> None:
        if self.unreadable.get(directory) != number:
            LOG.warning("cannot read %s: %s", self.lister.absolute(directory), os.strerror(number))
        self.unreadable[directory] = number

    def _note_readable(self, directory: str, look: Listing) -> None:
        if look.names is None:
            self.unreadable.pop(directory, None)
            if look.skipped:
                self.skipped[directory] = look.skipped
            else:
                self.skipped.pop(directory, None)
        for name, number in look.unreadable.items():
            self._note_unreadable(join(directory, name), number)

    # --- roots, passes, sweeps -----------------------------------------------------------------------

    def _look_at_roots(self, now: float) -> None:
        if now < self._roots_at:
            return
        self._roots_at = now + 1.0
        before = {root.path for root in self.roots.unavailable()}
        for root in self.roots.check():
            self._stack.append((root.path, True))
        for root in self.roots.unavailable():
            if root.path not in before:
                LOG.warning("root %s %s", self.lister.absolute(root.path), root.reason)

    def _finish_what_is_done(self) -> None:
        if self._pass_started is not None and not self._stack:
            self._end_pass()
        held = self._first_held
        if held is not None and not held & self.settling.paths() and not self.dirty.pending:
            self._first_held = None
            self.crawled = True
            LOG.info("first full scan done: %d files", self.index.files)

    def _end_pass(self) -> None:
        started = self._pass_started or time.monotonic()
        self._pass_started = None
        self.pass_seconds = time.monotonic() - started
        self.pass_files = self.index.files
        self.last_pass_ns = time.time_ns()
        self.rescans.restart(time.monotonic())
        if not self.index.mirror.crawled and self.synced:
            self.index.finish_crawl()
        if not self.crawled and self._first_held is None:
            self._first_held = self.settling.paths()

    def _timers(self, now: float) -> bool:
        if not self.index.mirror.crawled and self.synced and self._pass_started is None:
            self.index.finish_crawl()
            return True
        if self._sweep is not None:
            return self._go_on_sweeping()
        if self.rescans.due(now):
            self.begin_pass()
            return True
        if self.crawled and self.sweeps.due(now):
            self._begin_sweep(now)
            return True
        return False

    def _begin_sweep(self, now: float) -> None:
        self.sweeps.started(now)
        recent = None if self._sweep_started_ns is None else self._sweep_started_ns - IN_FLIGHT_NS
        self._sweep_started_ns = time.time_ns()
        self._sweep = changed_directories(
            self.index.tree.known(), stat_below(self.config.data.root), recent_ns=recent
        )
        for directory in self.watcher.retry_polled():
            self.dirty.mark(directory)
        for directory in list(self.unreadable):
            self.dirty.mark(directory)

    def _go_on_sweeping(self) -> bool:
        assert self._sweep is not None
        part = next(self._sweep, None)
        if part is None:
            self._sweep = None
            self.sweeps.finished(time.monotonic())
            return False
        for changed in part.changed:
            self._swept.add(changed.directory)
            self.dirty.mark(changed.directory)
        return True

    def _idle_seconds(self) -> float:
        due = self.settling.next_due()
        wait = 0.2 if due is None else min(0.2, max(0.0, due - time.monotonic()))
        return max(wait, 0.001)


def _elsewhere(root: Root, look: Look) -> bool:
    """Whether the root itself was listed on another device than it is believed with."""
    return isinstance(look, Listing) and look.directory == root.path and look.device != root.device
