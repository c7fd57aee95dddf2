"""A worker over a real directory, driven by a test until its index equals a fresh walk."""

from __future__ import annotations

import os
import queue
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scanner.config import load_config
from scanner.index import Index
from scanner.rows import PollDone
from scanner.settling import Settling
from scanner.worker import Worker

DEADLINE = 30.0


def walk(root: Path) -> dict[str, tuple[int, int, int]]:
    """What a fresh walk finds: path to (inode, size, mtime_ns) of every file that is not ignored.

    A symlink to a regular file below the root shows that file.
    """
    result = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not _is_ignored(name)]
        relative = os.path.relpath(folder, root)
        for name in names:
            path = os.path.join(folder, name)
            if _is_ignored(name):
                continue
            try:
                status = os.lstat(path)
                if stat.S_ISLNK(status.st_mode):
                    if not _is_below(path, root):
                        continue
                    status = os.stat(path)
            except OSError:  # it has gone, or a symlink leads nowhere
                continue
            if stat.S_ISREG(status.st_mode):
                about = (status.st_ino, status.st_size, status.st_mtime_ns)
                result[os.path.normpath(f"{relative}/{name}")] = about
    return result


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.endswith(".tmp")


def _is_below(path: str, root: Path) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(root) + "/")


def indexed(index: Index) -> dict[str, tuple[int, int, int]]:
    """What the index holds, in the same form."""
    rows = index.db.execute("SELECT path, name, f.inode, size, f.mtime FROM files f JOIN dirs USING(dir)")
    return {f"{path}/{name}".lstrip("/"): (inode, size, mtime) for path, name, inode, size, mtime in rows}


def drive(worker: Worker, done: Callable[[], bool]) -> None:
    """Let the worker work until a condition holds."""
    end = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < end, "the worker did not get there in time"
        idle = worker.step()
        if idle:
            worker.dirty.wait(min(idle, 0.01))


@contextmanager
def running(data: Path, state: Path, **environ: str) -> Iterator[Worker]:
    """A worker that has done its first pass."""
    variables = {"SIDECAR_DATA__ROOT": str(data), "SIDECAR_VERIFY__CONTENT": "false", **environ}
    config = load_config(environ=variables, cwd=str(state))
    index = Index(str(state / "index.db"), config)
    worker = Worker(config, index, queue.Queue())
    worker.looker.settling = Settling(0.02)
    worker.start()
    worker.rows.put(PollDone(full=True))
    try:
        drive(worker, lambda: worker.ready)
        yield worker
    finally:
        worker.stop()
        index.close()


def judged(worker: Worker) -> bool:
    """Whether all that is known to have happened is in the index, and each difference is decided."""
    return not worker.pending and not worker.looker.differences.suspects


def settle(worker: Worker, data: Path) -> None:
    """Wait until the index equals the walk, and nothing is pending."""
    drive(worker, lambda: not worker.pending and indexed(worker.index) == walk(data))
    index = worker.index
    assert (+index.census, +index.totals) == (index._count_kinds(), +index._count_totals())
