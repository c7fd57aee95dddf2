"""Mutated pictures, masks, arrays and archives against the content checks, in real checking processes.

    python -m benchmarks.fuzz_checks [--files 20000] [--seed 1] [--workers 2] [--memory-mb 256]

Every file starts as a good one (pictures of nine formats, masks, ``.npy``, ``.npz``, raw arrays) and is
changed: bits flipped, lengths made absurd, pieces cut out, doubled, moved, filled or taken from another.
Prints the verdicts by kind, and what must be zero: processes that died, hung or failed, and processes
that grew beyond the bound. Ends with 1 if one of them is not, and keeps those files in ``--keep``.
"""

from __future__ import annotations

import argparse
import random
import resource
import selectors
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import hostile
import numpy as np

from scanner.checkpool import CheckPool
from scanner.config import VerifyConfig
from scanner.records import Feature
from scanner.verdicts import Identity, Task, Verdict

_ABSURD = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62, 2**64 - 1)
_FAILURES = ("the process that", "took longer than", "the check itself", "no checking process")


def seeds() -> list[tuple[str, Feature, bytes]]:
    """Good files of every kind, each with a name."""
    forms = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000")
    found = [(form, Feature.IMAGE, hostile.picture(form=form)) for form in forms]
    found += [
        (f"{form} turned", Feature.IMAGE, hostile.picture(form=form, orientation=6)) for form in forms[:3]
    ]
    found += [
        (f"mask {mode}", Feature.SEGMENT, hostile.picture(mode=mode))
        for mode in ("L", "1", "P", "RGBA", "I;16")
    ]
    points, vector = hostile.keypoints(), hostile.embedding()
    objects = np.array([{"x": 1}, None], dtype=object)
    found += [
        ("mask .npy", Feature.SEGMENT, hostile.npy(np.eye(48, 64, dtype=np.uint8))),
        ("embedding raw", Feature.EMBEDDING, vector.tobytes()),
        ("embedding .npy", Feature.EMBEDDING, hostile.npy(vector)),
        ("embedding .npz", Feature.EMBEDDING, hostile.npz(a=vector)),
        ("keypoints raw", Feature.KEYPOINTS, points.tobytes()),
        ("keypoints .npy", Feature.KEYPOINTS, hostile.npy(points)),
        ("keypoints objects", Feature.KEYPOINTS, hostile.npy(objects, pickled=True)),
        ("keypoints .npz", Feature.KEYPOINTS, hostile.npz(a=points, b=objects, c=vector)),
        ("keypoints stored", Feature.KEYPOINTS, hostile.archive({"a.npy": hostile.npy(points)}, 0)),
    ]
    return found


# --- mutations -------------------------------------------------------------------------------------

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def _flip(rng: random.Random, content: bytes, other: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _early(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Change the header, where sizes and counts are."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 4))):
        changed[rng.randrange(min(len(changed), 160))] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
    return bytes(changed)


def _length(rng: random.Random, content: bytes, other: bytes) -> bytes:
    width = rng.choice((1, 2, 4, 8))
    order = rng.choice(("little", "big"))
    value = (rng.choice(_ABSURD) % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]
    position = rng.randrange(min(len(content), rng.choice((64, 256, 1 << 30))))
    return content[:position] + value + content[position + width :]


def _cut(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: rng.randrange(1, len(content))]


def _remove(rng: random.Random, content: bytes, other: bytes) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randrange(1, 64) :] or b"\0"


def _repeat(rng: random.Random, content: bytes, other: bytes) -> bytes:
    start = rng.randrange(len(content))
    piece = content[start : start + rng.randrange(1, 256)]
    return content[:start] + piece * rng.choice((2, 3, 50)) + content[start:]


def _fill(rng: random.Random, content: bytes, other: bytes) -> bytes:
    start = rng.randrange(len(content))
    length = min(rng.randrange(1, 512), len(content) - start)
    return content[:start] + bytes([rng.choice((0, 0xFF))]) * length + content[start + length :]


def _splice(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: rng.randrange(1, len(content))] + other[rng.randrange(len(other)) :]


def _append(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content + other


MUTATIONS: tuple[Mutation, ...] = (
    _flip, _flip, _early, _early, _length, _length, _cut, _remove, _repeat, _fill, _splice, _append,
)  # fmt: skip


def mutate(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """The content after one to three mutations."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if len(content) > 1:
            content = rng.choice(MUTATIONS)(rng, content, other)
    return content


# --- the run ---------------------------------------------------------------------------------------


class Run:
    """Writes files, has them judged, removes them, and keeps count."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options = options
        self.directory = directory
        self.verdicts: dict[str, Counter[str]] = {}
        self.failures: list[str] = []
        self.done = 0
        self.slowest = 0.0
        self.peak_kb = 0
        self._image = directory / "image"
        self._image.write_bytes(hostile.picture())

    def tasks(self) -> Iterator[tuple[str, Task]]:
        """Every mutated file, written when it is asked for."""
        rng = random.Random(self.options.seed)
        kinds = seeds()
        image = (str(self._image), Identity.of(self._image.stat()))
        for number in range(self.options.files):
            kind, feature, content = kinds[number % len(kinds)]
            path = self.directory / f"{number:07d}"
            path.write_bytes(mutate(rng, content, rng.choice(kinds)[2]))
            yield (
                kind,
                Task(str(path), path.name, feature, Identity.of(path.stat()), *image, str(self.directory)),
            )

    def run(self) -> None:
        """Judge them all."""
        verify = VerifyConfig()
        verify = replace(verify, workers=self.options.workers, memory_mb=self.options.memory_mb)
        waiting = self.tasks()
        with CheckPool[tuple[str, Task, float]](verify) as pool, selectors.DefaultSelector() as selector:
            selector.register(pool, selectors.EVENT_READ)
            while self.done < self.options.files:
                for _, (kind, task) in zip(range(pool.room), waiting, strict=False):
                    pool.submit(task, (kind, task, time.monotonic()))
                selector.select()
                for (kind, task, since), verdict in pool.results():
                    self._count(kind, task, verdict, time.monotonic() - since)
                self._watch_memory(pool.pids())

    def _count(self, kind: str, task: Task, verdict: Verdict, seconds: float) -> None:
        self.done += 1
        self.slowest = max(self.slowest, seconds)
        self.verdicts.setdefault(kind, Counter())[verdict.status.name] += 1
        path = Path(task.path)
        if verdict.detail.startswith(_FAILURES) or verdict.status.name == "VANISHED":
            self.failures.append(f"{kind} {path.name}: {verdict.detail}")
            if self.options.keep:
                path.rename(Path(self.options.keep) / path.name)
                return
        path.unlink()

    def _watch_memory(self, pids: list[int]) -> None:
        for pid in pids:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "VmHWM:" in status:
                self.peak_kb = max(self.peak_kb, int(status.split("VmHWM:")[1].split()[0]))


def report(run: Run, seconds: float) -> int:
    """Print what was found; the exit code."""
    names = ("OK", "CORRUPT", "UNCHECKED", "VANISHED")
    print(f"{'kind':20}" + "".join(f"{name:>11}" for name in names))
    for kind, counts in run.verdicts.items():
        print(f"{kind:20}" + "".join(f"{counts[name]:11d}" for name in names))
    peak = max(run.peak_kb, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024
    over = peak > run.options.memory_mb
    hung = sum("took longer" in failure for failure in run.failures)
    print(f"\n{run.done} files in {seconds:.0f} s, seed {run.options.seed}")
    print(f"processes that died or failed: {len(run.failures) - hung}")
    print(f"files that took longer than 30 s: {hung} (slowest answer, with its wait: {run.slowest:.1f} s)")
    print(
        f"largest process: {peak} MB of {run.options.memory_mb} MB" + (" - ABOVE THE BOUND" if over else "")
    )
    for failure in run.failures[:50]:
        print("  " + failure)
    return 1 if run.failures or over else 0


def main() -> None:
    """Parse the options, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same files (default 1)")
    parser.add_argument("--workers", type=int, default=2, help="checking processes (default 2)")
    parser.add_argument("--memory-mb", type=int, default=256, help="the bound of each (default 256)")
    parser.add_argument("--keep", default="", help="an existing directory for files that show a failure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        run = Run(options, Path(directory).resolve())
        start = time.monotonic()
        run.run()
        seconds = time.monotonic() - start
    sys.exit(report(run, seconds))


if __name__ == "__main__":
    main()
