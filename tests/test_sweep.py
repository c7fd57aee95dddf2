"""Sweeps: which directories they find, that the caller gets its turn, and when the next one is due."""

from __future__ import annotations

import errno
import os
import time

import pytest
from reconciling import drive, running

from scanner.sweep import Changed, RescanClock, SweepClock, changed_directories, stat_below


@pytest.fixture
def tree(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name / "sub").mkdir(parents=True)
    return tmp_path


def known(root, *directories):
    rows = []
    for directory in directories:
        about = os.lstat(root / directory)
        rows.append((directory, about.st_mtime_ns, about.st_ino))
    return rows


def sweep(root, rows, **options):
    slices = list(changed_directories(rows, stat_below(str(root)), **options))
    return [changed for part in slices for changed in part.changed]


def test_a_tree_that_is_as_known_has_no_changes(tree):
    assert sweep(tree, known(tree, "", "a", "a/sub", "b", "c/sub")) == []


@pytest.mark.parametrize("change", ["create", "delete", "rename"])
def test_a_name_that_came_went_or_was_renamed_is_found_by_the_mtime(tree, change):
    (tree / "b" / "old").touch()
    os.utime(tree / "b", ns=(1, 1))
    rows = known(tree, "a", "b", "c")
    if change == "create":
        (tree / "b" / "new").touch()
    elif change == "delete":
        (tree / "b" / "old").unlink()
    else:
        (tree / "b" / "old").rename(tree / "b" / "new")
    assert sweep(tree, rows) == [Changed("b", 0)]


def test_another_directory_in_the_same_place_is_found_by_the_inode(tree):
    rows = known(tree, "a/sub")
    (tree / "other").mkdir()
    os.utime(tree / "other", ns=(rows[0][1], rows[0][1]))
    (tree / "a" / "sub").rename(tree / "gone")
    (tree / "other").rename(tree / "a" / "sub")
    os.utime(tree / "a" / "sub", ns=(rows[0][1], rows[0][1]))
    assert sweep(tree, rows) == [Changed("a/sub", 0)]


def test_a_directory_that_is_gone_or_a_file_now_carries_its_errno(tree):
    rows = known(tree, "a/sub", "b/sub", "c/sub")
    (tree / "a" / "sub").rmdir()
    (tree / "b" / "sub").rmdir()
    (tree / "b" / "sub").touch()
    (tree / "c" / "sub").rmdir()
    (tree / "c" / "sub").symlink_to(tree / "a")
    assert sweep(tree, rows) == [
        Changed("a/sub", errno.ENOENT),
        Changed("b/sub", errno.ENOTDIR),
        Changed("c/sub", errno.ENOTDIR),
    ]


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOTCONN])
def test_an_error_is_a_result_and_the_sweep_goes_on(tree, number):
    look = stat_below(str(tree))

    def failing(directory):
        if directory == "b":
            raise OSError(number, os.strerror(number))
        return look(directory)

    os.utime(tree / "c", ns=(1, 1))
    rows = known(tree, "a", "b", "c")
    (tree / "c" / "new").touch()
    (part,) = changed_directories(rows, failing)
    assert part.examined == 3
    assert part.changed == [Changed("b", number), Changed("c", 0)]


def test_a_root_that_is_a_symlink_is_followed(tree):
    (tree / "link").symlink_to(tree / "a")
    about = os.stat(tree / "a")
    assert sweep(tree, [("link", about.st_mtime_ns, about.st_ino)]) == []


def test_a_recent_mtime_counts_as_changed_since_two_changes_can_share_a_tick(tree):
    os.utime(tree / "a", ns=(5_000, 5_000))
    os.utime(tree / "b", ns=(6_000, 6_000))
    rows = known(tree, "a", "b")
    assert sweep(tree, rows, recent_ns=6_000) == [Changed("b", 0)]
    assert sweep(tree, rows, recent_ns=6_001) == []


def test_the_caller_gets_its_turn_after_each_slice_and_nothing_is_read_ahead(tree):
    looked = []

    def look(directory):
        looked.append(directory)
        return os.lstat(tree / directory)

    rows = known(tree, "a", "b", "c", "a/sub", "b/sub")
    sweeping = changed_directories(rows, look, size=2)
    assert next(sweeping).examined == 2
    assert looked == ["a", "b"]
    assert [part.examined for part in sweeping] == [2, 1]


def test_the_pause_between_sweeps_is_the_minimum_or_a_hundred_times_the_last_one():
    clock = SweepClock(10.0)
    assert clock.due(0.0)
    clock.started(0.0)
    assert not clock.due(1000.0)
    clock.finished(0.05)
    assert (clock.seconds, clock.next_at) == (0.05, 10.05)
    clock.started(20.0)
    clock.finished(21.0)
    assert not clock.due(120.9)
    assert clock.due(121.0)


@pytest.mark.parametrize("watcher", ["inotify", "polling"])
@pytest.mark.parametrize("seconds", [0.0, 0.06])
def test_the_sweeps_of_a_worker_keep_to_that(tmp_path, watcher, seconds):
    """Both those of everything and those of what has no events, which may come sooner than ten seconds."""
    (tmp_path / "data" / "frames" / "v").mkdir(parents=True)
    (tmp_path / "data" / "products").mkdir()
    settings = {"SIDECAR_SCAN__WATCHER": watcher, "SIDECAR_SCAN__POLLING_SECONDS": "0.1"}
    with running(tmp_path / "data", tmp_path, **settings) as worker:
        sweeper, looks = worker.sweeper, []
        drive(worker, lambda: not sweeper.running)
        look = sweeper._look

        def slow(directory):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                pass
            looks.append(directory)
            return look(directory)

        sweeper._look = slow
        for clock, least in [(sweeper.everything, 10.0), (sweeper.without_events, 0.1)]:
            sweeper.everything.next_at = sweeper.without_events.next_at = float("inf")
            begun, clock.next_at = time.monotonic(), float("-inf")
            drive(worker, lambda: not sweeper.running and clock.next_at > 0)  # noqa: B023
            if clock is sweeper.everything or watcher == "polling":
                assert looks == ["frames", "frames/v", "products"]
                assert clock.seconds >= 3 * seconds
                pause = max(least, 100 * clock.seconds)
                assert begun + pause <= clock.next_at <= time.monotonic() + pause
            looks.clear()


def test_a_sweep_that_was_not_started_cannot_finish():
    with pytest.raises(ValueError, match="had not started"):
        SweepClock(1.0).finished(2.0)


def test_a_clock_without_a_pause_is_refused():
    with pytest.raises(ValueError, match="pause"):
        SweepClock(0.0)
    with pytest.raises(ValueError, match="reconciliations"):
        RescanClock(-1.0, 0.0)


def test_reconciliations_are_spread_by_a_tenth_either_way():
    early = RescanClock(300.0, 0.0, lambda low, high: low)
    late = RescanClock(300.0, 0.0, lambda low, high: high)
    assert (round(early.next_at), round(late.next_at)) == (270, 330)
    assert not early.due(269.0)
    assert early.due(271.0)
    early.restart(271.0)
    assert round(early.next_at) == 541
    drawn = {RescanClock(300.0, 0.0).next_at for _ in range(200)}
    assert all(270 <= moment <= 330 for moment in drawn)
    assert len(drawn) > 100
