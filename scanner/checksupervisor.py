"""The thread that feeds checking processes, collects their answers, and replaces what died or hangs."""

from __future__ import annotations

import selectors
import time
from collections import deque
from typing import Generic, Protocol, TypeVar

from scanner.checkprocess import CheckProcess, Item
from scanner.checkworker import Setup
from scanner.verdicts import Status, Verdict

Tag = TypeVar("Tag")

_LOOK_SECONDS = 0.25
_START_SECONDS = 60.0
_FAILED_STARTS = 3
_BACKOFF_SECONDS = 5.0
_STUCK_PER_WORKER = 4


class HasFileno(Protocol):
    """What a selector can wait for."""

    def fileno(self) -> int:
        """Its descriptor."""


class Owner(Protocol[Tag]):
    """Where jobs come from and verdicts go."""

    @property
    def alarm(self) -> HasFileno:
        """Readable when ``take`` has something to give, or ``closing`` has been set."""

    def take(self) -> list[Item[Tag]]:
        """The new jobs."""

    def give(self, verdicts: list[tuple[Tag, Verdict]]) -> None:
        """Take verdicts over; an empty list only wakes."""


class Supervisor(Generic[Tag]):
    """``run`` is the thread; ``closing`` ends it; ``error`` is what ended it otherwise."""

    def __init__(
        self, setup: Setup, workers: int, deadline_seconds: float, module: str, owner: Owner[Tag]
    ) -> None:
        self.processes: list[CheckProcess[Tag]] = []
        self.closing = False
        self.error: BaseException | None = None
        self._setup = setup
        self._workers = workers
        self._deadline = deadline_seconds
        self._module = module
        self._owner = owner
        self._queue: deque[Item[Tag]] = deque()
        self._stuck: list[CheckProcess[Tag]] = []
        self._failures = 0
        self._start_after = 0.0

    def run(self) -> None:
        """Supervise until ``closing`` is set and the alarm rings."""
        with selectors.DefaultSelector() as self._selector:
            self._selector.register(self._owner.alarm, selectors.EVENT_READ)
            try:
                while not self.closing:
                    self._turn()
            except BaseException as error:  # noqa: BLE001 - the owner must hear of it, or it waits for ever
                self.error = error
                self._owner.give([])
            finally:
                self._end_all()

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            if key.data is not None:
                self._serve(key.data)
        self._queue.extend(self._owner.take())
        self._replace_hanging()
        self._stuck = [process for process in self._stuck if not process.gone()]
        self._start_missing()
        self._feed()

    def _patience(self) -> float | None:
        busy = self._queue or self._stuck or any(process.items for process in self.processes)
        return _LOOK_SECONDS if busy else None

    # --- one process ---------------------------------------------------------------------------------

    def _serve(self, process: CheckProcess[Tag]) -> None:
        collected, alive = process.collect()
        given = [(item.tag, verdict) for item, verdict in collected if verdict is not None]
        self._queue.extendleft(item for item, verdict in collected if verdict is None)
        if given:
            self._failures = 0
            self._owner.give(given)
        if alive:
            self._flush(process)
        else:
            self._replace(process, None)

    def _flush(self, process: CheckProcess[Tag]) -> None:
        process.flush()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if process.has_output else 0)
        if self._selector.get_key(process.channel).events != events:
            self._selector.modify(process.channel, events, process)

    def _replace_hanging(self) -> None:
        now = time.monotonic()
        deaf = False
        for process in list(self.processes):
            stalled = process.stalled(now)
            if not process.began and stalled > _START_SECONDS:
                self._replace(process, f"did not start within {_START_SECONDS:g} s")
            # What is seen to begin now may have begun since the last look.
            elif process.began and stalled > max(self._deadline - _LOOK_SECONDS, self._deadline / 2):
                deaf = deaf or process.culprit() is None
                self._replace(process, f"took longer than {self._deadline:g} s")
        if deaf:
            self._end_idle()

    def _end_idle(self) -> None:
        """One has not taken up what it was given, as if it was stopped: nobody knows whether those that have
        nothing to do would, and what is given to them next may wait as long once more."""
        for process in [each for each in self.processes if not each.items]:
            self._replace(process, None, kill=True)

    def _replace(self, process: CheckProcess[Tag], hanging: str | None, *, kill: bool = False) -> None:
        """Take a dead or hanging process out; the file that it was working on has no verdict."""
        self.processes.remove(process)
        self._selector.unregister(process.channel)
        culprit = process.culprit()
        ending = process.end(kill=kill or hanging is not None)
        if culprit is not None:
            del process.items[culprit.number]
            self._refuse([culprit], hanging or f"the process that checked it {ending}")
        self._queue.extendleft(reversed(process.items.values()))
        if not process.began and process.items:
            self._failed_start(hanging or ending)
        process.release()
        if not process.gone():
            self._stuck.append(process)

    def _refuse(self, items: list[Item[Tag]], reason: str) -> None:
        self._owner.give([(item.tag, Verdict(Status.UNCHECKED, reason)) for item in items])

    # --- all of them ---------------------------------------------------------------------------------

    def _start_missing(self) -> None:
        held = sum(len(process.items) for process in self.processes)
        wanted = min(self._workers, held + len(self._queue))
        while len(self.processes) < wanted and self._queue and self._may_start():
            try:
                process: CheckProcess[Tag] = CheckProcess(self._setup, self._module)
            except OSError as error:
                self._failed_start(f"cannot be started: {error}")
                continue
            self.processes.append(process)
            self._selector.register(process.channel, selectors.EVENT_READ, process)

    def _may_start(self) -> bool:
        """Not while earlier ones failed to start, nor while too many refuse to die (a dead network mount)."""
        return time.monotonic() >= self._start_after and len(self._stuck) < _STUCK_PER_WORKER * self._workers

    def _failed_start(self, ending: str) -> None:
        """Try again; when it has failed several times, answer what waits instead of holding it for ever."""
        self._failures += 1
        if self._failures < _FAILED_STARTS:
            return
        self._start_after = time.monotonic() + _BACKOFF_SECONDS
        waiting = list(self._queue)
        self._queue.clear()
        self._refuse(waiting, f"no checking process can be had: it {ending}")

    def _feed(self) -> None:
        """Give every process something before any gets more, while they have room."""
        for process in self.processes:
            while self._queue and process.has_room and self._fair(process):
                process.take(self._queue.popleft())
            self._flush(process)

    def _fair(self, process: CheckProcess[Tag]) -> bool:
        """Whether this is not more than its share: near the end nothing waits behind what takes long."""
        jobs = sum(len(each.items) for each in self.processes) + len(self._queue)
        return len(process.items) * len(self.processes) < jobs

    def _end_all(self) -> None:
        for process in self.processes:
            process.end(kill=True)
            process.release()
        self.processes = []
