"""Full passes: they find whatever no event told of, and what is the same changes nothing.

Here the watcher is deaf, sweeps are switched off, and a pass begins when it is told to.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from reconciling import drive, indexed, running, settle, walk
from test_crawling import NEVER, Delayed, calm, folders, known, process_of

from scanner import crawl, emitter, portions, sweeper, worker
from scanner.listing import Lister, Look, Unreadable
from scanner.settling import Settling
from scanner.worker import Worker

QUIET = {**NEVER, "SIDECAR_SCAN__POLLING_SECONDS": "3600"}
Change = Callable[[Path], object]


@pytest.fixture(params=["by the process", "by the worker"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """A data root with a video of some frames, a place for the index, and who lists."""
    monkeypatch.setattr(crawl, "MANY", 1 if request.param == "by the process" else 10**9)
    monkeypatch.setattr(sweeper, "SWEEP_SECONDS", 86400.0)
    return populated(tmp_path)


def populated(tmp_path: Path) -> tuple[Path, Path]:
    """The data root, and where the index lies."""
    data, state = tmp_path / "data", tmp_path / "state"
    for frame in range(4):
        (data / "frames" / "v" / f"{frame:06}").mkdir(parents=True)
        (data / "frames" / "v" / f"{frame:06}.jpg").write_bytes(b"image")
        (data / "frames" / "v" / f"{frame:06}" / "seg.png").write_bytes(b"mask")
    (data / "products").mkdir()
    state.mkdir()
    return data, state


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event is ever heard."""
    monkeypatch.setattr(emitter.Interpreter, "handle", lambda self, batch: None)


def pass_over(working: Worker) -> None:
    """One full pass, and whatever it leaves to be looked at once more."""
    working.begin_pass()
    drive(working, lambda: calm(working))


def ctimes(working: Worker, data: Path) -> bool:
    """Whether the index has the ctime of every file."""
    rows = working.index.db.execute("SELECT path, name, f.ctime FROM files f JOIN dirs USING(dir)")
    return all(os.stat(data / path / name).st_ctime_ns == ctime for path, name, ctime in rows)


def rewrite(file: Path) -> None:
    """Other content of the same size in place, the mtime set back."""
    status = os.stat(file)
    file.write_bytes(b"IMAGE")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(file: Path) -> None:
    """Another file in its place, of the same size and mtime."""
    status = os.stat(file)
    (file.parent / "x.tmp").write_bytes(b"IMAGE")
    os.utime(file.parent / "x.tmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.rename(file.parent / "x.tmp", file)


def replace_directory(folder: Path) -> None:
    """Another directory in its place that holds the very same files."""
    other = folder.parent / "other.tmp"
    other.mkdir()
    for name in os.listdir(folder):
        os.rename(folder / name, other / name)
    folder.rmdir()
    os.rename(other, folder)


CHANGES: dict[str, Change] = {
    "rewritten in place": lambda v: rewrite(v / "000001.jpg"),
    "replaced": lambda v: replace(v / "000001.jpg"),
    "a mask replaced": lambda v: replace(v / "000001" / "seg.png"),
    "added": lambda v: (v / "000009.jpg").write_bytes(b"image"),
    "removed": lambda v: (v / "000009.jpg").unlink(),
    "added and removed": lambda v: ((v / "x.jpg").touch(), (v / "x.jpg").unlink()),
    "chmod": lambda v: os.chmod(v / "000001.jpg", 0o600),
    "a folder added": lambda v: (v / "000008" / "deep").mkdir(parents=True),
    "a file in the folder": lambda v: (v / "000008" / "deep" / "x.png").write_bytes(b"x"),
    "a folder moved": lambda v: os.rename(v / "000008", v / "000003" / "moved"),
    "a folder removed": lambda v: shutil.rmtree(v / "000003"),
    "a name changed": lambda v: os.rename(v / "000002.jpg", v / "000007.jpg"),
    "names exchanged": lambda v: (
        os.rename(v / "000001.jpg", v / "x"),
        os.rename(v / "000000.jpg", v / "000001.jpg"),
        os.rename(v / "x", v / "000000.jpg"),
    ),
    "an mtime set back": lambda v: os.utime(v / "000001.jpg", ns=(1, 1)),
    "emptied": lambda v: os.truncate(v / "000001.jpg", 0),
    "a file in place of a folder": lambda v: (shutil.rmtree(v / "000002"), (v / "000002").write_bytes(b"x")),
    "a folder in place of a file": lambda v: ((v / "000002").unlink(), (v / "000002").mkdir()),
    "a directory replaced": lambda v: replace_directory(v / "000001"),
    "a file in the replaced one": lambda v: (v / "000001" / "kp.bin").write_bytes(b"x"),
    "a symlink added": lambda v: (v / "link.jpg").symlink_to("000001.jpg"),
    "everything removed": shutil.rmtree,
    "everything made again": lambda v: (v.mkdir(), (v / "000001.jpg").write_bytes(b"image")),
}


def test_a_pass_finds_whatever_no_event_told_of(world: tuple[Path, Path], deaf: None) -> None:
    data, state = world
    with running(data, state, **QUIET) as working:
        pass_over(working)
        for name, change in CHANGES.items():
            change(data / "frames" / "v")
            pass_over(working)
            assert indexed(working.index) == walk(data), name
            assert known(working) == folders(data), name
            assert ctimes(working, data), name


def test_a_pass_over_what_is_the_same_changes_nothing(world: tuple[Path, Path], deaf: None) -> None:
    data, state = world
    with running(data, state, **QUIET) as working:
        pass_over(working)  # the first one that meets every folder in the index
        revision, changes = working.index.revision, working.index.db.total_changes()
        pass_over(working)
        assert working.pass_files == 8
        assert working.index.revision == revision
        assert working.index.db.total_changes() == changes


def test_a_folder_that_an_event_removed_and_that_is_there_again_is_found(
    world: tuple[Path, Path], deaf: None
) -> None:
    """It is as it was when its parent was last listed as a whole."""
    data, state = world
    with running(data, state, **QUIET) as working:
        pass_over(working)
        os.rename(data / "frames" / "v" / "000001", data / "away")
        working.dirty.mark("frames/v", "000001")
        drive(working, lambda: calm(working))
        assert "frames/v/000001" not in known(working)
        os.rename(data / "away", data / "frames" / "v" / "000001")
        pass_over(working)
        assert indexed(working.index) == walk(data)


def test_a_young_file_that_was_held_is_found_by_a_later_pass_too(
    world: tuple[Path, Path], deaf: None
) -> None:
    data, state = world
    with running(data, state, **QUIET) as working:
        pass_over(working)
        (data / "frames" / "v" / "000005.jpg").write_bytes(b"young")
        working.looker.settling = Settling(60.0)
        working.begin_pass()
        drive(working, lambda: not working.pass_running)
        assert working.looker.settling.paths() == {"frames/v/000005.jpg"}
        working.looker.settling = Settling(0.02)  # as if the scanner had ended here
        pass_over(working)
        settle(working, data)


# --- a scanner that has ended in the midst ------------------------------------------------------------


def a_child_is_missing(data: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scanner that was killed when a directory was in the index, and a new folder of it was not."""
    monkeypatch.setattr(crawl, "MANY", 1)
    monkeypatch.setattr(sweeper, "SWEEP_SECONDS", 86400.0)
    monkeypatch.setattr(crawl, "ListingPool", Delayed)
    with running(data, state, **QUIET) as working:
        pass_over(working)
        (data / "frames" / "w" / "1").mkdir(parents=True)
        (data / "frames" / "w" / "1" / "seg.png").write_bytes(b"mask")
        process_of(working).allowed = 0
        working.begin_pass()
        while "frames/w" not in known(working):
            process_of(working).allowed = 1
            working.step()
        assert "frames/w/1" not in known(working)


def test_a_new_folder_is_found_after_a_kill_before_it_was_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: None
) -> None:
    data, state = populated(tmp_path)
    a_child_is_missing(data, state, monkeypatch)
    with running(data, state, **QUIET) as working:
        drive(working, lambda: calm(working))
        assert indexed(working.index) == walk(data)


def test_a_folder_that_could_not_be_read_is_found_by_the_next_scanner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: None
) -> None:
    data, state = populated(tmp_path)
    monkeypatch.setattr(crawl, "MANY", 1)
    monkeypatch.setattr(crawl, "ListingPool", Delayed)
    look = Lister.look

    def fails(self: Lister, directory: str, names: frozenset[str] | None = None) -> Look:
        if directory == "frames/v/000001":
            return Unreadable(directory, errno.EACCES)
        return look(self, directory, names)

    with monkeypatch.context() as patch:
        patch.setattr(Lister, "look", fails)
        with running(data, state, **QUIET) as working:
            pass_over(working)
            assert working.unreadable == {"frames/v/000001": errno.EACCES}
    with running(data, state, **QUIET) as working:
        drive(working, lambda: calm(working))
        assert indexed(working.index) == walk(data)


CHILD = """
import os, queue, sys
from pathlib import Path
from scanner import crawl, worker
from scanner.config import load_config
from scanner.index import Index
from scanner.rows import PollDone
from scanner.settling import Settling
from scanner.worker import Worker

crawl.MANY = 1
worker.STEP_SECONDS = 0.002
config = load_config(environ=dict(os.environ), cwd=sys.argv[1])
working = Worker(config, Index(sys.argv[1] + "/index.db", config), queue.Queue())
working.start()
working.rows.put(PollDone(full=True))
told = False
while True:
    if working.ready and not told and not working.pass_running:
        told = True
        print("ready", flush=True)
        sys.stdin.readline()
        working.begin_pass()
    before = working.listed
    if (idle := working.step()) > 0:
        working.dirty.wait(idle)
    if working.listed > before and working.pass_running:
        print("listed", working.listed, flush=True)
"""


@pytest.fixture
def scanner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A scanner in a process of its own, over a tree of some hundred directories."""
    data, state = tmp_path / "data", tmp_path / "state"
    for video in range(12):
        for frame in range(40):
            (data / "frames" / f"v{video}" / f"{frame:06}").mkdir(parents=True)
            (data / "frames" / f"v{video}" / f"{frame:06}" / "seg.png").write_bytes(b"mask")
            (data / "frames" / f"v{video}" / f"{frame:06}.jpg").write_bytes(b"image")
    (data / "products").mkdir()
    state.mkdir()
    environ = {**os.environ, **QUIET, "SIDECAR_DATA__ROOT": str(data), "SIDECAR_VERIFY__CONTENT": "false"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(state)], stdin=pipe, stdout=pipe, text=True, env=environ
    )
    yield process
    process.kill()
    process.communicate()


def wait_for_line(process: subprocess.Popen[str], start: str) -> None:
    """Until the process has said so."""
    assert process.stdout is not None
    assert any(line.startswith(start) for line in process.stdout), f"it ended before it was {start}"


def taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another scanner takes the index over and agrees with the disk; nothing but its pass can tell."""
    monkeypatch.setattr(sweeper, "SWEEP_SECONDS", 86400.0)
    data = tmp_path / "data"
    with running(data, tmp_path / "state", **QUIET) as working:
        drive(working, lambda: calm(working))
        settle(working, data)
        assert known(working) == folders(data)


def test_an_index_is_taken_over_after_a_kill_in_the_first_crawl(
    tmp_path: Path, scanner: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_line(scanner, "listed")
    scanner.send_signal(signal.SIGKILL)
    scanner.wait()
    (tmp_path / "data" / "frames" / "v3" / "000001.jpg").unlink()
    taken_over(tmp_path, monkeypatch)


def test_an_index_is_taken_over_after_a_kill_in_a_pass(
    tmp_path: Path, scanner: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_line(scanner, "ready")
    frames = tmp_path / "data" / "frames"
    for number in range(4):
        shutil.copytree(frames / "v1", frames / f"v0{number}")
    shutil.rmtree(frames / "v2")
    os.rename(frames / "v4" / "000001", frames / "v5" / "moved")
    assert scanner.stdin is not None
    scanner.stdin.write("go\n")
    scanner.stdin.flush()
    wait_for_line(scanner, "listed")
    scanner.send_signal(signal.SIGKILL)
    scanner.wait()
    taken_over(tmp_path, monkeypatch)


# --- an index that is full now and then ----------------------------------------------------------------


@pytest.mark.parametrize("every", [2, 3, 5, 11])
def test_an_index_that_is_full_in_the_midst_of_a_batch_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: None, every: int
) -> None:
    data, state = populated(tmp_path)
    monkeypatch.setattr(crawl, "MANY", 1)
    monkeypatch.setattr(crawl, "ListingPool", Delayed)
    monkeypatch.setattr(portions, "LARGE", 12)
    monkeypatch.setattr(portions, "PORTION", 4)
    monkeypatch.setattr(worker, "FULL_SECONDS", 0.0)
    monkeypatch.setattr(sweeper, "SWEEP_SECONDS", 86400.0)
    with running(data, state, **QUIET) as working:
        for number in range(5):
            shutil.copytree(data / "frames" / "v", data / "frames" / f"w{number}")
        for number in range(30):
            (data / "frames" / "w1" / f"{number + 100:06}.jpg").write_bytes(b"image")
        fail_now_and_then(working, monkeypatch, every)
        working.begin_pass()
        drive(working, lambda: not working.pass_running and not working.pending)
        assert indexed(working.index) == walk(data)
        assert known(working) == folders(data)


def fail_now_and_then(working: Worker, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """Let the first forty or so writes fail at one call in so many, as SQLite fails without room."""
    tree = working.index.tree
    calls = 0

    def failing(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls < 40 and calls % every == 0:
                raise apsw.FullError("no room")
            return method(*args, **options)

        return call

    for name in ("apply", "flush", "touch"):
        monkeypatch.setattr(tree, name, failing(getattr(tree, name)))
