"""A process that judges files, one after the other, for a ``CheckPool`` at the other end of a socket.

It runs below normal priority, may use a bounded amount of memory, writes nothing, and ends with its
parent. Frames both ways are four bytes of length and MessagePack. Which task is being worked on stands in
a page of memory shared with the parent, so that whoever finds the process dead or hanging knows the file.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import logging
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from scanner.config import VerifyConfig
from scanner.verdicts import RAN_OUT, Status, Task, Verdict

Checker = Callable[[Task, VerifyConfig, Sequence[str]], Verdict]

LENGTH = struct.Struct("<I")
RUNNING = struct.Struct("<Q")
NICE = 10
MIN_WORKING_BYTES = 16 << 20

_FLUSH_SECONDS = 0.005
_PR_SET_PDEATHSIG = 1
_SLOW_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Setup:
    """The first frame to a worker."""

    settings: VerifyConfig
    roots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A task under the number by which its answer is known."""

    number: int
    task: Task


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict on the job of that number; without one, the job wants a worker that is fresh."""

    number: int
    verdict: Verdict | None


def frame(payload: bytes) -> bytes:
    """``payload`` behind its length."""
    return LENGTH.pack(len(payload)) + payload


def unframe(buffer: bytearray) -> list[bytes]:
    """The complete frames at the start of ``buffer``, taken out of it."""
    frames: list[bytes] = []
    start = 0
    while len(buffer) - start >= LENGTH.size:
        (length,) = LENGTH.unpack_from(buffer, start)
        end = start + LENGTH.size + length
        if len(buffer) < end:
            break
        frames.append(bytes(buffer[start + LENGTH.size : end]))
        start = end
    del buffer[:start]
    return frames


class Worker:
    """The loop of one process: read jobs, judge them, answer in batches."""

    def __init__(self, channel: socket.socket, running: mmap.mmap, check: Checker) -> None:
        self._channel = channel
        self._running = running
        self._check = check
        self._received = bytearray()
        self._answers: list[Answer] = []
        self._flushed = 0.0
        self._encode = msgspec.msgpack.Encoder().encode
        self._jobs: deque[Job] = deque()
        self._decode = msgspec.msgpack.Decoder(Job).decode
        self._done = 0

    def setup(self) -> Setup:
        """The first frame; EOFError if the parent is gone before it comes."""
        while not (frames := self._receive()):
            pass
        (first, *rest) = frames
        for payload in rest:
            self._jobs.append(self._decode(payload))
        return msgspec.msgpack.decode(first, type=Setup)

    def run(self, setup: Setup) -> None:
        """Judge until the parent closes the channel, or until memory is in a state to start anew."""
        while True:
            if not self._jobs:
                self._flush()
                self._await_jobs()
            job = self._jobs.popleft()
            if self._answers and _slow(job.task):
                self._flush()
            RUNNING.pack_into(self._running, 0, job.number)
            verdict = self._judge(job.task, setup)
            if verdict is None:
                self._answers.append(Answer(job.number, None))
                return self._flush()
            self._answers.append(Answer(job.number, verdict))
            self._done += 1
            if time.monotonic() - self._flushed > _FLUSH_SECONDS:
                self._flush()

    def _judge(self, task: Task, setup: Setup) -> Verdict | None:
        """The verdict; None where memory ran out in a process that other files may have left in pieces."""
        try:
            verdict = self._check(task, setup.settings, setup.roots)
        except Exception as error:  # noqa: BLE001 - a mistake of this program must not look like a dead worker
            return Verdict(Status.UNCHECKED, f"the check itself failed: {_mistake(error)}")
        if self._done and verdict.detail == RAN_OUT:
            return None
        return verdict

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        if self._answers:
            self._channel.sendall(frame(self._encode(self._answers)))
            self._answers.clear()

    def _await_jobs(self) -> None:
        while not self._jobs:
            for payload in self._receive():
                self._jobs.append(self._decode(payload))

    def _receive(self) -> list[bytes]:
        data = self._channel.recv(1 << 18)
        if not data:
            raise EOFError
        self._received += data
        return unframe(self._received)


def _mistake(error: Exception) -> str:
    """What a traceback would say, in a line: this process may write nothing, not even a log."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}".encode("utf-8", "backslashreplace").decode("utf-8")


def _slow(task: Task) -> bool:
    return task.identity.size > _SLOW_BYTES


# --- what the process is made to be ----------------------------------------------------------------


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; end at once if it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise EOFError


def stand_back() -> None:
    """Run when nothing else wants to, and leave the terminal's signals to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a policy that is refused costs nothing but politeness
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def bound_memory(memory_mb: int) -> None:
    """Let this process grow to ``memory_mb`` megabytes and no further; it can write no file either."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    total, resident = _pages()
    if not total:
        return
    room = max(MIN_WORKING_BYTES, (memory_mb << 20) - resident)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = total + room
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _pages() -> tuple[int, int]:
    """Bytes of address space and of memory in use now; zeros where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            total, resident, *_ = file.read().split()
    except FileNotFoundError:
        return 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    return int(total) * page, int(resident) * page


def warm_up() -> None:
    """Load what the first file of each kind would load, so that it counts as part of the program."""
    from PIL import AvifImagePlugin, Image, features

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    for name in ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "TIFF", "BMP"):
        if name in {"WEBP", "AVIF"} and not features.check(name.lower()):
            continue
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), (90, 120, 150)).save(buffer, name)
        Image.open(buffer).load()
    gc.collect()


def main(load: Callable[[], Checker]) -> None:
    """Be a worker; ``argv``: the descriptors of the channel and of the shared page, the parent's id."""
    channel_fd, running_fd, parent = map(int, sys.argv[1:4])
    warnings.simplefilter("ignore")
    logging.disable()
    with (
        socket.socket(fileno=channel_fd) as channel,
        mmap.mmap(running_fd, mmap.PAGESIZE) as running,
        contextlib.suppress(EOFError, ConnectionError),  # the parent closed the channel: the work is done
    ):
        die_with(parent)
        stand_back()
        worker = Worker(channel, running, load())
        setup = worker.setup()
        warm_up()
        bound_memory(setup.settings.memory_mb)
        gc.freeze()
        worker.run(setup)


def _content_check() -> Checker:
    from scanner.checks import check

    return check


if __name__ == "__main__":
    main(_content_check)
