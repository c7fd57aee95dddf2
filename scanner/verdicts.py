"""What is asked of a content check and what it answers: records without numpy or Pillow behind them.

Paths in a task are absolute, times are nanoseconds, sizes are bytes for files and pixels for images.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from scanner.records import Feature

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""What opening says when the regular file that a listing saw is no longer there under this name."""


RAN_OUT = "memory ran out"
"""The detail of a verdict that a process with more memory left could have given."""


class Identity(NamedTuple):
    """Which bytes a verdict is about: it holds for as long as none of the four changes."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, stat: os.stat_result) -> Identity:
        """The identity of the file that ``stat`` describes."""
        return cls(stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Task:
    """One file to be judged.

    ``image_path`` is the file that a mask or keypoints belong to, None where there is none; ``root`` is
    the real path below which the target of a symlink must lie.
    """

    path: str
    relative: str
    feature: Feature
    identity: Identity
    image_path: str | None = None
    image_identity: Identity | None = None
    root: str = ""


class Status(IntEnum):
    """How a check ended; the integer is what the index stores."""

    OK = 1
    CORRUPT = 2
    UNCHECKED = 3
    """No verdict: the content could not be read, or not within the bounds."""
    VANISHED = 4
    """Gone, or changed while it was read: to be looked at again."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found.

    ``detail`` is a sentence: what is wrong, or why there is no verdict; empty when all is well.
    ``expectation`` is the configuration key by which the file failed, where another value of it could be
    the right one, and ``observed`` what was seen instead. ``warnings`` never make a file corrupt.
    ``width`` and ``height`` are those of an image as stored, else 0. ``digest`` (63 bits) is the same for
    embeddings with the same bytes.
    """

    status: Status
    detail: str = ""
    expectation: str | None = None
    observed: str = ""
    warnings: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    digest: int | None = None


class Damaged(Exception):  # noqa: N818 - names what is known of the file, not a fault of the program
    """The content was read and is not what it should be; the text says how."""

    def __init__(self, detail: str, expectation: str | None = None, observed: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.expectation = expectation
        self.observed = observed


class Unjudged(Exception):  # noqa: N818
    """There can be no verdict; the text says why."""


class Vanished(Exception):  # noqa: N818
    """The file is not the one that was listed, or is no longer; the text says what was seen."""


def errno_reason(error: OSError) -> str:
    """``EACCES: permission denied`` for an error of the operating system."""
    if error.errno is None:
        return str(error)
    name = errno.errorcode.get(error.errno, f"errno {error.errno}")
    return f"{name}: {os.strerror(error.errno).lower()}"
