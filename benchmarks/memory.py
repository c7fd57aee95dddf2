"""The memory that each indexed file takes: of all processes and the index together, beyond the empty start.

    python -m benchmarks.memory [--scale 1] [--keep DIR]

starts a sidecar over an empty data root, then over the large world with its database; reads what they hold
once all is indexed and after every kind of page was asked for, so that what is remembered counts too.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.largeworld import make_world
from benchmarks.load import peak
from benchmarks.sidecar import UNDISTURBED, Sidecar
from benchmarks.targets import mixed

MIB = 2**20
TARGETS = 20_000


class Held(NamedTuple):
    """Bytes: what the processes have for themselves, and the files of the index, which lie in memory."""

    processes: int
    files: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the large world (1,600,000 files)")
    parser.add_argument("--keep", type=Path, help="a directory for the world, kept for the next run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sidecar-bench-") as private:
        empty = measure_empty(Path(private))
        print(
            f"empty: processes {empty.processes / MIB:.0f} MiB, index {empty.files / MIB:.1f} MiB", flush=True
        )
        base = (options.keep or Path(private)) / f"world-{options.scale}"
        measure_full(base, Path(private) / "index", options.scale, empty)


def measure_empty(private: Path) -> Held:
    """What a sidecar holds over nothing."""
    base = private / "empty"
    (base / "data").mkdir(parents=True)
    with Sidecar(base, UNDISTURBED, index=private / "nothing") as sidecar:
        sidecar.ready()
        return held(sidecar)


def measure_full(base: Path, index: Path, scale: float, empty: Held) -> None:
    """What it holds over the large world, once indexed and once asked for everything."""
    base.mkdir(parents=True, exist_ok=True)
    size = make_world(base, scale)
    with Sidecar(base, UNDISTURBED, index=index) as sidecar:
        sidecar.ready()
        files = int(sidecar.health()["index"]["files"])
        report(f"{files} files indexed", held(sidecar), empty, files)
        peak(sidecar.port, mixed(size, TARGETS), 10.0)
        report(f"{TARGETS} different pages asked for", held(sidecar), empty, files)


def report(what: str, now: Held, empty: Held, files: int) -> None:
    """One line."""
    more = Held(now.processes - empty.processes, now.files - empty.files)
    print(
        f"{what}: processes {now.processes / MIB:.0f} MiB, index {now.files / MIB:.0f} MiB;"
        f" a file {more.processes / files:.0f} + {more.files / files:.0f}"
        f" = {sum(more) / files:.0f} bytes beyond the empty start",
        flush=True,
    )


def held(sidecar: Sidecar) -> Held:
    """As of now; the index is counted as what its files take, not as what a process maps of them."""
    assert sidecar.index is not None
    processes = sum(anonymous(pid) for pid in family(sidecar.pid))
    files = (path.stat() for path in sidecar.index.rglob("*") if path.is_file())
    return Held(processes, sum(about.st_blocks * 512 for about in files))


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += family(int(child))
    return found


def anonymous(pid: int) -> int:
    """Bytes of a process that no file backs; 0 for one that has just ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
