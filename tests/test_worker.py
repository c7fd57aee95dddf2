"""The worker against a real directory: after any sequence of operations the index equals a fresh walk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reconciling import drive, indexed, running, settle

from scanner.records import AssetRow, AssetType
from scanner.rows import Rows, Table
from scanner.worklist import Task

SEQUENCES = int(os.environ.get("WORKER_SEQUENCES", "60"))


PLACES = ["frames/a", "frames/b", "frames/a/c", "products/p", "frames", "products/.hidden"]
NAMES = ["000001.jpg", "000002.png", "seg.png", "x.tmp", "000001", "gối.jpg", "a\nb.jpg"]
OPERATION = st.tuples(
    st.sampled_from(["write", "append", "delete", "mkdir", "rmtree", "move", "exchange", "utime", "link"]),
    st.sampled_from(PLACES),
    st.sampled_from(NAMES),
    st.sampled_from(PLACES),
    st.sampled_from(NAMES),
)


def perform(data: Path, operation: tuple[str, str, str, str, str], outside: Path) -> None:
    """Do one operation; what the file system refuses is no operation."""
    what, place, name, other_place, other_name = operation
    path, other = data / place / name, data / other_place / other_name
    try:
        if what == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(len(name)))
        elif what == "append":
            with open(path, "ab") as file:
                file.write(b"more")
        elif what == "delete":
            path.unlink()
        elif what == "mkdir":
            path.mkdir(parents=True)
        elif what == "rmtree":
            shutil.rmtree(path.parent if place.count("/") else path)
        elif what == "move":
            os.rename(path.parent if name < "a" and place.count("/") else path, other)
        elif what == "exchange":
            os.rename(path, outside / "held")
            os.rename(other, path)
            os.rename(outside / "held", other)
        elif what == "utime":
            os.utime(path, ns=(1, 1_700_000_000_123_456_789))
        elif what == "link":
            os.link(path, other)
    except OSError:
        held = outside / "held"
        if held.is_dir():
            shutil.rmtree(held)
        else:
            held.unlink(missing_ok=True)


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(OPERATION, max_size=10), after=st.lists(st.lists(OPERATION, max_size=12), max_size=3))
def test_the_index_equals_a_walk_after_any_sequence_of_operations(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[tuple[str, str, str, str, str]],
    after: list[list[tuple[str, str, str, str, str]]],
) -> None:
    base = tmp_path_factory.mktemp("world")
    data, state, outside = base / "data", base / "state", base / "outside"
    for folder in (data / "frames", data / "products", state, outside):
        folder.mkdir(parents=True)
    for operation in before:
        perform(data, operation, outside)
    with running(data, state) as worker:
        settle(worker, data)
        for part in after:
            for operation in part:
                perform(data, operation, outside)
            if (data / "frames").is_dir() and (data / "products").is_dir():
                settle(worker, data)
    shutil.rmtree(base)


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
            worker._look(Task(""), names)
        assert "products/p/0.jpg" in indexed(worker.index)
