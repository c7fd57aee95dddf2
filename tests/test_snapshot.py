"""What the scanner says of itself, from a real worker over real directories."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from scanner.config import Config, DataConfig
from scanner.index import Index
from scanner.snapshot import Reporter
from scanner.worker import Worker
from web import healthwire

FILES = ("frames/v/1.jpg", "frames/w/1.jpg", "products/p/1.jpg")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """A worker whose first pass is over."""
    root = tmp_path / "data"
    for path in FILES:
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(b"x")
    config = replace(Config(), data=DataConfig(root=str(root)))
    with contextlib.closing(Index(str(tmp_path / "index"), config)) as index:
        made = Worker(config, index, queue.Queue())
        made.start()
        try:
            step_until(made, lambda: made.crawled and not made.pending)
            yield made
        finally:
            made.stop()


def step_until(worker: Worker, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(min(worker.step(), 0.01))


def test_it_says_how_directories_are_watched(worker: Worker) -> None:
    reporter = Reporter(worker.config, worker)
    stats = worker.watcher.stats()
    watching = reporter.snapshot(None)["watching"]
    assert (watching["needed"], watching["watched"], watching["polled"]) == (5, 5, 0)
    assert watching["allowed"] == stats.limit
    assert (watching["overflows"], watching["last_overflow_at"], watching["missed"]) == (0, None, 0)
    worker.looker.differences.count = 3
    assert reporter.snapshot(None)["watching"]["missed"] == 3


def test_it_says_how_often_and_when_last_events_were_lost(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = replace(worker.watcher.stats(), overflows=2, last_overflow_us=1_755_933_900_500_000)
    monkeypatch.setattr(worker.watcher, "stats", lambda: lost)
    watching = Reporter(worker.config, worker).snapshot(None)["watching"]
    assert (watching["overflows"], watching["last_overflow_at"]) == (2, "2025-08-23T14:25:00+07:00")


def test_it_says_what_waits_where(worker: Worker) -> None:
    reporter = Reporter(worker.config, worker)
    assert set(reporter.snapshot(None)["queues"].values()) == {0}
    for name in ("a", "b"):
        worker.dirty.mark("frames/v", name)
    worker.dirty.mark("products/p")
    worker.begin_pass()
    assert reporter.snapshot(None)["queues"] == {
        "dirty_directories": 2,
        "directories_to_list": 5,
        "settling_files": 0,
        "database_batches": 0,
    }


def test_it_is_what_the_document_of_the_interface_says(worker: Worker) -> None:
    """Every part of the answer that the scanner gives has the type that is written down for it."""
    snapshot = Reporter(worker.config, worker).snapshot(None)
    types = {field.name: field.type for field in msgspec.structs.fields(healthwire.Health)}
    counts = snapshot.pop("counts")
    assert snapshot.keys() <= types.keys()
    assert json.loads(json.dumps(counts)) == counts
    for name, value in snapshot.items():
        msgspec.convert(value, types[name])


def test_it_counts_files_by_root_and_kind_as_they_come_and_go(worker: Worker) -> None:
    reporter = Reporter(worker.config, worker)
    root = Path(worker.config.data.root)
    for path in ("frames/v/1/seg.png", "frames/v/1/kp.bin", "frames/v/notes.txt"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(b"x")
    (root / "frames" / "w" / "1.jpg").unlink()
    expected = {
        (f"{root}/frames", "image"): 1,
        (f"{root}/frames", "segment"): 1,
        (f"{root}/frames", "keypoints"): 1,
        (f"{root}/frames", "other"): 1,
        (f"{root}/products", "image"): 1,
    }

    def found() -> dict[tuple[str, str], int]:
        return {(root, kind): n for root, kind, n in reporter.snapshot(None)["counts"]["files"] if n}

    step_until(worker, lambda: found() == expected)
    shutil.rmtree(root / "frames" / "v")
    step_until(worker, lambda: found() == {(f"{root}/products", "image"): 1})


def test_an_index_that_is_taken_over_counts_the_same(worker: Worker, tmp_path: Path) -> None:
    index = worker.index
    with contextlib.closing(Index(index.path, worker.config)) as again:
        assert (again.census, again.totals) == (+index.census, +index.totals)
        assert (again.files, again.unjudged) == (3, index.unjudged) == (3, 3)


def test_a_transaction_that_fails_counts_nothing(worker: Worker) -> None:
    index = worker.index
    before = index.census.copy(), index.totals.copy()
    with contextlib.suppress(ZeroDivisionError), index.transaction():
        index.remove("frames")
        raise ZeroDivisionError
    assert (index.census, index.totals, index.files) == (*before, 3)
