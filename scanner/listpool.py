"""Directories listed by a process of its own, while this one writes what was listed before into the index."""

from __future__ import annotations

import logging
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from scanner.listing import Gone, Lister, Listing, Look, Unreadable
from scanner.listworker import GONE, LISTED, SAME, pack, unpack
from scanner.records import Entry
from scanner.worklist import Task

LOG = logging.getLogger(__name__)

BATCH = 256
"""How many directories make a request: enough to be worth a message."""
IN_FLIGHT = 4 * BATCH
IN_FLIGHT_BYTES = 48 * 1024
"""All that is asked for fits into a pipe, so that no end ever waits for the other to read."""
RESTARTS = 3


@dataclass(frozen=True, slots=True)
class Same:
    """The directory shows what its fingerprint says."""

    directory: str
    device: int
    inode: int
    mtime_ns: int


class Seen(NamedTuple):
    """What a directory was seen to hold, and what it was asked for."""

    look: Look | Same
    task: Task


class ListingProcess:
    """One listing process, started by :meth:`start` and not needed for anything: if it dies, what it was
    asked for comes back from :meth:`lost`, and after a few deaths :attr:`usable` is False.

    A directory that is looked at otherwise while it is on its way is *overtaken*: what arrives is older
    than what is known, and is left out.
    """

    def __init__(self, lister: Lister) -> None:
        self._lister = lister
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._flying: dict[str, tuple[int, Task]] = {}
        self._requests: dict[int, int] = {}  # the bytes of what has not been answered
        self._deaths = 0

    def __len__(self) -> int:
        """How many directories are on their way."""
        return len(self._flying)

    def __contains__(self, directory: str) -> bool:
        """Whether the directory is on its way."""
        return directory in self._flying

    @property
    def usable(self) -> bool:
        """Whether it is worth asking."""
        return self._deaths < RESTARTS

    @property
    def has_room(self) -> bool:
        """Whether there is use for a further request now."""
        busy = len(self._flying) > IN_FLIGHT - BATCH or sum(self._requests.values()) > IN_FLIGHT_BYTES // 2
        return self.usable and not busy

    def pids(self) -> list[int]:
        """The process, where it runs."""
        return [] if self._process is None else [self._process.pid]

    def send(self, wanted: Sequence[tuple[Task, int]]) -> None:
        """Ask for directories, each with its known fingerprint (0: none)."""
        self._number += 1
        for task, _ in wanted:
            self._flying[task.directory] = (self._number, task)
        directories = [(task.directory, known) for task, known in wanted]
        request = (self._number, self._lister.generation, self._lister.roots, directories)
        payload = pack(request)
        self._requests[self._number] = len(payload)
        try:
            self._write(payload)
        except OSError as error:
            self._died(error)

    def overtake(self, directory: str) -> Task | None:
        """The directory is looked at otherwise; what it was asked for, if it was on its way."""
        flying = self._flying.pop(directory, None)
        return None if flying is None else flying[1]

    def overtake_below(self, directory: str) -> list[str]:
        """The directory is gone, and everything below it; returns what of it was on its way."""
        below = directory + "/"
        paths = [path for path in self._flying if path == directory or path.startswith(below)]
        for path in paths:
            del self._flying[path]
        return paths

    def receive(self, seconds: float) -> list[Seen]:
        """What has arrived, after waiting at most so long for it."""
        if self._process is None or not self._readable(seconds):
            return []
        assert self._process.stdout is not None
        try:
            number, answers = unpack(self._process.stdout)  # type: ignore[arg-type]
        except EOFError as error:
            self._died(error)
            return []
        self._requests.pop(number, None)
        return list(self._current(number, answers))

    def lost(self) -> list[Task]:
        """What was on its way when the process died; it has to be listed otherwise."""
        if self._process is not None:
            return []
        lost = [task for _, task in self._flying.values()]
        self._flying.clear()
        return lost

    def close(self) -> None:
        """End the process; what is on its way is forgotten."""
        self._flying.clear()
        self._end()

    def _current(self, number: int, answers: list[tuple[Any, ...]]) -> Iterator[Seen]:
        for answer in answers:
            flying = self._flying.get(answer[1])
            if flying is None or flying[0] != number:
                continue
            del self._flying[answer[1]]
            yield Seen(_look(answer), flying[1])

    def _write(self, payload: bytes) -> None:
        sink = self._started()
        sink.write(payload)
        sink.flush()

    def _started(self) -> BinaryIO:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scanner.listworker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert self._process.stdin is not None
            self._process.stdin.write(pack((self._lister.root, self._lister.ignore)))
        assert self._process.stdin is not None
        return self._process.stdin  # type: ignore[return-value]

    def _readable(self, seconds: float) -> bool:
        assert self._process is not None
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def _died(self, error: Exception) -> None:
        self._deaths += 1
        LOG.warning("the listing process has ended (%s); its directories are listed again", error)
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        self._requests.clear()
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                _close(pipe.fileno(), pipe)
        process.kill()
        process.wait()


def _close(number: int, pipe: Any) -> None:
    try:
        pipe.close()
    except BrokenPipeError:  # what was buffered for a process that has gone
        LOG.debug("descriptor %d was closed with something unsent", number)


def _look(answer: tuple[Any, ...]) -> Look | Same:
    kind, directory = answer[:2]
    if kind == SAME:
        return Same(*answer[1:])
    if kind == GONE:
        return Gone(directory)
    if kind != LISTED:
        return Unreadable(*answer[1:])
    device, inode, mtime_ns, files, directories, skipped, unreadable, number, seen_ns = answer[2:]
    return Listing(
        directory,
        device,
        inode,
        mtime_ns,
        {entry[0]: Entry(*entry) for entry in files},
        directories,
        None,
        skipped,
        unreadable,
        number,
        seen_ns,
    )
