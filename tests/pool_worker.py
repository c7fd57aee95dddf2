"""A worker process whose check does what the name of the file says; run by the tests of the pool."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence

from scanner.checkworker import main
from scanner.config import VerifyConfig
from scanner.verdicts import RAN_OUT, Status, Task, Verdict


def check(task: Task, settings: VerifyConfig, roots: Sequence[str]) -> Verdict:
    """Misbehave as asked; else answer with the process and what it is allowed."""
    deed = task.relative.split("-")[0]
    if deed == "hang":
        time.sleep(1000)
    elif deed == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif deed == "segfault":
        ctypes.string_at(0)
    elif deed == "exit":
        os._exit(3)
    elif deed == "raise":
        raise RuntimeError("a mistake")
    elif deed == "fill":
        return _fill()
    elif deed == "write":
        return _write(task.path)
    return Verdict(Status.OK, f"{os.getpid()} {os.nice(0)} {signal.getsignal(signal.SIGINT)!r}")


def _fill() -> Verdict:
    try:
        bytearray(4 << 30)
    except MemoryError:
        return Verdict(Status.UNCHECKED, RAN_OUT)
    return Verdict(Status.OK, "had the memory")


def _write(path: str) -> Verdict:
    try:
        with open(path, "wb") as file:
            file.write(b"x")
    except OSError as error:
        return Verdict(Status.OK, f"refused: {error.errno}")
    return Verdict(Status.OK, "written")


if __name__ == "__main__":
    if os.environ.get("POOL_WORKER_FAILS"):
        sys.exit(7)
    if os.environ.get("POOL_WORKER_HANGS"):
        time.sleep(1000)
    main(lambda: check)
