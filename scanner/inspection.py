"""One look at everything: full scan, database read and content checks, over an index of its own."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from scanner.config import Config
from scanner.index import Index
from scanner.pipeline import Pipeline
from scanner.poller import Poller, PollerStatus
from scanner.rows import SinkItem
from scanner.snapshot import Reporter
from scanner.verifier import Verifier
from scanner.worker import Worker

STALLED_SECONDS = 2.0
"""Findings that cannot be looked at again, something being unavailable, are not waited for longer."""
POLL_SECONDS = 0.2


class Progress(NamedTuple):
    """How far it has come: files found, content checks done, and those that wait."""

    files: int
    checked: int
    waiting: int


def for_one_look(config: Config) -> Config:
    """The configuration by which findings are looked at twice at once, rather than after a time."""
    return replace(
        config,
        verify=replace(config.verify, grace_seconds=0.0),
        scan=replace(config.scan, watcher="polling", polling_seconds=3600.0),
        database=replace(config.database, poll_seconds=POLL_SECONDS),
    )


class Inspection:
    """Keep calling :meth:`step` until it is ``done``; then the index at ``path`` has the findings.

    Writes only to ``directory``.
    """

    def __init__(self, config: Config, directory: Path) -> None:
        self.config = for_one_look(config)
        self.path = directory / "index.db"
        rows: queue.Queue[SinkItem] = queue.Queue(16)
        self.index = Index(str(self.path), self.config)
        self.worker = Worker(self.config, self.index, rows)
        self.verifier = Verifier(self.config, self.worker, self.status, at_once=True)
        self.reporter = Reporter(self.config, self.worker, lambda: self.verifier.problems)
        self._closing = threading.Event()
        self.poller: Poller | None = None
        if config.database.url:
            self.poller = Poller(Pipeline(self.config.database), self.config.database, self._put)
        self._waiting = -1
        self._since = time.monotonic()

    def start(self) -> None:
        """Begin."""
        self.worker.start()
        if self.poller is not None:
            self.poller.start()

    def close(self) -> None:
        """Stop every thread and process; the index stays."""
        self._closing.set()
        if self.poller is not None:
            self.poller.stop()
        self.verifier.close()
        self.worker.stop()
        self.index.close()

    def step(self) -> None:
        """Do a piece of the work, or wait a moment for more."""
        idle = self.worker.step()
        busy = self.verifier.step()
        if idle:  # also while checks are under way: to ask for them all the time would take their processor
            self.worker.dirty.wait(min(idle, 0.002 if busy else 0.01))

    def status(self) -> PollerStatus | None:
        """How reading the database goes; None without one."""
        return None if self.poller is None else self.poller.status()

    @property
    def faults(self) -> list[str]:
        """Why not everything could be looked at, one line each."""
        return self.reporter.faults(self.status())

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        return Progress(self.index.files, self.verifier.checks.done, self.verifier.pending)

    @property
    def done(self) -> bool:
        """Whether everything that can be looked at has been, and every finding that holds is published."""
        if self.worker.full is not None:
            return True
        if not self.worker.ready:
            return self._is_out_of_reach()
        if self.worker.pending or self.verifier.pending or self.verifier.gaps.pending:
            return False
        waiting = self.verifier.waiting
        if waiting != self._waiting:
            self._waiting, self._since = waiting, time.monotonic()
        if not waiting:
            return self.verifier.is_settled and self._roots_are_known()
        return bool(self.faults) and time.monotonic() - self._since > STALLED_SECONDS

    def _roots_are_known(self) -> bool:
        """Look at the roots by all the rows that came: a row may be all that tells of one that is away."""
        self.worker.check_roots()
        return not self.worker.pending

    def _is_out_of_reach(self) -> bool:
        """Whether the database cannot be read; without it nothing can be compared."""
        status = self.status()
        return status is not None and status.error is not None and not status.first_sync_done

    def _put(self, item: SinkItem) -> None:
        self.worker.put(item, self._closing)
