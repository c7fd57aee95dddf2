"""How long a tree takes from start to a complete index, as a ratio to ``find`` over the same tree.

    python -m benchmarks.crawl --videos 200 --frames 500

makes videos with frames, each frame with a mask, an embedding and keypoints in a folder of its own, below
a temporary directory, and removes it again. Content checks are off; the cache of the system is warm.
"""

from __future__ import annotations

import argparse
import gc
import os
import queue
import subprocess
import tempfile
import time
from pathlib import Path

from scanner.config import load_config
from scanner.index import Index
from scanner.worker import Worker


def main() -> None:
    """Make the tree, time ``find`` and the first pass in turn, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    gc.set_threshold(20_000, 10, 10)  # as the scanner process does
    with tempfile.TemporaryDirectory(prefix="sidecar-bench-") as base:
        data = Path(base) / "data"
        make_tree(data, options.videos, options.frames)
        time.sleep(1.1)  # every file is older than a second, as files of a tree that is at rest are
        yardsticks = [time_find(data) for _ in range(options.runs)]
        runs = [time_crawl(data, Path(base) / f"run{run}") for run in range(options.runs)]
    report(yardsticks, runs)


def make_tree(data: Path, videos: int, frames: int) -> None:
    """Small files: what is timed reads names and times, never content."""
    for video in range(videos):
        folder = data / "frames" / f"v{video:05d}"
        folder.mkdir(parents=True)
        for frame in range(frames):
            (folder / f"{frame:06d}.jpg").write_bytes(b"image")
            artifacts = folder / f"{frame:06d}"
            artifacts.mkdir()
            for name in ("seg.png", "emb.bin", "kp.bin"):
                (artifacts / name).write_bytes(b"artifact")


def time_find(data: Path) -> float:
    """Seconds of ``find -printf`` over the tree."""
    started = time.perf_counter()
    subprocess.run(["find", data, "-printf", "%p %s %T@\n"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def time_crawl(data: Path, state: Path) -> tuple[float, float, int, int]:
    """Seconds to a complete index and of a second, unchanged pass; files; bytes of the index."""
    state.mkdir()
    environ = {"SIDECAR_DATA__ROOT": str(data), "SIDECAR_VERIFY__CONTENT": "false"}
    config = load_config(environ=environ, cwd=str(state))
    started = time.perf_counter()
    index = Index(str(state / "index.db"), config)
    worker = Worker(config, index, queue.Queue())
    worker.start()
    drive(worker)
    first = time.perf_counter() - started
    started = time.perf_counter()
    worker.begin_pass()
    while worker.pass_running:
        worker.step()
    again = time.perf_counter() - started
    files, size = index.files, os.path.getsize(index.path)
    worker.stop()
    index.close()
    return first, again, files, size


def drive(worker: Worker) -> None:
    """Work until the first pass is done."""
    while not worker.ready:
        idle = worker.step()
        if idle:
            worker.dirty.wait(idle)


def report(yardsticks: list[float], runs: list[tuple[float, float, int, int]]) -> None:
    """Print the medians and their ratios."""
    yardstick = sorted(yardsticks)[len(yardsticks) // 2]
    first = sorted(run[0] for run in runs)[len(runs) // 2]
    again = sorted(run[1] for run in runs)[len(runs) // 2]
    files, size = runs[0][2:]
    print(f"files {files}, index {size >> 20} MiB ({size / max(1, files):.0f} bytes a file)")
    print(f"find -printf           {yardstick:7.2f} s   1.00")
    print(f"start to complete index{first:7.2f} s   {first / yardstick:.2f}")
    print(f"unchanged, once more   {again:7.2f} s   {again / yardstick:.2f}")


if __name__ == "__main__":
    main()
