"""Which file systems tell about changes, by what ``statfs(2)`` says of a path.

inotify reports what goes through this machine's kernel. On a file system that others can change behind
its back (network and cluster file systems, FUSE, what a hypervisor shares) those changes raise no event,
so such directories have to be polled.

overlayfs counts as one that tells: what a container changes goes through its overlay mount, whose
directories are inodes of their own that keep their watches when they are copied up. Only somebody who
writes into a layer below a mounted overlay stays unseen; the kernel calls the outcome of that undefined,
and the sweeps find it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import time
from collections.abc import Callable
from typing import Final

_SILENT: Final[dict[int, str]] = {
    0x6969: "nfs",
    0x517B: "smb",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x65735546: "fuse",  # virtiofs and every fuse.* (sshfs, s3fs, gcsfuse, ...) too
    0x01021997: "9p",
    0x00C36400: "ceph",
    0x01161970: "gfs2",
    0x7461636F: "ocfs2",
    0x0BD00BD0: "lustre",
    0x5346414F: "afs",
    0x6B414653: "kafs",
    0x73757245: "coda",
    0x564C: "ncp",
    0x47504653: "gpfs",
    0xAAD7AAEA: "panfs",
    0x19830326: "beegfs",
    0x20030528: "orangefs",
    0xBEEFDEAD: "snfs",
    0x013111A8: "ibrix",
    0x61636673: "acfs",
    0x7C7C6673: "prl_fs",
    0x786F4256: "vboxsf",
    0xBACBACBC: "vmhgfs",
    0x9FA0: "proc",
    0x62656572: "sysfs",
}
_TELLING: Final[dict[int, str]] = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0xCA451A4E: "bcachefs",
    0x2FC12FC1: "zfs",
    0xF2F52010: "f2fs",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0x794C7630: "overlay",
    0x4D44: "vfat",
    0x2011BAB0: "exfat",
    0x7366746E: "ntfs3",
    0xF15F: "ecryptfs",
    0x73717368: "squashfs",
    0xE0F5E1E2: "erofs",
    0x9660: "iso9660",
}
CACHE_SECONDS = 10.0
"""Device numbers are given out again after an unmount, so what was learnt of one is not kept for long."""

_STATFS_SIZE = 512  # larger than struct statfs of any architecture; only its first member is read
_F_TYPE = ctypes.c_uint if platform.machine() in {"s390", "s390x"} else ctypes.c_ulong


def _libc_statfs() -> Callable[[bytes, ctypes.Array[ctypes.c_char]], int] | None:
    if platform.system() != "Linux":
        return None
    function = ctypes.CDLL(None, use_errno=True).statfs
    function.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    function.restype = ctypes.c_int
    return function


_statfs = _libc_statfs()


def magic(path: str) -> int:
    """The file system's magic number as ``statfs(2)`` gives it for a path; 0 where there is no statfs.

    Raises:
        OSError: the path cannot be asked (ENOENT, EACCES, ESTALE, ...).
    """
    if _statfs is None:
        return 0
    buffer = ctypes.create_string_buffer(_STATFS_SIZE)
    if _statfs(os.fsencode(path), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(_F_TYPE.from_buffer(buffer).value) & 0xFFFFFFFF


def describe(number: int) -> tuple[bool, str]:
    """Whether a file system of this magic number tells about every change, and its name.

    One that is not known by number is taken for a local one that does; its name is the number in hex.
    """
    if number in _SILENT:
        return False, _SILENT[number]
    return True, _TELLING.get(number, hex(number))


def has_events(path: str) -> tuple[bool, str]:
    """Whether changes at a path are all reported by the kernel, and the file system's name.

    Raises:
        OSError: the path cannot be asked.
    """
    return describe(magic(path))


class EventSupport:
    """:func:`has_events` for hundreds of thousands of directories: one question per device, kept briefly."""

    def __init__(
        self,
        ask: Callable[[str], tuple[bool, str]] = has_events,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._known: dict[int, tuple[bool, str]] = {}
        self._until = 0.0

    def __call__(self, path: str) -> tuple[bool, str]:
        """As :func:`has_events`; raises OSError where the path cannot be asked."""
        device = os.stat(path).st_dev
        now = self._clock()
        if now >= self._until:
            self._known.clear()
            self._until = now + CACHE_SECONDS
        answer = self._known.get(device)
        if answer is None:
            answer = self._known[device] = self._ask(path)
        return answer
