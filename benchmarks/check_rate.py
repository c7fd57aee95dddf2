"""How many files a second are judged, for each feature: by a call, and by pools of one process and more.

    python -m benchmarks.check_rate [--files 2000] [--images 200] [--width 1280] [--height 720]
        [--workers 1 2]

``check`` is the call itself; ``pool N`` are N processes (``verify.workers``) with everything around them, on
files that the page cache holds, and ``x`` how many times the rate of the first pool that is. Prints one line
a feature.
"""

from __future__ import annotations

import argparse
import selectors
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from scanner.checkpool import CheckPool
from scanner.checks import check
from scanner.config import VerifyConfig
from scanner.records import Feature
from scanner.verdicts import Identity, Status, Task

VERIFY = VerifyConfig()


def make(root: Path, options: argparse.Namespace) -> dict[str, list[Task]]:
    """Files of every kind below ``root``, as tasks."""
    size = (options.width, options.height)
    images = _written(root, "image.jpg", options.images, lambda path, seed: _photo(path, seed, size))
    image = images[0]
    masks = _written(root, "seg.png", options.images, lambda path, seed: _mask(path, seed, size))
    embeddings = _written(root, "emb.bin", options.files, _embedding)
    keypoints = _written(root, "kp.bin", options.files, lambda path, seed: _keypoints(path, seed, size))
    archives = _written(root, "kp.npz", options.files, lambda path, seed: _archive(path, seed, size))
    return {
        "image (JPEG)": [_task(root, path, Feature.IMAGE) for path in images],
        "segment (PNG)": [_task(root, path, Feature.SEGMENT, image) for path in masks],
        "embedding (raw)": [_task(root, path, Feature.EMBEDDING) for path in embeddings],
        "keypoints (raw)": [_task(root, path, Feature.KEYPOINTS, image) for path in keypoints],
        "keypoints (.npz)": [_task(root, path, Feature.KEYPOINTS, image) for path in archives],
    }


def _written(root: Path, name: str, count: int, write: Callable[[Path, int], None]) -> list[Path]:
    paths = [root / f"{number:06d}-{name}" for number in range(count)]
    for seed, path in enumerate(paths):
        write(path, seed)
    return paths


def _task(root: Path, path: Path, feature: Feature, image: Path | None = None) -> Task:
    identity = Identity.of(image.stat()) if image else None
    listed = Identity.of(path.stat())
    return Task(str(path), path.name, feature, listed, str(image) if image else None, identity, str(root))


def _photo(path: Path, seed: int, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path, "JPEG", quality=90)


def _mask(path: Path, seed: int, size: tuple[int, int]) -> None:
    y, x = np.ogrid[: size[1], : size[0]]
    radius = size[1] / (3 + seed % 5)
    inside = (x - size[0] / 2) ** 2 + (y - size[1] / 2) ** 2 < radius**2
    Image.fromarray((inside * 255).astype(np.uint8)).save(path, "PNG")


def _embedding(path: Path, seed: int) -> None:
    path.write_bytes(np.random.default_rng(seed).standard_normal(512, dtype=np.float32).tobytes())


def _points(seed: int, size: tuple[int, int]) -> np.ndarray:
    scale = np.array([*size, 1.0], dtype=np.float32)
    return np.random.default_rng(seed).random((17, 3), dtype=np.float32) * scale


def _keypoints(path: Path, seed: int, size: tuple[int, int]) -> None:
    path.write_bytes(_points(seed, size).tobytes())


def _archive(path: Path, seed: int, size: tuple[int, int]) -> None:
    np.savez_compressed(path, keypoints=_points(seed, size))


def direct(tasks: Sequence[Task]) -> float:
    """Files a second by calling the check."""
    start = time.perf_counter()
    for task in tasks:
        _expect(check(task, VERIFY).status)
    return len(tasks) / (time.perf_counter() - start)


def pooled(pool: CheckPool[None], tasks: Sequence[Task]) -> float:
    """Files a second through a pool whose processes are running already."""
    start = time.perf_counter()
    waiting = iter(tasks)
    done = 0
    with selectors.DefaultSelector() as selector:
        selector.register(pool, selectors.EVENT_READ)
        while done < len(tasks):
            for _, task in zip(range(pool.room), waiting, strict=False):
                pool.submit(task, None)
            selector.select()
            for _, verdict in pool.results():
                _expect(verdict.status)
                done += 1
    return len(tasks) / (time.perf_counter() - start)


def _expect(status: Status) -> None:
    if status != Status.OK:
        raise SystemExit(f"a good file was judged {status.name}")


def main() -> None:
    """Make the files, time them, print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=2000, help="embeddings and keypoints (default 2000)")
    parser.add_argument("--images", type=int, default=200, help="images and masks (default 200)")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="sizes of pools (default 1 2)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        kinds = make(Path(directory).resolve(), options)
        calls = {name: direct(tasks[:5]) and direct(tasks) for name, tasks in kinds.items()}
        pools = [_through(workers, kinds) for workers in options.workers]
    heads = "".join(f" {f'pool {workers}':>10} {'x':>5}" for workers in options.workers)
    print(f"{'feature':18} {'check/s':>10}{heads}   ({options.width}x{options.height})")
    for name, rate in calls.items():
        rates = "".join(f" {pool[name]:10.0f} {pool[name] / pools[0][name]:5.2f}" for pool in pools)
        print(f"{name:18} {rate:10.0f}{rates}", flush=True)


def _through(workers: int, kinds: dict[str, list[Task]]) -> dict[str, float]:
    """Files of each kind a second, through a pool of so many processes."""
    with CheckPool[None](replace(VERIFY, workers=workers)) as pool:
        pooled(pool, kinds["embedding (raw)"])  # every process has started
        return {name: pooled(pool, tasks) for name, tasks in kinds.items()}


if __name__ == "__main__":
    main()
