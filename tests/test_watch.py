"""The watcher against the real kernel: whatever is done to a tree, its hints lead a worker to the truth."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest
from waiting import until
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver
from watching import DEADLINE, FaultyKernel, Worker, clear, exchange, grow, walk

from scanner.dirty import Dirty, DirtySet
from scanner.watch import DirectoryWatcher

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


OWN_NOISE = pytest.mark.filterwarnings("ignore:Callback with id:RuntimeWarning")
"""watchdog's own inotify observer warns of a race that it has; as an error that would end its reader."""


@pytest.fixture(autouse=True)
def nothing_leaks():
    """No test leaves a thread or a descriptor behind."""
    threads, descriptors = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
    yield
    assert set(threading.enumerate()) <= threads
    assert len(os.listdir("/proc/self/fd")) <= len(descriptors)


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "R"
    path.mkdir()
    return path


@pytest.fixture
def outside(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    return path


@pytest.fixture
def kernel():
    return FaultyKernel()


@pytest.fixture
def make(root, kernel):
    """Makes a worker with a started watcher over ``root``; all are stopped at the end."""
    made: list[DirectoryWatcher] = []

    def start(mode="inotify", **options) -> Worker:
        dirty = DirtySet(**options.pop("bounds", {}))
        watcher = DirectoryWatcher(dirty, str(root), mode, kernel=kernel, **options)
        made.append(watcher)
        watcher.start()
        return Worker(str(root), dirty, watcher)

    yield start
    kernel.reading.set()
    for watcher in made:
        watcher.stop()


@pytest.fixture
def worker(make):
    return make()


def next_hints(worker: Worker) -> list[Dirty]:
    """What the reader marks next, waiting for it."""
    items: list[Dirty] = []
    until(lambda: items.extend(worker.dirty.take(9)) or items, "something is marked")
    return items


def pause(kernel: FaultyKernel, root) -> None:
    """Stop the reader as SIGSTOP would: events queue up in the kernel."""
    kernel.standing.clear()
    kernel.reading.clear()
    (root / "knock").touch()
    assert kernel.standing.wait(DEADLINE)


# --- plain operations ---------------------------------------------------------------------------


def test_what_is_there_at_the_start_is_found(root, worker):
    grow(root / "t")
    worker.settle()
    assert len(worker.model) == 7


@pytest.mark.parametrize(
    "operation",
    [
        lambda root: (root / "t" / "new.png").write_bytes(b"abc"),
        lambda root: (root / "t" / "file.bin").write_bytes(b"longer than before"),
        lambda root: (root / "t" / "file.bin").unlink(),
        lambda root: (root / "t" / "file.bin").rename(root / "t" / "d0" / "moved.bin"),
        lambda root: (root / "t" / "file.bin").replace(root / "t" / "d0" / "file.bin"),
        lambda root: os.truncate(root / "t" / "file.bin", 0),
        lambda root: os.utime(root / "t" / "file.bin", ns=(7, 7)),
        lambda root: os.link(root / "t" / "file.bin", root / "t" / "d1" / "link.bin"),
        lambda root: shutil.rmtree(root / "t" / "d0"),
        lambda root: grow(root / "t" / "d2"),
        lambda root: (root / "t" / "d0").rename(root / "t" / "d1" / "inner"),
        lambda root: (root / "t").rename(root / "u"),
        lambda root: exchange(root / "t" / "d0", root / "t" / "d1"),
        lambda root: exchange(root / "t" / "file.bin", root / "t" / "d1"),
    ],
)
def test_a_single_operation_is_followed(root, worker, operation):
    grow(root / "t")
    worker.settle()
    operation(root)
    worker.settle()
    grow(root / "after")
    for directory, _, _ in os.walk(root):
        (root / directory / "late.bin").write_bytes(b"still watched")
    worker.settle()
    assert worker.watcher.stats().watched == sum(1 for _ in os.walk(root))


def test_a_file_is_settled_when_it_is_closed_or_renamed_into_place(root, worker):
    worker.settle()
    with open(root / "open.bin", "wb"):
        (item,) = next_hints(worker)
        assert (item.names, item.settled) == ({"open.bin"}, frozenset())
    (item,) = next_hints(worker)
    assert (item.directory, item.settled) == ("", {"open.bin"})
    (root / "open.bin").rename(root / "final.bin")
    marked = next_hints(worker)
    while "final.bin" not in marked[-1].names:
        marked += next_hints(worker)
    assert marked[-1].settled == {"final.bin"}


def test_a_change_of_attributes_after_the_close_leaves_the_name_settled(root, kernel, worker):
    worker.settle()
    pause(kernel, root)
    (root / "f").write_bytes(b"x")
    (root / "f").chmod(0o600)
    kernel.reading.set()
    until(lambda: worker.dirty.pending == 2, "both are seen")
    (item,) = worker.dirty.take(9)
    assert item.settled == {"knock", "f"}


def test_names_that_are_not_utf8_make_their_directory_dirty_and_hurt_nobody(root, worker):
    worker.settle()
    with open(os.fsencode(root) + b"/\xff\xfe.bin", "wb"):
        pass
    (root / "\udcff.d").mkdir()
    item = next_hints(worker)[0]
    assert (item.directory, item.names) == ("", None)
    worker.dirty.done([item])
    clear(root)
    (root / "good").touch()
    worker.settle()


def test_many_names_in_one_directory_collapse_and_are_all_found(root, make):
    worker = make(bounds={"max_names": 20})
    worker.settle()
    for number in range(500):
        (root / f"{number}.bin").touch()
    worker.settle()
    assert len(worker.model) == 500


# --- what watchdog's own observer gets wrong -------------------------------------------------------


def test_f1_a_tree_moved_out_made_again_and_removed_outside(root, outside, worker):
    grow(root / "t")
    worker.settle()
    (root / "t").rename(outside / "t")
    (root / "t").mkdir()
    (root / "t").rmdir()
    shutil.rmtree(outside / "t")
    (root / "after").touch()
    worker.settle()
    assert set(worker.model) == {"after"}
    assert worker.watcher.stats().reader_alive


def test_f2_a_file_made_in_a_tree_that_was_moved_out_is_no_ghost(root, outside, worker):
    grow(root / "t")
    worker.settle()
    (root / "t").rename(outside / "t")
    (outside / "t" / "d0" / "g.jpg").touch()
    worker.settle()
    assert worker.model == {}
    assert worker.watcher.stats().watched == 1


@pytest.mark.parametrize("settle_between", [False, True])
def test_f3_removing_a_moved_tree_leaves_the_new_one_in_its_place_alone(
    root, outside, worker, settle_between
):
    grow(root / "t")
    worker.settle()
    (root / "t").rename(outside / "t")
    grow(root / "t", width=3)
    if settle_between:
        worker.settle()
    shutil.rmtree(outside / "t")
    worker.settle()
    (root / "t" / "d2" / "d0" / "new").touch()
    worker.settle()
    assert "t/d2/d0/new" in worker.model


@pytest.mark.parametrize("times", [1, 2, 3])
def test_f4_exchanged_directories_are_told_apart(root, worker, times):
    grow(root / "a")
    grow(root / "b", width=3)
    worker.settle()
    for _ in range(times):
        exchange(root / "a", root / "b")
    (root / "a" / "d1" / "in-a").touch()
    (root / "b" / "d0" / "in-b").touch()
    worker.settle()
    for name in ("a", "b"):
        for number in range(2):
            (root / name / f"d{number}" / f"d{number}" / "deep").write_bytes(name.encode())
    worker.settle()
    worker.watcher.stop()


def test_f5_a_data_root_that_is_deleted_and_made_again(root, worker):
    grow(root / "t")
    worker.settle()
    shutil.rmtree(root)
    root.mkdir()
    grow(root / "t")
    worker.settle()
    (root / "t" / "d0" / "late").touch()
    worker.settle()


def test_f6_a_data_root_that_is_renamed_away_and_replaced(root, outside, worker):
    grow(root / "t")
    worker.settle()
    root.rename(outside / "old")
    root.mkdir()
    grow(root / "u")
    worker.settle()
    (root / "u" / "d0" / "new").touch()
    (outside / "old" / "t" / "ghost").touch()
    worker.settle()
    assert worker.watcher.stats().watched == sum(1 for _ in os.walk(root))


def test_f7_a_fault_while_reading_makes_everything_dirty_and_reading_goes_on(root, kernel, worker, caplog):
    grow(root / "t")
    worker.settle()
    pause(kernel, root)
    kernel.read_errors = [RuntimeError("broken")]
    (root / "t" / "d0" / "unseen").touch()
    kernel.reading.set()
    worker.settle()
    assert "broken" in caplog.text
    assert worker.watcher.stats().reader_alive


def test_f8_a_data_root_that_is_not_there_at_the_start(root, worker):
    root.rmdir()
    assert not worker.watcher.add("")
    worker.turn()
    root.mkdir()
    grow(root / "t")
    worker.settle()


def test_f9_a_symlink_to_a_directory_is_neither_a_file_nor_followed(root, outside, worker):
    grow(outside / "t")
    worker.settle()
    (root / "link").symlink_to(outside / "t")
    (root / "deep").mkdir()
    (root / "deep" / "link").symlink_to(outside / "t")
    worker.settle()
    assert worker.model == {}
    assert not worker.watcher.add("deep/link")


def test_f10_a_write_through_a_hard_link_is_found_when_everything_is_looked_at(root, outside, worker):
    (root / "f").write_bytes(b"x")
    worker.settle()
    os.link(root / "f", outside / "f")
    worker.settle()
    (outside / "f").write_bytes(b"longer")
    worker.dirty.mark_all()
    worker.settle()


def test_a_removed_tree_and_its_successor_with_the_same_inodes_are_told_apart(root, worker):
    for _ in range(20):
        grow(root / "t", depth=1)
        worker.turn()
        shutil.rmtree(root / "t")
        grow(root / "t", depth=1)
        worker.settle()
        (root / "t" / "d0" / "probe").touch()
        worker.settle()
        shutil.rmtree(root / "t")


def test_a_tree_moved_out_and_back_in_quick_succession(root, outside, worker):
    grow(root / "t")
    worker.settle()
    for number in range(30):
        (root / "t").rename(outside / "t")
        (outside / "t" / "d0" / f"{number}").touch()
        worker.turn() if number % 3 == 0 else None
        (outside / "t").rename(root / ("t" if number % 2 else "u"))
        if not number % 2:
            worker.turn() if number % 4 == 0 else None
            (root / "u").rename(root / "t")
    worker.settle()
    (root / "t" / "d1" / "d1" / "late").touch()
    worker.settle()


def test_a_moved_tree_is_remapped_and_keeps_no_watch_at_the_old_place(root, worker):
    grow(root / "t")
    worker.settle()
    for step in range(5):
        (root / ("t" if step == 0 else f"t{step}")).rename(root / f"t{step + 1}")
        (root / f"t{step + 1}" / "d0" / f"f{step}").touch()
    worker.settle()
    stats = worker.watcher.stats()
    assert stats.watched == stats.needed == sum(1 for _ in os.walk(root))
    assert len(worker.model) == 7 + 5


def test_a_directory_that_two_roots_lead_to_tells_both(root, outside, make):
    grow(outside / "t", depth=0)
    worker = make()
    for name in ("one", "two"):
        (root / name).symlink_to(outside / "t")
        assert worker.watcher.add(name)
    assert worker.dirty.pending == 0
    (outside / "t" / "new").touch()
    until(lambda: worker.dirty.pending >= 2, "both roots have to become dirty")
    assert {item.directory for item in worker.dirty.take(9)} == {"one", "two"}
    worker.watcher.forget("one")
    (outside / "t" / "newer").touch()
    hints = next_hints(worker)
    while not any("newer" in item.names for item in hints):
        hints += next_hints(worker)
    worker.watcher.add("two")
    assert hints[-1].directory == "two"


# --- single hints, where others would not make up for them ---------------------------------------------


def taken(worker: Worker) -> list[tuple[str, bool]]:
    """What is dirty as a whole, as (directory, recursive), after everything queued was read."""
    probe = Path(worker.root) / "probe"
    probe.touch()
    items = next_hints(worker)
    while not any(item.directory == "" and "probe" in (item.names or item.settled) for item in items):
        items += next_hints(worker)
    return [(item.directory, item.recursive) for item in items if item.names is None]


def test_an_inode_found_in_another_place_makes_the_old_place_dirty_and_keeps_it_known(root, worker):
    grow(root / "a", depth=0)
    worker.settle()
    (root / "a").rename(root / "b")
    taken(worker)
    assert worker.watcher.add("b")
    assert taken(worker) == [("a", True)]
    assert worker.watcher.stats().needed == 3
    (root / "b").rename(root / "a")
    assert ("a", True) in taken(worker)


@pytest.mark.parametrize("end", ["moved", "removed"])
def test_a_watched_directory_whose_parent_is_not_tells_of_its_own_end(root, outside, kernel, worker, end):
    (root / "p" / "d").mkdir(parents=True)
    kernel.refuse = lambda path: errno.EACCES if path.endswith("/p") else 0
    worker.settle()
    if end == "moved":
        (root / "p" / "d").rename(outside / "d")
    else:
        (root / "p" / "d").rmdir()
    assert ("p/d", True) in taken(worker)
    assert worker.watcher.stats().watched == (2 if end == "moved" else 1)


def test_children_that_cannot_be_watched_are_dirty_in_depth_when_they_are_exchanged(root, kernel, worker):
    grow(root / "a")
    grow(root / "b")
    kernel.refuse = lambda path: errno.EACCES if path != str(root) else 0
    worker.settle()
    exchange(root / "a", root / "b")
    assert set(taken(worker)) >= {("a", True), ("b", True)}


def test_a_removed_watch_leaves_its_directory_dirty_also_when_nothing_else_says_so(root, kernel, worker):
    (root / "d").mkdir()
    worker.settle()
    observation = worker.watcher._observation
    wd = observation.instance.add(str(root / "d"), follow=False)
    observation.instance.remove(wd)  # as the kernel does when the file system is unmounted
    assert taken(worker) == [("d", True)]
    assert (worker.watcher.stats().watched, worker.watcher.stats().needed) == (1, 2)
    assert worker.watcher.retry_polled() == ["d"]


# --- storms ---------------------------------------------------------------------------------------


def queue_length() -> int:
    with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as file:
        return int(file.read())


@pytest.mark.skipif(queue_length() > 40_000, reason="too long a queue to fill here")
def test_an_overflow_is_counted_loses_nothing_and_leaves_the_watches(root, kernel, worker):
    directories = [root / f"v{number}" for number in range(401)]
    for directory in directories:
        directory.mkdir()
    worker.settle()
    pause(kernel, root)
    before = time.time_ns() // 1000
    for number in range(queue_length() // 2 // len(directories) + 5):
        for directory in directories:
            (directory / f"{number}.bin").touch()
    kernel.reading.set()
    until(lambda: worker.watcher.stats().overflows, "the queue overflows")
    worker.settle()
    stats = worker.watcher.stats()
    assert stats.watched == 402
    assert stats.last_overflow_us is not None
    assert stats.last_overflow_us >= before
    for directory in directories[::7]:
        (directory / "late").touch()
    worker.settle()


def test_a_storm_of_new_directories_is_followed_while_it_goes_on(root, worker):
    def storm() -> None:
        for number in range(300):
            (root / f"v{number}").mkdir()
            for file in range(20):
                (root / f"v{number}" / f"{file}.bin").write_bytes(b"x")

    writer = threading.Thread(target=storm)
    writer.start()
    while writer.is_alive():
        worker.turn(0.01)
    writer.join()
    worker.settle()
    assert len(worker.model) == 6000


def test_a_storm_past_the_bounds_of_the_dirty_set_loses_nothing(root, kernel, make):
    worker = make(bounds={"max_names": 5, "max_directories": 10, "max_held_names": 20})
    for number in range(50):
        (root / f"v{number % 5}" / f"{number}").mkdir(parents=True)
    worker.settle()
    for number in range(50):
        for file in range(10):
            (root / f"v{number % 5}" / f"{number}" / f"{file}").touch()
    worker.settle()
    assert len(worker.model) == 500


# --- limits and faults ------------------------------------------------------------------------------


def test_what_exceeds_the_watch_limit_is_polled_and_taken_up_when_watches_are_free(root, kernel, worker):
    kernel.max_watches = 5
    for number in range(8):
        (root / f"d{number}").mkdir()
    worker.settle()
    stats = worker.watcher.stats()
    assert (stats.watched, stats.polled, stats.needed) == (5, 4, 9)
    assert stats.reasons == {"ENOSPC": 4}
    assert (stats.limit, stats.limit_sysctl) == kernel.limit("max_user_watches")
    polled = worker.watcher.polled()
    assert worker.watcher.retry_polled() == []
    kernel.max_watches = 7
    freed = worker.watcher.retry_polled()
    assert len(freed) == 2
    assert set(freed) <= polled
    assert worker.watcher.polled() == polled - set(freed)
    kernel.max_watches = None
    assert set(worker.watcher.retry_polled()) == polled - set(freed)
    for path in root.iterdir():
        (path / "f").touch()
    worker.settle()
    assert worker.watcher.stats().reasons == {}


def test_a_replaced_directory_can_use_the_watch_of_its_predecessor_at_the_limit(
    root, outside, kernel, worker
):
    (root / "d").mkdir()
    (root / "e").mkdir()
    worker.settle()
    kernel.max_watches = 3
    (root / "d").rename(outside / "d")
    (root / "d").mkdir()
    worker.settle()
    assert worker.watcher.polled() == frozenset()
    (root / "d" / "f").touch()
    worker.settle()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOSYS])
def test_without_an_inotify_instance_everything_is_polled_until_there_is_one(root, kernel, make, number):
    (root / "d").mkdir()
    kernel.init_error = number
    worker = make()
    worker.settle()
    assert worker.watcher.polled() == {"", "d"}
    assert worker.watcher.stats().reasons == {errno.errorcode[number]: 2}
    assert worker.watcher.retry_polled() == []
    kernel.init_error = 0
    assert set(worker.watcher.retry_polled()) == {"", "d"}
    (root / "d" / "f").touch()
    worker.settle()


def test_a_directory_without_permission_is_polled_and_marked_when_permissions_change(root, kernel, worker):
    (root / "d" / "e").mkdir(parents=True)
    kernel.refuse = lambda path: errno.EACCES if path.endswith("/e") else 0
    worker.settle()
    assert worker.watcher.polled() == {"d/e"}
    assert worker.watcher.stats().reasons == {"EACCES": 1}
    kernel.refuse = lambda path: 0
    (root / "d").chmod(0o700)
    until(lambda: (worker.turn(), not worker.watcher.polled())[1], "the change is followed")
    (root / "d" / "e" / "f").touch()
    worker.settle()


def test_an_earlier_watch_stays_in_force_where_a_directory_cannot_be_asked_anew(root, kernel, worker):
    (root / "d").mkdir()
    worker.settle()
    kernel.refuse = lambda path: errno.EACCES if path.endswith("/d") else 0
    assert not worker.watcher.add("d")
    stats = worker.watcher.stats()
    assert (stats.watched, stats.polled, stats.needed) == (2, 1, 2)
    (root / "d" / "f").touch()
    worker.settle()
    kernel.refuse = lambda path: 0
    assert worker.watcher.retry_polled() == ["d"]
    assert (worker.watcher.stats().polled, worker.watcher.stats().needed) == (0, 2)


def test_a_reader_that_keeps_failing_ends_is_said_to_be_dead_and_is_replaced(root, kernel, worker, caplog):
    grow(root / "t")
    worker.settle()
    pause(kernel, root)
    kernel.read_errors = [OSError(errno.EIO, "broken")] * 5
    kernel.reading.set()
    until(lambda: not worker.watcher.stats().reader_alive, "the reader ends")
    everything = {os.path.relpath(d, root).removeprefix(".") for d, _, _ in os.walk(root)}
    assert worker.watcher.polled() == everything
    assert set(worker.watcher.retry_polled()) == everything
    assert worker.watcher.stats().reader_alive
    assert worker.watcher.polled() == frozenset()
    worker.settle()
    (root / "t" / "d0" / "late").touch()
    worker.settle()
    assert "no longer read" in caplog.text


def test_a_directory_made_between_the_refused_watch_and_the_listing_is_not_left_unwatched(root, worker):
    worker.settle()
    assert not worker.watcher.add("d")
    (root / "d").mkdir()
    worker.settle()
    assert worker.watcher.retry_polled() in ([], ["d"])
    (root / "d" / "f").touch()
    worker.settle()


def test_a_directory_that_is_gone_at_a_retry_is_to_be_looked_at(root, worker):
    worker.settle()
    assert not worker.watcher.add("never")
    assert worker.watcher.stats().polled == 0
    assert worker.watcher.retry_polled() == []
    assert [item.directory for item in worker.dirty.take(9)] == ["never"]
    worker.watcher.forget("never")
    assert worker.watcher.stats().needed == 1


# --- file systems without events, polling -------------------------------------------------------------


def test_a_file_system_without_events_is_polled_from_the_start(root, make):
    (root / "nfs" / "d").mkdir(parents=True)
    worker = make("auto", has_events=lambda path: ("/nfs" not in path, "nfs"))
    worker.settle()
    assert worker.watcher.polled() == {"nfs", "nfs/d"}
    assert worker.watcher.stats().reasons == {"nfs": 2}
    assert worker.watcher.stats().watched == 1
    assert worker.watcher.retry_polled() == []
    worker.watcher.forget("nfs")
    assert worker.watcher.polled() == frozenset()


def test_inotify_watches_whatever_the_file_system(root, make):
    worker = make("inotify", has_events=lambda path: (False, "nfs"))
    assert worker.watcher.add("")


def test_polling_watches_nothing_and_starts_no_thread(root, make):
    threads = threading.active_count()
    (root / "d").mkdir()
    worker = make("polling")
    worker.settle()
    assert threading.active_count() == threads
    assert worker.watcher.polled() == {"", "d"}
    assert worker.watcher.stats().reasons == {"polling": 2}
    assert worker.watcher.stats().reader_alive
    assert worker.watcher.retry_polled() == []


def test_an_unknown_mode_is_refused(root):
    with pytest.raises(ValueError, match="fanotify"):
        DirectoryWatcher(DirtySet(), str(root), "fanotify")


# --- life cycle -------------------------------------------------------------------------------------


def test_start_and_stop_can_be_repeated(root, worker):
    worker.settle()
    worker.watcher.start()
    worker.watcher.stop()
    worker.watcher.stop()
    assert not worker.watcher.add("")
    assert worker.watcher.stats().reasons == {"ESHUTDOWN": 1}
    worker.watcher.start()
    assert worker.watcher.retry_polled() == [""]
    (root / "f").touch()
    worker.settle()


def test_a_watcher_that_was_never_started_can_be_stopped(root):
    DirectoryWatcher(DirtySet(), str(root), "auto").stop()


def test_stopping_is_quick_while_the_reader_waits_for_events(root, worker):
    worker.settle()
    before = time.monotonic()
    worker.watcher.stop()
    assert time.monotonic() - before < 5


def test_forgetting_a_subtree_removes_its_watches_and_no_others(root, kernel, worker):
    grow(root / "t")
    grow(root / "tt")
    worker.settle()
    before = len(kernel.watches)
    worker.watcher.forget("t")
    assert len(kernel.watches) == before - 7
    assert worker.watcher.stats().needed == 1 + 7
    (root / "t" / "d0" / "f").touch()
    (root / "tt" / "f").touch()
    assert {item.directory for item in next_hints(worker)} == {"tt"}


# --- watchdog's own observers, for systems without inotify --------------------------------------------


@OWN_NOISE
@pytest.mark.parametrize(
    "observer", [Observer, lambda: PollingObserver(timeout=0.05)], ids=["own", "polling"]
)
def test_watchdogs_own_observers_say_where_to_look(root, make, observer):
    worker = make("auto", observer=observer)
    grow(root / "t")
    worker.settle(sweep_after=2)
    (root / "t" / "d0" / "new.bin").write_bytes(b"x")
    (root / "t" / "d1" / "file.bin").write_bytes(b"longer")
    (root / "t" / "file.bin").unlink()
    worker.settle()
    stats = worker.watcher.stats()
    assert stats.watched == sum(1 for _ in os.walk(root))
    assert (stats.polled, stats.reader_alive) == (0, True)


@OWN_NOISE
@pytest.mark.parametrize(
    "observer", [Observer, lambda: PollingObserver(timeout=0.05)], ids=["own", "polling"]
)
def test_what_watchdogs_own_observers_lose_of_moved_trees_is_found_by_sweeps(root, outside, make, observer):
    worker = make("auto", observer=observer)
    grow(root / "t")
    worker.settle(sweep_after=2)
    (root / "t" / "d1").rename(root / "t" / "d2")
    grow(root / "u", depth=1)
    worker.settle(sweep_after=2)
    (root / "u").rename(outside / "u")
    worker.settle(sweep_after=2)
    assert len(worker.model) == 7


@OWN_NOISE
def test_watchdogs_own_observer_follows_a_root_that_is_a_symlink_and_one_that_is_replaced(
    root, outside, make
):
    grow(outside / "t", depth=0)
    (root / "link").symlink_to(outside / "t")
    worker = make("auto", observer=Observer)
    assert worker.watcher.add("")
    assert worker.watcher.add("link")
    (outside / "t" / "new").touch()
    until(lambda: any(item.directory == "link" for item in worker.dirty.take(9)), "seen through the link")
    (outside / "t").rename(outside / "old")
    grow(outside / "t", depth=0)
    assert worker.watcher.add("link")
    (outside / "t" / "newer").touch()
    until(
        lambda: any("newer" in item.settled for item in worker.dirty.take(9)),
        "the replacement is watched",
    )


@OWN_NOISE
def test_watchdogs_own_observer_is_replaced_when_it_has_died(root, make):
    made = []
    worker = make("auto", observer=lambda: made.append(Observer()) or made[-1])
    worker.settle()
    made[0].stop()
    made[0].join()
    until(lambda: not worker.watcher.stats().reader_alive, "the reader ends")
    assert worker.watcher.polled() == {""}
    assert worker.watcher.retry_polled() == [""]
    (root / "f").touch()
    worker.settle()


@OWN_NOISE
def test_a_missing_root_is_no_fault_for_watchdogs_own_observer(root, make):
    root.rmdir()
    worker = make("auto", observer=Observer)
    assert not worker.watcher.add("")
    root.mkdir()
    worker.settle()
    (root / "f").touch()
    worker.settle()


# --- anything, in any order ---------------------------------------------------------------------------


class Chaos:
    """Random operations below a root, and trees that go out and come back."""

    def __init__(self, root, outside, seed: int) -> None:
        self.root, self.outside = root, outside
        self.random = random.Random(seed)
        self.count = 0

    def step(self) -> None:
        operation = self.random.choice(
            [
                self.make, self.make, self.write, self.write, self.write, self.unlink, self.remove_tree,
                self.rename, self.rename, self.rename, self.swap, self.take_out, self.bring_in, self.remake,
            ]
        )  # fmt: skip
        try:
            operation()
        except OSError:
            return  # an operation that the state of the tree does not allow

    def directory(self):
        everything = [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]
        return self.random.choice(everything)

    def name(self) -> str:
        return self.random.choice("abcd")

    def make(self) -> None:
        grow(self.directory() / self.name(), depth=self.random.randint(0, 1))

    def write(self) -> None:
        self.count += 1
        (self.directory() / f"{self.name()}.bin").write_bytes(b"x" * self.count)

    def unlink(self) -> None:
        (self.directory() / f"{self.name()}.bin").unlink()

    def remove_tree(self) -> None:
        directory = self.directory()
        if directory != self.root:
            shutil.rmtree(directory)

    def rename(self) -> None:
        self.directory().rename(self.directory() / self.name())

    def swap(self) -> None:
        exchange(self.directory(), self.directory())

    def take_out(self) -> None:
        directory = self.directory()
        if directory != self.root:
            directory.rename(self.outside / f"{self.name()}")

    def bring_in(self) -> None:
        (self.outside / self.name()).rename(self.directory() / self.name())

    def remake(self) -> None:
        directory = self.directory()
        if directory != self.root:
            shutil.rmtree(directory)
            grow(directory, depth=1)


@pytest.mark.parametrize("seed", range(int(os.environ.get("WATCH_SEEDS", "40"))))
def test_random_operations_at_any_moment_of_the_worker_lead_to_the_truth(root, outside, worker, seed):
    chaos = Chaos(root, outside, seed)
    worker.settle()
    pauses = random.Random(-seed)
    for _ in range(60):
        chaos.step()
        if pauses.random() < 0.3:
            worker.turn()
    worker.settle()
    for directory, _, _ in os.walk(root):
        (root / directory / "probe").touch()
    worker.settle()
    assert worker.watcher.stats().overflows == 0


@pytest.mark.parametrize("seed", range(int(os.environ.get("WATCH_SEEDS", "10"))))
def test_random_operations_beside_a_running_worker_lead_to_the_truth(root, outside, worker, seed):
    chaos = Chaos(root, outside, seed)

    def operate() -> None:
        for _ in range(200):
            chaos.step()

    writer = threading.Thread(target=operate)
    writer.start()
    while writer.is_alive():
        worker.turn(0.001)
    writer.join()
    worker.settle()
    for directory, _, _ in os.walk(root):
        (root / directory / "probe").touch()
    worker.settle()
    assert worker.model == walk(str(root))
