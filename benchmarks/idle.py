"""What a scanner uses while nothing happens, with very many directories watched.

    python -m benchmarks.idle --directories 200000 --seconds 120

makes so many frames with a folder each, waits until all is indexed and at rest, and then only reads the
scanner's CPU time and memory. Sweeps go on meanwhile; how long one takes is measured by the same code apart.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.sidecar import Sidecar, cpu_seconds, own_memory
from scanner.sweep import changed_directories, stat_below

CPU_PERCENT = 2.0
FRAMES = 500


def main() -> int:
    """Make, wait, measure, print; exit code 1 where idling costs more than 2 % of a core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directories", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sidecar-idle-") as base:
        make(Path(base) / "data", options.directories)
        with Sidecar(Path(base), index=Path(base) / "index") as sidecar:
            sidecar.complete()
            sidecar.settled(900.0, 0.5)
            watching = sidecar.health()["watching"]
            time.sleep(15.0)  # the first sweep looks at everything that is young once more
            sidecar.settled(900.0, 0.5)
            before = cpu_seconds(sidecar.scanner())
            time.sleep(options.seconds)
            after, memory = cpu_seconds(sidecar.scanner()), own_memory(sidecar.scanner())
            health = sidecar.health()
        sweep = time_sweep(Path(base) / "data")
    percent = (after - before) / options.seconds * 100
    print(f"directories {watching['needed']}: {watching['watched']} watched, {watching['polled']} polled")
    print(f"allowed {watching['allowed']}; problems: {health['problems']}")
    print(f"CPU {percent:.2f} % over {options.seconds:.0f} s, own memory {memory:.0f} MiB")
    print(f"one sweep of all directories {sweep:.2f} s; missed {health['watching']['missed']}")
    return 0 if percent < CPU_PERCENT else 1


def make(data: Path, count: int) -> None:
    """So many frames, 500 a video, each with a folder for its artifacts that holds a mask."""
    for number in range(count):
        video = data / "frames" / f"v{number // FRAMES:06}"
        artifacts = video / f"{number % FRAMES:06}"
        artifacts.mkdir(parents=True)
        for file in (video / f"{number % FRAMES:06}.jpg", artifacts / "seg.png"):
            descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
            os.write(descriptor, b"x")
            os.close(descriptor)


def time_sweep(data: Path) -> float:
    """Seconds to ask every directory for its mtime, as a sweep does."""
    known = []
    for folder, _, _ in os.walk(data / "frames"):
        about = os.stat(folder)
        known.append((os.path.relpath(folder, data), about.st_mtime_ns, about.st_ino))
    started = time.monotonic()
    for _ in changed_directories(known, stat_below(str(data))):
        pass
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
