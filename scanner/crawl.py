"""Directories that have to be listed: which ones wait, and the process that lists them when they are many.

A few directories are listed by whoever takes them with :meth:`Crawl.pop`. Of many, batches go to a listing
process, and what comes back is older than what anybody has looked at in the meantime: see ``overtake``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from scanner.families import Families
from scanner.listing import Lister
from scanner.listpool import BATCH, ListingPool, Seen
from scanner.worklist import Task, Worklist

MANY = 100
"""From how many waiting directories on the process is worth its start."""
PROCESSES = 2
"""How many processes list: a pass over what is unchanged is little else."""
Known = tuple[str, int, int, int]
"""A directory of the index: path, mtime_ns, inode, fingerprint."""


class Crawl:
    """What waits to be listed. ``prepare`` is called just before a directory is sent, with whether the
    index knows it: it watches the directory, and returns the task, or None where it may not be listed or
    is listed otherwise."""

    def __init__(self, lister: Lister, prepare: Callable[[Task, bool], Task | None]) -> None:
        self._prepare = prepare
        self._list = Worklist()
        self._known: Iterator[list[Known]] = iter(())
        self._portion: list[Known] = []
        self._about: dict[str, tuple[int, int]] = {}
        self._families = Families()
        self.process = ListingPool(lister, PROCESSES)

    def __len__(self) -> int:
        """How many directories are known to have to be listed, or are on their way."""
        return len(self._list) + len(self._portion) + len(self.process) + len(self._families)

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
        """Whether the process should list what waits: so many wait, or it is at work already."""
        waiting = len(self._list) + len(self._portion)
        return len(self.process) > 0 or (self.process.usable and waiting >= MANY)

    def send(self) -> None:
        """Give the process what it can take."""
        while self.process.has_room:
            batch = self._batch()
            if not batch:
                return
            self.process.send(batch)

    def receive(self, seconds: float, is_known: Callable[[str], bool]) -> list[Seen]:
        """What can go into the index now, in that order; waits at most so long for it."""
        ready: list[Seen] = []
        for seen in self.process.receive(seconds):
            released, folders = self._families.arrived(seen, known=is_known(seen.look.directory))
            ready += released
            for folder in folders:
                self._list.push(folder)
        for task in self.process.lost():
            self._list.push(task)
        if not len(self.process) and not len(self._list):
            ready += self.give_up_waiting()
        return ready

    def known(self, directory: str) -> tuple[int, int] | None:
        """The mtime_ns and the inode with which a directory of the index was sent off, once."""
        return self._about.pop(directory, None)

    def give_up_waiting(self) -> list[Seen]:
        """All that has been listed and waits for others."""
        return [seen for family in self._families.release() for seen in family]

    def overtake(self, task: Task) -> Task | None:
        """Somebody looks at the directory now. If it was on its way, returns the task that now has to be
        done in its place: all of it has to be looked at."""
        flying = self.process.overtake(task.directory)
        waiting = self._families.overtake(task.directory)
        if flying is None and waiting is None:
            return None
        if flying is not None:
            self._relist(self._families.without(task.directory))
        return task.joined(flying or task).joined(waiting or task)

    def expects(self, parent: str, directory: str) -> bool:
        """An event has told of a directory whose parent is not in the index yet; True if both are on their
        way, so that there is nothing more to do about it."""
        return parent in self.process or self._families.remember(directory)

    def push_again(self) -> None:
        """What :meth:`receive` gave is in the index: list again what events have told of meanwhile."""
        for directory in self._families.take_again():
            self._list.push(Task(directory, recursive=True))

    def forget(self, directory: str) -> None:
        """The directory is gone, and everything below it."""
        self._families.drop_below(directory)
        for path in self.process.overtake_below(directory):
            self._relist(self._families.without(path))

    def close(self) -> None:
        """End the process."""
        self.process.close()

    def _relist(self, released: Iterable[Seen]) -> None:
        """List again what waited in vain, and do not let it wait again: all below is new and follows."""
        self._restore(seen.task._replace(recursive=False) for seen in released)

    def _batch(self) -> list[tuple[Task, int]]:
        batch: list[tuple[Task, int]] = []
        try:
            while len(batch) < BATCH and (wanted := self._next()) is not None:
                batch.append(wanted)
        except BaseException:
            self._restore(task for task, _ in batch)
            raise
        return batch

    def _restore(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self._list.push(task)

    def _next(self) -> tuple[Task, int] | None:
        while len(self._list):
            task = self._list.pop()
            ready = self._prepared(task, known=False)
            if ready is not None:
                return ready, 0
            self._relist(self._families.without(task.directory))
        while (known := self._next_known()) is not None:
            directory, mtime_ns, inode, fingerprint = known
            ready = self._prepared(Task(directory, told=False), known=True)
            if ready is not None:
                self._about[directory] = (mtime_ns, inode)
                return ready, fingerprint
        return None

    def _prepared(self, task: Task, *, known: bool) -> Task | None:
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
