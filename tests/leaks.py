"""What a test leaves behind: threads, child processes and file descriptors that were not there before."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path

GRACE_SECONDS = 15.0
# Opened at their first use and kept for good, by Python, by libraries and by the test tools themselves.
_LASTING_FILES = ("/dev/", "/proc/", "/sys/", "/usr/", "/etc/")
_LASTING_PROCESSES = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "bin/postgres")
_LASTING_THREADS = ("asyncio_", "ThreadPoolExecutor-", "pytest-timeout", "pytest_timeout")


def survey() -> set[str]:
    """A line for each thread, child process and descriptor that somebody should end or close."""
    return _threads() | _children() | _descriptors()


def left_behind(before: set[str], seconds: float = GRACE_SECONDS) -> set[str]:
    """What is there beyond ``before``, after everything had ``seconds`` to go away."""
    return _settled(lambda: survey() - before, seconds)


def _settled(look: Callable[[], set[str]], seconds: float) -> set[str]:
    found = look()
    if not found:
        return found
    gc.collect()  # what only a reference cycle keeps open is not left behind
    deadline = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _threads() -> set[str]:
    return {
        f"thread {thread.name} ({thread.ident})"
        for thread in threading.enumerate()
        if not thread.name.startswith(_LASTING_THREADS)
    }


def _children() -> set[str]:
    found = set()
    for task in Path("/proc/self/task").glob("*/children"):
        for pid in _text(task).split():
            command = _text(Path("/proc", pid, "cmdline")).replace("\0", " ")
            if not any(name in command for name in _LASTING_PROCESSES):
                found.add(f"process {pid}: {command or 'ended, but never waited for'}")
    return found


def _descriptors() -> set[str]:
    if not Path("/proc/self/fd").is_dir():
        return set()
    found = set()
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
        if not target.startswith(_LASTING_FILES) and ".hypothesis" not in target:
            found.add(f"descriptor {descriptor.name}: {target}")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""  # the thread or process has just ended
