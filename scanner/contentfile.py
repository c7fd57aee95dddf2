"""A file that is opened to be judged: never a device, never outside the root, never another file.

Whoever wrote the data root may be hostile, and may write while it is read. A name is opened only after
``lstat`` has shown the very file that was listed, and counts only if it still is that file afterwards.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from scanner.verdicts import Identity, Unjudged, Vanished

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW

HEAD_BYTES = 16 * 1024
"""What is read of a file before anything is known of it; holds every header that is accepted."""

_WHOLE_BYTES = 16 * 1024 * 1024
_BUFFER_BYTES = 256 * 1024


class ContentFile:
    """A regular file, open for reading; a context manager that closes it.

    Raises ``Vanished`` where the name no longer stands for the listed file, and OSError where the
    system refuses.
    """

    __slots__ = ("_fd", "_head", "identity")

    def __init__(self, path: str, expected: Identity | None, roots: Iterable[str]) -> None:
        seen = os.lstat(path)
        if stat.S_ISLNK(seen.st_mode):
            path = _target_below(path, roots)
            seen = os.lstat(path)
        self.identity = _same_regular(seen, expected)
        self._head: bytes | None = None
        self._fd = os.open(path, _FLAGS)
        try:
            _same_regular(os.fstat(self._fd), self.identity)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> ContentFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self.identity.size

    def head(self) -> bytes:
        """The first bytes, ``HEAD_BYTES`` or as many as there are."""
        if self._head is None:
            self._head = self._exactly(min(self.size, HEAD_BYTES), 0)
        return self._head

    def read(self, offset: int, length: int, bound: int) -> bytes:
        """``length`` bytes from ``offset``; ``Unjudged`` where that is more than ``bound`` bytes."""
        if length > bound:
            raise Unjudged(memory_reason(bound))
        if offset + length <= HEAD_BYTES:
            return self.head()[offset : offset + length]
        return self._exactly(length, offset)

    def stream(self) -> Source:
        """The content as a seekable file without a name and without a descriptor to be had."""
        return Source(self._fd, self.size)

    def settle(self) -> None:
        """Raise ``Vanished`` if the file has changed since it was opened."""
        _same_regular(os.fstat(self._fd), self.identity)

    def _exactly(self, length: int, offset: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        if len(data) == length:
            return data
        parts = [data]
        missing = length - len(data)
        while missing:  # an interrupted read, or one of more than 2 GB
            data = os.pread(self._fd, missing, offset + length - missing)
            if not data:
                raise Vanished(f"ends after {offset + length - missing} of {self.size} bytes")
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)


class Source:
    """A file object for decoders; small files are read at once, large ones through a buffer.

    ``failure`` is the error that reading met, whatever the decoder made of it.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._raw = _Raw(fd, size)
        self.file: io.BytesIO | io.BufferedReader
        if size <= _WHOLE_BYTES:
            self.file = io.BytesIO(self._raw.readall())
        else:
            self.file = io.BufferedReader(self._raw, _BUFFER_BYTES)

    @property
    def failure(self) -> OSError | None:
        """The first error of the operating system while reading, if there was one."""
        return self._raw.failure


class _Raw(io.RawIOBase):
    """Positional reads of a descriptor that somebody else owns."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self._position = 0
        self.failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._size - self._position))
        try:
            count = os.preadv(self._fd, [view[:length]], self._position) if length else 0
        except OSError as error:
            self.failure = self.failure or error
            raise
        self._position += count
        return count


def memory_reason(bound: int) -> str:
    """Why a file has no verdict that would take more than ``bound`` bytes to judge."""
    return f"needs more than the {bound >> 20} MB that a check may use"


def _same_regular(seen: os.stat_result, expected: Identity | None) -> Identity:
    if not stat.S_ISREG(seen.st_mode):
        raise Vanished("is no regular file any more")
    identity = Identity.of(seen)
    if expected is not None and identity != expected:
        raise Vanished("is not the file that was listed: it has changed")
    return identity


def _target_below(path: str, roots: Iterable[str]) -> str:
    target = os.path.realpath(path, strict=True)
    if not any(target.startswith(root.rstrip("/") + "/") for root in roots if root):
        raise Vanished("is a symlink that leaves the data root")
    return target
