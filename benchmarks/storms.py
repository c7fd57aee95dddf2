"""Storms of new files against a running sidecar: what it misses, and how soon it has settled afterwards.

    python -m benchmarks.storms            # the four full storms
    python -m benchmarks.storms --scale 10 # a tenth of the directories

A storm writes as fast as one process can. In two of them the scanner is stopped (SIGSTOP) for three seconds
meanwhile, so that the kernel's queue of events overflows. When nothing is pending any more, the index is
compared with a walk; then a full reconciliation shows what no event had told of.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sidecar import Sidecar, cpu_seconds, walk

STOP_SECONDS = 3.0
SETTLED_SECONDS = 5.0
RESCAN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Storm:
    """So many directories, there before or not, so many files in each, the scanner stopped or not."""

    name: str
    directories: int
    files: int
    watched: bool
    stopped: bool


STORMS = (
    Storm("new directories", 2000, 100, watched=False, stopped=False),
    Storm("watched directories", 2011, 100, watched=True, stopped=False),
    Storm("watched, scanner stopped 3 s", 2011, 100, watched=True, stopped=True),
    Storm("many watched, scanner stopped 3 s", 20101, 10, watched=True, stopped=True),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a storm; seconds are of writing, and from its end until nothing was pending."""

    written: int
    writing: float
    settled: float
    cpu: float
    missing: int
    false: int
    missed: int
    overflows: int

    def row(self, name: str) -> str:
        """A row of the table."""
        times = f"{self.writing:.1f} | {self.settled:.2f} | {self.cpu:.1f}"
        counts = f"{self.missing} | {self.false} | {self.missed} | {self.overflows}"
        return f"| {name} | {self.written} | {times} | {counts} |"

    @property
    def right(self) -> bool:
        """Whether nothing was lost or invented, all in time, and overflow the only way to miss an event."""
        no_miss = self.missed == 0 or self.overflows > 0
        return not self.missing and not self.false and no_miss and self.settled <= SETTLED_SECONDS


def main() -> int:
    """Run the storms, print a table row each; exit code 1 if one of them was not survived in full."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--only", type=int, choices=range(1, 5))
    options = parser.parse_args()
    print("| storm | files | writing s | settled s | scanner CPU s | missing | false | missed | overflows |")
    print("|---|---|---|---|---|---|---|---|---|")
    right = True
    for storm in STORMS if options.only is None else STORMS[options.only - 1 : options.only]:
        with tempfile.TemporaryDirectory(prefix="sidecar-storm-") as base:
            outcome = blow(Path(base), storm, max(1, storm.directories // options.scale))
            print(outcome.row(storm.name), flush=True)
        right = right and outcome.right
    return 0 if right else 1


def blow(base: Path, storm: Storm, count: int) -> Outcome:
    """One storm over a new data root."""
    places = [base / "data" / "frames" / f"v{number:05}" for number in range(count)]
    (base / "data" / "frames").mkdir(parents=True)
    if storm.watched:
        make_directories(places)
        time.sleep(2.0)  # at rest
    settings = {"SIDECAR_SCAN__RESCAN_SECONDS": RESCAN_SECONDS}
    with Sidecar(base, settings, index=base / "index") as sidecar:
        sidecar.complete()
        sidecar.settled()
        writer = multiprocessing.Process(target=write, args=(places, storm.files, not storm.watched))
        before = cpu_seconds(sidecar.scanner())
        started = time.monotonic()
        writer.start()
        if storm.stopped:
            stop_for(sidecar.scanner(), STOP_SECONDS)
        writer.join()
        writing = time.monotonic() - started
        settled = sidecar.settled(600.0)
        cpu = cpu_seconds(sidecar.scanner()) - before
        truth, held = walk(base / "data"), sidecar.indexed()
        missed_before = sidecar.health()["watching"]["missed"]
        wait_for_pass(sidecar)
        watching = sidecar.health()["watching"]
    different = {path for path in truth.keys() & held.keys() if truth[path] != held[path]}
    return Outcome(
        len(truth),
        writing,
        settled,
        cpu,
        len(truth.keys() - held.keys()),
        len(held.keys() - truth.keys()) + len(different),
        max(missed_before, watching["missed"]),
        watching["overflows"],
    )


def make_directories(places: list[Path]) -> None:
    """The directories that are there before the storm."""
    for place in places:
        place.mkdir()


def write(places: list[Path], files: int, make: bool) -> None:
    """The storm: files of one byte, all through one directory and then the next if they are new, else
    one file in each in turn, which spreads events as widely as can be."""
    if make:
        for place in places:
            place.mkdir()
            for number in range(files):
                write_one(place, number)
        return
    for number in range(files):
        for place in places:
            write_one(place, number)


def write_one(place: Path, number: int) -> None:
    """One file, by the fewest calls."""
    descriptor = os.open(f"{place}/{number:06}.jpg", os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(descriptor, b"x")
    os.close(descriptor)


def stop_for(pid: int, seconds: float) -> None:
    """Stop a process, as a debugger or a starved machine does, and let it go on."""
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


def wait_for_pass(sidecar: Sidecar) -> None:
    """Until a full reconciliation that began after now has ended, and what it found was judged."""
    for _ in range(2):
        before = last_pass(sidecar)
        sidecar.until(functools.partial(_is_later, sidecar, before), RESCAN_SECONDS * 3, 0.2)
        if sidecar.health()["scan"]["seconds"] < RESCAN_SECONDS / 4:
            break  # it began after the storm
    sidecar.settled(60.0)
    time.sleep(1.0)


def last_pass(sidecar: Sidecar) -> str:
    """When a full reconciliation ended last."""
    return str(sidecar.health()["scan"]["last_completed_at"])


def _is_later(sidecar: Sidecar, before: str) -> bool:
    return last_pass(sidecar) != before


if __name__ == "__main__":
    sys.exit(main())
