"""What a worker counts as missed while hints and checks of the same directories come between one another."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from reconciling import drive, judged, running, settle
from waiting import until

from scanner import portions
from scanner.worker import Worker
from scanner.worklist import Task

PLACE = "frames/v"
COUNT = 50


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is large: here from twenty entries on."""
    monkeypatch.setattr(portions, "LARGE", 20)
    monkeypatch.setattr(portions, "PORTION", 7)
    place = tmp_path / "data" / PLACE
    place.mkdir(parents=True)
    (tmp_path / "data" / "products").mkdir()
    for number in range(COUNT):
        (place / f"{number:06}.jpg").write_bytes(b"x")
    return tmp_path / "data"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the index is."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


def rest(worker: Worker) -> None:
    """Wait until all is in the index, and each difference is decided."""
    drive(worker, lambda: judged(worker))


def check(worker: Worker, portions: int) -> None:
    """Begin to look at the large directory as a sweep does, and look at so many portions of it."""
    with worker.index.transaction():
        worker.looker._look_at_whole(Task(PLACE, told=False))
        for _ in range(portions):
            worker.looker._look_at_portion([])
    assert len(worker.looker.large) == 1


def settled() -> None:
    """Wait until what was just written has rested: what has to settle is asked about as if it was told of."""
    written = time.monotonic()
    until(lambda: time.monotonic() - written > 0.1, "the files have settled")


def all_told(worker: Worker) -> None:
    """Wait until what has happened has become hints, which nobody has taken yet."""
    now = time.monotonic()
    until(lambda: worker.watcher.caught_up(now), "the reader has caught up")


def test_what_a_hint_about_all_of_a_large_directory_covers_is_not_missed(data: Path, state: Path) -> None:
    """So many names change that only their directory is told of, while a sweep has it under way."""
    with running(data, state) as worker:
        rest(worker)
        worker.dirty._max_names = 5
        check(worker, 1)
        for number in range(COUNT):
            (data / PLACE / f"{number:06}.jpg").write_bytes(b"longer")
            (data / PLACE / f"{number:06}.new.jpg").write_bytes(b"new")
        all_told(worker)
        assert worker.dirty._entries[PLACE].whole
        rest(worker)
        assert worker.missed == 0
        settle(worker, data)


def test_a_large_directory_that_is_checked_twice_in_a_row_hides_nothing(
    data: Path, state: Path, tmp_path: Path
) -> None:
    """A full pass asks for it when a sweep is nearly through it, and no event has told anything."""
    for number in range(COUNT):
        os.link(data / PLACE / f"{number:06}.jpg", tmp_path / f"{number:06}")
    with running(data, state) as worker:
        rest(worker)
        check(worker, 8)
        worker.looker._look_at_whole(Task(PLACE, told=False))
        for number in range(COUNT):
            (tmp_path / f"{number:06}").write_bytes(b"longer")
        settled()
        rest(worker)
        assert worker.missed == COUNT
        settle(worker, data)


def test_a_new_directory_that_waits_to_be_listed_is_not_missed(data: Path, state: Path) -> None:
    """In a storm of them a sweep of the directory that they lie in comes before their turn."""
    with running(data, state) as worker:
        rest(worker)
        for name in ("a", "b"):
            (data / "frames" / name).mkdir()
        all_told(worker)
        assert worker._take_dirty()
        assert "frames/a" in worker.crawl
        with worker.index.transaction():
            worker.looker.look(Task("frames", told=False))
        rest(worker)
        assert worker.missed == 0
        settle(worker, data)


def test_a_new_directory_that_a_sweep_has_found_is_told_of_with_all_that_is_in_it(
    data: Path, state: Path
) -> None:
    """Its event is followed when it has been found, while what is in it is being listed."""
    with running(data, state) as worker:
        rest(worker)
        with worker.watcher._map_lock:  # the reader stands still
            for name in ("a", "a/b", "a/b/c"):
                (data / "frames" / name).mkdir()
                for number in range(5):
                    (data / "frames" / name / f"{number:06}.jpg").write_bytes(b"x")
            settled()
            with worker.index.transaction():
                worker.looker.look(Task("frames", told=False))
                for _ in range(2):
                    found = worker.crawl.pop()
                    assert found is not None
                    worker.looker.look(found)
            assert len(worker.looker.differences._new) == 1 + 5 + 1 + 5 + 1
        below = worker.crawl.pop()
        assert below == Task("frames/a/b/c", recursive=True, told=False, found=True)
        all_told(worker)
        assert worker._take_dirty()
        with worker.index.transaction():
            worker.looker.look(below)
        rest(worker)
        assert worker.missed == 0
        settle(worker, data)
