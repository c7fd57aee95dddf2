"""Looking at directories and making the index agree with what was seen.

Every look goes this way: one directory or some names in it, told of by an event or found by a crawl, listed
here or by a listing process. It is believed only if its root is there and on its device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import cast

from scanner.config import Config
from scanner.crawl import Crawl
from scanner.dirty import Dirty, DirtySet
from scanner.index import Index
from scanner.listing import Gone, Lister, Listing, Look, Unreadable
from scanner.listprocess import Wanted
from scanner.listworker import FAMILY, WATCH
from scanner.missed import Missed
from scanner.parcel import Parcel, terms
from scanner.pattern import encodable
from scanner.portions import LargeDirectories, Portions
from scanner.ready import Ready
from scanner.records import Entry
from scanner.roots import Root, Roots
from scanner.seen import Same, Seen
from scanner.settling import SETTLE_SECONDS, Settling
from scanner.tree import Changes, join, split
from scanner.troubles import Troubles
from scanner.watch import DirectoryWatcher, Mode
from scanner.worklist import Task

WAIT_SECONDS = 0.02
"""How long to wait for the listing processes within a step."""
NONE: frozenset[str] = frozenset()


class Looker:
    """Knows the roots, the watches, and what has to be listed; everything happens inside the caller's
    transactions.

    ``crawled`` is to be set once the disk has been read as a whole: from then on a difference of which no
    event told was missed. ``listed`` counts the directories that were listed as a whole.
    """

    def __init__(self, config: Config, index: Index, dirty: DirtySet) -> None:
        self._index = index
        self.lister = Lister(config.data.root, config.scan.ignore)
        self.watcher = DirectoryWatcher(dirty, config.data.root, cast(Mode, config.scan.watcher))
        self.roots = Roots(self.lister, index.layout.roots, index.claimed_below)
        self.settling = Settling()
        self.differences = Missed(dirty, self.watcher.caught_up)
        self.troubles = Troubles(self.lister.absolute)
        self.crawl = Crawl(self.lister, self.watcher, self._terms, self._prepare)
        self.large = LargeDirectories(index.db)
        self._were_held: set[str] = set()
        self.crawled = False
        self.listed = 0

    @property
    def listing(self) -> int:
        """How many directories a pass, or the discovery of new ones, has still to list."""
        return len(self.crawl) + len(self.large)

    def close(self) -> None:
        """End the watcher's threads and the listing processes."""
        self.crawl.close()
        self.large.close()
        self.watcher.stop()

    def is_known(self, directory: str) -> bool:
        """Whether the index has the directory."""
        return self._index.tree.directory_id(directory) is not None

    def list_until(self, deadline: float, taken: list[Task]) -> None:
        """List some of what waits for it, or take what the listing processes have listed; ``taken`` gains
        the tasks that this was for."""
        if self.crawl.many:
            self._take_listed(deadline, taken)
        self._list_some(deadline, taken)

    def tell(self, items: Sequence[Dirty]) -> None:
        """These hints were taken up: what they are about was not missed, and is not from now on."""
        self.differences.told(items)
        self.crawl.tell(items)

    def follow(self, item: Dirty) -> None:
        """Look where a hint says."""
        if item.recursive:
            self._push_below(item.directory)
        elif item.names is not None and self.is_known(item.directory):
            self.look(Task(item.directory), item.names, item.settled)
        elif item.directory in self.large:
            if item.settled:  # what is known to be whole does not wait until all the rest was looked at
                self.look(Task(item.directory), item.settled, item.settled)
            self.large.tell(item.directory)
            self.crawl.push(Task(item.directory))
        else:
            self.look(Task(item.directory), None, item.settled)

    def _push_below(self, directory: str) -> None:
        """List a directory and all that is known or found below it."""
        if directory:
            self.crawl.push(Task(directory, recursive=True))
        else:
            for root in self.roots.all.values():
                if root.present:  # after what is being listed already
                    self.crawl.push(Task(root.path, recursive=True), last=True)

    def look_again(self, paths: Iterable[str]) -> None:
        """Look at single paths now and make the index agree; inside the caller's transaction."""
        names: dict[str, set[str]] = {}
        for path in paths:
            directory, name = split(path)
            while directory and not self.is_known(directory):
                directory, name = split(directory)
            names.setdefault(directory, set()).add(name)
        for directory, some in names.items():
            self.look(Task(directory), frozenset(some))

    def _list_some(self, deadline: float, taken: list[Task]) -> None:
        while self.listing and time.monotonic() < deadline:
            if self.large:
                self._look_at_portion(taken)
            task = None if self.crawl.many else self.crawl.pop()
            if task is not None:
                taken.append(task)
                self._look_at_whole(task)
                self.listed += 1
            elif not self.large:
                return

    def _take_listed(self, deadline: float, taken: list[Task]) -> None:
        self.crawl.send()
        while len(self.crawl.pool) and time.monotonic() < deadline:
            seen = self.crawl.receive(WAIT_SECONDS)
            taken += [one.task for one in seen]
            self.crawl.send()
            self._apply_seen(seen)
            if self.large:
                return

    def _prepare(self, task: Task, known: bool) -> Wanted | None:
        """How a directory is to be listed elsewhere, its watch included; None where it is not to be."""
        directory = task.directory
        root = self.roots.of(directory)
        if root is None or not root.present:
            return None
        if directory != root.path and not self._is_proper(split(directory)[1]):
            return None
        if directory in self.large:
            self._look_at_whole(task)
            return None
        watched = self.watcher.watches(directory)
        if not ((self.crawled and watched) or task.found):
            task = task._replace(told=True)
        if known and self.crawled and watched:
            return Wanted(task)
        family = task.recursive and directory != root.path and self._index.tree.is_empty(directory)
        if root.telling and self.watcher.shares and (family or not watched):
            return Wanted(task, how=WATCH | FAMILY if family else WATCH)
        self.watcher.add(directory, telling=root.telling)
        return Wanted(task, how=FAMILY if family and not root.telling else 0)

    def _apply_seen(self, seen: Sequence[Seen]) -> None:
        """Make the index agree with what the listing processes have seen, in that order."""
        coming = {directory for one in seen for directory in one.listed}
        believed: dict[str, bool] = {}
        for one in seen:
            if isinstance(one.look, Ready) and self._enter(one.look, one.task, believed):
                coming.difference_update(one.look.directories.paths)
                continue
            for look, task in one.each():
                coming.discard(task.directory)
                self._apply_one(look, task, believed, coming)
        self.crawl.push_again()

    def _apply_one(
        self, look: Look | Same, task: Task, believed: dict[str, bool], coming: AbstractSet[str]
    ) -> None:
        root = self.roots.of(task.directory)
        if root is None or not root.present or not self._belongs(root, task.directory):
            return
        if not self._believed(root, believed):
            return
        self.listed += 1
        if isinstance(look, Same):
            self._note_same(look)
        elif isinstance(look, Gone):
            self.look(task)  # the root was looked at after the directory: let it be the other way
        else:
            self._agree(root, task, look, together=coming)

    def _believed(self, root: Root, known: dict[str, bool]) -> bool:
        """Whether what was seen below the root can be believed, asked once for all that came together."""
        if root.path not in known:
            known[root.path] = self.roots.believable(root)
        return known[root.path]

    def _enter(self, ready: Ready, task: Task, believed: dict[str, bool]) -> bool:
        """Put a new or empty directory and its folders into the index as they are; False: look into each."""
        root = self.roots.of(ready.directory)
        if root is None or ready.device != root.device or not root.present:
            return False
        if not self.is_known(split(ready.directory)[0]) or not self._index.tree.is_empty(ready.directory):
            return False
        if (self.crawled and not task.told) or not self._believed(root, believed):
            return False
        if not self._index.enter(ready):
            return False
        self.listed += len(ready.directories.paths)
        self.troubles.forget_all(ready.directories.paths)
        self.large.forget_all(ready.directories.paths)
        self.settling.drop_directories(ready.directories.paths)
        for path in ready.deeper:
            self.crawl.push(Task(path, True, task.told))
        return True

    def _terms(self) -> Parcel:
        """What the rows depend on that the listing processes make."""
        return terms(self._index.layout.config, self._index.assets.rules, self.settling.seconds)

    def _note_same(self, same: Same) -> None:
        self.troubles.note_same(same.directory)
        known = self.crawl.known(same.directory)
        if known == (same.mtime_ns, same.inode):
            return
        self._index.tree.touch(same.directory, same.mtime_ns, same.inode)
        if known is None or known[1] != same.inode:  # another directory, which is not watched yet
            self.crawl.push(Task(same.directory, recursive=True))

    # --- one look ----------------------------------------------------------------------------------

    def _look_at_whole(self, task: Task) -> None:
        directory = task.directory
        if directory not in self.large:
            self.look(task)
            return
        told = task.told or not (task.found or self.watcher.watches(directory))
        self.watcher.add(directory)
        try:
            self.large.begin(task._replace(told=told), self.lister.absolute(directory))
        except OSError:  # the listing meets the same error and says so
            self.look(task)

    def _look_at_portion(self, taken: list[Task]) -> None:
        """Look at the next names of a large directory; ``taken`` gains the task that this is part of."""
        started = time.monotonic()
        portions, names = self.large.next()
        taken.append(portions.whole)
        if names:
            self.look(portions.task, names, portion=True)
        portions.seconds += time.monotonic() - started
        if names is None:
            self._end_portions(portions)

    def _end_portions(self, portions: Portions) -> None:
        task = portions.task
        if portions.failed:
            self.large.forget(task.directory)
            self.crawl.push(portions.whole._replace(told=True))  # a plain listing says what is wrong
            return
        if self.is_known(task.directory):
            self._index.note_listed(task.directory, portions.inode, portions.mtime_ns)
            self.large.ended(portions, polled=not self.watcher.watches(task.directory))
        if portions.again is not None:
            self.crawl.push(portions.again)

    def look(
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
        changes = self._index.apply(look, *self._hold(look, settled), together)
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
        was_large = task.directory in self.large
        self.large.note(task.directory, len(look.files) + len(look.directories))
        if was_large or task.directory not in self.large:
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
        if not self.is_known(parent):
            if not self.crawl.expects(parent, directory):
                self.crawl.push(Task(parent, recursive=True))
            return False
        return True

    def _is_proper(self, name: str) -> bool:
        return not self.lister.is_ignored(name) and encodable(name)

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
            self.settling.looked_at(directory, look.names, changes.held)
        known = set(changes.new_directories)
        if deeper:
            for name in look.directories:
                path = join(directory, name)
                if path not in known and path not in together:
                    self.crawl.push(Task(path, task.recursive, task.told))
        for path in changes.new_directories:
            if path not in together:  # in a storm of them those that come last are still being filled
                self.crawl.push(Task(path, True, task.told, found=checked), last=self.crawled)

    def _gone(self, directory: str, *, checked: bool) -> None:
        changes = self._index.remove(directory)
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
        self.large.forget(directory)

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
        new = [path for path in changes.new_directories if path not in self.crawl]  # the others are known of
        paths = {*changes.files, *new, *changes.gone_directories, *changes.held}
        paths -= self._were_held  # these were to be looked at again in any case
        if paths:
            self.differences.suspect(paths, time.monotonic())


def _elsewhere(root: Root, look: Look) -> bool:
    """Whether the root itself was listed on another device than it is believed with."""
    return isinstance(look, Listing) and look.directory == root.path and look.device != root.device
