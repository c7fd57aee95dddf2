"""The work of the scanner: dirty directories, crawls, sweeps and rows, in small steps, into the index.

One thread does all of it. Each step is short, so that the heartbeat, the roots and what is most urgent
are never far away; what a step takes in hand becomes visible in one transaction.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence

from scanner.config import Config
from scanner.dirty import Dirty, DirtySet
from scanner.exceptions import IndexFull
from scanner.index import Index
from scanner.looker import Looker
from scanner.rows import Applied, PollDone, SinkItem
from scanner.settling import SETTLE_SECONDS
from scanner.sweep import RescanClock
from scanner.sweeper import Sweeper
from scanner.worklist import Task

LOG = logging.getLogger(__name__)

STEP_SECONDS = 0.05
"""How long one transaction may gather work."""
CRAWL_SECONDS = 0.25
"""The same while the tree is read for the first time: a folder of images and those of their artifacts
mostly fall into one transaction, and each asset is resolved once."""
TIMER_SECONDS = 0.1
"""How often passes and sweeps get a turn while there are always events to follow."""
STORM, LATEST_SWEEP_SECONDS = 1000, 60.0
"""While so many hints wait no sweep begins, unless it is overdue by so long."""
FULL_SECONDS = 5.0
WATCH_AGAIN_SECONDS = 10.0


class Worker:
    """Keeps an index equal to the disk and the database. ``rows`` is what the poller yields."""

    def __init__(self, config: Config, index: Index, rows: queue.Queue[SinkItem]) -> None:
        self.config = config
        self.index = index
        self.rows = rows
        self.dirty = DirtySet()
        self.looker = Looker(config, index, self.dirty)
        self.lister, self.watcher = self.looker.lister, self.looker.watcher
        self.roots, self.crawl = self.looker.roots, self.looker.crawl
        self.sweeper = Sweeper(config, index, self.watcher)
        self.rescans = RescanClock(config.scan.rescan_seconds, time.monotonic())
        self._in_hand: list[SinkItem] = []
        self._pass_started: float | None = None
        self._first_held: tuple[frozenset[str], int, float] | None = None
        self._roots_to_save = False
        self._full_until = self._roots_at = self._timers_at = self._watch_again_at = 0.0
        self._finishing: Iterator[None] | None = None
        self.synced = not config.database.url
        self.full: str | None = None
        self.last_pass_ns: int | None = None
        self.pass_seconds: float | None = None
        self.pass_files: int | None = None

    @property
    def ready(self) -> bool:
        """Whether the first full scan, and the first read of the database, are in the index."""
        return self.crawled and self.synced and self.index.mirror.crawled and self._finishing is None

    @property
    def crawled(self) -> bool:
        """Whether the first full scan is in the index."""
        return self.looker.crawled

    @property
    def pass_running(self) -> bool:
        """Whether a full pass is under way."""
        return self._pass_started is not None

    @property
    def listing(self) -> int:
        """How many directories a pass, or the discovery of new ones, has still to list."""
        return self.looker.listing

    @property
    def pending(self) -> int:
        """How many paths are known to need a look, or to be looked at; at least 1 while the kernel has
        events that are not read yet, of whatever they may tell."""
        drained = self.watcher.drained  # asked first: what is read after this is a hint below
        rows = self.rows.qsize() + len(self._in_hand)
        known = self.dirty.pending + self.listing + len(self.looker.settling) + rows
        return known if drained else max(known, 1)

    @property
    def listed(self) -> int:
        """How many directories were listed since the pass began."""
        return self.looker.listed

    @property
    def missed(self) -> int:
        """How many differences a sweep or a pass has found of which no event told."""
        return self.looker.differences.count

    @property
    def unreadable(self) -> dict[str, int]:
        """What cannot be read now, with the errno."""
        return self.looker.troubles.unreadable

    @property
    def skipped(self) -> dict[str, int]:
        """How many names of a directory are not valid UTF-8."""
        return self.looker.troubles.skipped

    def start(self) -> None:
        """Begin the first full pass, over nothing or over an index that was complete before."""
        self.watcher.start()
        self.roots.claim(self.index.claims.folders)
        self._take_over()
        self.begin_pass()

    def stop(self) -> None:
        """End the watcher's threads and the listing processes."""
        self.looker.close()

    def put(self, item: SinkItem, stopping: threading.Event) -> None:
        """Hand on what the poller yields, from any thread; waits for room, and gives up when ``stopping``."""
        while not stopping.is_set():
            try:
                self.rows.put(item, timeout=0.2)
            except queue.Full:
                continue
            self.dirty.wake()
            return

    def begin_pass(self) -> None:
        """Reconcile everything: list every directory below every root."""
        self.check_roots()
        self._pass_started = time.monotonic()
        self.sweeper.abandon()
        self.looker.listed = 0
        for root in self.roots.all.values():
            if root.present and not (self.crawled and self.looker.is_known(root.path)):
                self.crawl.push(Task(root.path, recursive=True, told=False), last=True)
        self.crawl.push_known(self.index.tree.catalogue())
        if not self.listing:
            self._end_pass()

    def step(self) -> float:
        """Do what is most urgent; returns for how many seconds there is nothing to do."""
        now = time.monotonic()
        if now >= self._roots_at:
            self.check_roots()
        if self.full is not None and now < self._full_until:
            return self._full_until - now
        try:
            busy = self._take_rows()
            self._take_settled(now)
            busy = self._take_dirty() or busy  # rows may come for a minute
            busy = self._take_list() or busy
            self.full = None
        except IndexFull as error:
            self.full = str(error)
            self._full_until = now + FULL_SECONDS
            return FULL_SECONDS
        self._finish_what_is_done()
        if not busy or time.monotonic() >= self._timers_at:
            busy = self._timers(time.monotonic()) or busy
        return 0.0 if busy else self._idle_seconds()

    # --- what comes in -------------------------------------------------------------------------------

    def _take_rows(self) -> bool:
        items = self._in_hand  # those of a transaction that did not fit are still there
        at_once = 1 if self.index.mirror.crawled else 4  # now each row is compared with the disk
        while len(items) < at_once:
            try:
                items.append(self.rows.get_nowait())
            except queue.Empty:
                break
        if not items:
            return False
        with self.index.transaction():
            for item in items:
                self.index.put(item)
        self._in_hand = []
        self.roots.claim(self.index.claims.folders)
        for item in items:
            if isinstance(item, Applied):
                item.event.set()
            self.synced = self.synced or isinstance(item, PollDone)
        return True

    def _take_settled(self, now: float) -> None:
        """Look again at what may have been growing. Of a large directory at once: what is marked in it may
        become a hint about all of it, which takes long to follow."""
        due = self.looker.settling.due(now)
        large = {directory: due.pop(directory) for directory in list(due) if directory in self.looker.large}
        for directory, names in due.items():
            self.dirty.mark_names(directory, names)
        if not large:
            return
        try:
            with self.index.transaction():
                for directory, names in large.items():
                    self.looker.look(Task(directory), frozenset(names))
        except IndexFull:
            for directory, names in large.items():
                self.dirty.mark_names(directory, names)
            raise

    def _take_dirty(self) -> bool:
        items = self.dirty.take(500)
        if not items:
            return False
        self.looker.tell(items)
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
                    self.looker.follow(items[position])
                    position += 1

    def _take_list(self) -> bool:
        """List some of what waits for it, in one transaction."""
        if not self.listing:
            return False
        taken: list[Task] = []
        deadline = time.monotonic() + (STEP_SECONDS if self.crawled else CRAWL_SECONDS)
        try:
            with self.index.transaction():
                self._save_roots()
                self.looker.list_until(deadline, taken)
        except IndexFull:
            self._roots_to_save = True
            for task in taken:
                self.crawl.push(task)
            raise
        return True

    # --- roots, passes, sweeps -----------------------------------------------------------------------

    def _take_over(self) -> None:
        """An index that was complete goes on answering; what has changed since is found by the pass."""
        if not self.index.meta("crawled"):
            return
        self.roots.remember(json.loads(self.index.meta("roots") or "{}"))
        self.looker.crawled = self.synced = self.index.mirror.crawled = True
        LOG.info("an index of %d files is taken over", self.index.files)

    def check_roots(self) -> None:
        """Look now whether the roots are there, by the rows as they are known."""
        self._roots_at = time.monotonic() + 1.0
        before = {root.path for root in self.roots.unavailable()}
        for root in self.roots.check():
            self._roots_to_save = True
            self.crawl.push(Task(root.path, recursive=True))
        for root in self.roots.unavailable():
            if root.path not in before:
                LOG.warning("root %s %s", self.lister.absolute(root.path), root.reason)

    def _save_roots(self) -> None:
        """Keep in the index which directories the roots are, for a scanner that takes it over."""
        if self._roots_to_save:
            self.index.set_meta("roots", json.dumps(self.roots.identities()))
            self._roots_to_save = False

    def _finish_what_is_done(self) -> None:
        if not self.listing:
            self.crawl.forget_told()
            self.crawl.close()
            if self._pass_started is not None:
                self._end_pass()
        if self._first_held is not None:
            held, mark, latest = self._first_held
            rested = not held & self.looker.settling.paths() or time.monotonic() >= latest
            if rested and self.dirty.passed(mark):
                self._first_held = None
                self.looker.crawled = True
                LOG.info("first full scan done: %d files", self.index.files)
        self.looker.differences.settle()

    def _end_pass(self) -> None:
        started = self._pass_started or time.monotonic()
        now = time.monotonic()
        self._pass_started = None
        self.pass_seconds = now - started
        self.pass_files = self.index.files
        self.last_pass_ns = time.time_ns()
        self.rescans.restart(now)
        if not self.crawled and self._first_held is None:
            # A file that never rests must not keep all others from being answered for.
            latest = now + 2.5 * SETTLE_SECONDS
            self._first_held = (self.looker.settling.paths(), self.dirty.mark_of_now(), latest)

    def _timers(self, now: float) -> bool:
        self._timers_at = now + TIMER_SECONDS
        if not self.index.mirror.crawled and self.synced and self._pass_started is None:
            self._finishing = self.index.finishing()
        if self._finishing is not None:
            self._go_on_finishing(now)
            return True
        self.looker.troubles.retry(self.dirty, now)
        if now >= self._watch_again_at:
            self._watch_again_at = now + WATCH_AGAIN_SECONDS
            for directory in self.watcher.retry_polled():
                self.dirty.mark(directory)
        if self.sweeper.running:
            return self._go_on_sweeping(now)
        if self._pass_started is not None:
            return False
        if self.rescans.due(now):
            self.begin_pass()
            return True
        if self.dirty.pending > STORM and now < self.sweeper.everything.next_at + LATEST_SWEEP_SECONDS:
            return False  # directories that change all the time would be listed beside their names
        return self.crawled and self.sweeper.begin(now)

    def _go_on_finishing(self, now: float) -> None:
        """Resolve rows of which no file was met, for a moment."""
        while self._finishing is not None and time.monotonic() < now + STEP_SECONDS:
            if next(self._finishing, self) is self:
                self._finishing = None
        self._timers_at = now

    def _go_on_sweeping(self, now: float) -> bool:
        changed = self.sweeper.step()
        for directory, _ in changed or ():
            if not self.looker.large.rests(directory, now):
                self.crawl.push(Task(directory, told=False))
        return changed is not None

    def _idle_seconds(self) -> float:
        if self.looker.differences.suspects:
            return 0.01
        due = self.looker.settling.next_due()
        wait = 0.2 if due is None else min(0.2, max(0.0, due - time.monotonic()))
        return max(wait, 0.001)
