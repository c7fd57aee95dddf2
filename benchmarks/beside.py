"""Programs that run beside a sidecar while it is measured: whatever changes files, and the bare handler."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.sidecar import REPOSITORY, free_port, get, until


@contextlib.contextmanager
def beside(module: str, *arguments: object) -> Iterator[int]:
    """A module run as a program for as long as the block lasts; yields its process id."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)], stdin=subprocess.PIPE, cwd=REPOSITORY
    )
    try:
        yield process.pid
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)


@contextlib.contextmanager
def bare() -> Iterator[tuple[int, int]]:
    """The bare handler; yields its port and process id."""
    port = free_port()
    with beside("benchmarks.bare", port) as pid:
        until(lambda: get(port, "/1")[0] == 200, 20)
        yield port, pid
