"""Which file systems tell about changes, asked of real mounts and of magic numbers."""

from __future__ import annotations

import errno
import os

import pytest

from scanner.filesystems import CACHE_SECONDS, EventSupport, describe, has_events, magic

PROC = pytest.mark.skipif(not os.path.ismount("/proc"), reason="needs /proc")


@PROC
def test_proc_is_a_file_system_without_events():
    assert has_events("/proc") == (False, "proc")


@PROC
def test_the_magic_number_is_that_of_the_mount():
    assert magic("/proc") == 0x9FA0


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="needs a tmpfs")
def test_tmpfs_has_events():
    assert has_events("/dev/shm") == (True, "tmpfs")


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        has_events(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0x6969, "nfs"),
        (0xFF534D42, "cifs"),
        (0xFE534D42, "smb2"),
        (0x65735546, "fuse"),
        (0x01021997, "9p"),
        (0x00C36400, "ceph"),
        (0x01161970, "gfs2"),
        (0x0BD00BD0, "lustre"),
        (0x5346414F, "afs"),
        (0x7C7C6673, "prl_fs"),
        (0x786F4256, "vboxsf"),
    ],
)
def test_what_others_can_change_behind_the_kernel_has_no_events(number, name):
    assert describe(number) == (False, name)


@pytest.mark.parametrize(("number", "name"), [(0xEF53, "ext4"), (0x58465342, "xfs"), (0x794C7630, "overlay")])
def test_local_file_systems_have_events(number, name):
    assert describe(number) == (True, name)


def test_an_unknown_file_system_is_taken_for_a_local_one_and_named_by_number():
    assert describe(0x12345678) == (True, "0x12345678")


def test_a_device_is_asked_once_until_what_was_learnt_is_too_old(tmp_path):
    asked: list[str] = []
    now = [0.0]

    def ask(path: str) -> tuple[bool, str]:
        asked.append(path)
        return len(asked) == 1, "test"

    support = EventSupport(ask, lambda: now[0])
    (tmp_path / "a").mkdir()
    assert support(str(tmp_path)) == (True, "test")
    assert support(str(tmp_path / "a")) == (True, "test")
    assert asked == [str(tmp_path)]
    now[0] = CACHE_SECONDS
    assert support(str(tmp_path)) == (False, "test")


def test_the_error_of_a_path_that_cannot_be_asked_is_passed_on(tmp_path):
    with pytest.raises(OSError, match="missing") as raised:
        EventSupport()(str(tmp_path / "missing"))
    assert raised.value.errno == errno.ENOENT
