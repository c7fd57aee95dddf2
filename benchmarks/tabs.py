"""How many open tabs the sidecar holds, with the 99th percentile of its answers below 50 ms.

    python -m benchmarks.tabs --scale 0.1

A tab shows the list of jobs and one job that is collecting, as the pipeline's own page does: it asks for the
status and the feature summary every 5 seconds, for the ten newest videos every 5 seconds, and for the status
once more every 10 seconds, each with ``If-None-Match``, over one kept-alive connection. Meanwhile files
change. The number of tabs is doubled until the limit is passed, then halved between; a web process keeps some
1,900 connections open at most.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from pathlib import Path

from benchmarks.beside import beside
from benchmarks.largeworld import JOB, make_world, storm_arguments
from benchmarks.load import Connection, Latency, latency_of
from benchmarks.sidecar import UNDISTURBED, Sidecar

LIMIT = 50.0  # milliseconds
ASKED = (
    (f"/status/{JOB}", 5.0),
    (f"/status/{JOB}", 10.0),
    (f"/jobs/{JOB}/features/summary", 5.0),
    (f"/jobs/{JOB}/videos?limit=10", 5.0),
)
"""What a tab asks, and every how many seconds."""
RATE = sum(1 / period for _, period in ASKED)
"""Requests a second and tab."""


class Tab:
    """One open page."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._etags: dict[str, str] = {}
        self._turn = asyncio.Lock()  # one connection answers one request at a time

    async def poll(self, target: str, period: float, until: float, times: list[float]) -> None:
        """Ask again and again; ``times`` takes the milliseconds from when each request was due."""
        due = time.perf_counter() + random.random() * period
        while due < until:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            async with self._turn:
                status, self._etags[target] = await self._connection.get(target, self._etags.get(target, ""))
            if status not in (200, 304):
                raise RuntimeError(f"{status} for {target}")
            times.append((time.perf_counter() - due) * 1000)
            due += period


async def hold(port: int, tabs: int, seconds: float) -> Latency:
    """The latency of what so many tabs ask."""
    connections = [await Connection.open(port) for _ in range(tabs)]
    times: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for connection in connections:
            tab = Tab(connection)
            for target, period in ASKED:
                group.create_task(tab.poll(target, period, started + seconds, times))
    for connection in connections:
        connection.close()
    return latency_of(times, seconds)


def find(port: int, seconds: float, most: int) -> int:
    """The number of tabs with which the limit is kept, to an eighth; prints each try."""
    held, refused = 0, 0
    tabs = 125
    while not refused or refused - held > max(1, held // 8):
        latency = asyncio.run(hold(port, tabs, seconds))
        good = latency.p99 < LIMIT and latency.rate > 0.9 * tabs * RATE
        figures = f"{latency.rate:6.0f} requests/s  p50 {latency.p50:6.1f} ms  p99 {latency.p99:7.1f} ms"
        print(f"{tabs:6} tabs  {figures}  {'held' if good else 'not held'}", flush=True)
        held, refused = (tabs, refused) if good else (held, tabs)
        if not refused and tabs >= most:
            break
        tabs = (held + refused) // 2 if refused else min(most, tabs * 2)
    return held


def main() -> None:
    """Make the world, start the sidecar, open tabs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=0.1, help="of the large world")
    parser.add_argument("--keep", type=Path, help="a directory for the world, kept for the next run")
    parser.add_argument("--changes", type=float, default=50, help="files that change a second")
    parser.add_argument("--seconds", type=float, default=11, help="of each try")
    parser.add_argument("--processes", type=int, default=1, help="web processes")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        base = options.keep
        if base is None:
            base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecar-bench-")))
        base = base / f"world-{options.scale}"
        base.mkdir(parents=True, exist_ok=True)
        size = make_world(base, options.scale)
        settings = {**UNDISTURBED, "SIDECAR_WEB__PROCESSES": options.processes}
        sidecar = stack.enter_context(Sidecar(base, settings))
        sidecar.ready()
        print(f"{size.assets} assets, {options.changes:.0f} files a second change, {RATE:.1f} requests a tab")
        stack.enter_context(beside(*storm_arguments(base / "data", options.changes)))
        # A web process keeps 2,048 connections open, less what it needs for itself.
        held = find(sidecar.port, options.seconds, 1900 * options.processes)
    print(f"{held} tabs are held: the 99th percentile is below {LIMIT:.0f} ms")


if __name__ == "__main__":
    main()
