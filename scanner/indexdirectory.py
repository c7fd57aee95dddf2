"""Where the index lives: a directory in memory of its own, removed with the process that made it."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from pathlib import Path

LOG = logging.getLogger(__name__)
PREFIX = "artifact-sidecar-"
MEMORY = Path("/dev/shm")
ROOM = 128 << 20
"""With less free memory-backed space than this, "auto" prefers a temporary directory on disk."""


class IndexDirectory:
    """A private directory with a lock that is held as long as the process lives.

    Directories of processes that have died, whatever their pid was called, are told by their lock being
    free and are removed. Raises OSError where no directory can be made.
    """

    def __init__(self, configured: str) -> None:
        base = _base(configured)
        remove_stale(base)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        self._lock = _locked(self.path, create=True)

    def remove(self) -> None:
        """Remove the directory with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_stale(base: Path) -> None:
    """Remove what sidecars of this user that are dead have left in ``base``."""
    for directory in base.glob(PREFIX + "*"):
        try:
            if directory.stat().st_uid != os.getuid() or not directory.is_dir():
                continue
            lock = _locked(directory, create=False)
        except OSError as error:
            LOG.debug("left %s alone: %s", directory, error)
            continue
        if lock is not None:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)


def _base(configured: str) -> Path:
    if configured != "auto":
        Path(configured).mkdir(parents=True, exist_ok=True)
        return Path(configured)
    reason = _unsuitable(MEMORY)
    if reason is None:
        return MEMORY
    temporary = Path(tempfile.gettempdir())
    LOG.warning(
        "%s %s, so the index is in %s: if that is on a disk, polls are slower and every change is written"
        " to it; give the container a larger shared memory or set [index] directory",
        MEMORY,
        reason,
        temporary,
    )
    return temporary


def _unsuitable(directory: Path) -> str | None:
    try:
        about = os.statvfs(directory)
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    free = about.f_bavail * about.f_frsize
    if free < ROOM:
        return f"has only {free >> 20} MiB free"
    return None if os.access(directory, os.W_OK) else "cannot be written"


def _locked(directory: Path, *, create: bool) -> int | None:
    """The descriptor of the directory's lock, or None if another process holds it."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    descriptor = os.open(directory / "lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
