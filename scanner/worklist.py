"""Which directories the worker has still to list as a whole, and why.

A pass, a sweep, a new directory, an event about a whole subtree: each puts directories here. Each
directory is here once, whoever asks for it, so that the list is bounded by the tree and the hints of a
storm that never ends do not pile up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from scanner.dirty import Dirty, covers

MAX_TOLD = 10_000


class Task(NamedTuple):
    """A directory to list, with ``recursive`` all that is known or found below it as well.

    ``told``: something said that it may have changed; otherwise a difference is one that nothing told of.
    ``found``: it was itself such a difference, and so is all that is in it.
    """

    directory: str
    recursive: bool = False
    told: bool = True
    found: bool = False

    def joined(self, other: Task) -> Task:
        """One task that does for both, about the same directory."""
        return Task(
            self.directory,
            self.recursive or other.recursive,
            self.told or other.told,
            self.found or other.found,
        )


class Worklist:
    """Tasks, the one that was added last first: a directory and what is in it go together."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[str, Task] = OrderedDict()
        self._told: set[str] = set()
        self._found: set[str] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, directory: str) -> bool:
        """Whether there is a task about the directory."""
        return directory in self._tasks

    def push(self, task: Task, *, last: bool = False) -> None:
        """Add a task, as the next one or with ``last`` behind all others; it joins one that is here."""
        before = self._tasks.get(task.directory)
        if before is not None:
            task = before.joined(task)
        self._tasks[task.directory] = task
        if task.recursive and task.told:
            self._tell(task.directory)
        elif task.found and not _within(self._found, task.directory):
            self._found.add(task.directory)
        if before is None and last:
            self._tasks.move_to_end(task.directory, last=False)
        elif before is not None and not last:
            self._tasks.move_to_end(task.directory)

    def pop(self) -> Task:
        """Remove and return the next task; raises KeyError where there is none."""
        directory, task = self._tasks.popitem()
        return task._replace(told=True) if not task.told and self.is_told(directory) else task

    def is_told(self, directory: str) -> bool:
        """Whether a hint was about a subtree that the directory lies in, since :meth:`forget_told`."""
        return _within(self._told, directory)

    def tell(self, hints: Sequence[Dirty]) -> None:
        """These hints were taken up: of a directory that was found they tell with all that is in it, also
        where that is being listed already."""
        if not self._found:
            return
        by_directory = {hint.directory: hint for hint in hints}
        told = {directory for directory in self._found if covers(by_directory, directory)}
        self._found -= told
        for directory in told:
            self._tell(directory)

    def forget_told(self) -> None:
        """Everything that hints were about, or that was found, has been looked at."""
        self._told.clear()
        self._found.clear()

    def _tell(self, directory: str) -> None:
        """Everything below is told of: also what waits here for another reason."""
        self._told.add(directory)
        if len(self._told) > MAX_TOLD:
            self._told = {""}


def _within(directories: set[str], directory: str) -> bool:
    """Whether the directory is one of these, or below one of them."""
    while directories and directory:
        if directory in directories:
            return True
        directory = directory.rpartition("/")[0]
    return "" in directories
