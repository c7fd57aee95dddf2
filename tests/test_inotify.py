"""What is read from inotify, taken apart; and an instance that keeps its descriptors in order."""

from __future__ import annotations

import errno
import os
import struct
import sys

import pytest

from scanner import inotify
from scanner.inotify import Instance, LibcKernel, Special, parse

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


def event(wd: int, mask: int, name: str = "") -> bytes:
    raw = os.fsencode(name)
    padded = raw.ljust(-(-(len(raw) + 1) // 16) * 16, b"\0") if raw else b""
    return struct.pack("iIII", wd, mask, 77, len(padded)) + padded


def names(chunk: bytes) -> dict[int, dict[bytes, int]]:
    return {
        wd: {name.rstrip(b"\0"): mask for name, mask in of.items()} for wd, of in parse(chunk).names.items()
    }


def test_the_last_event_of_a_name_decides():
    chunk = event(1, inotify.IN_CREATE, "x") + event(2, inotify.IN_CREATE, "x")
    chunk += event(1, inotify.IN_MODIFY, "x") + event(1, inotify.IN_CLOSE_WRITE, "x")
    assert names(chunk) == {1: {b"x": inotify.IN_CLOSE_WRITE}, 2: {b"x": inotify.IN_CREATE}}


def test_a_change_of_attributes_decides_nothing_but_is_not_lost():
    chunk = event(1, inotify.IN_CLOSE_WRITE, "x") + event(1, inotify.IN_ATTRIB, "x")
    chunk += event(1, inotify.IN_ATTRIB, "y")
    assert names(chunk) == {1: {b"x": inotify.IN_CLOSE_WRITE, b"y": inotify.IN_ATTRIB}}


@pytest.mark.parametrize("length", [1, 15, 16, 17, 31, 32, 255])
def test_names_of_any_length_keep_events_apart(length):
    chunk = event(1, inotify.IN_CREATE, "n" * length) + event(1, inotify.IN_CREATE, "after")
    assert set(names(chunk)[1]) == {b"n" * length, b"after"}


def test_a_subdirectory_is_a_name_and_a_special_event():
    mask = inotify.IN_MOVED_TO | inotify.IN_ISDIR
    batch = parse(event(3, mask, "sub"))
    assert batch.specials == [Special(3, mask, b"sub")]
    assert names(event(3, mask, "sub")) == {3: {b"sub": mask}}


def test_events_of_the_watched_directory_itself_are_special():
    batch = parse(event(3, inotify.IN_IGNORED) + event(3, inotify.IN_ATTRIB | inotify.IN_ISDIR))
    assert [special.mask for special in batch.specials] == [
        inotify.IN_IGNORED,
        inotify.IN_ATTRIB | inotify.IN_ISDIR,
    ]
    assert batch.names == {}
    assert not batch.overflowed


def test_an_overflow_is_seen():
    assert parse(event(-1, inotify.IN_Q_OVERFLOW)).overflowed


@LINUX
def test_an_instance_reads_what_happens_and_closes_its_descriptors(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    instance = Instance(LibcKernel())
    wd = instance.add(str(tmp_path), follow=True)
    assert instance.add(str(tmp_path), follow=False) == wd
    assert not instance.wait(0)
    assert (instance.unread, instance.read()) == (0, b"")
    (tmp_path / "f").touch()
    assert instance.wait(10)
    assert instance.unread > 0
    assert b"f" in instance.read()
    assert instance.unread == 0
    instance.remove(wd)
    instance.remove(wd)
    instance.wake()
    instance.close()
    instance.close()
    instance.wake()
    assert len(os.listdir("/proc/self/fd")) == before


@LINUX
def test_a_wake_ends_a_read(tmp_path):
    instance = Instance(LibcKernel())
    instance.wake()
    assert not instance.wait(30)
    instance.close()


@LINUX
@pytest.mark.parametrize(("name", "number"), [("missing", errno.ENOENT), ("file", errno.ENOTDIR)])
def test_what_cannot_be_watched_is_an_error_with_its_errno(tmp_path, name, number):
    (tmp_path / "file").touch()
    instance = Instance(LibcKernel())
    try:
        with pytest.raises(OSError, match=name) as raised:
            instance.add(str(tmp_path / name), follow=True)
    finally:
        instance.close()
    assert raised.value.errno == number


@LINUX
def test_limits_are_the_kernels_and_unknown_ones_none():
    kernel = LibcKernel()
    with open("/proc/sys/fs/inotify/max_user_watches", encoding="ascii") as file:
        machine = int(file.read())
    with open("/proc/sys/user/max_inotify_watches", encoding="ascii") as file:
        own = int(file.read())
    sysctl = "user.max_inotify_watches" if own < machine else "fs.inotify.max_user_watches"
    assert kernel.limit("max_user_watches") == (min(machine, own), sysctl)
    assert kernel.limit("no_such_limit") == (None, "fs.inotify.no_such_limit")


def test_the_numbers_are_those_that_watchdog_has_from_the_kernel():
    constants = pytest.importorskip("watchdog.observers.inotify_c").InotifyConstants
    for name in (name for name in dir(inotify) if name.startswith("IN_")):
        if name not in ("IN_CLOEXEC", "IN_NONBLOCK"):  # of inotify_init1: those of open(2)
            assert getattr(inotify, name) == getattr(constants, name), name
    assert (inotify.IN_CLOEXEC, inotify.IN_NONBLOCK) == (os.O_CLOEXEC, os.O_NONBLOCK)
