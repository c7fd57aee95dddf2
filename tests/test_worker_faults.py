"""The worker where the system refuses something: errors, limits, volumes that go; what it knew stays."""

from __future__ import annotations

import errno
import os
import queue
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from reconciling import drive, indexed, running, settle, walk
from watching import FaultyKernel

from scanner import looker, troubles, worker
from scanner.config import load_config
from scanner.index import Index
from scanner.snapshot import Reporter
from scanner.watch import DirectoryWatcher
from scanner.worker import Worker

ERRORS = pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOTCONN])


class Faults:
    """Paths that answer a system call with an error; all others are asked in truth."""

    def __init__(self) -> None:
        self.open: dict[str, int] = {}
        self.lstat: dict[str, int] = {}
        self.stat: dict[str, int] = {}

    def clear(self) -> None:
        for errors in (self.open, self.lstat, self.stat):
            errors.clear()

    def around(self, call: Callable[..., Any], errors: dict[str, int]) -> Callable[..., Any]:
        def asked(path: Any, *arguments: Any, **options: Any) -> Any:
            number = errors.get(path) if isinstance(path, str) else None
            if number is not None:
                raise OSError(number, os.strerror(number), path)
            return call(path, *arguments, **options)

        return asked


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """System calls that fail at will, and a worker that soon tries again."""
    made = Faults()
    for name in ("open", "lstat", "stat"):
        monkeypatch.setattr(os, name, made.around(getattr(os, name), getattr(made, name)))
    monkeypatch.setattr(troubles, "RETRY_SECONDS", 0.05)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data root with two frames of two videos."""
    for video in ("v", "w"):
        (tmp_path / "data" / "frames" / video).mkdir(parents=True)
        (tmp_path / "data" / "frames" / video / "000001.jpg").write_bytes(b"x")
    (tmp_path / "data" / "products").mkdir()
    return tmp_path / "data"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the index lies."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


def problems(worker: Worker) -> list[str]:
    """What makes answers doubtful."""
    return Reporter(worker.config, worker).faults(None)


def remarks(worker: Worker) -> list[str]:
    """Further problems."""
    return Reporter(worker.config, worker).remarks(None)


# --- errors ---------------------------------------------------------------------------------------------


@ERRORS
def test_a_directory_that_answers_with_an_error_keeps_its_entries_until_it_is_back(
    data: Path, state: Path, faults: Faults, number: int
) -> None:
    place = str(data / "frames" / "v")
    with running(data, state) as worker:
        before = indexed(worker.index)
        faults.open[place] = number
        worker.begin_pass()
        drive(worker, lambda: bool(problems(worker)))
        assert problems(worker) == [f"cannot read {place}: {os.strerror(number)}"]
        os.unlink(f"{place}/000001.jpg")
        (data / "frames" / "w" / "000002.jpg").write_bytes(b"others go on")
        drive(worker, lambda: "frames/w/000002.jpg" in indexed(worker.index) and not worker.dirty.pending)
        assert worker.ready
        faults.clear()
        drive(worker, lambda: not problems(worker))
        settle(worker, data)
        assert before.keys() - indexed(worker.index).keys() == {"frames/v/000001.jpg"}


@ERRORS
def test_a_directory_that_cannot_be_read_from_the_start_keeps_nothing_else_from_being_ready(
    data: Path, state: Path, faults: Faults, number: int
) -> None:
    faults.open[str(data / "frames" / "v")] = number
    with running(data, state) as worker:
        assert list(indexed(worker.index)) == ["frames/w/000001.jpg"]
        assert len(problems(worker)) == 1
        faults.clear()
        settle(worker, data)
        assert problems(worker) == []


@ERRORS
def test_a_file_that_answers_with_an_error_stays_as_it_was_and_is_looked_at_again(
    data: Path, state: Path, faults: Faults, number: int
) -> None:
    path = data / "frames" / "v" / "000001.jpg"
    with running(data, state) as worker:
        before = indexed(worker.index)
        faults.lstat[str(path)] = number
        path.write_bytes(b"longer than before")
        drive(worker, lambda: bool(problems(worker)))
        assert problems(worker) == [f"cannot read {path}: {os.strerror(number)}"]
        assert indexed(worker.index) == before
        faults.clear()
        drive(worker, lambda: not problems(worker))
        settle(worker, data)


@pytest.mark.parametrize("gone", ["file", "directory"])
def test_what_could_not_be_read_and_is_gone_then_is_no_problem_any_more(
    data: Path, state: Path, faults: Faults, gone: str
) -> None:
    place = data / "frames" / "v"
    with running(data, state) as worker:
        faults.lstat[str(place / "000001.jpg")] = errno.EIO
        os.utime(place / "000001.jpg")
        drive(worker, lambda: bool(problems(worker)))
        if gone == "file":
            os.unlink(place / "000001.jpg")
        else:
            shutil.rmtree(place)
        faults.clear()
        drive(worker, lambda: not problems(worker))
        settle(worker, data)


@ERRORS
def test_a_root_that_answers_with_an_error_is_unavailable_until_it_is_back(
    data: Path, state: Path, faults: Faults, number: int
) -> None:
    with running(data, state) as worker:
        before = indexed(worker.index)
        faults.stat[str(data / "frames")] = number
        drive(worker, lambda: bool(worker.roots.unavailable()))
        (data / "frames" / "v" / "000001.jpg").unlink()
        (data / "products" / "p").mkdir()
        (data / "products" / "p" / "0.jpg").write_bytes(b"another root")
        drive(worker, lambda: "products/p/0.jpg" in indexed(worker.index))
        assert before.keys() <= indexed(worker.index).keys()
        assert problems(worker)[0].startswith(f"root {data}/frames {os.strerror(number)}")
        faults.clear()
        settle(worker, data)
        assert problems(worker) == []


# --- roots ----------------------------------------------------------------------------------------------


def test_a_root_that_is_deleted_and_made_again_is_read_anew(data: Path, state: Path) -> None:
    with running(data, state) as worker:
        before = indexed(worker.index)
        os.rename(data / "frames", data.parent / "out")
        drive(worker, lambda: bool(worker.roots.unavailable()))
        shutil.rmtree(data.parent / "out")
        assert indexed(worker.index) == before
        (data / "frames" / "x").mkdir(parents=True)
        (data / "frames" / "x" / "000007.jpg").write_bytes(b"x")
        settle(worker, data)
        (data / "frames" / "x" / "000008.jpg").write_bytes(b"x")
        settle(worker, data)
        assert problems(worker) == []


def test_a_root_that_is_removed_with_all_that_is_in_it_and_made_again(data: Path, state: Path) -> None:
    """What was there when it went is kept, and nothing that was seen to go before."""
    with running(data, state) as worker:
        before = indexed(worker.index)
        shutil.rmtree(data / "frames")
        drive(worker, lambda: bool(worker.roots.unavailable()) and not worker.pending)
        assert indexed(worker.index).items() <= before.items()
        assert problems(worker) == [f"root {data}/frames is not there: what was known below it is kept"]
        (data / "frames" / "v").mkdir(parents=True)
        (data / "frames" / "v" / "000009.jpg").write_bytes(b"x")
        settle(worker, data)
        assert problems(worker) == []
        (data / "frames" / "v" / "000010.jpg").write_bytes(b"x")
        settle(worker, data)
        assert worker.missed == 0


@pytest.mark.parametrize("how", ["deleted", "renamed", "a symlink"])
def test_a_data_root_with_another_in_its_place_is_read_anew(data: Path, state: Path, how: str) -> None:
    """And the new one is watched, the old one no more."""
    away = data.parent / "away"
    if how == "a symlink":
        os.rename(data, away)
        data.symlink_to(away)
    with running(data, state) as worker:
        assert len(indexed(worker.index)) == 2
        if how == "deleted":
            shutil.rmtree(data)
        elif how == "renamed":
            os.rename(data, away)
        else:
            data.unlink()
        drive(worker, lambda: bool(problems(worker)))
        (data.parent / "new" / "frames" / "x").mkdir(parents=True)
        (data.parent / "new" / "products").mkdir()
        (data.parent / "new" / "frames" / "x" / "000007.jpg").write_bytes(b"x")
        if how == "a symlink":
            data.symlink_to(data.parent / "new")
        else:
            os.rename(data.parent / "new", data)
        drive(worker, lambda: not problems(worker))
        settle(worker, data)
        drive(worker, lambda: not worker.sweeper.running)
        worker.sweeper.everything.next_at = worker.rescans.next_at = float("inf")
        (data / "frames" / "x" / "000008.jpg").write_bytes(b"only an event tells of it")
        if how != "deleted":
            (away / "frames" / "v" / "000003.jpg").write_bytes(b"not there any more")
        settle(worker, data)
        assert set(indexed(worker.index)) == {"frames/x/000007.jpg", "frames/x/000008.jpg"}


def test_a_root_that_is_a_symlink_can_lead_elsewhere_later(data: Path, state: Path, tmp_path: Path) -> None:
    os.rename(data / "frames", tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    (data / "frames").symlink_to(tmp_path / "one")

    def inodes() -> set[int]:
        return {inode for inode, _, _ in indexed(worker.index).values()}

    with running(data, state) as worker:
        assert inodes() == {about[0] for about in walk(tmp_path / "one").values()}
        (data / "other").symlink_to(tmp_path / "other")
        os.rename(data / "other", data / "frames")
        drive(worker, lambda: inodes() == {about[0] for about in walk(tmp_path / "other").values()})
        (tmp_path / "other" / "v" / "000005.jpg").write_bytes(b"x")
        drive(worker, lambda: "frames/v/000005.jpg" in indexed(worker.index))
        (data / "frames").unlink()
        drive(worker, lambda: bool(worker.roots.unavailable()))
        assert "frames/v/000005.jpg" in indexed(worker.index)


@pytest.fixture
def mounted(data: Path) -> Iterator[Callable[..., None]]:
    """Mounts a volume in memory over ``frames``, or takes it away."""
    target = str(data / "frames")

    def mount(*, on: bool) -> None:
        command = (
            ["mount", "-t", "tmpfs", "-o", "size=1m", "volume", target] if on else ["umount", "-l", target]
        )
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a file system takes rights that this machine does not give")

    shutil.rmtree(data / "frames")
    (data / "frames").mkdir()
    mount(on=True)
    yield mount
    while os.path.ismount(target):
        subprocess.run(["umount", "-l", target], check=True)


def test_an_unmounted_volume_keeps_its_entries_also_for_the_next_scanner(
    data: Path, state: Path, mounted: Callable[..., None]
) -> None:
    (data / "frames" / "v").mkdir()
    (data / "frames" / "v" / "000001.jpg").write_bytes(b"x")
    with running(data, state) as worker:
        before = indexed(worker.index)
        assert list(before) == ["frames/v/000001.jpg"]
        mounted(on=False)
        drive(worker, lambda: bool(worker.roots.unavailable()))
        worker.begin_pass()
        drive(worker, lambda: not worker.pending)
        assert indexed(worker.index) == before
        assert "another device" in problems(worker)[0]
    with running(data, state) as worker:
        assert worker.ready
        drive(worker, lambda: not worker.pending)
        assert indexed(worker.index) == before
        assert "another device" in problems(worker)[0]
        mounted(on=True)
        (data / "frames" / "w").mkdir()
        (data / "frames" / "w" / "000002.jpg").write_bytes(b"x")
        settle(worker, data)
        assert problems(worker) == []


def test_a_root_that_went_while_no_scanner_ran_keeps_its_entries(data: Path, state: Path) -> None:
    with running(data, state) as worker:
        before = indexed(worker.index)
    os.rename(data / "frames", data / "elsewhere")
    with running(data, state) as worker:
        drive(worker, lambda: not worker.pending)
        assert indexed(worker.index) == before
        assert "is not there" in problems(worker)[0]
        (data / "elsewhere" / "v" / "000002.jpg").write_bytes(b"x")
        os.rename(data / "elsewhere", data / "frames")
        settle(worker, data)
        assert problems(worker) == []


# --- limits ---------------------------------------------------------------------------------------------


@pytest.fixture
def kernel() -> FaultyKernel:
    """System calls that fail at will."""
    return FaultyKernel()


@pytest.fixture
def make(
    data: Path, state: Path, kernel: FaultyKernel, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Worker]]:
    """Makes a started worker with that kernel."""
    made: list[Worker] = []

    def start(has_events: Callable[[str], tuple[bool, str]] | None = None, **environ: str) -> Worker:
        variables = {"SIDECAR_DATA__ROOT": str(data), "SIDECAR_VERIFY__CONTENT": "false", **environ}
        config = load_config(environ=variables, cwd=str(state))
        watcher = partial(DirectoryWatcher, kernel=kernel, has_events=has_events)
        monkeypatch.setattr(looker, "DirectoryWatcher", watcher)
        one = Worker(config, Index(str(state / "index.db"), config), queue.Queue())
        made.append(one)
        one.start()
        return one

    yield start
    for one in made:
        one.stop()
        one.index.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watches are tried again at once."""
    monkeypatch.setattr(worker, "WATCH_AGAIN_SECONDS", 0.05)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("when", ["at start", "at run time"])
def test_beyond_the_watch_limit_directories_are_polled_until_watches_are_free(
    data: Path, make: Callable[..., Worker], kernel: FaultyKernel, when: str
) -> None:
    kernel.max_watches = 3 if when == "at start" else None
    one = make(SIDECAR_SCAN__POLLING_SECONDS="0.2")
    drive(one, lambda: one.ready)
    kernel.max_watches = len(kernel.watches)
    for number in range(4):
        (data / "frames" / f"new{number}").mkdir()
        (data / "frames" / f"new{number}" / "000001.jpg").write_bytes(b"x")
    settle(one, data)
    stats = one.watcher.stats()
    assert stats.polled >= 4
    assert stats.watched == kernel.max_watches
    assert stats.needed == stats.watched + stats.polled == 8
    line = next(line for line in remarks(one) if "watch limit" in line)
    assert f"{stats.watched} of 8" in line
    assert f"allowed are {stats.limit}" in line
    assert stats.limit is not None
    assert f"sysctl {stats.limit_sysctl}={2 * max(8, stats.limit)}" in line  # others may have used them up
    for number in range(4):  # nobody tells of these: polling finds them
        (data / "frames" / f"new{number}" / "000002.jpg").write_bytes(b"x")
    settle(one, data)
    assert one.missed == 0

    kernel.max_watches = None
    drive(one, lambda: one.watcher.stats().polled == 0)
    assert not [line for line in remarks(one) if "watch limit" in line]
    one.sweeper.everything.next_at = one.sweeper.without_events.next_at = float("inf")
    drive(one, lambda: not one.sweeper.running)
    (data / "frames" / "new3" / "000003.jpg").write_bytes(b"x")
    settle(one, data)


@pytest.mark.usefixtures("soon")
def test_without_an_instance_everything_is_polled_until_there_is_one(
    data: Path, make: Callable[..., Worker], kernel: FaultyKernel
) -> None:
    kernel.init_error = errno.EMFILE
    one = make(SIDECAR_SCAN__POLLING_SECONDS="0.2")
    drive(one, lambda: one.ready)
    assert one.watcher.stats().watched == 0
    line = next(line for line in remarks(one) if "instance" in line)
    assert "max_user_instances=" in line or "max_inotify_instances=" in line
    (data / "frames" / "v" / "000002.jpg").write_bytes(b"x")
    settle(one, data)
    kernel.init_error = 0
    drive(one, lambda: one.watcher.stats().polled == 0)
    assert not [line for line in remarks(one) if "instance" in line]
    one.sweeper.everything.next_at = one.sweeper.without_events.next_at = float("inf")
    drive(one, lambda: not one.sweeper.running)
    (data / "frames" / "v" / "000003.jpg").write_bytes(b"x")
    settle(one, data)


# --- polling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watcher", ["polling", "auto"])
def test_where_there_are_no_events_sweeps_find_what_comes_and_goes(
    data: Path, make: Callable[..., Worker], watcher: str
) -> None:
    one = make(
        lambda path: (False, "nfs"), SIDECAR_SCAN__WATCHER=watcher, SIDECAR_SCAN__POLLING_SECONDS="0.1"
    )
    drive(one, lambda: one.ready)
    stats = one.watcher.stats()
    assert (stats.watched, stats.polled) == (0, 4)
    assert stats.reasons == {"polling" if watcher == "polling" else "nfs": 4}
    for number in range(2):
        (data / "frames" / f"n{number}").mkdir()
        (data / "frames" / f"n{number}" / "000001.jpg").write_bytes(b"x")
        (data / "frames" / "v" / f"00000{number}.png").write_bytes(b"x")
        settle(one, data)
    os.rename(data / "frames" / "n0", data / "frames" / "moved")
    shutil.rmtree(data / "frames" / "n1")
    (data / "frames" / "v" / "000001.png").unlink()
    settle(one, data)
    assert (one.missed, one.watcher.stats().needed) == (0, 5)
    (data / "frames" / "v" / "000001.jpg").write_bytes(b"rewritten in place: a full pass finds it")
    one.begin_pass()
    settle(one, data)
    assert one.missed == 0


def test_sweeps_leave_nothing_behind(data: Path, make: Callable[..., Worker]) -> None:
    """What a worker holds on to is the same after many sweeps as after the first ones."""
    one = make(SIDECAR_SCAN__WATCHER="polling", SIDECAR_SCAN__POLLING_SECONDS="0.001")
    drive(one, lambda: one.ready)

    def sweep(times: int) -> int:
        for _ in range(times):
            one.sweeper.without_events.next_at = one.sweeper.everything.next_at = float("-inf")
            drive(one, lambda: not one.sweeper.running and one.sweeper.begin(0.0))
            drive(one, lambda: not one.sweeper.running and not one.pending)
        return sum(
            map(len, (one.looker.troubles.unreadable, one.looker.settling.paths(), one.watcher.polled()))
        )

    held = sweep(5)
    assert sweep(150) == held
    assert one.looker.differences.suspects == 0
