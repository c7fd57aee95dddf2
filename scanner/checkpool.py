"""Processes that judge files, so that no file can hurt, hold up or fill the process that asks.

The pool supervises them itself: one that dies or hangs costs the verdict on the one file that it was
working on, is replaced, and what else it had been given goes to another. A thread does the supervision;
``submit`` and ``results`` never wait.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Generic, TypeVar

import msgspec

from scanner.checkprocess import MAX_JOBS, Item
from scanner.checksupervisor import Supervisor
from scanner.checkworker import Job, Setup, frame
from scanner.config import VerifyConfig
from scanner.verdicts import Status, Task, Verdict

Tag = TypeVar("Tag")

DEADLINE_SECONDS = 30.0
"""How long one file may take."""

AHEAD = 2 * MAX_JOBS
"""For how many tasks a worker there is use; further ones would only wait in the pool."""

_encode = msgspec.msgpack.Encoder().encode


class CheckPool(Generic[Tag]):
    """A pool of ``settings.workers`` processes, started when there is something to do.

    ``roots`` are the real paths below which the target of a symlink may lie, beside a task's own.
    ``fileno()`` is readable while results wait. Threads may share a pool. ``module`` is what a process
    runs.
    """

    def __init__(
        self,
        settings: VerifyConfig,
        roots: Sequence[str] = (),
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        module: str = "scanner.checkworker",
    ) -> None:
        self._lock = threading.Lock()
        self._arrived: list[Item[Tag]] = []
        self._ready: list[tuple[Tag, Verdict]] = []
        self._submitted = self._returned = 0
        self._workers = settings.workers
        self._alarm = Bell()
        self._bell = Bell()
        self._supervisor: Supervisor[Tag] = Supervisor(
            Setup(settings, tuple(roots)), settings.workers, deadline_seconds, module, self
        )
        self._thread: threading.Thread | None = None
        self._closed = False

    def __enter__(self) -> CheckPool[Tag]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, task: Task, tag: Tag) -> None:
        """Ask for a verdict; it comes with ``tag`` from ``results``. RuntimeError once closed."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            self._submitted += 1
            try:
                payload = frame(_encode(Job(self._submitted, task)))
            except UnicodeEncodeError:
                self._ready.append((tag, Verdict(Status.UNCHECKED, "its path is not valid Unicode")))
                self._bell.ring()
                return
            self._arrived.append(Item(self._submitted, tag, payload, task.identity.size))
            self._start()
        self._alarm.ring()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._supervisor.run, name="checkpool", daemon=True)
            self._thread.start()

    def results(self) -> list[tuple[Tag, Verdict]]:
        """The verdicts that have come since the last call, in the order in which they came.

        RuntimeError if the supervision has ended by a mistake of its own.
        """
        self._bell.quieten()
        with self._lock:
            ready, self._ready = self._ready, []
            self._returned += len(ready)
        if self._supervisor.error is not None:
            raise RuntimeError("the supervision of the checks has ended") from self._supervisor.error
        return ready

    def fileno(self) -> int:
        """A descriptor that is readable while ``results`` has something to give."""
        return self._bell.fileno()

    @property
    def pending(self) -> int:
        """How many tasks were submitted whose verdict ``results`` has not given yet."""
        return self._submitted - self._returned

    @property
    def room(self) -> int:
        """How many more tasks there is use for now."""
        return max(0, AHEAD * self._workers - self.pending)

    def pids(self) -> list[int]:
        """The processes at work now."""
        return [process.pid for process in list(self._supervisor.processes)]

    def close(self) -> None:
        """End every process; tasks without a verdict are forgotten. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._supervisor.closing = True
        self._alarm.ring()
        if self._thread is not None:
            self._thread.join()
        self._alarm.close()
        self._bell.close()

    # --- the owner as the supervisor sees it ---------------------------------------------------------

    @property
    def alarm(self) -> Bell:
        """Rings when there is something to take, or the pool is to close."""
        return self._alarm

    def take(self) -> list[Item[Tag]]:
        """What has been submitted since the last call."""
        self._alarm.quieten()
        with self._lock:
            arrived, self._arrived = self._arrived, []
        return arrived

    def give(self, verdicts: list[tuple[Tag, Verdict]]) -> None:
        """Hand verdicts to whoever calls ``results``; without any, wake it all the same."""
        with self._lock:
            self._ready.extend(verdicts)
        self._bell.ring()


class Bell:
    """A descriptor that one thread makes readable for another; many rings count as one."""

    def __init__(self) -> None:
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        self._rung = False

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._inner.fileno()

    def ring(self) -> None:
        """Make it readable."""
        if not self._rung:
            self._rung = True
            with contextlib.suppress(BlockingIOError):  # full, so readable
                self._outer.send(b"\0")

    def quieten(self) -> None:
        """Make it unreadable; call this before looking for what it announces."""
        with contextlib.suppress(BlockingIOError):
            self._inner.recv(64)
        self._rung = False

    def close(self) -> None:
        """Give both descriptors back."""
        self._inner.close()
        self._outer.close()
