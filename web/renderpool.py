"""A few processes that make previews, so that no file can hurt, hold up or fill the process that answers.

They are started when there is something to do. One that dies or takes too long is ended, which costs the
one preview that it was working on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from scanner.checkprocess import start_worker
from scanner.checkworker import LENGTH, frame
from web.renderjobs import Job, Reply, receive

AT_ONCE = 2
MOST_WAITING = 256
JOB_SECONDS = 15.0
START_SECONDS = 15.0
"""What the first job of a process may take longer: it has to load its libraries."""
_END_SECONDS = 1.0
_MODULE = "web.renderworker"
_decode = msgspec.msgpack.Decoder(Reply).decode


class Busy(Exception):  # noqa: N818 - a state, not a fault
    """More previews are asked for than can be made soon."""


class Failed(Exception):  # noqa: N818
    """The process that worked on it died or took too long; the text says so, for people."""


class RenderPool:
    """At most ``AT_ONCE`` previews are made at the same time; ``MOST_WAITING`` may wait."""

    def __init__(self, seconds: float = JOB_SECONDS) -> None:
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="render")
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._waiting = 0
        self._closed = False

    async def make(self, job: Job, fd: int) -> Reply:
        """Do a job on an open file, which is closed in any case, also if the caller is cancelled.

        Raises ``Busy`` and ``Failed``.
        """
        with self._lock:
            busy = self._closed or self._waiting >= MOST_WAITING
            self._waiting += not busy
        if busy:
            os.close(fd)
            raise Busy
        future = self._threads.submit(self._do, job, fd)
        future.add_done_callback(lambda done: self._done(done, fd))
        return await asyncio.wrap_future(future)

    def _done(self, future: Future[Reply], fd: int) -> None:
        os.close(fd)
        with self._lock:
            self._waiting -= 1

    def pids(self) -> list[int]:
        """The processes there are now."""
        return [process.pid for process in list(self._all)]

    def close(self) -> None:
        """End every process; who waits for a preview gets none."""
        with self._lock:
            self._closed = True
            processes = list(self._all)
        for process in processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in list(self._all):
            self._end(process)

    # --- in a thread -------------------------------------------------------------------------------

    def _do(self, job: Job, fd: int) -> Reply:
        process = self._take()
        try:
            reply = process.ask(job, fd, self._seconds)
        except BaseException:
            self._end(process)
            raise
        with self._lock:
            self._idle.append(process)
        return reply

    def _take(self) -> _Process:
        with self._lock:
            if self._closed:
                raise Busy
            if self._idle:
                return self._idle.pop()
            process = _Process()
            self._all.add(process)
            return process

    def _end(self, process: _Process) -> None:
        process.end()
        with self._lock:
            self._all.discard(process)


class _Process:
    """A running ``web.renderworker``, for one thread at a time."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        self._fresh = True
        try:
            self._popen = start_worker(_MODULE, theirs.fileno(), stderr=subprocess.DEVNULL)
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def ask(self, job: Job, fd: int, seconds: float) -> Reply:
        """Send a job and wait for the answer; raises ``Failed``."""
        deadline = time.monotonic() + seconds + (START_SECONDS if self._fresh else 0.0)
        payload = frame(msgspec.msgpack.encode(job))
        try:
            self._channel.settimeout(max(0.01, deadline - time.monotonic()))
            socket.send_fds(self._channel, [payload[: LENGTH.size]], [fd])
            self._channel.sendall(payload[LENGTH.size :])
            (length,) = LENGTH.unpack(receive(self._channel, LENGTH.size, deadline))
            reply = _decode(receive(self._channel, length, deadline))
        except TimeoutError as error:
            raise Failed(f"Making it took longer than {seconds:g} s.") from error
        except OSError as error:
            raise Failed("Decoding it ended the process that did so.") from error
        self._fresh = False
        return reply

    def kill(self) -> None:
        """End it at once; whoever waits for its answer learns that it has failed."""
        self._popen.kill()

    def end(self) -> None:
        """End it and wait a moment; one that the kernel holds in a read may take long to die."""
        self._popen.kill()
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_SECONDS)
