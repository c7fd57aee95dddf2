"""What the scanner says of itself, from a real worker over real directories."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from scanner.config import Config, DataConfig
from scanner.index import Index
from scanner.snapshot import Reporter
from scanner.worker import Worker
from web import wire

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
            step_until_crawled(made)
            yield made
        finally:
            made.stop()


def step_until_crawled(worker: Worker) -> None:
    deadline = time.monotonic() + 30
    while not worker.crawled:
        assert time.monotonic() < deadline
        time.sleep(min(worker.step(), 0.01))


def test_it_says_how_directories_are_watched(worker: Worker) -> None:
    reporter = Reporter(worker.config, worker)
    stats = worker.watcher.stats()
    watching = reporter.snapshot(None)["watching"]
    assert (watching["needed"], watching["watched"], watching["polled"]) == (5, 5, 0)
    assert watching["allowed"] == stats.limit
    assert (watching["overflows"], watching["last_overflow_at"], watching["missed"]) == (0, None, 0)
    worker.missed = 3
    assert reporter.snapshot(None)["watching"]["missed"] == 3


def test_it_says_what_waits_where(worker: Worker) -> None:
    reporter = Reporter(worker.config, worker)
    assert set(reporter.snapshot(None)["queues"].values()) == {0}
    for name in ("a", "b"):
        worker.dirty.mark("frames/v", name)
    worker.dirty.mark("products/p")
    worker.begin_pass()
    assert reporter.snapshot(None)["queues"] == {
        "dirty_directories": 2,
        "directories_to_list": 2,
        "settling_files": 0,
        "database_batches": 0,
    }


def test_it_is_what_the_document_of_the_interface_says(worker: Worker) -> None:
    """Every part of the answer that the scanner gives has the type that is written down for it."""
    snapshot = Reporter(worker.config, worker).snapshot(None)
    types = {field.name: field.type for field in msgspec.structs.fields(wire.Health)}
    assert snapshot.keys() <= types.keys()
    for name, value in snapshot.items():
        msgspec.convert(value, types[name])
