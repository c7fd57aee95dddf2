"""Where the index lives: a directory in memory of its own, removed with the process that made it."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path

LOG = logging.getLogger(__name__)
PREFIX = "artifact-sidecar-"
LOCK = "lock"
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
        try:
            self._lock: int | None = _new_lock(self.path)
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def remove(self) -> None:
        """Remove the directory with everything in it; what cannot be removed is said in the log."""
        _remove(self.path)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_stale(base: Path) -> None:
    """Remove what sidecars of this user that are dead have left in ``base``."""
    for directory in base.glob(PREFIX + "*"):
        try:
            about = directory.lstat()
            if about.st_uid != os.getuid() or not stat.S_ISDIR(about.st_mode):
                continue
            lock = _free_lock(directory)
        except OSError as error:
            LOG.debug("left %s alone: %s", directory, error)
            continue
        if lock is not None:
            LOG.info("removing %s, which a process that is gone has left behind", directory)
            _remove(directory)
            os.close(lock)


def _base(configured: str) -> Path:
    if configured != "auto":
        Path(configured).mkdir(parents=True, exist_ok=True)
        return Path(configured)
    reason = _unsuitable(MEMORY)
    if reason is None:
        return MEMORY
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError:  # all else is read-only
        if not os.access(MEMORY, os.W_OK | os.X_OK):
            raise
        LOG.warning(
            "%s %s, and no other place can be written: when the index has filled it, new files are not shown;"
            " give the container a larger shared memory or set [index] directory",
            MEMORY,
            reason,
        )
        return MEMORY
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
    return None if os.access(directory, os.W_OK | os.X_OK) else "cannot be written"


def _new_lock(directory: Path) -> int:
    """The held lock of a directory of our own; it gets its name last, so that nobody ever sees it free."""
    unnamed = directory / f"{LOCK}.new"
    descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(directory / LOCK)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _free_lock(directory: Path) -> int | None:
    """Take the lock of a directory that somebody has made; None while that process holds it."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def _remove(directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return  # another sidecar that started now was faster
    except OSError as error:
        LOG.warning("cannot remove %s: %s", directory, error)
