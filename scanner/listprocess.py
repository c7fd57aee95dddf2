"""Directories listed by a process of its own, while this one writes what was listed before into the index."""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from scanner.checkprocess import environment
from scanner.listing import Lister
from scanner.listworker import FAMILY, WATCH, Answer, Frames, pack
from scanner.parcel import Parcel
from scanner.seen import Seen, seen_in
from scanner.watch import DirectoryWatcher
from scanner.watchstats import Shared
from scanner.worklist import Task

LOG = logging.getLogger(__name__)

BATCH = 256
"""How many directories make a request: enough to be worth a message."""
FAMILY_WEIGHT = 16
"""As how many directories one counts, at first, that is listed together with its folders."""
IN_FLIGHT = 4 * BATCH
IN_FLIGHT_BYTES = 48 * 1024
"""Enough that the process never waits for a request, so little that answers are not old when they come."""
_CHUNK = 1 << 20
RESTARTS = 3


class Wanted(NamedTuple):
    """A directory to list: its known fingerprint (0: none), and how: ``WATCH``, ``FAMILY``."""

    task: Task
    fingerprint: int = 0
    how: int = 0


class _Request(NamedTuple):
    """One that has not been answered: its bytes, how much there is to do, as of when it watches."""

    length: int
    weight: int
    asked: Shared | None


class ListingProcess:
    """One listing process, started by :meth:`start` and not needed for anything: if it dies, what it was
    asked for comes back from :meth:`lost`, and after a few deaths :attr:`usable` is False.

    A directory that is looked at otherwise while it is on its way is *overtaken*: what arrives is older
    than what is known, and is left out. Neither end waits for the other: what the pipe does not take is
    sent by the next :meth:`receive`.

    The process watches for ``watcher`` what is to be watched: whatever comes of an answer, its watches are
    entered or removed. ``terms`` says how it makes rows, once it is started; see :mod:`scanner.parcel`.
    """

    def __init__(self, lister: Lister, watcher: DirectoryWatcher, terms: Callable[[], Parcel]) -> None:
        self._lister = lister
        self._watcher = watcher
        self._terms = terms
        self._shared: Shared | None = None  # as of the start of the process
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._flying: dict[str, tuple[int, Task]] = {}
        self._requests: dict[int, _Request] = {}
        self._unsent = bytearray()
        self._frames = Frames()
        self._lost: list[Task] = []
        self._deaths = 0
        self._family = float(FAMILY_WEIGHT)

    def __len__(self) -> int:
        """How many directories are on their way, or were and have to be fetched from :meth:`lost`.

        Of what was overtaken the watches have still to come: then it is never 0.
        """
        return len(self._flying) + len(self._lost) or len(self._requests)

    def __contains__(self, directory: str) -> bool:
        """Whether the directory is on its way."""
        return directory in self._flying

    @property
    def unanswered(self) -> bool:
        """Whether watches may have been put that have not been told."""
        return bool(self._requests)

    @property
    def load(self) -> int:
        """How much there is to do, one directory being 1."""
        return sum(request.weight for request in self._requests.values())

    @property
    def usable(self) -> bool:
        """Whether it is worth asking."""
        return self._deaths < RESTARTS

    @property
    def has_room(self) -> bool:
        """Whether there is use for a further request now."""
        waiting = sum(request.length for request in self._requests.values())
        return self.usable and self.load <= IN_FLIGHT - BATCH and waiting <= IN_FLIGHT_BYTES // 2

    def pids(self) -> list[int]:
        """The process, where it runs."""
        return [] if self._process is None else [self._process.pid]

    def filenos(self) -> list[int]:
        """What is readable when something has arrived."""
        if self._process is None or self._process.stdout is None:
            return []
        return [self._process.stdout.fileno()]

    def weight(self, wanted: Wanted) -> int:
        """About how much there is to do, one directory being 1; by what families were of late."""
        return round(self._family) if wanted.how & FAMILY else 1

    def send(self, wanted: Sequence[Wanted]) -> None:
        """Ask for directories."""
        asked = self._to_share() if any(one.how & WATCH for one in wanted) else None
        self._number += 1
        for one in wanted:
            self._flying[one.task.directory] = (self._number, one.task)
        directories = [(one.task.directory, one.fingerprint, one.how) for one in wanted]
        payload = pack((self._number, self._lister.generation, self._lister.roots, directories))
        weight = sum(map(self.weight, wanted))
        self._requests[self._number] = _Request(len(payload), weight, asked)
        self._unsent += payload
        try:
            self._write()
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
        try:
            answer = self._answer(time.monotonic() + seconds)
        except (OSError, EOFError) as error:
            self._died(error)
            return []
        if answer is None:
            return []
        number, last, part = answer
        request = self._requests.pop(number) if last else self._requests[number]
        return [seen for answer in part if (seen := self._seen(number, answer, request.asked)) is not None]

    def lost(self) -> list[Task]:
        """What was on its way when a process died; it has to be listed otherwise."""
        lost, self._lost = self._lost, []
        return lost

    def close(self) -> None:
        """End the process; what is on its way is forgotten."""
        self._flying.clear()
        self._lost.clear()
        self._end()

    def _to_share(self) -> Shared | None:
        """What watches are asked for with; a process that has another instance is replaced."""
        self._watcher.expect(more=True)
        shared = self._watcher.shared
        if self._process is not None and _instance(shared) != _instance(self._shared):
            self._lose()
        return shared

    def _seen(self, number: int, answer: Answer, asked: Shared | None) -> Seen | None:
        """An answer, its watches entered; None if it is left out, and they are removed."""
        looks, wds = answer
        directory = looks[0][1]
        flying = self._flying.get(directory)
        if flying is None or flying[0] != number:
            self._watcher.drop([wd for wd in wds if wd is not None], asked)
            return None
        del self._flying[directory]
        if flying[1].recursive:
            self._family += (min(len(wds), BATCH) - self._family) / 8
        seen = seen_in(looks, flying[1])
        paths = (directory, *seen.below)
        watches = [(path, wd) for path, wd in zip(paths, wds, strict=True) if wd is not None]
        again = self._watcher.enter(watches, asked) if watches else ()
        return seen._replace(again=tuple(again)) if again else seen

    def _write(self) -> None:
        """Send as much as the pipe takes now."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            while self._unsent:
                written = os.write(self._process.stdin.fileno(), self._unsent)
                del self._unsent[:written]
        except BlockingIOError:
            return

    def _start(self) -> None:
        self._shared = self._watcher.shared
        fd = None if self._shared is None else self._shared.fd
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scanner.listworker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pass_fds=() if fd is None else (fd,),
            env=environment(),
        )
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._unsent[:0] = pack((self._lister.root, self._lister.ignore, fd, self._terms()))

    def _answer(self, deadline: float) -> Any:
        """The next answer, None if it has not come by then. Raises OSError, EOFError: no more will come."""
        while self._process is not None:
            answer = self._frames.take()
            if answer is not None:
                return answer
            if not self._exchange(max(0.0, deadline - time.monotonic())):
                return None
        return None

    def _exchange(self, seconds: float) -> bool:
        """Read and write what can be; False if there was neither in time."""
        assert self._process is not None
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None
        assert sink is not None
        poll = select.poll()
        poll.register(source, select.POLLIN)
        if self._unsent:
            poll.register(sink, select.POLLOUT)
        ready = {number for number, _ in poll.poll(seconds * 1000)}
        if source.fileno() in ready:
            self._frames.add(os.read(source.fileno(), _CHUNK))
        if sink.fileno() in ready:
            self._write()
        return bool(ready)

    def _died(self, error: Exception) -> None:
        self._deaths += 1
        LOG.warning("the listing process has ended (%s); its directories are listed again", error)
        self._lose()

    def _lose(self) -> None:
        """End the process; what is on its way has to be listed again, and watched."""
        if any(request.asked is not None for request in self._requests.values()):
            self._watcher.expect_strays()
        self._lost += [task for _, task in self._flying.values()]
        self._flying.clear()
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        self._requests.clear()
        self._unsent.clear()
        self._frames = Frames()
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.kill()
        process.wait()


def _instance(shared: Shared | None) -> int | None:
    return None if shared is None else shared.generation
