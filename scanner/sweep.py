"""Sweeps: the insurance against changes that no event told about, and the whole of polling.

A directory's mtime changes when a name in it comes, goes or is renamed, so that one ``lstat`` a directory
finds all of these. Files rewritten in place leave no trace there; full reconciliations find them.
"""

from __future__ import annotations

import errno
import os
import random
import stat as stat_bits
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

SLICE = 1000
SWEEP_FACTOR = 100.0
JITTER = 0.1


class Changed(NamedTuple):
    """A directory that is not as it was known; ``errno`` 0 = its mtime or inode differs.

    ENOENT and ENOTDIR say that it is gone, any other errno that it could not be looked at.
    """

    directory: str
    errno: int


class Slice(NamedTuple):
    """A part of a sweep: how many directories were looked at, and those of them that have changed."""

    examined: int
    changed: list[Changed]


def stat_below(data_root: str) -> Callable[[str], os.stat_result]:
    """A ``stat`` for :func:`changed_directories` over paths relative to a data root.

    The data root and the folders right below it may be symlinks and are followed, nothing deeper is.
    """
    prefix = data_root.rstrip("/") + "/"

    def look(directory: str) -> os.stat_result:
        if "/" in directory:
            return os.lstat(prefix + directory)
        return os.stat(prefix + directory if directory else data_root)

    return look


def changed_directories(
    known: Iterable[tuple[str, int, int]],
    stat: Callable[[str], os.stat_result],
    *,
    recent_ns: int | None = None,
    size: int = SLICE,
) -> Iterator[Slice]:
    """Compare known directories, as (path, mtime_ns, inode), with the disk, ``size`` at a time.

    A slice is yielded even where nothing changed in it, for the caller to do something else in between.
    Two changes within one tick of the file system's clock leave one mtime: with ``recent_ns`` a directory
    whose mtime is that or later counts as changed even where it is as known. Pass a moment a few seconds
    before the last sweep began, and each change is looked at once more.
    """
    rows = iter(known)
    while part := list(islice(rows, size)):
        yield Slice(len(part), _changed(part, stat, recent_ns))


def _changed(
    part: list[tuple[str, int, int]], stat: Callable[[str], os.stat_result], recent_ns: int | None
) -> list[Changed]:
    changed: list[Changed] = []
    for directory, mtime_ns, inode in part:
        try:
            about = stat(directory)
        except OSError as error:
            changed.append(Changed(directory, error.errno or errno.EIO))
            continue
        differs = about.st_mtime_ns != mtime_ns or about.st_ino != inode
        if not stat_bits.S_ISDIR(about.st_mode):
            changed.append(Changed(directory, errno.ENOTDIR))
        elif differs or (recent_ns is not None and mtime_ns >= recent_ns):
            changed.append(Changed(directory, 0))
    return changed


class SweepClock:
    """When to sweep next: a pause of ``minimum`` seconds, or of ``factor`` times the last sweep if longer.

    Times are seconds of any one steady clock. The first sweep is due at once.
    """

    def __init__(self, minimum: float, factor: float = SWEEP_FACTOR) -> None:
        if minimum <= 0 or factor < 0:
            raise ValueError(f"not a pause between sweeps: {minimum} s, factor {factor}")
        self._minimum = minimum
        self._factor = factor
        self._started: float | None = None
        self.next_at = float("-inf")
        self.seconds = 0.0

    def due(self, now: float) -> bool:
        """Whether a sweep may start now; never while one is under way."""
        return self._started is None and now >= self.next_at

    def started(self, now: float) -> None:
        """A sweep begins."""
        self._started = now

    def finished(self, now: float, spent: float | None = None) -> None:
        """The sweep is over; ``seconds`` and ``next_at`` follow from how long it took.

        ``spent`` is what it took by itself, where other work went in between.

        Raises:
            ValueError: no sweep is under way.
        """
        if self._started is None:
            raise ValueError("a sweep finished that had not started")
        self.seconds = max(0.0, now - self._started) if spent is None else spent
        self._started = None
        self.next_at = now + max(self._minimum, self._factor * self.seconds)


class RescanClock:
    """When to reconcile in full: every ``seconds``, give or take a tenth so that many sidecars spread out."""

    def __init__(
        self, seconds: float, now: float, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        if seconds <= 0:
            raise ValueError(f"not a time between reconciliations: {seconds} s")
        self._seconds = seconds
        self._uniform = uniform
        self.next_at = now
        self.restart(now)

    def due(self, now: float) -> bool:
        """Whether a reconciliation should start."""
        return now >= self.next_at

    def restart(self, now: float) -> None:
        """Count anew from now: a reconciliation has just ended."""
        self.next_at = now + self._seconds * self._uniform(1 - JITTER, 1 + JITTER)
