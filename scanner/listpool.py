"""Some listing processes that share what is to be listed."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence

from scanner.listing import Lister
from scanner.listprocess import ListingProcess, Wanted
from scanner.parcel import Parcel
from scanner.seen import Seen
from scanner.watch import DirectoryWatcher
from scanner.worklist import Task


class ListingPool:
    """Some listing processes that share the work, each started when the others are at work already.

    The same as one of them to whoever asks; a directory is on its way with one process at a time.
    """

    def __init__(
        self, lister: Lister, watcher: DirectoryWatcher, terms: Callable[[], Parcel], size: int
    ) -> None:
        self._processes = [ListingProcess(lister, watcher, terms) for _ in range(size)]

    def __len__(self) -> int:
        """How many directories are on their way, or were and have to be fetched from :meth:`lost`."""
        return sum(map(len, self._processes))

    def __contains__(self, directory: str) -> bool:
        """Whether the directory is on its way."""
        return any(directory in process for process in self._processes)

    @property
    def unanswered(self) -> bool:
        """Whether watches may have been put that have not been told."""
        return any(process.unanswered for process in self._processes)

    @property
    def usable(self) -> bool:
        """Whether it is worth asking."""
        return any(process.usable for process in self._processes)

    @property
    def has_room(self) -> bool:
        """Whether there is use for a further request now."""
        return any(process.has_room for process in self._processes)

    def pids(self) -> list[int]:
        """The processes that run."""
        return [pid for process in self._processes for pid in process.pids()]

    def weight(self, wanted: Wanted) -> int:
        """See :meth:`ListingProcess.weight`."""
        return max(process.weight(wanted) for process in self._processes)

    def send(self, wanted: Sequence[Wanted]) -> None:
        """Ask the process that has least to do."""
        for one in wanted:
            self.overtake(one.task.directory)
        ready = [process for process in self._processes if process.has_room]
        min(ready or self._processes, key=lambda process: process.load).send(wanted)

    def overtake(self, directory: str) -> Task | None:
        """See :meth:`ListingProcess.overtake`."""
        for process in self._processes:
            task = process.overtake(directory)
            if task is not None:
                return task
        return None

    def overtake_below(self, directory: str) -> list[str]:
        """See :meth:`ListingProcess.overtake_below`."""
        return [path for process in self._processes for path in process.overtake_below(directory)]

    def receive(self, seconds: float) -> list[Seen]:
        """What has arrived from any of them, after waiting at most so long for something."""
        seen = self._arrived()
        if seen or not len(self):
            return seen
        poll = select.poll()
        for number in (number for process in self._processes for number in process.filenos()):
            poll.register(number, select.POLLIN)
        poll.poll(seconds * 1000)
        return self._arrived()

    def lost(self) -> list[Task]:
        """What was on its way when a process died; it has to be listed otherwise."""
        return [task for process in self._processes for task in process.lost()]

    def close(self) -> None:
        """End the processes; what is on its way is forgotten."""
        for process in self._processes:
            process.close()

    def _arrived(self) -> list[Seen]:
        return [seen for process in self._processes for seen in process.receive(0.0)]
