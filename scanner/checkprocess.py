"""One checking process as its supervisor sees it: a socket, a shared page, and the jobs in its hands."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from scanner.checkworker import RUNNING, Answer, Setup, frame, unframe
from scanner.verdicts import Verdict

Tag = TypeVar("Tag")

MAX_JOBS = 32
"""How many jobs a process is given ahead, so that small files do not wait for the socket."""

_AHEAD_BYTES = 1 << 20
_END_SECONDS = 1.0
_RECEIVE_BYTES = 1 << 18
_decode_answers = msgspec.msgpack.Decoder(list[Answer]).decode


@dataclass(frozen=True, slots=True)
class Item(Generic[Tag]):
    """A job on its way: ``payload`` is the frame to send, ``size`` that of the file in bytes."""

    number: int
    tag: Tag
    payload: bytes
    size: int


class CheckProcess(Generic[Tag]):
    """A running ``scanner.checkworker``; OSError from the constructor if it cannot be started."""

    def __init__(self, setup: Setup, module: str) -> None:
        self.items: dict[int, Item[Tag]] = {}
        self.answered = 0
        self._retiring = False
        self._outgoing = bytearray(frame(msgspec.msgpack.encode(setup)))
        self._incoming = bytearray()
        with contextlib.ExitStack() as undo:
            self.channel, theirs = socket.socketpair()
            undo.callback(self.channel.close)
            shared = _shared_page()
            self._running = mmap.mmap(shared, mmap.PAGESIZE)
            undo.callback(self._running.close)
            try:
                self._popen = start_worker(module, theirs.fileno(), shared)
            finally:
                theirs.close()
                os.close(shared)
            undo.pop_all()
        self.channel.setblocking(False)
        self._moved = time.monotonic()
        self._last_seen = (0, 0)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    @property
    def has_room(self) -> bool:
        """Whether it should be given another job now."""
        held = len(self.items)
        if self._retiring:
            return False
        return held < 2 or (held < MAX_JOBS and sum(item.size for item in self.items.values()) < _AHEAD_BYTES)

    @property
    def has_output(self) -> bool:
        """Whether bytes wait for the socket to take them."""
        return bool(self._outgoing)

    def take(self, item: Item[Tag]) -> None:
        """Put a job into its hands; ``flush`` sends it."""
        if not self.items:
            self._moved = time.monotonic()
        self.items[item.number] = item
        self._outgoing += item.payload

    def flush(self) -> None:
        """Send what the socket takes; that the other end is closed is for ``collect`` to notice."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while self._outgoing:
                sent = self.channel.send(self._outgoing)
                del self._outgoing[:sent]

    def collect(self) -> tuple[list[tuple[Item[Tag], Verdict | None]], bool]:
        """The answers that have come, and whether the process is still there."""
        alive = self._receive()
        answers = chain.from_iterable(map(_decode_answers, unframe(self._incoming)))
        collected = [(self.items.pop(answer.number), answer.verdict) for answer in answers]
        self.answered += len(collected)
        # One that wants another to do its job ends now; what it were given would be lost with it.
        self._retiring = self._retiring or any(verdict is None for _, verdict in collected)
        return collected, alive

    def _receive(self) -> bool:
        try:
            while data := self.channel.recv(_RECEIVE_BYTES):
                self._incoming += data
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def stalled(self, now: float) -> float:
        """For how many seconds it has had work and not got on with it."""
        seen = (self._current(), self.answered)
        if seen != self._last_seen or not self.items:
            self._last_seen = seen
            self._moved = now
        return now - self._moved

    def _current(self) -> int:
        number: int = RUNNING.unpack_from(self._running)[0]
        return number

    def culprit(self) -> Item[Tag] | None:
        """The job that it is or was working on; None if that is answered or none was begun."""
        return None if self._retiring else self.items.get(self._current())

    @property
    def began(self) -> bool:
        """Whether it ever came to work on a job."""
        return self._current() != 0

    def end(self, kill: bool) -> str:
        """Make sure that it ends, waiting only a moment; a phrase that says how it did."""
        if kill:
            self._popen.kill()
        self.channel.close()
        if not self._wait():
            self._popen.kill()
            self._wait()
        return self._ending()

    def _wait(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_SECONDS)
        return self._popen.returncode is not None

    def gone(self) -> bool:
        """Whether it has ended; one that the kernel holds in a read may take long to die."""
        return self._popen.poll() is not None

    def _ending(self) -> str:
        code = self._popen.returncode
        if code is None:
            return "does not end"
        if code < 0:
            return f"was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"ended with exit code {code}"

    def release(self) -> None:
        """Give the shared page back."""
        self._running.close()


def _shared_page() -> int:
    """The descriptor of a page of memory that parent and child both map."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("checkworker")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, mmap.PAGESIZE)
    return descriptor


def start_worker(module: str, *descriptors: int, stderr: int | None = None) -> subprocess.Popen[bytes]:
    """Start the module with this interpreter's own search path, in a process group of its own.

    It inherits the descriptors; its arguments are their numbers and the id of this process.
    Its own group keeps the terminal's Ctrl-C away from it; not its own session, within which a scheduler
    that groups by session would no longer weigh its niceness against ours.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *map(str, descriptors), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=descriptors,
        env=environment(),
        process_group=0,
    )


def environment() -> dict[str, str]:
    """What a process is started with: this interpreter's own search path, and bounds on what it reserves."""
    package_root = str(Path(__file__).resolve().parent.parent)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([package_root, *filter(None, sys.path)]),
        # One thread and one arena: further ones reserve address space, which is what is bounded.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
    }
