"""Load: as many requests as are answered (wrk), or a fixed rate whose latency counts (open loop)."""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_SCRIPT = """
local targets, n, i = {}, 0, 0
function init(args)
  for line in io.lines(args[1]) do n = n + 1; targets[n] = wrk.format("GET", line) end
end
function request() i = i % n + 1; return targets[i] end
function done(summary)
  local e = summary.errors
  io.write(string.format("failed %d\\n", e.status + e.connect + e.read + e.write + e.timeout))
end
"""


def peak(
    port: int,
    targets: Sequence[str],
    seconds: float,
    *,
    headers: Mapping[str, str] | None = None,
    connections: int = 8,
) -> float:
    """Requests a second that are answered with no pause, over targets in turn."""
    with tempfile.TemporaryDirectory() as directory:
        lines, script = Path(directory, "targets"), Path(directory, "script.lua")
        lines.write_text("\n".join(targets) + "\n", "ascii")
        script.write_text(_SCRIPT, "ascii")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script)]
        for name, value in (headers or {}).items():
            command += ["-H", f"{name}: {value}"]
        command += [f"http://127.0.0.1:{port}", "--", str(lines)]
        done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s*([\d.]+)", done)
    if rate is None or "failed 0\n" not in done:
        raise RuntimeError(f"wrk said: {done}")
    return float(rate[1])


class Latency(NamedTuple):
    """Milliseconds from when a request was due to its answer; ``rate`` is what was sent a second."""

    p50: float
    p99: float
    worst: float
    rate: float


def latency_of(milliseconds: Iterable[float], seconds: float) -> Latency:
    """The figures of some requests."""
    times = sorted(milliseconds)
    if not times:
        raise RuntimeError("no request was answered")
    return Latency(
        times[len(times) // 2],
        times[min(len(times) - 1, len(times) * 99 // 100)],
        times[-1],
        len(times) / seconds,
    )


def at_rate(port: int, targets: Sequence[str], rate: float, seconds: float) -> Latency:
    """The latency of requests that are due at a fixed rate, whether or not earlier ones are answered."""
    return asyncio.run(_at_rate(port, targets, rate, seconds))


async def _at_rate(port: int, targets: Sequence[str], rate: float, seconds: float) -> Latency:
    idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    times: list[float] = []
    connections = [await Connection.open(port) for _ in range(64)]
    for connection in connections:
        idle.put_nowait(connection)

    async def ask(target: str, due: float) -> None:
        connection = await idle.get()
        status, _ = await connection.get(target)
        if status != 200:
            raise RuntimeError(f"{status} for {target}")
        times.append((time.perf_counter() - due) * 1000)
        idle.put_nowait(connection)

    started, turn = time.perf_counter(), itertools.cycle(targets)
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = started + number / rate
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            group.create_task(ask(next(turn), due))
    for connection in connections:
        connection.close()
    return latency_of(times, time.perf_counter() - started)


class Connection:
    """A kept-alive connection that asks one thing after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def close(self) -> None:
        """Close it."""
        self._writer.close()

    async def get(self, target: str, etag: str = "") -> tuple[int, str]:
        """The status and the entity tag of a GET."""
        condition = f"If-None-Match: {etag}\r\n" if etag else ""
        self._writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n{condition}\r\n".encode("ascii"))
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?i)content-length: (\d+)", head)
        if length is not None:
            await self._reader.readexactly(int(length[1]))
        tag = re.search(r"(?i)etag: (\S+)", head)
        return int(head.split(" ", 2)[1]), "" if tag is None else tag[1]
