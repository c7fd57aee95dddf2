"""The work of the scanner: dirty directories, crawls, sweeps and rows, in small steps, into the index.

One thread does all of it. Each step is short, so that the heartbeat, the roots and what is most urgent
are never far away; what a step takes in hand becomes visible in one transaction.
"""

from __future__ import annotations

import json
import logging
import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import cast

from scanner.config import Config
from scanner.crawl import Crawl
from scanner.dirty import Dirty, DirtySet
from scanner.exceptions import IndexFull
from scanner.index import Index
from scanner.listing import Gone, Lister, Listing, Look, Unreadable, is_utf8
from scanner.listpool import Same, Seen
from scanner.missed import Missed
from scanner.portions import LargeDirectories, Portions, is_large
from scanner.records import Entry
from scanner.roots import Root, Roots
from scanner.rows import Applied, PollDone, SinkItem
from scanner.settling import SETTLE_SECONDS, Settling
from scanner.sweep import RescanClock
from scanner.sweeper import Sweeper
from scanner.tree import Changes, join, split
from scanner.troubles import Troubles
from scanner.watch import DirectoryWatcher, Mode
from scanner.worklist import Task

LOG = logging.getLogger(__name__)

STEP_SECONDS = 0.05
"""How long one transaction may gather work."""
CRAWL_SECONDS = 0.25
"""The same while the tree is read for the first time: a folder of images and those of their artifacts
mostly fall into one transaction, and each asset is resolved once."""
WAIT_SECONDS = 0.02
"""How long to wait for the listing process within a step."""
TIMER_SECONDS = 0.1
"""How often passes and sweeps get a turn while there are always events to follow."""
STORM, LATEST_SWEEP_SECONDS = 1000, 60.0
"""While so many hints wait no sweep begins, unless it is overdue by so long."""
FULL_SECONDS = 5.0
WATCH_AGAIN_SECONDS = 10.0
NONE: frozenset[str] = frozenset()


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
        self.sweeper = Sweeper(config, index, self.watcher)
        self.rescans = RescanClock(config.scan.rescan_seconds, time.monotonic())
        self.differences = Missed(self.dirty, self.watcher.caught_up)
        self.troubles = Troubles(self.lister.absolute)
        self.crawl = Crawl(self.lister, self._prepare)
        self._large = LargeDirectories(index.db)
        self._in_hand: list[SinkItem] = []
        self._pass_started: float | None = None
        self._first_held: tuple[frozenset[str], int, float] | None = None
        self._were_held: set[str] = set()
        self._roots_to_save = False
        self._full_until = self._roots_at = self._timers_at = self._watch_again_at = 0.0
        self._finishing: Iterator[None] | None = None
        self.crawled = False
        self.synced = not config.database.url
        self.full: str | None = None
        self.last_pass_ns: int | None = None
        self.pass_seconds: float | None = None
        self.pass_files: int | None = None
        self.listed = 0

    @property
    def ready(self) -> bool:
        """Whether the first full scan, and the first read of the database, are in the index."""
        return self.crawled and self.synced and self.index.mirror.crawled and self._finishing is None

    @property
    def pass_running(self) -> bool:
        """Whether a full pass is under way."""
        return self._pass_started is not None

    @property
    def listing(self) -> int:
        """How many directories a pass, or the discovery of new ones, has still to list."""
        return len(self.crawl) + len(self._large)

    @property
    def pending(self) -> int:
        """How many paths are known to need a look, or to be looked at."""
        rows = self.rows.qsize() + len(self._in_hand)
        return self.dirty.pending + self.listing + len(self.settling) + rows

    @property
    def missed(self) -> int:
        """How many differences a sweep or a pass has found of which no event told."""
        return self.differences.count

    @property
    def unreadable(self) -> dict[str, int]:
        """What cannot be read now, with the errno."""
        return self.troubles.unreadable

    @property
    def skipped(self) -> dict[str, int]:
        """How many names of a directory are not valid UTF-8."""
        return self.troubles.skipped

    def start(self) -> None:
        """Begin the first full pass, over nothing or over an index that was complete before."""
        self.watcher.start()
        self.roots.claim(self.index.claims.folders)
        self._take_over()
        self.begin_pass()

    def stop(self) -> None:
        """End the watcher's threads and the listing process."""
        self.crawl.close()
        self._large.close()
        self.watcher.stop()

    def begin_pass(self) -> None:
        """Reconcile everything: list every directory below every root."""
        self.check_roots()
        self._pass_started = time.monotonic()
        self.sweeper.abandon()
        self.listed = 0
        for root in self.roots.all.values():
            if root.present and not (self.crawled and self._is_known(root.path)):
                self.crawl.push(Task(root.path, recursive=True, told=False), last=True)
        self.crawl.push_known(self.index.tree.catalogue())
        if not self.listing:
            self._end_pass()

    def step(self) -> float:
        """Do what is most urgent; returns for how many seconds there is nothing to do."""
        now = time.monotonic()
        if now >= self._roots_at:
            self.check_roots()
        for directory, names in self.settling.due(now).items():
            self.dirty.mark_names(directory, names)
        if self.full is not None and now < self._full_until:
            return self._full_until - now
        try:
            busy = self._take_rows() or self._take_dirty()
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

    def look_again(self, paths: Iterable[str]) -> None:
        """Look at single paths now and make the index agree; inside the caller's transaction."""
        names: dict[str, set[str]] = {}
        for path in paths:
            directory, name = split(path)
            while directory and self.index.tree.directory_id(directory) is None:
                directory, name = split(directory)
            names.setdefault(directory, set()).add(name)
        for directory, some in names.items():
            self._look(Task(directory), frozenset(some))

    # --- what comes in -------------------------------------------------------------------------------

    def _take_rows(self) -> bool:
        items = self._in_hand  # those of a transaction that did not fit are still there
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
        self._in_hand = []
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
        self.differences.told(items)
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
        elif item.names is not None and self.index.tree.directory_id(item.directory) is not None:
            self._look(Task(item.directory), item.names, item.settled)
        elif item.directory in self._large:
            self.crawl.push(Task(item.directory))
        else:
            self._look(Task(item.directory), None, item.settled)

    def _push_below(self, directory: str) -> None:
        """List a directory and all that is known or found below it."""
        if directory:
            self.crawl.push(Task(directory, recursive=True))
        else:
            for root in self.roots.all.values():
                if root.present:  # after what is being listed already
                    self.crawl.push(Task(root.path, recursive=True), last=True)

    def _take_list(self) -> bool:
        """List some of what waits for it, or take what the listing process has listed."""
        if not self.listing:
            return False
        taken: list[Task] = []
        deadline = time.monotonic() + (STEP_SECONDS if self.crawled else CRAWL_SECONDS)
        try:
            with self.index.transaction():
                self._save_roots()
                if self.crawl.many:
                    self._take_listed(deadline, taken)
                self._list_some(deadline, taken)
        except IndexFull:
            self._roots_to_save = True
            for task in taken:
                self.crawl.push(task)
            raise
        return True

    def _list_some(self, deadline: float, taken: list[Task]) -> None:
        if not self.crawl.many:
            self._apply_seen(_taken(self.crawl.give_up_waiting(), taken))
        while self.listing and time.monotonic() < deadline:
            if self._large:
                self._look_at_portion(taken)
            task = None if self.crawl.many else self.crawl.pop()
            if task is not None:
                taken.append(task)
                self._look_at_whole(task)
                self.listed += 1
            elif not self._large:
                return

    def _take_listed(self, deadline: float, taken: list[Task]) -> None:
        self.crawl.send()
        while len(self.crawl.process) and time.monotonic() < deadline:
            seen = _taken(self.crawl.receive(WAIT_SECONDS, self._is_known), taken)
            self.crawl.send()
            self._apply_seen(seen)
            if self._large:
                return

    def _is_known(self, directory: str) -> bool:
        return self.index.tree.directory_id(directory) is not None

    def _prepare(self, task: Task, known: bool) -> Task | None:
        """Watch a directory that is about to be listed elsewhere; None where it is not to be."""
        directory = task.directory
        root = self.roots.of(directory)
        if root is None or not root.present:
            return None
        if directory != root.path and not self._is_proper(split(directory)[1]):
            return None
        if directory in self._large:
            self._look_at_whole(task)
            return None
        watched = self.crawled and self.watcher.watches(directory)
        if not (known and watched):
            self.watcher.add(directory, telling=root.telling)
        return task if watched or task.found else task._replace(told=True)

    def _apply_seen(self, seen: Sequence[Seen]) -> None:
        """Make the index agree with what the listing process has seen, in that order."""
        coming = {look.directory for look, _ in seen if isinstance(look, Listing) and not is_large(look)}
        believed: dict[str, bool] = {}
        for look, task in seen:
            coming.discard(task.directory)
            root = self.roots.of(task.directory)
            if root is None or not root.present or not self._belongs(root, task.directory):
                continue
            if root.path not in believed:
                believed[root.path] = self.roots.believable(root)
            if not believed[root.path]:
                continue
            self.listed += 1
            if isinstance(look, Same):
                self._note_same(look)
            elif isinstance(look, Gone):
                self._look(task)  # the root was looked at after the directory: let it be the other way round
            else:
                self._agree(root, task, look, together=coming)
        self.crawl.push_again()

    def _note_same(self, same: Same) -> None:
        self.troubles.note_same(same.directory)
        known = self.crawl.known(same.directory)
        if known == (same.mtime_ns, same.inode):
            return
        self.index.tree.touch(same.directory, same.mtime_ns, same.inode)
        if known is None or known[1] != same.inode:  # another directory, which is not watched yet
            self.crawl.push(Task(same.directory, recursive=True))

    # --- looking -------------------------------------------------------------------------------------

    def _look_at_whole(self, task: Task) -> None:
        directory = task.directory
        if directory not in self._large:
            self._look(task)
            return
        told = task.told or not self.watcher.watches(directory)
        self.watcher.add(directory)
        try:
            self._large.begin(task._replace(told=told), self.lister.absolute(directory))
        except OSError:  # the listing meets the same error and says so
            self._look(task)

    def _look_at_portion(self, taken: list[Task]) -> None:
        """Look at the next names of a large directory; ``taken`` gains the task that this is part of."""
        started = time.monotonic()
        portions, names = self._large.next()
        taken.append(portions.task)
        if names:
            self._look(portions.task, names, portion=True)
        portions.seconds += time.monotonic() - started
        if names is None:
            self._end_portions(portions)

    def _end_portions(self, portions: Portions) -> None:
        task = portions.task
        if portions.failed:
            self._large.forget(task.directory)  # a plain listing says what is wrong
        elif self.index.tree.directory_id(task.directory) is not None:
            self.index.note_listed(task.directory, portions.inode, portions.mtime_ns)
            self._large.ended(portions, polled=not self.watcher.watches(task.directory))
        if portions.again or portions.failed:
            self.crawl.push(task._replace(told=True))

    def _look(
        self,
        task: Task,
        names: frozenset[str] | None = None,
        settled: frozenset[str] = NONE,
        *,
        portion: bool = False,
    ) -> None:
        """Look at a directory or names in it and make the index agree; ``portion``: no event named them."""
        root = self.roots.of(task.directory)
        if root is None or not root.present or not self._belongs(root, task.directory):
            return
        in_place = self.crawl.overtake(task)
        if in_place is not None:
            task, names, portion = in_place, None, False
        if not self._is_check(task):
            task = task._replace(told=True)
        if names is None:
            self.watcher.add(task.directory)
        look = self.lister.look(task.directory, names)
        if self.roots.believable(root):
            self._agree(root, task, look, settled=settled, portion=portion)

    def _agree(
        self,
        root: Root,
        task: Task,
        look: Look,
        *,
        settled: frozenset[str] = NONE,
        portion: bool = False,
        together: AbstractSet[str] = NONE,
    ) -> None:
        """Make the index agree with a look; ``together`` come next and need no push."""
        if _elsewhere(root, look):
            return
        self._watch_as_is(root, look)
        checked = self._is_check(task)
        if isinstance(look, Gone):
            self._gone(look.directory, checked=checked)
            return
        if isinstance(look, Unreadable):
            self.troubles.note_unreadable(look.directory, look.errno)
            return
        self.troubles.note_readable(look.directory, look)
        if root.flat:
            look = self._without_directories(look)
        if look.names is None and self._turns_out_large(task, look):
            return
        self._were_held.clear()
        changes = self.index.apply(look, *self._hold(look, settled), together)
        if checked:
            self._suspect(changes)
        deeper = task.recursive or not (portion or look.names is None)
        self._after(task, changes, look, checked=checked, deeper=deeper, together=together)

    def _watch_as_is(self, root: Root, look: Look) -> None:
        """A root's file system was asked whether it tells of changes; what is mounted below it was not."""
        if not isinstance(look, Listing) or look.names is not None:
            return
        if look.directory == root.path:
            root.telling = self.watcher.watches(root.path)
        elif look.device != root.device and root.telling:
            self.watcher.add(look.directory)

    def _turns_out_large(self, task: Task, look: Listing) -> bool:
        """Whether a listing is too much for one step, and is left to be followed in portions."""
        was_large = task.directory in self._large
        self._large.note(task.directory, len(look.files) + len(look.directories))
        if was_large or task.directory not in self._large:
            return False
        self._look_at_whole(task)
        return True

    def _without_directories(self, look: Listing) -> Listing:
        """A data root of which only the files count: it says nothing of the roots that lie in it."""
        roots = {path: 0 for path in self.roots.all if path}
        return replace(look, directories=(), unreadable={**look.unreadable, **roots}, fingerprint=0)

    def _belongs(self, root: Root, directory: str) -> bool:
        """Whether the directory may be indexed now; one whose parent is not known waits for the parent."""
        if directory == root.path:
            return True
        parent, name = split(directory)
        if not self._is_proper(name):
            return False
        if not self._is_known(parent):
            if not self.crawl.expects(parent, directory):
                self.crawl.push(Task(parent, recursive=True))
            return False
        return True

    def _is_proper(self, name: str) -> bool:
        return not self.lister.is_ignored(name) and is_utf8(name)

    def _hold(self, look: Listing, settled: frozenset[str]) -> tuple[Callable[[str, Entry], bool], int]:
        """Whether a file may still be growing, and the time before which no file needs to be asked about."""
        now = time.monotonic()
        seen_ns = look.seen_ns or time.time_ns()

        def holds(path: str, entry: Entry) -> bool:
            if path in self.settling:
                self._were_held.add(path)
            return self.settling.holds(path, entry, settled=entry.name in settled, wall_ns=seen_ns, now=now)

        young_ns = 0 if len(self.settling) else seen_ns - int(SETTLE_SECONDS * 1e9)
        return holds, young_ns

    def _after(
        self,
        task: Task,
        changes: Changes,
        look: Listing,
        *,
        checked: bool,
        deeper: bool,
        together: AbstractSet[str],
    ) -> None:
        directory = task.directory
        for gone in changes.gone_directories:
            self._forget(gone)
        if len(self.settling):
            self.settling.looked_at(directory, look.names, {path for path, _ in changes.held})
        known = set(changes.new_directories)
        if deeper:
            for name in look.directories:
                path = join(directory, name)
                if path not in known and path not in together:
                    self.crawl.push(Task(path, task.recursive, task.told))
        for path in changes.new_directories:
            if path not in together:
                self.crawl.push(Task(path, True, task.told, found=checked))

    def _gone(self, directory: str, *, checked: bool) -> None:
        changes = self.index.remove(directory)
        if checked:
            self._suspect(changes)
        for gone in changes.gone_directories:
            self._forget(gone)
        self._forget(directory)

    def _forget(self, directory: str) -> None:
        self.watcher.forget(directory)
        self.crawl.forget(directory)
        self.troubles.forget(directory)
        self.settling.drop_directory(directory)
        self._large.forget(directory)

    # --- what the watcher should have told -----------------------------------------------------------

    def _is_check(self, task: Task) -> bool:
        """Whether a difference is one of which an event should have told."""
        if task.told or not self.crawled or self.crawl.is_told(task.directory):
            return False
        root = self.roots.of(task.directory)
        if root is None or self.roots.is_another(root):  # no event tells of a root that is replaced
            return False
        return task.found or self.watcher.watches(task.directory)

    def _suspect(self, changes: Changes) -> None:
        paths = {*changes.files, *changes.new_directories, *changes.gone_directories}
        paths.update(path for path, _ in changes.held)
        paths -= self._were_held  # these were to be looked at again in any case
        if paths:
            self.differences.suspect(paths, time.monotonic())

    # --- roots, passes, sweeps -----------------------------------------------------------------------

    def _take_over(self) -> None:
        """An index that was complete goes on answering; what has changed since is found by the pass."""
        if not self.index.meta("crawled"):
            return
        self.roots.remember(json.loads(self.index.meta("roots") or "{}"))
        self.crawled = self.synced = self.index.mirror.crawled = True
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
        if not self.listing:
            self.crawl.close()
            if self._pass_started is not None:
                self._end_pass()
        if self._first_held is not None:
            held, mark, latest = self._first_held
            rested = not held & self.settling.paths() or time.monotonic() >= latest
            if rested and self.dirty.passed(mark):
                self._first_held = None
                self.crawled = True
                LOG.info("first full scan done: %d files", self.index.files)
        self.differences.settle()

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
            self._first_held = (self.settling.paths(), self.dirty.mark_of_now(), latest)

    def _timers(self, now: float) -> bool:
        self._timers_at = now + TIMER_SECONDS
        if not self.index.mirror.crawled and self.synced and self._pass_started is None:
            self._finishing = self.index.finishing()
        if self._finishing is not None:
            self._go_on_finishing(now)
            return True
        self.troubles.retry(self.dirty, now)
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
            if not self._large.rests(directory, now):
                self.crawl.push(Task(directory, told=False))
        return changed is not None

    def _idle_seconds(self) -> float:
        if self.differences.suspects:
            return 0.01
        due = self.settling.next_due()
        wait = 0.2 if due is None else min(0.2, max(0.0, due - time.monotonic()))
        return max(wait, 0.001)


def _taken(seen: list[Seen], taken: list[Task]) -> list[Seen]:
    """The same, its tasks noted among those that a transaction has taken."""
    taken += [task for _, task in seen]
    return seen


def _elsewhere(root: Root, look: Look) -> bool:
    """Whether the root itself was listed on another device than it is believed with."""
    return isinstance(look, Listing) and look.directory == root.path and look.device != root.device
