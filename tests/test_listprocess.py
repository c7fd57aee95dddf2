"""The listing process: what is asked comes back, whatever becomes of the process."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import shutil
import signal
import termios
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from parcels import TERMS
from waiting import until

from scanner import listprocess
from scanner.dirty import DirtySet
from scanner.listing import Gone, Lister, Listing, Unreadable
from scanner.listprocess import ListingProcess, Wanted
from scanner.listworker import FAMILY, WATCH
from scanner.seen import Same, Seen
from scanner.watch import DirectoryWatcher
from scanner.worklist import Task

DEADLINE = 30.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with three small directories."""
    for name in ("a", "b", "c"):
        (tmp_path / "frames" / name).mkdir(parents=True)
        (tmp_path / "frames" / name / "1.jpg").write_bytes(name.encode())
    return tmp_path


@pytest.fixture
def watcher(root: Path) -> Iterator[DirectoryWatcher]:
    """A watcher of it."""
    made = DirectoryWatcher(DirtySet(), str(root), "inotify")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def process(root: Path, watcher: DirectoryWatcher) -> Iterator[ListingProcess]:
    """A listing process for it."""
    lister = Lister(str(root), ["*.tmp"])
    lister.use_roots(["frames"])
    made = ListingProcess(lister, watcher, lambda: TERMS)
    yield made
    made.close()


def tasks(*directories: str) -> list[Wanted]:
    """Requests for whole directories of which nothing is known."""
    return [Wanted(Task(directory, recursive=True)) for directory in directories]


def collect(process: ListingProcess, done: Callable[[list[Seen]], bool]) -> list[Seen]:
    """Receive until a condition holds for all that has come."""
    seen: list[Seen] = []
    end = time.monotonic() + DEADLINE
    while not done(seen):
        assert time.monotonic() < end, f"only {len(seen)} came, {len(process)} are on their way"
        seen += process.receive(0.1)
    return seen


def everything(process: ListingProcess) -> list[Seen]:
    """All that is on its way."""
    return collect(process, lambda _: not len(process))


def kill(process: ListingProcess) -> None:
    """End the process as the system does when memory is short, and wait until it has ended."""
    (pid,) = process.pids()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def take_lost(process: ListingProcess) -> set[str]:
    """What the process took with it, once that has been noticed."""
    lost: set[str] = set()
    end = time.monotonic() + DEADLINE
    while not lost:
        assert time.monotonic() < end
        process.receive(0.05)
        lost |= {task.directory for task in process.lost()}
    return lost


def waiting_bytes(process: ListingProcess) -> int:
    """How much the process has written that has not been read."""
    assert process._process is not None
    assert process._process.stdout is not None
    count = array.array("i", [0])
    fcntl.ioctl(process._process.stdout.fileno(), termios.FIONREAD, count)
    return count[0]


def names(seen: Iterable[Seen]) -> set[str]:
    """The directories that were listed."""
    return {one.look.directory for one in seen}


def test_what_is_asked_for_is_answered_as_a_lister_does(process: ListingProcess, root: Path) -> None:
    process.send(tasks("frames/a", "frames/none"))
    listed, gone = (one.look for one in everything(process))
    assert isinstance(listed, Listing)
    assert isinstance(gone, Gone)
    lister = Lister(str(root), [])
    direct = lister.look("frames/a")
    assert isinstance(direct, Listing)
    assert (listed.files, listed.inode, listed.mtime_ns) == (direct.files, direct.inode, direct.mtime_ns)
    assert listed.fingerprint
    assert listed.seen_ns


def test_the_task_comes_back_with_the_look(process: ListingProcess) -> None:
    task = Task("frames/a", recursive=True, told=False, found=True)
    process.send([Wanted(task)])
    assert [one.task for one in everything(process)] == [task]


def test_what_shows_the_same_is_said_to_be_the_same(process: ListingProcess, root: Path) -> None:
    process.send(tasks("frames/a"))
    (seen,) = everything(process)
    assert isinstance(seen.look, Listing)
    fingerprint = seen.look.fingerprint
    process.send([Wanted(Task("frames/a"), fingerprint)])
    (seen,) = everything(process)
    assert seen.look == Same("frames/a", seen.look.device, seen.look.inode, seen.look.mtime_ns)  # type: ignore[union-attr]
    (root / "frames" / "a" / "1.jpg").write_bytes(b"b")
    process.send([Wanted(Task("frames/a"), fingerprint)])
    (seen,) = everything(process)
    assert isinstance(seen.look, Listing)


def test_several_small_answers_are_all_received(process: ListingProcess) -> None:
    """They arrive together, and the second must not wait for a third to come."""
    before = 0
    for name in ("a", "b", "c"):
        process.send(tasks(f"frames/{name}"))
        until(lambda before=before: waiting_bytes(process) > before, "an answer is written")  # type: ignore[misc]
        before = waiting_bytes(process)
    assert names(everything(process)) == {"frames/a", "frames/b", "frames/c"}


def test_a_killed_process_gives_back_what_it_was_asked_for(process: ListingProcess) -> None:
    process.send(tasks("frames/a"))
    everything(process)
    os.kill(process.pids()[0], signal.SIGSTOP)  # so that it answers nothing
    process.send(tasks("frames/a", "frames/b"))
    kill(process)
    assert take_lost(process) == {"frames/a", "frames/b"}
    assert not len(process)
    assert process.usable


def test_what_was_lost_comes_back_also_where_more_is_sent_first(process: ListingProcess) -> None:
    """The death is noticed by writing, and the next request starts a new process."""
    process.send(tasks("frames/a"))
    everything(process)
    os.kill(process.pids()[0], signal.SIGSTOP)
    process.send(tasks("frames/a"))
    kill(process)
    process.send(tasks("frames/b"))
    process.send(tasks("frames/c"))
    came: set[str] = set()
    end = time.monotonic() + DEADLINE
    while came != {"frames/a", "frames/b", "frames/c"}:
        assert time.monotonic() < end, came
        came |= names(process.receive(0.05))
        came |= {task.directory for task in process.lost()}
    assert not len(process)


def test_after_a_few_deaths_it_is_not_usable(process: ListingProcess) -> None:
    for _ in range(listprocess.RESTARTS):
        assert process.usable
        process.send(tasks("frames/a"))
        kill(process)
        collect(process, lambda _: not process.pids())
        process.lost()
    assert not process.usable
    assert not process.has_room
    assert not len(process)


def test_a_process_that_cannot_be_started_counts_as_dead(
    process: ListingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listprocess.sys, "executable", "/nonexistent/python")
    process.send(tasks("frames/a"))
    assert [task.directory for task in process.lost()] == ["frames/a"]
    assert not process.pids()


def test_what_lies_where_the_sidecar_was_started_is_not_taken_for_a_module(
    process: ListingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's own ``struct.py``, or the folder ``scanner`` of another project."""
    for name in ("struct.py", "scanner/__init__.py", "scanner/listworker.py"):
        (tmp_path / "elsewhere" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "elsewhere" / name).write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path / "elsewhere")
    process.send(tasks("frames/a"))
    assert names(everything(process)) == {"frames/a"}
    assert not process.lost()


def test_what_is_overtaken_is_left_out(process: ListingProcess) -> None:
    process.send(tasks("frames/a", "frames/b"))
    assert process.overtake("frames/a") == Task("frames/a", recursive=True)
    assert process.overtake("frames/a") is None
    assert "frames/a" not in process
    assert names(everything(process)) == {"frames/b"}


def test_of_two_requests_for_one_directory_the_later_one_counts(process: ListingProcess, root: Path) -> None:
    process.send(tasks("frames/a"))
    os.kill(process.pids()[0], signal.SIGSTOP)
    process.send(tasks("frames/a", "frames/b"))
    (root / "frames" / "a" / "2.jpg").write_bytes(b"new")
    os.kill(process.pids()[0], signal.SIGCONT)
    seen = everything(process)
    assert [one.look.directory for one in seen] == ["frames/a", "frames/b"]


def test_what_lies_below_a_directory_that_is_gone_is_left_out(process: ListingProcess) -> None:
    process.send(tasks("frames/a", "frames/b", "frames"))
    assert set(process.overtake_below("frames/a")) == {"frames/a"}
    assert set(process.overtake_below("frame")) == set()
    assert names(everything(process)) == {"frames/b", "frames"}


def test_closing_twice_and_using_it_again_works(process: ListingProcess) -> None:
    process.send(tasks("frames/a"))
    process.close()
    process.close()
    assert not len(process)
    assert process.lost() == []
    process.send(tasks("frames/b"))
    assert names(everything(process)) == {"frames/b"}


def test_any_name_survives_the_way(root: Path, process: ListingProcess) -> None:
    odd = ["new\nline.jpg", "quo'te\".jpg", "gối 🦆.jpg", "tab\t.jpg", " .jpg", "\\.jpg", "\x7f\x01.jpg"]
    folder = root / "frames" / "odd\n🦆'\""
    folder.mkdir()
    for name in odd:
        (folder / name).write_bytes(b"x")
    (folder / "sub\ndir").mkdir()
    (folder / "skip.tmp").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.jpg")).write_bytes(b"x")
    process.send(tasks("frames/odd\n🦆'\""))
    (seen,) = everything(process)
    assert isinstance(seen.look, Listing)
    assert set(seen.look.files) == set(odd)
    assert list(seen.look.directories) == ["sub\ndir"]
    assert seen.look.skipped == 1


def test_requests_and_answers_larger_than_any_pipe_do_not_lock_up(
    root: Path, process: ListingProcess
) -> None:
    """Answers that nobody reads yet must not keep the process from reading the next request."""
    for n in range(1000):
        (root / "frames" / "a" / f"{n:06}-{'x' * 100}.jpg").touch()
    process.send(tasks("frames/a"))  # an answer of more than a pipe holds
    until(lambda: waiting_bytes(process) >= 60_000, "the pipe is full")
    long = "/".join(["d" * 200] * 20)  # 4,019 bytes
    process.send(tasks(*(f"frames/{long}{n:03}" for n in range(250))))  # a request of a megabyte
    seen = everything(process)
    assert len(seen) == 251
    assert isinstance(seen[0].look, Listing)
    assert len(seen[0].look.files) == 1001


def test_a_symlinked_root_is_followed_and_one_that_comes_later_too(
    root: Path, process: ListingProcess
) -> None:
    process.send(tasks("frames/a"))
    everything(process)
    elsewhere = root / "elsewhere"
    (elsewhere / "p").mkdir(parents=True)
    (elsewhere / "0.jpg").write_bytes(b"0")
    (root / "products").symlink_to("elsewhere")
    process.send(tasks("products"))
    assert isinstance(everything(process)[0].look, Gone), "it is no root yet"
    process._lister.use_roots(["frames", "products"])
    process.send(tasks("products"))
    (seen,) = everything(process)
    assert isinstance(seen.look, Listing)
    assert (list(seen.look.files), list(seen.look.directories)) == (["0.jpg"], ["p"])


def test_what_cannot_be_read_is_said_with_its_errno(root: Path, process: ListingProcess) -> None:
    """A loop of symlinks is an error that every user meets, root included."""
    (root / "frames" / "loop").symlink_to("loop")
    process.send(tasks("frames/loop/x", "frames/a"))
    unreadable, fine = (one.look for one in everything(process))
    assert unreadable == Unreadable("frames/loop/x", errno.ELOOP)
    assert isinstance(fine, Listing)


def test_a_directory_that_vanishes_is_gone(root: Path, process: ListingProcess) -> None:
    process.send(tasks("frames/a"))
    everything(process)
    os.kill(process.pids()[0], signal.SIGSTOP)
    process.send(tasks("frames/a", "frames/b"))
    shutil.rmtree(root / "frames" / "a")
    os.kill(process.pids()[0], signal.SIGCONT)
    gone, there = (one.look for one in everything(process))
    assert gone == Gone("frames/a")
    assert isinstance(there, Listing)


def test_there_is_room_for_some_batches_and_not_for_more(process: ListingProcess) -> None:
    process.send(tasks("frames/a"))
    everything(process)
    os.kill(process.pids()[0], signal.SIGSTOP)
    sent = 0
    while process.has_room:
        process.send(tasks(*(f"frames/{sent}-{n}" for n in range(listprocess.BATCH))))
        sent += listprocess.BATCH
        assert sent <= listprocess.IN_FLIGHT
    os.kill(process.pids()[0], signal.SIGCONT)
    assert len(everything(process)) == sent
    assert process.has_room


@pytest.fixture
def family(root: Path) -> list[str]:
    """A directory of the data root with a file and three folders, each of a file."""
    for name in ("0", "1", "2"):
        (root / "frames" / "a" / name).mkdir()
        (root / "frames" / "a" / name / "seg.png").write_bytes(b"x")
    return ["frames/a", *(f"frames/a/{name}" for name in ("0", "1", "2"))]


FAMILY_OF_A = Wanted(Task("frames/a", recursive=True, found=True), how=WATCH | FAMILY)


def in_kernel(watcher: DirectoryWatcher) -> int:
    """How many watches there are, told or not."""
    assert watcher._observation is not None
    return len(watcher._observation.instance.watches())


def test_a_family_comes_in_one_piece_and_watched(
    root: Path, process: ListingProcess, watcher: DirectoryWatcher, family: list[str]
) -> None:
    process.send([FAMILY_OF_A])
    (seen,) = everything(process)
    directories = [look.directory for look, _ in seen.each()]
    assert (directories[0], sorted(directories)) == ("frames/a", family)
    assert all(isinstance(look, Listing) and len(look.files) == 1 for look, _ in seen.each())
    assert [task for _, task in seen.each()] == [
        FAMILY_OF_A.task._replace(directory=directory) for directory in directories
    ]
    assert not seen.again
    assert all(watcher.watches(directory) for directory in family)
    assert in_kernel(watcher) == 4
    (root / "frames" / "a" / "1" / "emb.json").write_bytes(b"x")
    until(lambda: watcher._dirty.pending, "an event of a folder is told")


def test_what_happens_on_the_way_is_marked_when_the_answer_comes(
    root: Path, process: ListingProcess, watcher: DirectoryWatcher, family: list[str]
) -> None:
    watcher.add("frames")
    process.send([FAMILY_OF_A])
    until(lambda: in_kernel(watcher) == 5, "all are watched")
    until(lambda: waiting_bytes(process), "all are listed")
    (root / "frames" / "a" / "2" / "emb.json").write_bytes(b"x")
    until(lambda: len(watcher._interpreter.unclaimed), "an event of an unknown watch is read")
    everything(process)
    until(lambda: watcher.caught_up(0.0), "all is marked")
    assert "frames/a/2" in {item.directory for item in watcher._dirty.take(9)}


def test_a_family_that_need_not_be_watched_is_left_to_the_watcher(root: Path, family: list[str]) -> None:
    """Where nothing tells of changes each of its folders is polled."""
    watcher = DirectoryWatcher(DirtySet(), str(root), "polling")
    lister = Lister(str(root), [])
    lister.use_roots(["frames"])
    process = ListingProcess(lister, watcher, lambda: TERMS)
    watcher.add("frames/a")
    process.send([FAMILY_OF_A._replace(how=FAMILY)])
    (seen,) = everything(process)
    assert len(seen.below) == 3
    assert not seen.again
    assert watcher.polled() == frozenset(family)
    process.close()


def test_an_overtaken_family_leaves_no_watch_behind(
    process: ListingProcess, watcher: DirectoryWatcher, family: list[str]
) -> None:
    process.send([FAMILY_OF_A])
    process.overtake("frames/a")
    assert len(process), "its watches have still to be told"
    until(lambda: in_kernel(watcher) == 4, "all are watched")
    assert everything(process) == []
    assert in_kernel(watcher) == 0
    assert not process.unanswered


def test_a_killed_process_leaves_no_watch_behind(
    root: Path, process: ListingProcess, watcher: DirectoryWatcher, family: list[str]
) -> None:
    process.send([FAMILY_OF_A])
    until(lambda: in_kernel(watcher) == 4, "all are watched")
    os.rename(root / "frames" / "a" / "0", root / "elsewhere")
    kill(process)
    process._frames = listprocess.Frames()
    assert process._process is not None
    assert process._process.stdout is not None
    os.read(process._process.stdout.fileno(), 1 << 20)  # what it had written is lost with it
    assert take_lost(process) == {"frames/a"}
    process.send([FAMILY_OF_A])
    (seen,) = everything(process)
    assert len(seen.below) == 2
    watcher.expect(more=False)
    assert in_kernel(watcher) == 3
    assert all(watcher.watches(look.directory) for look, _ in seen.each())


def test_a_process_that_has_another_instance_is_replaced(
    process: ListingProcess, watcher: DirectoryWatcher, family: list[str]
) -> None:
    """The reader had died, and was started again with an instance of its own."""
    process.send([FAMILY_OF_A])
    everything(process)
    (before,) = process.pids()
    os.kill(before, signal.SIGSTOP)
    process.send(tasks("frames/b"))
    watcher.stop()
    watcher.start()
    process.send([FAMILY_OF_A])
    (after,) = process.pids()
    assert before != after
    assert [task.directory for task in process.lost()] == ["frames/b"]
    (seen,) = everything(process)
    assert not seen.again
    assert process.usable
    assert all(watcher.watches(directory) for directory in family)
    assert in_kernel(watcher) == 4


def test_a_process_that_was_started_without_an_instance_gets_one(
    root: Path, watcher: DirectoryWatcher, process: ListingProcess, family: list[str]
) -> None:
    watcher.stop()
    process.send(tasks("frames/b"))
    everything(process)
    watcher.start()
    process.send([FAMILY_OF_A])
    everything(process)
    assert in_kernel(watcher) == 4


def test_an_answer_of_several_parts_comes_whole(root: Path, process: ListingProcess) -> None:
    for name in ("a", "b", "c"):
        for number in range(1500):
            (root / "frames" / name / f"{number:06}.jpg").touch()
    process.send(tasks("frames/a", "frames/b", "frames/c"))
    first = process.receive(DEADLINE)
    assert [one.look.directory for one in first] == ["frames/a", "frames/b"]
    assert process.unanswered
    assert names(everything(process)) == {"frames/c"}
    assert not process.unanswered


def test_a_family_counts_for_as_much_as_families_of_late(process: ListingProcess, family: list[str]) -> None:
    process.send([FAMILY_OF_A, *tasks("frames/b")])
    assert process.load == listprocess.FAMILY_WEIGHT + 1
    everything(process)
    assert process.load == 0
    for _ in range(30):
        process.send([FAMILY_OF_A])
        everything(process)
    assert process.weight(FAMILY_OF_A) == len(family)
    for _ in range(30):
        process.send([Wanted(Task("frames/b", recursive=True), how=FAMILY)])
        everything(process)
    assert process.weight(FAMILY_OF_A) == 1


def test_the_process_ends_by_itself_when_its_owner_has_gone(root: Path, watcher: DirectoryWatcher) -> None:
    """A scanner that is killed closes nothing in order."""
    lister = Lister(str(root), [])
    lister.use_roots(["frames"])
    process = ListingProcess(lister, watcher, lambda: TERMS)
    process.send(tasks("frames/a"))
    everything(process)
    popen = process._process
    assert popen is not None
    assert popen.stdin is not None
    popen.stdin.close()
    assert popen.wait(DEADLINE) == 0
    process.close()
