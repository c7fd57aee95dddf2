"""Directories that have to be listed: which ones wait, and the processes that list them when they are many.

A few directories are listed by whoever takes them with :meth:`Crawl.pop`. Of many, batches go to listing
processes, and what comes back is older than what anybody has looked at in the meantime: see ``overtake``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from scanner.dirty import Dirty
from scanner.listing import Lister
from scanner.listpool import ListingPool
from scanner.listprocess import BATCH, Wanted
from scanner.parcel import Parcel
from scanner.seen import Seen
from scanner.watch import DirectoryWatcher
from scanner.worklist import Task, Worklist

MANY = 100
"""From how many waiting directories on a process is worth its start."""
PROCESSES = 2
"""How many processes list: a pass over what is unchanged is little else."""
Known = tuple[str, int, int, int]
"""A directory of the index: path, mtime_ns, inode, fingerprint."""


class Crawl:
    """What waits to be listed. ``prepare`` is called just before a directory is sent, with whether the
    index knows it: it watches the directory or leaves that to who lists it, and returns what is wanted, or
    None where the directory may not be listed or is listed otherwise."""

    def __init__(
        self,
        lister: Lister,
        watcher: DirectoryWatcher,
        terms: Callable[[], Parcel],
        prepare: Callable[[Task, bool], Wanted | None],
    ) -> None:
        self._prepare = prepare
        self._watcher = watcher
        self._list = Worklist()
        self._known: Iterator[list[Known]] = iter(())
        self._portion: list[Known] = []
        self._about: dict[str, tuple[int, int]] = {}
        self._told_below: dict[str, set[str]] = {}
        self._again: list[str] = []
        self.pool = ListingPool(lister, watcher, terms, PROCESSES)

    def __len__(self) -> int:
        """How many directories are known to have to be listed, or are on their way."""
        return len(self._list) + len(self._portion) + len(self.pool)

    def __contains__(self, directory: str) -> bool:
        """Whether the directory has to be listed for a reason of its own, or is on its way."""
        return directory in self._list or directory in self.pool

    def push(self, task: Task, *, last: bool = False) -> None:
        """List a directory, next or with ``last`` after all others."""
        self._list.push(task, last=last)

    def push_known(self, known: Iterator[list[Known]]) -> None:
        """Check every directory of the index; what is still the same costs little."""
        self._known = known
        self._portion = []
        self._about.clear()
        self._refill()

    def is_told(self, directory: str) -> bool:
        """Whether a hint was about a subtree that the directory lies in, which is not all listed yet."""
        return self._list.is_told(directory)

    def tell(self, hints: Sequence[Dirty]) -> None:
        """These hints were taken up, and are about to be followed."""
        self._list.tell(hints)

    def forget_told(self) -> None:
        """Nothing has to be listed any more."""
        self._list.forget_told()

    def pop(self) -> Task | None:
        """The next directory for the caller to list; None: there is none."""
        if len(self._list):
            return self._list.pop()
        known = self._next_known()
        return None if known is None else Task(known[0], told=False)

    @property
    def many(self) -> bool:
        """Whether the processes should list what waits: so many wait, or they are at work already."""
        waiting = len(self._list) + len(self._portion)
        return len(self.pool) > 0 or (self.pool.usable and waiting >= MANY)

    def send(self) -> None:
        """Give the processes what they can take."""
        while self.pool.has_room:
            batch = self._batch()
            if not batch:
                return
            self.pool.send(batch)

    def receive(self, seconds: float) -> list[Seen]:
        """What can go into the index now, in that order; waits at most so long for it."""
        arrived = self.pool.receive(seconds)
        for seen in arrived:
            self._again += seen.again
            self._again += self._told_below.pop(seen.look.directory, ())
            self._again += filter(self.pool.overtake, seen.below)
        for task in self.pool.lost():
            self._list.push(task)
        self._expect_no_more()
        return arrived

    def known(self, directory: str) -> tuple[int, int] | None:
        """The mtime_ns and the inode with which a directory of the index was sent off, once."""
        return self._about.pop(directory, None)

    def overtake(self, task: Task) -> Task | None:
        """Somebody looks at the directory now. If it was on its way, returns the task that now has to be
        done in its place: all of it has to be looked at."""
        self._told_below.pop(task.directory, None)
        flying = self.pool.overtake(task.directory)
        return None if flying is None else task.joined(flying)

    def expects(self, parent: str, directory: str) -> bool:
        """An event has told of a directory whose parent is not in the index yet; True if that is on its
        way: it may bring the directory with it as it was before the event."""
        if parent not in self.pool:
            return False
        self._told_below.setdefault(parent, set()).add(directory)
        return True

    def push_again(self) -> None:
        """What :meth:`receive` gave is in the index: list again what may have changed meanwhile."""
        again, self._again = self._again, []
        for directory in again:
            self._list.push(Task(directory, recursive=True))

    def forget(self, directory: str) -> None:
        """The directory is gone, and everything below it."""
        for path in self.pool.overtake_below(directory):
            self._told_below.pop(path, None)

    def close(self) -> None:
        """End the processes."""
        self.pool.close()
        self._told_below.clear()
        self._expect_no_more()

    def _expect_no_more(self) -> None:
        if not self.pool.unanswered:
            self._watcher.expect(more=False)

    def _batch(self) -> list[Wanted]:
        batch: list[Wanted] = []
        weight = 0
        try:
            while weight < BATCH and (wanted := self._next()) is not None:
                batch.append(wanted)
                weight += self.pool.weight(wanted)
        except BaseException:
            for wanted in batch:
                self._list.push(wanted.task)
            raise
        return batch

    def _next(self) -> Wanted | None:
        while len(self._list):
            wanted = self._prepared(self._list.pop(), known=False)
            if wanted is not None:
                return wanted
        while (known := self._next_known()) is not None:
            directory, mtime_ns, inode, fingerprint = known
            wanted = self._prepared(Task(directory, told=False), known=True)
            if wanted is not None:
                self._about[directory] = (mtime_ns, inode)
                return wanted._replace(fingerprint=fingerprint)
        return None

    def _prepared(self, task: Task, *, known: bool) -> Wanted | None:
        try:
            return self._prepare(task, known)
        except BaseException:
            self._list.push(task)
            raise

    def _next_known(self) -> Known | None:
        if not self._portion and not self._refill():
            return None
        return self._portion.pop()

    def _refill(self) -> bool:
        self._portion = next(self._known, [])[::-1]
        return bool(self._portion)
