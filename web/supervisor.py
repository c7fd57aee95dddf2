"""Keeps the scanner process alive: its exit is seen at once, its silence after a while."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from scanner.board import Board
from scanner.config import Config
from web.keeping import keep

LOG = logging.getLogger(__name__)
HUNG_SECONDS = 30.0
STOP_SECONDS = 2.0
WATCH_SECONDS = 0.5
FIRST_PAUSE, LAST_PAUSE, HEALTHY_SECONDS = 0.1, 10.0, 60.0
SCANNER = (sys.executable, "-P", "-m", "scanner.service")


def child_environment() -> dict[str, str]:
    """The environment in which a child finds the same packages, wherever it is started from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path)}


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """A child that is started inside never meets SIGINT, not even before it has been loaded and ignores it.

    The process is made before the block waits for anything, so that two of them may overlap.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _nothing() -> None:
    """What is done about an end that concerns nobody else."""


class Child:
    """A process of our own that is started again, with a growing pause, whenever it ends.

    It is sent ``message`` through its standard input, which stays open: a child whose input ends knows that
    its parent has gone. ``fds`` are inherited. ``ended`` is called at each end that was not asked for. A
    group of its own keeps the terminal's Ctrl-C, which is for the parent, from reaching it first. Not a
    session of its own: a scheduler that groups by session would not weigh what it starts against the parent.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        message: tuple[object, ...],
        fds: tuple[int, ...] = (),
        ended: Callable[[], None] = _nothing,
    ) -> None:
        self.name = name
        self._command = command
        self._message = pickle.dumps(message)
        self._fds = fds
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.started_at = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether the process runs now."""
        return self.process is not None and self.process.returncode is None

    def start(self) -> None:
        """Start it, and go on doing so until :meth:`stop`."""
        self._task = keep(f"running {self.name}", self._keep)

    def kill(self) -> None:
        """End the process that runs now at once; another is started."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    async def stop(self) -> None:
        """End it: it is asked first, and killed if it does not follow within two seconds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            LOG.warning("%s did not stop in %.0f s and is killed", self.name, STOP_SECONDS)
            self.kill()
            await process.wait()

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self.started_at = time.monotonic()
            outcome = await self._run()
            self._ended()
            if time.monotonic() - self.started_at > HEALTHY_SECONDS:
                pause = FIRST_PAUSE
            LOG.error("%s %s; it is started again in %.1f s", self.name, outcome, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)

    async def _run(self) -> str:
        """Start it and wait for its end; returns what became of it."""
        try:
            with _without_interrupts():
                self.process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    env=child_environment(),
                    pass_fds=self._fds,
                    process_group=0,
                )
        except OSError as error:  # no process or no memory to be had now
            return f"could not be started ({error.strerror or error})"
        assert self.process.stdin is not None
        self.process.stdin.write(self._message)
        return f"ended ({_reason(await self.process.wait())})"


class Supervisor:
    """The scanner as a child, watched by its heartbeat on the board."""

    def __init__(
        self, config: Config, directory: Path, board: Board, command: Sequence[str] = SCANNER
    ) -> None:
        self._board = board
        self.scanner = Child("the scanner", command, (config, str(directory)), ended=board.note_end)
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the scanner and watch it."""
        self.scanner.start()
        self._watch = keep("watching the scanner", self._watch_heartbeat)

    async def stop(self) -> None:
        """Stop both."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self.scanner.stop()

    async def _watch_heartbeat(self) -> None:
        silent = False
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            # A scanner that was just started has not been silent for as long as the one before it.
            reading = self._board.read()
            seconds = min(reading.beat_age, time.monotonic() - self.scanner.started_at)
            if self.scanner.alive and seconds > HUNG_SECONDS:
                LOG.error("the scanner has been silent for %.0f s and is killed", seconds)
                self.scanner.kill()
            elif silent != reading.silent:
                silent = not silent
                self._tell(silent)

    def _tell(self, silent: bool) -> None:
        if silent:
            LOG.warning("the scanner is silent: the last index goes on answering")
        else:
            LOG.info("the scanner is heard again")


def _reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"killed by signal {-code}"
