"""The worker with a listing process: whatever happens while listings are on their way, the index gets there.

Sweeps and later passes are switched off, so that nothing but the crawl and the events can bring it there.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reconciling import DEADLINE, drive, indexed, running, settle, walk
from test_worker import LINKS, OPERATION, World
from waiting import until

from scanner import crawl, listprocess, sweeper, worker
from scanner.inotify import IN_Q_OVERFLOW, Batch, Special
from scanner.listing import Lister, Listing
from scanner.listprocess import ListingProcess
from scanner.listworker import GONE, Frames, Watches, portions
from scanner.parcel import Maker, Parcel
from scanner.ready import Ready
from scanner.records import Entry
from scanner.watch import DirectoryWatcher
from scanner.worker import Worker
from scanner.worklist import Task

EXAMPLES = int(os.environ.get("CRAWL_SEQUENCES", "25"))
NEVER = {"SIDECAR_SCAN__RESCAN_SECONDS": "86400"}


class Delayed(ListingProcess):
    """Lists when it is asked, in this process, and answers when it is allowed to."""

    def __init__(
        self, lister: Lister, watcher: DirectoryWatcher, terms: Callable[[], Parcel], size: int = 1
    ) -> None:
        super().__init__(lister, watcher, terms)
        self.answers: deque[Any] = deque()
        self.allowed = 1 << 60
        self.delivered = 0

    def _write(self) -> None:
        frames = Frames()
        frames.add(bytes(self._unsent))
        self._unsent.clear()
        shared = self._watcher.shared
        watches = Watches(self._lister.root, None if shared is None else shared.fd)
        while (request := frames.take()) is not None:
            parts = portions(self._lister, watches, Maker(self._terms()), request[3])
            self.answers.extend((request[0], last, part) for last, part in parts)

    def _answer(self, deadline: float) -> Any:
        if not self.allowed or not self.answers:
            return None
        self.allowed -= 1
        self.delivered += 1
        return self.answers.popleft()

    def _end(self) -> None:
        super()._end()
        self.answers.clear()

    def die(self) -> None:
        """As if it had been killed."""
        self._deaths = 0
        self._died(EOFError("killed"))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every crawl goes through the process, and only the crawl and the events find anything."""
    monkeypatch.setattr(crawl, "MANY", 1)
    monkeypatch.setattr(sweeper, "SWEEP_SECONDS", 86400.0)


@pytest.fixture
def world(tmp_path: Path, always: None) -> tuple[Path, Path]:
    """A data root with some videos of some frames, and a place for the index."""
    data, state = tmp_path / "data", tmp_path / "state"
    for video in range(4):
        folder = data / "frames" / f"v{video}"
        for frame in range(4):
            (folder / f"{frame:06}").mkdir(parents=True)
            (folder / f"{frame:06}.jpg").write_bytes(b"image")
            (folder / f"{frame:06}" / "seg.png").write_bytes(b"mask")
    (data / "products").mkdir()
    state.mkdir()
    return data, state


def calm(worker: Worker) -> bool:
    """Whether the worker believes that it knows everything."""
    return not worker.pending and not worker.pass_running


def steps_until_calm(worker: Worker) -> Iterator[dict[str, tuple[int, int, int]]]:
    """What the index holds after each step until the worker is calm, which it is not yet."""
    end = time.monotonic() + DEADLINE
    assert not calm(worker)
    while not calm(worker):
        assert time.monotonic() < end, "the worker did not come to rest in time"
        worker.step()
        yield indexed(worker.index)


def agree(worker: Worker, data: Path) -> None:
    """Wait until nothing is pending; then the index is right, and nothing waits in families."""

    def right() -> bool:
        return calm(worker) and indexed(worker.index) == walk(data) and known(worker) == folders(data)

    drive(worker, right)
    assert len(worker.crawl) == 0
    settle(worker, data)
    if worker.watcher._observation is not None:
        drive(worker, lambda: watched(worker) == known(worker))


def watched(worker: Worker) -> set[str]:
    """All directories that are watched, and the watches that are of none."""
    observation, registry = worker.watcher._observation, worker.watcher._registry
    assert observation is not None
    paths = (registry.paths(wd) or (f"stray {wd}",) for wd in observation.instance.watches())
    return {path for some in paths for path in some}


def known(worker: Worker) -> set[str]:
    """All directories that the index has."""
    return {path for (path,) in worker.index.db.execute("SELECT path FROM dirs")}


def folders(data: Path) -> set[str]:
    """All directories below the data root that are not ignored."""
    found = set()
    for folder, names, _ in os.walk(data):
        names[:] = [name for name in names if not name.startswith(".") and not name.endswith(".tmp")]
        found.update(os.path.relpath(os.path.join(folder, name), data) for name in names)
    return found


HEARD = OPERATION.filter(lambda operation: operation[0] not in {*LINKS, "replace root"})
STEP = st.one_of(HEARD, st.sampled_from(["step", "step", "answer", "pass", "die"]))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(HEARD, max_size=12), parts=st.lists(st.lists(STEP, max_size=20), max_size=3))
def test_whatever_happens_while_listings_are_on_their_way(
    tmp_path_factory: pytest.TempPathFactory, always: None, before: list[Any], parts: list[list[Any]]
) -> None:
    tree = World(tmp_path_factory.mktemp("world"))
    for operation in before:
        tree.perform(operation)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(crawl, "ListingPool", Delayed)
            patch.setattr(worker, "STEP_SECONDS", 0.002)
            with running(tree.data, tree.state, **NEVER) as working:
                agree(working, tree.data)
                for part in parts:
                    process_of(working).allowed = 0
                    for what in part:
                        one_step(working, tree, what)
                    process_of(working).allowed = 1 << 60
                    agree(working, tree.data)
    finally:
        tree.close()
        shutil.rmtree(tree.base)


def one_step(working: Worker, tree: World, what: Any) -> None:
    """One thing that can happen."""
    process = process_of(working)
    if what == "step":
        working.step()
    elif what == "answer":
        process.allowed = 1
        working.step()
    elif what == "pass":
        working.begin_pass()
    elif what == "die":
        process.die()
    else:
        tree.perform(what)


@pytest.fixture
def delayed(world: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker at rest over the world, whose listing process answers when it is allowed to."""
    monkeypatch.setattr(crawl, "ListingPool", Delayed)
    monkeypatch.setattr(worker, "STEP_SECONDS", 0.002)
    with running(*world, **NEVER) as working:
        agree(working, world[0])
        process_of(working).allowed = 0
        yield working


def arrives_from_outside(working: Worker, folder: Path, *, rested: bool = False) -> None:
    """A video moved into place, whose own events are over; ``rested``: too old to be looked at as young."""
    data = Path(working.lister.root)
    outside = data.parent / "outside"
    shutil.copytree(data / "frames" / "v0", outside)
    if rested:
        end = time.monotonic() + working.looker.settling.seconds
        drive(working, lambda: time.monotonic() > end)
    os.rename(outside, folder)


@pytest.fixture
def on_its_way(delayed: Worker, world: tuple[Path, Path]) -> Path:
    """A video that was listed as it arrived, and whose answer waits."""
    folder = world[0] / "products" / "p"
    arrives_from_outside(delayed, folder)
    drive(delayed, lambda: listed(delayed, "products/p"))
    return folder


def let_arrive(working: Worker, data: Path) -> None:
    """Let every answer arrive, and find that nothing is wrong."""
    process_of(working).allowed = 1 << 60
    agree(working, data)


def test_a_video_at_rest_comes_ready(delayed: Worker, world: tuple[Path, Path]) -> None:
    """Its rows are written as they are, and no listing of it is applied."""
    data, _ = world
    applied: list[str] = []
    entered: list[str] = []
    apply, enter = delayed.index.apply, delayed.index.enter

    def note_applied(listing: Listing, *about: Any) -> Any:
        applied.append(listing.directory)
        return apply(listing, *about)

    def note_entered(ready: Ready) -> bool:
        entered.extend(ready.directories.paths)
        return enter(ready)

    delayed.index.apply, delayed.index.enter = note_applied, note_entered  # type: ignore[method-assign]
    arrives_from_outside(delayed, data / "products" / "p", rested=True)
    let_arrive(delayed, data)
    assert len(entered) == 5
    assert not {path for path in applied if path.startswith("products/p")}


def test_a_video_that_comes_ready_and_is_not_taken_is_applied(
    delayed: Worker, world: tuple[Path, Path]
) -> None:
    data, _ = world
    delayed.index.enter = lambda ready: False  # type: ignore[method-assign]
    arrives_from_outside(delayed, data / "products" / "p", rested=True)
    let_arrive(delayed, data)


def process_of(working: Worker) -> Delayed:
    """Its process."""
    assert isinstance(working.crawl.pool, Delayed)
    return working.crawl.pool


def listed(working: Worker, directory: str) -> bool:
    """Whether the directory has been listed and its answer waits."""
    parts = [part for _, _, part in process_of(working).answers]
    return any(looks[0][1] == directory for part in parts for looks, _ in part)


def look_now(working: Worker, directory: str, settled: str) -> None:
    """What an event about the directory leads to."""
    with working.index.transaction():
        working.looker.look(Task(directory), None, frozenset([settled]))
    assert f"{directory}/{settled}" in indexed(working.index)


def test_a_family_that_was_overtaken_brings_no_old_state_back(
    delayed: Worker, world: tuple[Path, Path], on_its_way: Path
) -> None:
    """Its directory is looked at while it is on its way; what was seen before comes late."""
    data, _ = world
    (on_its_way / "000001.jpg").unlink()
    shutil.rmtree(on_its_way / "000002")
    (on_its_way / "000003" / "seg.png").unlink()
    with open(on_its_way / "000009.jpg", "wb") as file:
        file.write(b"new")
    look_now(delayed, "products/p", "000009.jpg")
    assert "products/p/000001.jpg" not in indexed(delayed.index)
    process_of(delayed).allowed = 1 << 60
    for now in steps_until_calm(delayed):
        assert "products/p/000009.jpg" in now
        assert not now.keys() & {"products/p/000001.jpg", "products/p/000003/seg.png"}
    agree(delayed, data)


def test_the_process_watches_and_the_writer_only_enters(delayed: Worker, world: tuple[Path, Path]) -> None:
    data, _ = world
    added: list[str] = []
    add = delayed.watcher.add

    def note(directory: str, *, telling: bool = False) -> bool:
        added.append(directory)
        return add(directory, telling=telling)

    delayed.watcher.add = note  # type: ignore[method-assign]
    process_of(delayed).allowed = 1 << 60
    arrives_from_outside(delayed, data / "products" / "p")
    agree(delayed, data)
    assert "products/p/000001" in watched(delayed)
    assert not [directory for directory in added if directory.startswith("products/p")]


def test_what_changes_in_folders_on_their_way_is_found(
    delayed: Worker, world: tuple[Path, Path], on_its_way: Path
) -> None:
    """They are watched, and nobody has been told yet."""
    data, _ = world
    (on_its_way / "000001" / "emb.json").write_bytes(b"x")
    os.rename(on_its_way / "000002", on_its_way / "000007")
    os.rename(on_its_way / "000003", data / "frames" / "v0" / "moved")
    shutil.rmtree(on_its_way / "000000")
    (on_its_way / "000000").mkdir()
    (on_its_way / "000000" / "pose.json").write_bytes(b"x")
    let_arrive(delayed, data)


def test_a_family_that_moves_while_it_is_on_its_way_is_found(
    delayed: Worker, world: tuple[Path, Path], on_its_way: Path
) -> None:
    data, _ = world
    os.rename(on_its_way, data / "products" / "q")
    drive(delayed, lambda: listed(delayed, "products/q"))
    let_arrive(delayed, data)


def test_a_process_that_dies_with_watches_leaves_none(
    delayed: Worker, world: tuple[Path, Path], on_its_way: Path
) -> None:
    data, _ = world
    os.rename(on_its_way / "000001", data.parent / "elsewhere")
    process_of(delayed).die()
    let_arrive(delayed, data)


def test_a_folder_whose_watch_has_gone_on_the_way_is_looked_at_once_more(
    delayed: Worker, world: tuple[Path, Path]
) -> None:
    """As when it is the watch of an earlier path as well, which is forgotten meanwhile."""
    data, _ = world
    arrives_from_outside(delayed, data / "products" / "p", rested=True)
    drive(delayed, lambda: listed(delayed, "products/p"))
    assert delayed.watcher._observation is not None
    wd = put(delayed)["products/p"]
    assert wd is not None
    delayed.watcher._observation.instance.remove(wd)
    until(lambda: delayed.watcher._interpreter.unclaimed.has_gone(wd), "the kernel tells")
    (data / "products" / "p" / "000001.jpg").write_bytes(b"longer")  # nothing tells of it
    let_arrive(delayed, data)


def put(working: Worker) -> dict[str, int | None]:
    """The watches that the process has put and not told, by directory."""
    answers = [answer for _, _, part in process_of(working).answers for answer in part]
    return {looks[0][1]: told[0] for looks, told in answers}


def test_an_overflow_while_a_family_is_on_its_way_loses_nothing(
    delayed: Worker, world: tuple[Path, Path], on_its_way: Path
) -> None:
    data, _ = world
    with delayed.watcher._map_lock:  # the reader stands still, and what it would read is lost
        shutil.rmtree(on_its_way / "000001")
        (on_its_way / "000001").mkdir()
        (on_its_way / "000002" / "pose.json").write_bytes(b"x")
        assert delayed.watcher._observation is not None
        instance = delayed.watcher._observation.instance
        while instance.unread:
            instance.read()
        delayed.watcher._interpreter.handle(Batch({}, [Special(-1, IN_Q_OVERFLOW, b"")]))
    let_arrive(delayed, data)


def test_a_directory_said_to_be_gone_is_looked_at_once_more(
    delayed: Worker, world: tuple[Path, Path]
) -> None:
    """The volume was away for a moment, and is back when the answer is used."""
    data, _ = world
    before = indexed(delayed.index)
    delayed.watcher.stop()  # a file server tells nothing
    folder = data / "frames" / "v0" / "000000"
    os.rename(folder, data / "away")
    delayed.crawl.push_known(delayed.index.tree.catalogue())
    delayed.crawl.send()
    parts = [part for _, _, part in process_of(delayed).answers]
    answers = [look[0] for part in parts for looks, _ in part for look in looks]
    assert answers.count(GONE) == 1
    os.rename(data / "away", folder)
    process_of(delayed).allowed = 1 << 60
    drive(delayed, lambda: calm(delayed))
    assert indexed(delayed.index) == before


def test_a_young_file_of_a_directory_that_is_gone_does_not_wait_for_ever(
    delayed: Worker, world: tuple[Path, Path]
) -> None:
    """Its listing arrives after the directory has moved on; nobody will look at it under that name again."""
    data, _ = world
    (data / "frames" / "a").mkdir()
    drive(delayed, lambda: bool(process_of(delayed).answers))
    (data / "frames" / "a" / "seg.png").write_bytes(b"mask")
    delayed.looker.settling.holds(
        "frames/a/seg.png", Entry("seg.png", 1, 1, 1 << 60, 1 << 60), settled=False, wall_ns=0, now=0.0
    )
    os.rename(data / "frames" / "a", data / "frames" / "v1" / "b")
    let_arrive(delayed, data)
    assert not delayed.pending


def test_a_process_that_is_killed_again_and_again_costs_nothing_but_time(world: tuple[Path, Path]) -> None:
    data, state = world
    with running(data, state, **NEVER) as working:
        for round in range(crawl.PROCESSES * listprocess.RESTARTS + 1):
            (data / "frames" / "v1" / f"{round:06}x.jpg").write_bytes(b"x")
            working.begin_pass()
            working.crawl.send()
            for pid in working.crawl.pool.pids():
                os.kill(pid, signal.SIGKILL)
            agree(working, data)
        assert not working.crawl.pool.usable
        shutil.copytree(data / "frames" / "v0", data / "frames" / "v9")
        agree(working, data)


def test_a_process_that_does_not_answer_holds_nothing_else_up(world: tuple[Path, Path]) -> None:
    """A directory of a file server that hangs: what is told by events goes into the index all the same."""
    data, state = world
    with running(data, state, **NEVER) as working:
        working.begin_pass()
        working.crawl.send()
        (pid,) = working.crawl.pool.pids()
        os.kill(pid, signal.SIGSTOP)
        (data / "frames" / "v1" / "000001.jpg").write_bytes(b"another")
        drive(working, lambda: indexed(working.index) == walk(data))
        assert working.pass_running
        os.kill(pid, signal.SIGCONT)
        agree(working, data)


def churn(data: Path, stop: threading.Event) -> None:
    """Write, move and delete as fast as the disk allows, until told to stop."""
    folder = data / "frames"
    round = 0
    while not stop.is_set():
        round += 1
        place = folder / f"v{round * 7 % 60:03}"
        name = f"{round % 9:06}"
        try:
            (place / name).mkdir(exist_ok=True)
            (place / name / "seg.png").write_bytes(b"m" * (round % 5))
            (place / f"{name}.jpg").write_bytes(b"i" * (round % 7))
            if round % 3 == 0:
                os.rename(place / name, folder / f"v{round % 60:03}" / f"{name}-moved")
            if round % 5 == 0:
                shutil.rmtree(folder / f"v{round % 60:03}" / f"{name}-moved")
            if round % 11 == 0:
                os.rename(place, folder / f"w{round}")
                place.mkdir()
            if round % 17 == 0:
                shutil.rmtree(folder / f"w{round - 6 - (round - 6) % 11}")
        except OSError:
            continue  # what it was about is gone already


def test_a_tree_that_changes_at_full_speed_while_it_is_read_for_the_first_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "SWEEP_SECONDS", 86400.0)
    data, state = tmp_path / "data", tmp_path / "state"
    for video in range(60):
        for frame in range(40):
            (data / "frames" / f"v{video:03}" / f"{frame + 100:06}").mkdir(parents=True)
        (data / "frames" / f"v{video:03}" / "000100.jpg").write_bytes(b"i")
    (data / "products").mkdir()
    state.mkdir()
    stop = threading.Event()
    thread = threading.Thread(target=churn, args=(data, stop))
    thread.start()
    try:
        with running(data, state, **NEVER) as working:
            stop.set()
            thread.join()
            agree(working, data)
    finally:
        stop.set()
        thread.join()
