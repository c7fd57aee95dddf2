"""What hostile clients do to those who poll: idle connections, slow senders, floods of what is no HTTP.

    python -m benchmarks.hostile_clients [--seconds 20] [--pollers 8] [--frames 2000]

Starts ``sidecar serve`` over files of its own and polls it, first alone and then beside each kind of hostile
client, and beside all at once. Prints a line a kind: how many polls were answered, their p50, p99 and maximum
in milliseconds, how many failed, and what the web process holds (resident memory in MB, open descriptors).
Ends with 1 if a poll failed or a p99 reached 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from running import Serving, alive
from waiting import until

TARGETS = (
    "/status/local",
    "/jobs",
    "/jobs/local/features/summary",
    "/jobs/local/features/video-frames?limit=50",
    "/jobs/local/videos?limit=50",
    "/healthz",
)
P99_MS = 100.0
PAUSE = 0.05
SETTLE_SECONDS = 4.0  # until all hostile clients are connected
HEAD = "beside                             polls   p50 ms   p99 ms   max ms  failed     MB    fds"
MALFORMED = (
    b"\x00\x01\x02\x03\x04" * 20,
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /status/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost x\r\n: y\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 12_000 + b"\r\n",
    b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc",
    b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x42" * 200,  # the beginning of TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


@dataclass
class Polls:
    """How the polls went; times in seconds."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """In milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


Hostile = Callable[[int, asyncio.Event], Awaitable[None]]


# --- hostile clients -------------------------------------------------------------------------------


async def nobody(port: int, stop: asyncio.Event) -> None:
    """Nothing beside the polls."""
    await stop.wait()


async def idle(port: int, stop: asyncio.Event, count: int = 1000) -> None:
    """A thousand connections that say nothing; one that the server closes is opened again."""

    async def one() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                await _until_closed(reader, stop)
                await _close(writer)

    await _together(one, count)


async def slow(port: int, stop: asyncio.Event, count: int = 200) -> None:
    """A request of a byte a second, from two hundred clients."""

    async def one() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                for byte in b"GET /status/local HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1000:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    if await _wait(stop, 1.0):
                        break
                await _close(writer)

    await _together(one, count)


async def unread(port: int, stop: asyncio.Event, count: int = 50) -> None:
    """Requests for large pages, one behind the other, of which nothing is ever read."""
    request = b"GET /jobs/local/features/video-frames?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n"

    async def one() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                writer.write(request * 100)
                await _wait(stop, 3600)
                await _close(writer)

    await _together(one, count)


async def malformed(port: int, stop: asyncio.Event, count: int = 20) -> None:
    """A flood of what is no request, as fast as the server closes."""
    chance = random.Random(5)

    async def one() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(chance.choice(MALFORMED))
                    writer.write_eof()
                    await asyncio.wait_for(reader.read(), 5)
                finally:
                    await _close(writer)

    await _together(one, count)


async def everything(port: int, stop: asyncio.Event) -> None:
    """All of these at once."""
    await asyncio.gather(idle(port, stop), slow(port, stop), unread(port, stop), malformed(port, stop, 5))


KINDS: dict[str, Hostile] = {
    "alone": nobody,
    "1,000 idle connections": idle,
    "200 senders of a byte a second": slow,
    "50 that read nothing": unread,
    "a flood of malformed requests": malformed,
    "all at once": everything,
}


async def _together(one: Callable[[], Awaitable[None]], count: int) -> None:
    await asyncio.gather(*(one() for _ in range(count)))


async def _wait(stop: asyncio.Event, seconds: float) -> bool:
    """Whether it is time to stop, at the latest after so many seconds."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def _until_closed(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    reading, stopping = asyncio.ensure_future(reader.read()), asyncio.ensure_future(stop.wait())
    _, pending = await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(reading, stopping, return_exceptions=True)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


# --- polls -----------------------------------------------------------------------------------------


def poll_apart(port: int, seconds: float, pollers: int) -> Polls:
    """Poll from a process of its own, so that what the hostile clients cost here is not measured."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            polls = asyncio.run(_poll(port, seconds, pollers))
            with os.fdopen(writing, "w") as out:
                out.writelines(f"{taken}\n" for taken in polls.seconds)
                out.writelines(f"!{line}\n" for line in polls.failures)
        finally:
            os._exit(0)
    os.close(writing)
    polls = Polls()
    with os.fdopen(reading) as lines:
        for line in lines:
            if line.startswith("!"):
                polls.failures.append(line[1:].strip())
            else:
                polls.seconds.append(float(line))
    os.waitpid(child, 0)
    return polls


async def _poll(port: int, seconds: float, pollers: int) -> Polls:
    polls = Polls()
    end = time.monotonic() + seconds
    await asyncio.gather(*(_poller(port, end, polls, number) for number in range(pollers)))
    return polls


async def _poller(port: int, end: float, polls: Polls, number: int) -> None:
    """Over a connection that is kept, as a tab does it; a new one where the server closed it between two."""
    targets = itertools.cycle(TARGETS[number % len(TARGETS) :] + TARGETS[: number % len(TARGETS)])
    stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    while time.monotonic() < end:
        target = next(targets)
        begin = time.perf_counter()
        try:
            for fresh in (False, True):
                if stream is None or fresh:
                    stream = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 10)
                if await asyncio.wait_for(_asked(stream, target), 10):
                    break
            else:
                polls.failures.append(f"{target}: closed without an answer")
            polls.seconds.append(time.perf_counter() - begin)
        except (OSError, TimeoutError, ValueError) as error:
            polls.failures.append(f"{target}: {error!r}")
            stream = None
        await asyncio.sleep(PAUSE)
    if stream is not None:
        await _close(stream[1])


async def _asked(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], target: str) -> bool:
    """Whether there was an answer, 200 of course; False if the connection was closed before it."""
    reader, writer = stream
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(head.splitlines()[0].decode())
    (length,) = (int(line[15:]) for line in head.splitlines() if line.lower().startswith(b"content-length:"))
    await reader.readexactly(length)
    return True


# --- the program -----------------------------------------------------------------------------------


def hostile_apart(kind: Hostile, port: int) -> int:
    """Start the hostile clients in a process of their own; returns its pid."""
    child = os.fork()
    if child:
        return child
    try:
        asyncio.run(_hostile(kind, port))
    finally:
        os._exit(0)


async def _hostile(kind: Hostile, port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await kind(port, stop)


def memory_of(pid: int) -> float:
    """Resident memory in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def descriptors_of(pid: int) -> int:
    """Open descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def measure(serving: Serving, kind: Hostile, seconds: float, pollers: int) -> tuple[Polls, float, int]:
    """Poll beside one kind of hostile client; also what the web process held at its end."""
    child = hostile_apart(kind, serving.port)
    try:
        time.sleep(0 if kind is nobody else SETTLE_SECONDS)
        polls = poll_apart(serving.port, seconds, pollers)
        held = memory_of(serving.process.pid), descriptors_of(serving.process.pid)
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
    return polls, *held


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pollers", type=int, default=8)
    parser.add_argument("--frames", type=int, default=2000)
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="hostile-"))
    bad = False
    try:
        (base / "data").mkdir()
        (base / "index").mkdir()
        with Serving(base) as serving:
            for number in range(options.frames):
                serving.write(number)
            until(lambda: serving.get("/readyz").status == 200, "ready")
            until(lambda: serving.frames() == options.frames, "every frame is indexed")
            print(HEAD)
            for name, kind in KINDS.items():
                polls, megabytes, descriptors = measure(serving, kind, options.seconds, options.pollers)
                figures = (polls.percentile(0.5), polls.percentile(0.99), polls.percentile(1))
                bad |= bool(polls.failures) or figures[1] >= P99_MS
                times = " ".join(f"{figure:8.1f}" for figure in figures)
                print(
                    f"{name:<32} {len(polls.seconds):>7} {times} {len(polls.failures):>7}"
                    f" {megabytes:6.0f} {descriptors:>6}",
                    flush=True,
                )
                for line in polls.failures[:3]:
                    print(f"    {line}")
            assert alive(serving.process.pid)
    finally:
        shutil.rmtree(base)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
