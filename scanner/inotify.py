"""inotify(7) as it is: the system calls, behind a seam for tests, and the parsing of what is read.

Nothing here knows directories by name; see :mod:`scanner.registry` for the map and
:mod:`scanner.emitter` for what events lead to.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import select
import struct
import termios
from array import array
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

IN_MODIFY: Final = 0x00000002
IN_ATTRIB: Final = 0x00000004
IN_CLOSE_WRITE: Final = 0x00000008
IN_MOVED_FROM: Final = 0x00000040
IN_MOVED_TO: Final = 0x00000080
IN_CREATE: Final = 0x00000100
IN_DELETE: Final = 0x00000200
IN_DELETE_SELF: Final = 0x00000400
IN_MOVE_SELF: Final = 0x00000800
IN_UNMOUNT: Final = 0x00002000
IN_Q_OVERFLOW: Final = 0x00004000
IN_IGNORED: Final = 0x00008000
IN_ONLYDIR: Final = 0x01000000
IN_DONT_FOLLOW: Final = 0x02000000
IN_ISDIR: Final = 0x40000000
IN_CLOEXEC: Final = 0x00080000
IN_NONBLOCK: Final = 0x00000800

WATCH_MASK: Final = (
    IN_CREATE
    | IN_MODIFY
    | IN_ATTRIB
    | IN_CLOSE_WRITE
    | IN_MOVED_FROM
    | IN_MOVED_TO
    | IN_DELETE
    | IN_DELETE_SELF
    | IN_MOVE_SELF
    | IN_ONLYDIR
)
SETTLING: Final = IN_CLOSE_WRITE | IN_MOVED_TO
_SPECIAL: Final = IN_ISDIR | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED

BUFFER_BYTES: Final = 1 << 20
"""Holds a whole kernel queue of the default length (16,384 events) with names of up to 48 bytes."""

_HEADER = struct.Struct("iI4xI")  # wd, mask, (cookie), length of the NUL-padded name that follows
_WATCH = re.compile(r"inotify wd:([0-9a-f]+) ")
_OF_NAMESPACE: Final = {
    "max_user_watches": "max_inotify_watches",
    "max_user_instances": "max_inotify_instances",
}


class Kernel(Protocol):
    """The system calls that are needed; each raises OSError as the kernel answers."""

    def init(self) -> int:
        """Make an inotify instance and return its descriptor."""

    def add_watch(self, fd: int, path: str, mask: int) -> int:
        """Watch a path's inode and return its watch descriptor, the same one for the same inode."""

    def rm_watch(self, fd: int, wd: int) -> None:
        """Remove a watch."""

    def read(self, fd: int, buffer: bytearray) -> int:
        """Read what is queued into the buffer and return the number of bytes."""

    def limit(self, name: str) -> tuple[int | None, str]:
        """A limit that ``fs.inotify`` has under this name, and the sysctl that sets it; None: unknown."""


class LibcKernel:
    """The real system calls, through the C library."""

    def __init__(self) -> None:
        libc: Any = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
        self._init = _function(libc, "inotify_init1", ctypes.c_int)
        self._add = _function(libc, "inotify_add_watch", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self._rm = _function(libc, "inotify_rm_watch", ctypes.c_int, ctypes.c_int)

    def init(self) -> int:
        """See :class:`Kernel`; raises OSError ENOSYS where there is no inotify."""
        return _checked(self._init(IN_CLOEXEC | IN_NONBLOCK))

    def add_watch(self, fd: int, path: str, mask: int) -> int:
        """See :class:`Kernel`."""
        return _checked(self._add(fd, os.fsencode(path), mask), path)

    def rm_watch(self, fd: int, wd: int) -> None:
        """See :class:`Kernel`."""
        _checked(self._rm(fd, wd))

    def read(self, fd: int, buffer: bytearray) -> int:
        """See :class:`Kernel`."""
        return os.readv(fd, [buffer])

    def limit(self, name: str) -> tuple[int | None, str]:
        """See :class:`Kernel`; a user namespace, as of a container, may allow less than the machine."""
        machine = _number(f"/proc/sys/fs/inotify/{name}")
        own_name = _OF_NAMESPACE.get(name)
        own = None if own_name is None else _number(f"/proc/sys/user/{own_name}")
        if own is not None and (machine is None or own < machine):
            return own, f"user.{own_name}"
        return machine, f"fs.inotify.{name}"


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _function(libc: Any, name: str, first: Any, *rest: Any) -> Any:
    function = getattr(libc, name, None)
    if function is None:
        return _absent
    function.argtypes = [first, *rest]
    function.restype = ctypes.c_int
    return function


def _absent(*_: object) -> int:
    ctypes.set_errno(errno.ENOSYS)
    return -1


def _checked(result: int, path: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def watch_mask(*, follow: bool) -> int:
    """With what a directory is watched; ``follow``: also if it is a symlink to one."""
    return WATCH_MASK if follow else WATCH_MASK | IN_DONT_FOLLOW


class Special(NamedTuple):
    """An event that concerns a directory as such; ``name`` is empty where it is the watched one."""

    wd: int
    mask: int
    name: bytes


@dataclass(slots=True)
class Batch:
    """What was read at once: per watch the names with the mask that decides, and the special events."""

    names: dict[int, dict[bytes, int]] = field(default_factory=dict)
    specials: list[Special] = field(default_factory=list)

    @property
    def overflowed(self) -> bool:
        """Whether the kernel has dropped events."""
        return any(special.mask & IN_Q_OVERFLOW for special in self.specials)


def parse(chunk: bytes) -> Batch:
    """Parse what was read from an inotify descriptor.

    Names keep the NUL bytes that pad them: decoding is left for those that are different. Of several
    events of one name the last one's mask stays, except that a change of attributes alone says nothing
    about whether the file is still being written.
    """
    batch = Batch()
    by_watch = batch.names
    unpack = _HEADER.unpack_from
    position, end, last = 0, len(chunk), 0
    names: dict[bytes, int] = {}
    while position < end:
        wd, mask, length = unpack(chunk, position)
        start = position + 16
        position = start + length
        name = chunk[start:position]
        if mask & _SPECIAL or not length:
            batch.specials.append(Special(wd, mask, name.rstrip(b"\0")))
            if not length:
                continue
        if wd != last:
            last = wd
            names = by_watch.setdefault(wd, {})
        if mask != IN_ATTRIB or name not in names:
            names[name] = mask
    return batch


class Instance:
    """One inotify instance: a descriptor to read, and a pipe that ends a blocking read.

    Raises:
        OSError: the instance could not be made (EMFILE: ``max_user_instances``, ENOSYS, ...).
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.fd = kernel.init()
        try:
            self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            os.close(self.fd)
            raise
        self._buffer = bytearray(BUFFER_BYTES)
        self._poll = select.poll()
        self._poll.register(self.fd, select.POLLIN)
        self._poll.register(self._wake_read, select.POLLIN)
        self._open = True

    def wait(self, timeout: float) -> bool:
        """Whether there is something to read, waiting for at most ``timeout`` seconds or :meth:`wake`."""
        ready = self._poll.poll(timeout * 1000)
        return any(fd == self.fd for fd, _ in ready)

    def read(self) -> bytes:
        """What is queued now, possibly nothing."""
        try:
            count = self.kernel.read(self.fd, self._buffer)
        except BlockingIOError:
            return b""
        return bytes(memoryview(self._buffer)[:count])

    @property
    def unread(self) -> int:
        """How many bytes of events wait in the kernel's queue; raises OSError."""
        waiting = array("i", [0])
        fcntl.ioctl(self.fd, termios.FIONREAD, waiting)
        return waiting[0]

    def add(self, path: str, *, follow: bool) -> int:
        """Watch a directory and return the watch descriptor; raises OSError."""
        return self.kernel.add_watch(self.fd, path, watch_mask(follow=follow))

    def remove(self, wd: int) -> None:
        """Remove a watch; one that the kernel has already removed with its directory is no error."""
        try:
            self.kernel.rm_watch(self.fd, wd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise

    def watches(self) -> list[int]:
        """The descriptors of all watches, whoever has put them; none where the system does not say."""
        try:
            with open(f"/proc/self/fdinfo/{self.fd}", encoding="ascii") as file:
                return [int(found[1], 16) for line in file if (found := _WATCH.match(line))]
        except OSError:
            return []

    def wake(self) -> None:
        """End a blocking :meth:`wait`, now and from now on."""
        if self._open:
            os.write(self._wake_write, b"\0")

    def close(self) -> None:
        """Close the descriptors; the kernel drops all watches. May be called again."""
        if not self._open:
            return
        self._open = False
        for fd in (self.fd, self._wake_read, self._wake_write):
            os.close(fd)
