"""The worker against a real directory: after any sequence of operations the index equals a fresh walk.

Thousands of sequences: ``WORKER_SEQUENCES=3000 pytest --timeout 0 tests/test_worker.py -k sequence``.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import time
from io import BufferedWriter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reconciling import drive, indexed, judged, running, settle, walk
from watching import exchange

from scanner import portions
from scanner.config import load_config
from scanner.index import Index
from scanner.listing import Lister, Look
from scanner.records import AssetRow, AssetType
from scanner.rows import Rows, Table
from scanner.settling import SETTLE_SECONDS, Settling
from scanner.worker import Worker
from scanner.worklist import Task

SEQUENCES = int(os.environ.get("WORKER_SEQUENCES", "200"))


PLACES = ["frames/a", "frames/b", "frames/a/c", "products/p", "frames", "products/.hidden"]
NAMES = ["000001.jpg", "000002.png", "seg.png", "x.tmp", "000001", "gối.jpg", "a\nb.jpg"]
KINDS = [
    *("write", "append", "rewrite", "grow", "delete", "mkdir", "rmtree", "move", "move tree", "exchange"),
    *("exchange trees", "move out", "move in", "utime", "link", "symlink", "replace root"),
]
LINKS = {"link", "symlink"}
"""What makes one path change by a write through another, of which no event can tell."""
Operation = tuple[str, str, str, str, str]
OPERATION = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(PLACES),
    st.sampled_from(NAMES),
    st.sampled_from(PLACES),
    st.sampled_from(NAMES),
)


class World:
    """A data root that operations are done to; what the file system refuses is no operation."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.data, self.state, self.outside = base / "data", base / "state", base / "outside"
        for folder in (self.data / "frames", self.data / "products", self.state, self.outside):
            folder.mkdir(parents=True)
        self.linked = False
        self._open: list[BufferedWriter] = []

    def perform(self, operation: Operation) -> None:
        """Do one operation."""
        what, place, name, other_place, other_name = operation
        self.linked |= what in LINKS
        with contextlib.suppress(OSError):
            self._perform(what, self.data / place / name, self.data / other_place / other_name)

    def close(self) -> None:
        """Close the files that are growing."""
        while self._open:
            self._open.pop().close()

    def _perform(self, what: str, path: Path, other: Path) -> None:
        tree, other_tree = (one.parent if one.parent.parent != self.data else one for one in (path, other))
        if what == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(len(path.name)))
        elif what == "append":
            with open(path, "ab") as file:
                file.write(b"more")
        elif what == "rewrite":
            with open(path, "r+b") as file:
                file.write(os.urandom(3))
        elif what == "grow":
            self._open.append(open(path, "ab"))  # noqa: SIM115 - it stays open
            self._open[-1].write(b"not all of it")
            self._open[-1].flush()
        elif what == "delete":
            path.unlink()
        elif what == "mkdir":
            path.mkdir(parents=True)
        elif what == "rmtree":
            shutil.rmtree(tree)
        elif what == "utime":
            os.utime(path, ns=(1, 1_700_000_000_123_456_789))
        elif what == "link":
            os.link(path, other)
        elif what == "symlink":
            other.symlink_to(path)
        else:
            self._move(what, path, other, tree, other_tree)

    def _move(self, what: str, path: Path, other: Path, tree: Path, other_tree: Path) -> None:
        if what == "move":
            os.rename(path, other)
        elif what == "move tree":
            os.rename(tree, other)
        elif what == "exchange":
            exchange(path, other)
        elif what == "exchange trees":
            exchange(tree, other_tree)
        elif what == "move out":
            os.rename(tree, self.outside / path.name)
        elif what == "move in":
            os.rename(self.outside / path.name, other_tree)
        elif what == "replace root":
            root = self.data / path.relative_to(self.data).parts[0]
            os.rename(root, self.outside / f"{other.name}-{len(os.listdir(self.outside))}")
            root.mkdir()
            (root / "0.jpg").write_bytes(b"new")


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(OPERATION, max_size=10), after=st.lists(st.lists(OPERATION, max_size=12), max_size=3))
def test_the_index_equals_a_walk_after_any_sequence_of_operations(
    tmp_path_factory: pytest.TempPathFactory, before: list[Operation], after: list[list[Operation]]
) -> None:
    """And nothing was missed, unless a file was written to through another of its names."""
    world = World(tmp_path_factory.mktemp("world"))
    for operation in before:
        world.perform(operation)
    try:
        with running(world.data, world.state) as worker:
            settle(worker, world.data)
            for part in after:
                for operation in part:
                    world.perform(operation)
                if world.linked:
                    worker.begin_pass()
                settle(worker, world.data)
            if not world.linked:
                assert reconcile(worker) == 0
    finally:
        world.close()
        shutil.rmtree(world.base)


MARKS = '["products/{product_id}/{image}.{ext}", "marks/{product_id}/{image}.{ext}"]'


@settings(max_examples=max(1, SEQUENCES // 4), deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(st.lists(OPERATION, min_size=1, max_size=20), min_size=1, max_size=3))
def test_nothing_is_pending_only_once_the_index_equals_a_walk(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Operation]]
) -> None:
    """A file that is written last is told of last: once it is known, so is all that was done before."""
    world = World(tmp_path_factory.mktemp("world"))
    marks = world.data / "marks" / "m"
    marks.mkdir(parents=True)
    try:
        with running(world.data, world.state, SIDECAR_LAYOUT__PRODUCTS__IMAGE=MARKS) as worker:
            settle(worker, world.data)
            for number, part in enumerate(parts):
                for operation in part:
                    if operation[0] not in LINKS:
                        world.perform(operation)
                (marks / f"{number}.jpg").write_bytes(b"x")
                name = f"marks/m/{number}.jpg"
                drive(worker, lambda: not worker.pending and name in indexed(worker.index))  # noqa: B023
                held = indexed(worker.index)
                assert held == walk(world.data)
    finally:
        world.close()
        shutil.rmtree(world.base)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the index lies."""
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data root with one frame."""
    folder = tmp_path / "data"
    (folder / "frames" / "v").mkdir(parents=True)
    (folder / "products").mkdir()
    (folder / "frames" / "v" / "000001.jpg").write_bytes(b"x")
    return folder


def test_a_root_that_is_renamed_away_keeps_its_entries_until_it_is_back(data: Path, state: Path) -> None:
    with running(data, state) as worker:
        before = indexed(worker.index)
        os.rename(data / "frames", data / "elsewhere")
        drive(worker, lambda: bool(worker.roots.unavailable()))
        assert indexed(worker.index) == before
        os.rename(data / "elsewhere", data / "frames")
        (data / "frames" / "v" / "000001.jpg").unlink()
        drive(worker, lambda: not worker.roots.unavailable())
        settle(worker, data)


def test_a_root_that_is_really_emptied_is_empty(data: Path, state: Path) -> None:
    with running(data, state) as worker:
        shutil.rmtree(data / "frames" / "v")
        settle(worker, data)
        assert indexed(worker.index) == {}


def test_a_root_that_comes_later_is_indexed(data: Path, state: Path) -> None:
    (data / "products").rmdir()
    with running(data, state) as worker:
        assert not worker.roots.unavailable()
        (data / "products" / "p").mkdir(parents=True)
        (data / "products" / "p" / "0.jpg").write_bytes(b"image")
        settle(worker, data)
        assert "products/p/0.jpg" in indexed(worker.index)


def test_a_root_replaced_by_another_directory_is_read_anew(data: Path, state: Path, tmp_path: Path) -> None:
    with running(data, state) as worker:
        other = tmp_path / "other"
        (other / "w").mkdir(parents=True)
        (other / "w" / "000009.jpg").write_bytes(b"new")
        os.rename(data / "frames", tmp_path / "old")
        os.rename(other, data / "frames")
        settle(worker, data)
        (data / "frames" / "w" / "000010.jpg").write_bytes(b"newer")
        settle(worker, data)


def test_a_growing_file_counts_once_it_has_rested(data: Path, state: Path) -> None:
    with running(data, state) as worker:
        with open(data / "frames" / "v" / "000002.jpg", "wb") as file:
            file.write(b"part")
            file.flush()
            settle(worker, data)
            file.write(b"more")
            file.flush()
            settle(worker, data)
        settle(worker, data)


def test_a_file_that_is_growing_is_not_there_until_it_has_rested_for_a_second(
    data: Path, state: Path
) -> None:
    """Its writer keeps it open; what was written beside it and closed does not wait for it."""
    growing, beside = "frames/v/000002.jpg", "frames/v/000003.jpg"
    enough = SETTLE_SECONDS - 0.02  # the file system's clock ticks
    with running(data, state) as worker, open(data / growing, "ab", buffering=0) as file:
        worker.looker.settling = Settling()
        begun = written = time.monotonic()
        rests: list[float] = []

        def all_seen_beside_it() -> bool:
            nonlocal written
            rests.append(time.monotonic() - written)
            # After a step that took too long it may be there.
            assert growing not in indexed(worker.index) or max(rests) >= enough
            file.write(b"more")
            written = time.monotonic()
            return beside in indexed(worker.index) and written > begun + 3 * SETTLE_SECONDS

        (data / beside).write_bytes(b"x")
        drive(worker, all_seen_beside_it)
        size = os.stat(data / growing).st_size
        drive(worker, lambda: indexed(worker.index).get(growing, (0, 0, 0))[1] == size)
        assert time.monotonic() - written >= enough
        settle(worker, data)


def test_an_index_is_taken_over_and_reconciled(data: Path, state: Path) -> None:
    with running(data, state):
        pass
    (data / "frames" / "v" / "000001.jpg").unlink()
    (data / "frames" / "v" / "000003.jpg").write_bytes(b"three")
    with running(data, state) as worker:
        settle(worker, data)


@pytest.mark.parametrize("names", [None, frozenset({"products", "y.txt"})])
def test_a_look_at_the_data_root_forgets_no_root_in_it(tmp_path: Path, names: frozenset[str] | None) -> None:
    """A row names a file directly in the data root; what lies in other roots is none of its business."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "x.jpg").write_bytes(b"x")
    with running(data, tmp_path, SIDECAR_DATABASE__URL="sqlite:///pipeline.db") as worker:
        row = AssetRow(AssetType.PRODUCT_IMAGE, "x", local_path=str(data / "x.jpg"))
        worker.rows.put(Rows(Table.PRODUCT_IMAGES, [row]))
        drive(worker, lambda: "x.jpg" in indexed(worker.index))
        (data / "products" / "p").mkdir(parents=True)
        (data / "products" / "p" / "0.jpg").write_bytes(b"x")
        drive(worker, lambda: "products/p/0.jpg" in indexed(worker.index))
        with worker.index.transaction():
            worker.looker.look(Task(""), names)
        assert "products/p/0.jpg" in indexed(worker.index)


def test_a_directory_is_watched_before_it_is_looked_at(
    data: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes between the two is told of: no sweep has to find it."""
    look, met = Lister.look, set[str]()

    def late(self: Lister, directory: str, names: frozenset[str] | None = None) -> Look:
        seen = look(self, directory, names)
        if names is None and directory not in met and "late" not in directory:
            met.add(directory)
            (data / directory / "late").mkdir()
            (data / directory / "late.jpg").write_bytes(b"x")
        return seen

    monkeypatch.setattr(Lister, "look", late)
    (data / "frames" / "w" / "deep").mkdir(parents=True)
    with running(data, state) as worker:
        monkeypatch.setattr(Lister, "look", look)
        settle(worker, data)
        worker.sweeper.everything.next_at = float("inf")
        monkeypatch.setattr(Lister, "look", late)
        (data / "products" / "p" / "deep").mkdir(parents=True)
        drive(worker, lambda: {"products/p", "products/p/deep"} <= met and not worker.pending)
        monkeypatch.setattr(Lister, "look", look)
        settle(worker, data)
        assert {"frames", "frames/v", "frames/w", "frames/w/deep", "products"} <= met
        assert "products/p/deep/late.jpg" in indexed(worker.index)
        assert worker.missed == 0


def test_events_are_followed_while_rows_come(tmp_path: Path) -> None:
    """Whoever adds many rows keeps no file waiting until the last of them is compared with the disk."""
    data = tmp_path / "data"
    (data / "products" / "p").mkdir(parents=True)
    with running(data, tmp_path, SIDECAR_DATABASE__URL="sqlite:///pipeline.db") as worker:
        drive(worker, lambda: worker.ready)
        for number in range(1000):
            row = AssetRow(
                AssetType.PRODUCT_IMAGE, f"r{number}", local_path=str(data / f"products/r/{number}.jpg")
            )
            worker.rows.put(Rows(Table.PRODUCT_IMAGES, [row]))
        (data / "products" / "p" / "0.jpg").write_bytes(b"x")
        drive(worker, lambda: "products/p/0.jpg" in indexed(worker.index))
        assert not worker.rows.empty()
        drive(worker, worker.rows.empty)
        assert worker.index.assets.unlisted == 1000


# --- what counts as missed ------------------------------------------------------------------------------


def reconcile(worker: Worker) -> int:
    """Do a full pass, wait until what it found is judged; how many differences were missed so far."""
    worker.begin_pass()
    drive(worker, lambda: not worker.pass_running and judged(worker))
    return worker.missed


def sweep(worker: Worker) -> int:
    """Sweep all directories, wait until what that found is judged; how many were missed so far."""
    worker.sweeper.everything.next_at = float("-inf")
    drive(worker, lambda: worker.sweeper.everything.next_at > 0 and not worker.sweeper.running)
    drive(worker, lambda: judged(worker))
    return worker.missed


def test_a_write_through_a_hard_link_outside_is_missed_once(data: Path, state: Path, tmp_path: Path) -> None:
    os.link(data / "frames" / "v" / "000001.jpg", tmp_path / "outside")
    with running(data, state) as worker:
        (tmp_path / "outside").write_bytes(b"longer")
        assert sweep(worker) == 0  # the directory shows nothing of it
        assert reconcile(worker) == 1
        settle(worker, data)
        assert reconcile(worker) == 1


def test_a_directory_whose_events_are_lost_is_missed_with_all_that_is_in_it(data: Path, state: Path) -> None:
    with running(data, state) as worker:
        drive(worker, lambda: not worker.pending)
        worker.watcher._remove(tuple(worker.watcher._registry._path_of))  # nobody notices
        drive(worker, lambda: worker.watcher.caught_up(time.monotonic()))
        worker.dirty.done(worker.dirty.take(100))
        for path in ("frames/v", "frames", "products"):
            worker.watcher._registry.assign(path, hash(path), lambda one, other: False)
        (data / "frames" / "new").mkdir()
        for number in range(3):
            (data / "frames" / "new" / f"{number:06}.jpg").write_bytes(b"x")
        worker.watcher.add = lambda directory: True  # type: ignore[assignment]
        rested = time.monotonic() + 0.1  # one that has to settle would be asked about, as if it was told of
        drive(worker, lambda: time.monotonic() > rested)
        assert sweep(worker) == 4
        settle(worker, data)


def test_what_is_told_of_is_not_missed_whoever_finds_it_first(data: Path, state: Path) -> None:
    """The reader stands still while a pass finds everything; afterwards it tells of it."""
    with running(data, state) as worker:
        with worker.watcher._map_lock:
            for number in range(20):
                (data / "frames" / f"n{number}").mkdir()
                (data / "frames" / f"n{number}" / "000001.jpg").write_bytes(b"x")
            (data / "frames" / "v" / "000001.jpg").write_bytes(b"longer")
            worker.begin_pass()
            drive(worker, lambda: not worker.pass_running and worker.index.files == 21)
            assert worker.looker.differences.suspects
        settle(worker, data)
        assert reconcile(worker) == 0


def test_nothing_is_missed_while_nothing_happens(data: Path, state: Path) -> None:
    with running(data, state) as worker:
        for _ in range(3):
            assert (sweep(worker), reconcile(worker)) == (0, 0)


# --- large directories ----------------------------------------------------------------------------------


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories are large from twenty entries on."""
    monkeypatch.setattr(portions, "LARGE", 20)
    monkeypatch.setattr(portions, "PORTION", 7)


@pytest.mark.usefixtures("large")
def test_a_large_directory_is_made_right_in_portions(data: Path, state: Path) -> None:
    place = data / "frames" / "v"
    for number in range(50):
        (place / f"{number:06}.jpg").write_bytes(b"x")
        (place / f"{number:06}").mkdir()
    with running(data, state) as worker:
        settle(worker, data)
        assert "frames/v" in worker.looker.large
        worker.watcher.stop()  # from now on only what is listed is known
        for number in range(0, 50, 3):
            (place / f"{number:06}.jpg").unlink()
            (place / f"{number:06}" / "seg.png").write_bytes(b"x")
            (place / f"{number + 1:06}.jpg").write_bytes(b"rewritten")
            (place / f"{number + 60:06}.jpg").write_bytes(b"new")
        (place / "000002").rmdir()
        worker.begin_pass()
        settle(worker, data)
        directory = worker.index.db.execute("SELECT mtime FROM dirs WHERE path='frames/v'").fetchone()
        assert directory == (place.stat().st_mtime_ns,)
        for path in place.glob("*.jpg"):
            path.unlink()
        shutil.rmtree(place)
        worker.begin_pass()
        settle(worker, data)
        assert "frames/v" not in worker.looker.large


def test_of_a_flat_directory_single_names_are_looked_at_however_many_are_in_it(
    data: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To list it for each of them would take longer the more there are."""
    place = data / "frames" / "v"
    for number in range(2000):
        (place / f"{number:06}.jpg").write_bytes(b"x")
    looks: list[frozenset[str] | None] = []
    look = Lister.look

    def noted(self: Lister, directory: str, names: frozenset[str] | None = None) -> Look:
        if directory == "frames/v":
            looks.append(names)
        return look(self, directory, names)

    with running(data, state) as worker:
        settle(worker, data)
        drive(worker, lambda: not worker.sweeper.running)
        worker.sweeper.everything.next_at = float("inf")
        monkeypatch.setattr(Lister, "look", noted)
        for number in range(300):
            (place / f"{number * 10:06}.jpg").write_bytes(b"longer than before")
            drive(worker, lambda: not worker.pending)
        settle(worker, data)
    assert None not in looks
    assert sum(len(names or ()) for names in looks) < 2000


@pytest.mark.usefixtures("large")
def test_events_go_between_the_portions_of_a_large_directory(data: Path, state: Path) -> None:
    place = data / "frames" / "v"
    for number in range(200):
        (place / f"{number:06}.jpg").write_bytes(b"x")
    with running(data, state) as worker:
        settle(worker, data)
        portion = worker.looker.large.next
        seen: list[int] = []

        def slow() -> tuple[portions.Portions, frozenset[str] | None]:
            seen.append(worker.index.files)
            if len(seen) == 5:
                (place / "000900.jpg").write_bytes(b"new")
            until = time.monotonic() + 0.06  # a step takes no second one
            while time.monotonic() < until:
                pass
            return portion()

        worker.looker.large.next = slow  # type: ignore[method-assign]
        worker.begin_pass()
        drive(worker, lambda: not worker.pass_running)
        assert len(seen) > 25
        assert 201 in seen[:15]
        settle(worker, data)


@pytest.mark.usefixtures("large")
def test_a_large_directory_that_changes_all_the_time_rests_between_sweeps(data: Path, state: Path) -> None:
    place = data / "frames" / "v"
    for number in range(50):
        (place / f"{number:06}.jpg").write_bytes(b"x")
    with running(data, state) as worker:
        settle(worker, data)
        worker.looker.large._not_before["frames/v"] = time.monotonic() + 1000.0

        def listed() -> int:
            return int(worker.index.db.execute("SELECT mtime FROM dirs WHERE path='frames/v'").fetchone()[0])

        before = listed()
        (place / "000900.jpg").write_bytes(b"new")
        settle(worker, data)
        assert sweep(worker) == 0
        assert listed() == before
        worker.looker.large._not_before["frames/v"] = 0.0
        assert sweep(worker) == 0
        assert listed() == place.stat().st_mtime_ns


def endless(worker: Worker) -> list[int]:
    """Let no large directory ever be done with; how many files were known at each portion."""
    seen: list[int] = []

    def nothing() -> tuple[portions.Portions, frozenset[str] | None]:
        seen.append(worker.index.files)
        time.sleep(0.02)  # as long as a portion may take
        return next(iter(worker.looker.large._under_way.values())), frozenset()

    worker.looker.large.next = nothing  # type: ignore[method-assign]
    return seen


@pytest.mark.usefixtures("large")
def test_a_file_that_is_settled_does_not_wait_for_all_of_a_large_directory(data: Path, state: Path) -> None:
    """Where so much was told of the directory that only a hint about all of it is left."""
    place = data / "frames" / "v"
    for number in range(50):
        (place / f"{number:06}.jpg").write_bytes(b"x")
    with running(data, state) as worker:
        settle(worker, data)
        worker.watcher.stop()
        known, seen = worker.index.files, endless(worker)
        (place / "000900.jpg").write_bytes(b"closed")
        worker.dirty.mark("frames/v")
        worker.dirty.mark("frames/v", "000900.jpg", settled=True)
        drive(worker, lambda: len(seen) > 0)
        assert seen[0] == known + 1


@pytest.mark.usefixtures("large")
def test_a_file_that_only_grew_does_not_wait_for_all_of_a_large_directory(data: Path, state: Path) -> None:
    """Though hints about all of it come without an end."""
    place = data / "frames" / "v"
    for number in range(50):
        (place / f"{number:06}.jpg").write_bytes(b"x")
    with running(data, state) as worker:
        settle(worker, data)
        known = worker.index.files
        with open(place / "000900.jpg", "wb", buffering=0) as file:
            file.write(b"not closed")
            drive(worker, lambda: "frames/v/000900.jpg" in worker.looker.settling)
            endless(worker)

            def is_there() -> bool:
                worker.dirty.mark("frames/v")
                return worker.index.files == known + 1

            drive(worker, is_there)


# --- readiness ------------------------------------------------------------------------------------------


def test_a_file_that_never_rests_keeps_nothing_else_from_being_ready(data: Path, state: Path) -> None:
    stop = threading.Event()

    def grow() -> None:
        with open(data / "frames" / "v" / "000002.jpg", "ab", buffering=0) as file:
            while not stop.wait(0.01):
                file.write(b"more")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with running(data, state) as worker:
            assert "frames/v/000001.jpg" in indexed(worker.index)
    finally:
        stop.set()
        writer.join()


def test_an_index_that_was_complete_is_ready_at_once(data: Path, state: Path) -> None:
    with running(data, state):
        pass
    (data / "frames" / "v" / "000003.jpg").write_bytes(b"three")
    variables = {"SIDECAR_DATA__ROOT": str(data), "SIDECAR_VERIFY__CONTENT": "false"}
    config = load_config(environ=variables, cwd=str(state))
    index = Index(str(state / "index.db"), config)
    worker = Worker(config, index, queue.Queue())
    try:
        assert not worker.ready
        worker.start()
        assert (worker.ready, worker.pending > 0) == (True, True)
        settle(worker, data)
        assert worker.ready
    finally:
        worker.stop()
        index.close()
