"""The scanner process: a worker, the poller of the database, the control socket and the heartbeat.

Started by the web process as ``python -m scanner.service``; ends on SIGTERM, or when its standard input
closes because the web process has gone.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from scanner import logs
from scanner.board import Board, State
from scanner.config import Config
from scanner.control import ControlServer
from scanner.index import Index, is_whole
from scanner.lookups import Lookups
from scanner.pipeline import Pipeline
from scanner.poller import Poller, PollerStatus
from scanner.rows import SinkItem
from scanner.snapshot import Reporter
from scanner.verifier import Verifier
from scanner.worker import Worker

LOG = logging.getLogger(__name__)
PUBLISH_SECONDS = 0.25
QUEUE = 16
VERIFY_SECONDS = 1.0
"""While there is always something to do, verification gets a turn only every so often."""


class Service:
    """Composes the scanner over one index file and runs it until :meth:`stop`."""

    def __init__(self, config: Config, index_path: Path, board: Board) -> None:
        self.config = config
        self.board = board
        rows: queue.Queue[SinkItem] = queue.Queue(QUEUE)
        self.index = Index(str(index_path), config)
        self.worker = Worker(config, self.index, rows)
        self.verifier = Verifier(config, self.worker, self._status)
        self.reporter = Reporter(config, self.worker, lambda: self.verifier.problems)
        self.poller: Poller | None = None
        self.lookups: Lookups | None = None
        if config.database.url:
            pipeline = Pipeline(config.database)
            self.poller = Poller(pipeline, config.database, self._put)
            self.lookups = Lookups(pipeline, self._put)
        self._stopping = threading.Event()
        self._publish_at = 0.0
        self._was_ready = False
        self._verify_at = 0.0

    def run(self) -> None:
        """Work until stopped."""
        self.worker.start()
        if self.poller is not None:
            self.poller.start()
        try:
            while not self._stopping.is_set():
                self._tell_pending()  # before it is looked at: that may take a while
                idle = self.worker.step()
                if self._may_verify(time.monotonic(), busy=not idle) and self.verifier.step():
                    idle = min(idle, 0.01)
                self._report(time.monotonic())
                if idle:
                    self.worker.dirty.wait(idle)
        finally:
            self._close()

    def _may_verify(self, now: float, *, busy: bool) -> bool:
        """Files in a storm, and rows, come first: what they are worth can be said when they are there.

        While rows wait no finding that rests on one is published. Where rows are what wakes this loop, each
        verification would find them waiting.
        """
        if now < self._verify_at and (busy or not self.worker.rows.empty()):
            return False
        self._verify_at = now + VERIFY_SECONDS
        return True

    def stop(self) -> None:
        """Ask :meth:`run` to return; safe from a signal handler's thread."""
        self._stopping.set()
        self.worker.dirty.wake()

    def lookup(self, kind: str, keys: tuple[str, ...]) -> bool:
        """Look an unknown key up in the database; True once what was found is in the index."""
        return self.lookups is not None and self.lookups.find(kind, keys)

    def _put(self, item: SinkItem) -> None:
        self.worker.put(item, self._stopping)

    def _status(self) -> PollerStatus | None:
        return None if self.poller is None else self.poller.status()

    def _tell_pending(self) -> None:
        """That nothing is pending is said of the time before it was counted."""
        as_of = time.monotonic_ns()
        self.board.set_pending(self.worker.pending, self.verifier.pending, as_of)

    def _report(self, now: float) -> None:
        self._tell_pending()  # before the beat, which is believed to be of now
        self.board.beat()
        if now < self._publish_at and self.worker.ready == self._was_ready:
            return
        self._publish_at = now + PUBLISH_SECONDS
        self._was_ready = self.worker.ready
        status = self._status()
        faults = self.reporter.faults(status)
        state: State = "degraded" if faults else "complete" if self.worker.crawled else "scanning"
        self.board.set_state(state, self.worker.ready)
        snapshot = self.reporter.snapshot(status)
        snapshot["degraded"] = bool(faults)
        snapshot["file"] = self.index.path
        self.board.publish(snapshot)

    def _close(self) -> None:
        if self.poller is not None:
            self.poller.stop()
        self.verifier.close()
        self.worker.stop()
        self.index.close()


def main() -> int:
    """Run the scanner process; who started it writes what it needs to its input."""
    config, directory = receive()
    logs.configure(config.log)
    tune_interpreter()
    board = Board.open(directory / "board")
    path = _index_file(directory, config)
    try:
        service = Service(config, path, board)
        _stop_on_signals(service)
        _stop_on_end_of_input(service)
        control = ControlServer(directory, service.lookup)
        control.start()
        try:
            service.run()
        finally:
            control.stop()
    except Exception:
        _remove(path)  # the reason may lie in it, and would end the next scanner too
        raise
    return 0


def tune_interpreter() -> None:
    """What suits a process that makes many objects in one thread while others wait for databases.

    Each step of SQLite lets other threads go first: whoever is busy meanwhile must not keep the worker
    waiting for the usual five milliseconds.
    """
    gc.set_threshold(20_000, 10, 10)
    sys.setswitchinterval(0.0002)


def receive() -> tuple[Config, Path]:
    """What the parent has written: never on a command line, since the database's password is part of it."""
    config, directory = pickle.load(sys.stdin.buffer)
    if not isinstance(config, Config):
        raise TypeError("the scanner is started by the sidecar, not by hand")
    return config, Path(directory)


def _index_file(directory: Path, config: Config) -> Path:
    """The index to take over where it is whole and of this configuration, else a new file."""
    for path in directory.glob("index-*.db"):
        if is_whole(path, config):
            return path
        _remove(path)
    return directory / f"index-{time.time_ns()}.db"


def _remove(path: Path) -> None:
    """Take an index away, with the files that SQLite keeps beside it; who reads it goes on doing so."""
    for part in path.parent.glob(path.name + "*"):
        part.unlink()


def _stop_on_signals(service: Service) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        service.stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # nor does a terminal stop who writes from the background


def _stop_on_end_of_input(service: Service) -> None:
    def wait() -> None:
        while os.read(0, 1024):
            pass
        service.stop()

    threading.Thread(target=wait, name="parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
