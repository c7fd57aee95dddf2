"""Watches that another process puts into the watcher's inotify instance, and tells of later."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import until
from watching import FaultyKernel

from scanner.dirty import Dirty, DirtySet
from scanner.inotify import IN_Q_OVERFLOW, Batch, LibcKernel, Special
from scanner.listworker import Watches
from scanner.watch import DirectoryWatcher
from scanner.watchstats import Shared

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


class Other:
    """What another process does for a watcher: it puts watches by the descriptor that it has inherited."""

    def __init__(self, root: Path, watcher: DirectoryWatcher) -> None:
        self.watcher = watcher
        self.watcher.expect(more=True)
        shared = watcher.shared
        assert shared is not None
        self.asked: Shared = shared
        self._watches = Watches(str(root), shared.fd)

    def put(self, *directories: str) -> list[tuple[str, int]]:
        """Watch directories."""
        return [(directory, self._watches.add(directory)) for directory in directories]

    def enter(self, *watches: tuple[str, int]) -> list[str]:
        """Tell of watches; returns what has to be listed again."""
        return self.watcher.enter(watches, self.asked)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with two directories."""
    path = tmp_path / "R"
    for name in ("v", "w"):
        (path / name).mkdir(parents=True)
    return path


@pytest.fixture
def kernel() -> FaultyKernel:
    """The real one, which can be made to refuse."""
    return FaultyKernel()


@pytest.fixture
def dirty() -> DirtySet:
    """What is marked."""
    return DirtySet()


@pytest.fixture
def watcher(root: Path, kernel: FaultyKernel, dirty: DirtySet) -> Iterator[DirectoryWatcher]:
    """A started watcher."""
    made = DirectoryWatcher(dirty, str(root), "inotify", kernel=kernel)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def other(root: Path, watcher: DirectoryWatcher) -> Other:
    """Another process, as far as watches go."""
    return Other(root, watcher)


def in_kernel(watcher: DirectoryWatcher) -> int:
    """How many watches the kernel has for the watcher, told or not."""
    assert watcher._observation is not None
    return len(watcher._observation.instance.watches())


def kept(watcher: DirectoryWatcher) -> int:
    """How many events wait for their watch to be told."""
    return len(watcher._interpreter.unclaimed)


def marked(dirty: DirtySet) -> dict[str, Dirty]:
    """What is dirty now."""
    return {item.directory: item for item in dirty.take(100)}


def test_what_happens_between_the_watch_and_the_telling_is_marked_then(
    root: Path, watcher: DirectoryWatcher, other: Other, dirty: DirtySet
) -> None:
    (watch,) = other.put("v")
    with open(root / "v" / "1.jpg", "wb") as file:
        file.write(b"x")
    (root / "v" / "folder").mkdir()
    until(lambda: kept(watcher) >= 3, "the events are read")
    assert not dirty.pending
    assert not watcher.caught_up(0.0)
    assert other.enter(watch) == []
    item = marked(dirty)["v"]
    assert item.names == {"1.jpg", "folder"}
    assert "1.jpg" in item.settled
    assert watcher.watches("v")
    until(lambda: watcher.caught_up(0.0), "all is marked")
    (root / "v" / "2.jpg").touch()
    until(lambda: dirty.pending, "the directory is watched like any other")


def test_a_directory_that_is_moved_before_it_is_told_leads_to_a_look(
    root: Path, watcher: DirectoryWatcher, other: Other, dirty: DirtySet
) -> None:
    (watch,) = other.put("v")
    (root / "v").rename(root / "x")
    until(lambda: kept(watcher), "the event is read")
    assert other.enter(watch) == []
    hints = marked(dirty)
    assert hints["v"].recursive
    assert hints[""].names == {"v"}


def test_a_watch_that_is_gone_when_it_is_told_is_put_again(
    root: Path, watcher: DirectoryWatcher, other: Other, dirty: DirtySet
) -> None:
    """As if the path it was for before had been forgotten, and the watch removed with it."""
    (watch,) = other.put("v")
    LibcKernel().rm_watch(other.asked.fd, watch[1])
    until(lambda: watcher._interpreter.unclaimed.has_gone(watch[1]), "the kernel tells")
    assert other.enter(watch) == ["v"], "it is watched from now on, and what was seen is older"
    assert watcher.watches("v")
    (root / "v" / "1.jpg").touch()
    until(lambda: dirty.pending, "the directory is watched")
    assert in_kernel(watcher) == 1


def test_a_watch_whose_end_is_read_after_it_was_told_leads_to_a_look(
    root: Path, watcher: DirectoryWatcher, other: Other, dirty: DirtySet, kernel: FaultyKernel
) -> None:
    watcher.add("w")
    kernel.reading.clear()
    (root / "w" / "knock").touch()
    until(kernel.standing.is_set, "the reader stands still")
    (watch,) = other.put("v")
    LibcKernel().rm_watch(other.asked.fd, watch[1])
    assert other.enter(watch) == []
    kernel.reading.set()
    until(lambda: "v" in watcher._registry._adrift, "the end is read")
    assert marked(dirty)["v"].recursive


def test_a_directory_that_is_deleted_before_it_is_told_is_no_watched_one(
    root: Path, watcher: DirectoryWatcher, other: Other
) -> None:
    (watch,) = other.put("v")
    (root / "v").rmdir()
    until(lambda: watcher._interpreter.unclaimed.has_gone(watch[1]), "the kernel tells")
    assert other.enter(watch) == []
    assert not watcher.watches("v")
    assert in_kernel(watcher) == 0


def test_one_directory_under_two_paths_is_listed_again_under_the_second(
    root: Path, watcher: DirectoryWatcher, other: Other, dirty: DirtySet
) -> None:
    """Events between were marked under the first path alone."""
    (root / "again").symlink_to("v")
    first, second = other.put("v", "again")
    assert first[1] == second[1]
    assert other.enter(first) == []
    (root / "v" / "1.jpg").touch()
    until(lambda: dirty.pending, "the event is marked under the path that is known")
    assert other.enter(second) == ["again"]
    dirty.take(9)
    (root / "v" / "2.jpg").touch()
    until(lambda: dirty.directories == 2, "both are marked")


def test_a_path_whose_directory_is_another_now_is_corrected(
    root: Path, watcher: DirectoryWatcher, other: Other
) -> None:
    """It moved, and its new path was told first; what was seen under the old one is not what is there."""
    (old,) = other.put("v")
    (root / "v").rename(root / "x")
    (new,) = other.put("x")
    assert old[1] == new[1]
    other.enter(new)
    assert other.enter(old) == []
    assert not watcher.watches("v")
    watcher.forget("v")
    assert in_kernel(watcher) == int(watcher.watches("x"))


def test_what_is_known_already_is_told_again_without_ado(
    watcher: DirectoryWatcher, other: Other, dirty: DirtySet
) -> None:
    watcher.add("v")
    assert other.enter(*other.put("v")) == []
    assert not dirty.pending
    assert watcher.stats().watched == 1


def test_a_refused_watch_is_asked_for_once_more_and_polled(
    watcher: DirectoryWatcher, other: Other, kernel: FaultyKernel
) -> None:
    kernel.refuse = lambda path: errno.ENOSPC
    assert other.enter(("v", -errno.ENOSPC), ("w", -errno.ENOSPC)) == []
    assert watcher.stats().reasons == {"ENOSPC": 2}
    kernel.refuse = lambda path: 0
    assert other.enter(("v", -errno.ENOSPC)) == ["v"], "a look from before the watch is not enough"
    assert watcher.watches("v")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EBADF])
def test_any_other_refusal_leads_to_an_own_watch(
    watcher: DirectoryWatcher, other: Other, number: int
) -> None:
    assert other.enter(("v", -number)) == ["v"]
    assert watcher.watches("v")


def test_what_is_not_there_is_kept_in_mind(watcher: DirectoryWatcher, other: Other) -> None:
    (watch,) = other.put("none")
    assert watch == ("none", -errno.ENOENT)
    assert other.enter(watch) == []
    assert watcher.stats().needed == 1
    watcher.forget("none")
    assert watcher.stats().needed == 0


def test_where_nothing_tells_what_was_not_watched_is_polled(root: Path, dirty: DirtySet) -> None:
    for options in ({"mode": "polling"}, {"mode": "auto", "has_events": lambda path: (False, "nfs")}):
        watcher = DirectoryWatcher(dirty, str(root), **options)  # type: ignore[arg-type]
        watcher.start()
        assert watcher.enter([("v", 0)], None) == []
        assert watcher.stats().polled == 1
        watcher.stop()


def test_where_something_tells_what_was_not_watched_is_listed_again(root: Path, dirty: DirtySet) -> None:
    """A file system of another kind is mounted below one that tells nothing."""
    watcher = DirectoryWatcher(dirty, str(root), "auto", has_events=lambda path: (path.endswith("v"), "nfs"))
    watcher.start()
    assert watcher.enter([("v", 0), ("w", 0)], None) == ["v"]
    watcher.stop()


def lose_by_overflow(watcher: DirectoryWatcher, root: Path) -> None:
    """As the kernel says it."""
    watcher._interpreter.handle(Batch({}, [Special(-1, IN_Q_OVERFLOW, b"")]))


def lose_by_fault(watcher: DirectoryWatcher, root: Path) -> None:
    """As the reader says it."""
    watcher._interpreter.lost()


def lose_by_number(watcher: DirectoryWatcher, root: Path) -> None:
    """More happens than is kept."""
    watcher._interpreter.unclaimed._limit = 10
    for number in range(30):
        (root / "w" / f"{number}.jpg").touch()
    until(lambda: watcher._interpreter.unclaimed.epoch, "events are dropped")


@pytest.mark.parametrize("lose", [lose_by_overflow, lose_by_fault, lose_by_number])
def test_what_was_asked_for_before_events_were_lost_is_listed_again(
    root: Path, watcher: DirectoryWatcher, other: Other, lose: Callable[[DirectoryWatcher, Path], None]
) -> None:
    """The end of a watch may be among them. What is asked for afterwards is as good as ever."""
    watches = other.put("v", "w")
    lose(watcher, root)
    assert other.enter(*watches) == ["v", "w"]
    assert watcher.watches("v")
    assert watcher.watches("w")
    later = Other(root, watcher)
    assert later.enter(*later.put("v", "w")) == []
    assert in_kernel(watcher) == 2


def test_watches_of_another_instance_are_not_taken_for_those_of_this(
    root: Path, watcher: DirectoryWatcher, other: Other, kernel: FaultyKernel, dirty: DirtySet
) -> None:
    watcher.add("w")
    watches = other.put("v")
    kernel.read_errors = [OSError(errno.EIO, "read")] * 10
    (root / "w" / "knock").touch()
    until(lambda: not watcher.stats().reader_alive, "the reader gives up")
    kernel.read_errors = []
    assert watcher.retry_polled() == ["w"]
    assert other.enter(*watches) == ["v"]
    other.watcher.drop([1, 2, 3], other.asked)
    assert in_kernel(watcher) == 2
    assert watcher.watches("w")
    assert watcher.watches("v")


def test_what_is_not_used_leaves_no_watch_behind(watcher: DirectoryWatcher, other: Other) -> None:
    watcher.add("w")
    wds = [wd for _, wd in other.put("v", "w", "none")]
    assert in_kernel(watcher) == 2
    watcher.drop(wds, other.asked)
    assert in_kernel(watcher) == 1
    assert watcher.watches("w")
    watcher.drop(wds, other.asked)
    assert in_kernel(watcher) == 1


def test_what_nobody_tells_any_more_is_removed_when_nothing_is_expected(
    root: Path, tmp_path: Path, watcher: DirectoryWatcher, other: Other, dirty: DirtySet
) -> None:
    """The process was killed, and a directory that it had watched is elsewhere."""
    watcher.add("w")
    other.put("v")
    (root / "v").rename(tmp_path / "elsewhere")
    watcher.expect_strays()
    watcher.expect(more=True)
    assert in_kernel(watcher) == 2, "others may tell of it yet"
    watcher.expect(more=False)
    assert in_kernel(watcher) == 1
    (root / "w" / "1.jpg").touch()
    until(lambda: dirty.pending, "the other is watched as before")


def test_a_watcher_that_has_stopped_shares_nothing(
    root: Path, watcher: DirectoryWatcher, other: Other
) -> None:
    watches = other.put("v")
    watcher.stop()
    assert watcher.shared is None
    assert other.enter(*watches) == []
    watcher.drop([1], other.asked)
    watcher.expect(more=False)
