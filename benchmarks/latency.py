"""How soon a file shows: from ``close()`` to the end of the first HTTP answer that has it.

    python -m benchmarks.latency                  # 1, 100 and 500 files a second
    python -m benchmarks.latency --flat 300000    # one directory that holds so many files already

A process writes images at a steady rate. This one asks for the first page of the frames, newest first, over
one connection, again and again without a pause; where the page shows a file, the answer's end is when it was
seen. ``--pause`` waits between two questions, as a client does that leaves the processor to others.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.sidecar import Sidecar, cpu_seconds

P50_SECONDS, P99_SECONDS = 0.030, 0.150
TARGET = "/jobs/local/features/video-frames?sort_by=frame_id&order=desc&limit={limit}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Sorted seconds from close to seen, how many files never were, and what the scanner used meanwhile."""

    latencies: list[float]
    lost: int
    cpu: float
    answers: int

    def at(self, share: float) -> float:
        """The latency that this share of the files did not exceed."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]

    @property
    def right(self) -> bool:
        """Whether every file was seen, and soon enough."""
        return not self.lost and self.at(0.5) <= P50_SECONDS and self.at(0.99) <= P99_SECONDS


def main() -> int:
    """Measure each rate, print a table row each; exit code 1 if one of them was too slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=int, nargs="*", default=[1, 100, 500])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--flat", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.002)
    options = parser.parse_args()
    print("| files/s | files | p50 ms | p90 ms | p99 ms | max ms | never | scanner CPU % | answers/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    right = True
    with tempfile.TemporaryDirectory(prefix="sidecar-latency-") as base:
        make(Path(base) / "data", options.flat)
        with Sidecar(Path(base), index=Path(base) / "index") as sidecar:
            sidecar.complete()
            sidecar.settled(300.0)
            for rate in options.rates:
                outcome = measure(sidecar, rate, options.seconds, options.pause)
                print(row(rate, outcome, options.seconds), flush=True)
                right = right and outcome.right
    return 0 if right else 1


def make(data: Path, flat: int) -> None:
    """One video with so many frames."""
    (data / "frames" / "v00").mkdir(parents=True)
    for number in range(flat):
        descriptor = os.open(data / "frames" / "v00" / f"{number:08}.jpg", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"x")
        os.close(descriptor)
    time.sleep(1.5)


def measure(sidecar: Sidecar, rate: int, seconds: float, pause: float) -> Outcome:
    """Write at a rate and look; the names sort behind all that are there."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    prefix = f"{int(time.time()):010}"
    writer = multiprocessing.Process(target=write, args=(theirs, sidecar.root, prefix, rate, seconds))
    before = cpu_seconds(sidecar.scanner())
    writer.start()
    theirs.close()
    client = http.client.HTTPConnection("127.0.0.1", sidecar.port, timeout=30)
    with contextlib.closing(client):
        closed, seen, answers = look(client, ours, max(20, rate), pause)
    writer.join()
    latencies = sorted(seen[name] - moment for name, moment in closed.items() if name in seen)
    cpu = cpu_seconds(sidecar.scanner()) - before
    return Outcome(latencies, len(closed) - len(latencies), cpu, answers)


def look(
    client: http.client.HTTPConnection, pipe: Connection, limit: int, pause: float
) -> tuple[dict[str, float], dict[str, float], int]:
    """Ask until all that was closed was seen, at most ten seconds longer than files are written."""
    closed: dict[str, float] = {}
    seen: dict[str, float] = {}
    answers, ended = 0, 0.0
    target = TARGET.format(limit=min(limit, 1000)) + "&video_id=v00"
    last = b""
    while not ended or (closed.keys() - seen.keys() and time.monotonic() < ended + 10.0):
        client.request("GET", target)
        body = client.getresponse().read()
        now = time.monotonic()
        answers += 1
        if body != last:
            last = body
            for item in json.loads(body)["items"]:
                seen.setdefault(item["frame_id"].rpartition("_")[2], now)
        while not ended and pipe.poll():
            try:
                name, moment = pipe.recv()
            except EOFError:
                ended = time.monotonic()
            else:
                closed[name] = moment
        time.sleep(pause)
    return closed, seen, answers


def write(pipe: Connection, root: Path, prefix: str, rate: int, seconds: float) -> None:
    """Write images at a steady rate and tell when each was closed."""
    started = time.monotonic()
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        name = f"{prefix}{number:06}"
        descriptor = os.open(root / "frames" / "v00" / f"{name}.jpg", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"an image")
        os.close(descriptor)
        pipe.send((name, time.monotonic()))
    pipe.close()


def row(rate: int, outcome: Outcome, seconds: float) -> str:
    """A row of the table."""
    if not outcome.latencies:
        return f"| {rate} | 0 | | | | | {outcome.lost} | | |"
    times = " | ".join(f"{outcome.at(share) * 1000:.1f}" for share in (0.5, 0.9, 0.99, 1.0))
    cpu = f"{outcome.cpu / seconds * 100:.0f}"
    files = len(outcome.latencies)
    return f"| {rate} | {files} | {times} | {outcome.lost} | {cpu} | {outcome.answers / seconds:.0f} |"


if __name__ == "__main__":
    sys.exit(main())
