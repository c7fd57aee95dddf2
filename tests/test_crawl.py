"""What waits to be listed: who lists it, in which order, and that a failure loses none of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from parcels import TERMS
from test_crawling import Delayed

from scanner import crawl as crawling
from scanner.crawl import Crawl
from scanner.dirty import DirtySet
from scanner.listing import Lister
from scanner.listprocess import BATCH, Wanted
from scanner.listworker import FAMILY, WATCH
from scanner.watch import DirectoryWatcher
from scanner.worklist import Task


class Prepared:
    """Notes what is about to be sent; refuses some, and fails at some."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.refused: set[str] = set()
        self.failing: set[str] = set()

    def __call__(self, task: Task, known: bool) -> Wanted | None:
        self.asked.append((task.directory, known))
        if task.directory in self.failing:
            raise OSError(28, "no room")
        how = WATCH | FAMILY if task.recursive else 0
        return None if task.directory in self.refused else Wanted(task, how=how)


@pytest.fixture
def prepared() -> Prepared:
    """What the crawl asks before it sends."""
    return Prepared()


@pytest.fixture
def crawl(tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crawl]:
    """A crawl over a video of two frames with a folder each."""
    for name in ("0", "1"):
        (tmp_path / "frames" / "v" / name).mkdir(parents=True)
        (tmp_path / "frames" / "v" / f"{name}.jpg").write_bytes(b"x")
    monkeypatch.setattr(crawling, "ListingPool", Delayed)
    lister = Lister(str(tmp_path), [])
    lister.use_roots(["frames"])
    watcher = DirectoryWatcher(DirtySet(), str(tmp_path), "inotify")
    watcher.start()
    made = Crawl(lister, watcher, lambda: TERMS, prepared)
    yield made
    made.close()
    watcher.stop()


def test_few_are_listed_by_who_takes_them_and_many_by_the_process(crawl: Crawl) -> None:
    for number in range(crawling.MANY - 1):
        crawl.push(Task(f"frames/{number}"))
    assert not crawl.many
    crawl.push(Task("frames/more"))
    assert crawl.many
    crawl.send()
    assert crawl.many, "what is on its way is waited for"


def test_what_is_on_its_way_is_fetched_also_from_a_process_that_is_not_usable_any_more(crawl: Crawl) -> None:
    for number in range(crawling.MANY):
        crawl.push(Task(f"frames/{number}"))
    crawl.send()
    process = crawl.pool
    for _ in range(5):
        process._died(EOFError("killed"))
    assert not process.usable
    assert crawl.many
    assert crawl.receive(0.0) == []
    assert not crawl.many
    assert len(crawl) == crawling.MANY


def test_the_directories_of_the_index_come_after_what_was_pushed_and_untold(crawl: Crawl) -> None:
    crawl.push_known(iter([[("frames", 1, 2, 3), ("frames/v", 1, 2, 3)], [("frames/w", 1, 2, 3)]]))
    crawl.push(Task("frames/x"))
    assert len(crawl) == 3, "the first portion, and what was pushed"
    popped = []
    while (task := crawl.pop()) is not None:
        popped.append(task)
    assert popped == [
        Task("frames/x"),
        *(Task(directory, told=False) for directory in ("frames", "frames/v", "frames/w")),
    ]
    assert len(crawl) == 0


def test_a_family_comes_in_one_piece_and_its_directory_first(crawl: Crawl) -> None:
    crawl.push(Task("frames/v", recursive=True, found=True))
    crawl.send()
    (seen,) = crawl.receive(0.0)
    directories = [look.directory for look, _ in seen.each()]
    assert (directories[0], sorted(directories)) == ("frames/v", ["frames/v", "frames/v/0", "frames/v/1"])
    assert {task._replace(directory="") for _, task in seen.each()} == {Task("", recursive=True, found=True)}
    assert len(crawl) == 0


def test_what_is_overtaken_has_to_be_done_as_a_whole_by_who_overtakes(crawl: Crawl) -> None:
    crawl.push(Task("frames/v", recursive=True, told=False))
    crawl.send()
    assert crawl.overtake(Task("frames/v")) == Task("frames/v", recursive=True, told=True)
    assert crawl.overtake(Task("frames/v")) is None
    assert crawl.receive(0.0) == []
    assert len(crawl) == 0


def test_a_batch_that_fails_half_way_loses_nothing(crawl: Crawl, prepared: Prepared) -> None:
    names = {f"frames/{number}" for number in range(BATCH // 2)}
    for name in names:
        crawl.push(Task(name))
    prepared.failing = {"frames/7"}
    with pytest.raises(OSError, match="no room"):
        crawl.send()
    assert len(crawl) == len(names)
    prepared.failing.clear()
    crawl.send()
    assert {one.look.directory for one in crawl.receive(0.0)} == names


def test_a_known_directory_that_fails_is_not_lost_either(crawl: Crawl, prepared: Prepared) -> None:
    crawl.push_known(iter([[("frames/v", 1, 2, 3), ("frames", 1, 2, 3)]]))
    prepared.failing = {"frames"}
    with pytest.raises(OSError, match="no room"):
        crawl.send()
    assert len(crawl) == 2


def test_what_lies_below_a_directory_that_is_gone_does_not_come(crawl: Crawl) -> None:
    crawl.push(Task("frames/v", recursive=True))
    crawl.send()
    crawl.receive(0.0)
    crawl.send()
    crawl.forget("frames/v")
    assert crawl.receive(0.0) == []
    assert len(crawl) == 0


def test_an_event_about_a_folder_of_a_family_is_kept_for_later(crawl: Crawl) -> None:
    crawl.push(Task("frames/v", recursive=True))
    crawl.send()
    assert crawl.expects("frames/v", "frames/v/0"), "its parent is on its way"
    assert not crawl.expects("frames/w", "frames/w/0")
    assert len(crawl.receive(0.0)) == 1
    crawl.push_again()
    assert crawl.pop() == Task("frames/v/0", recursive=True)


def test_a_folder_that_is_on_its_way_alone_as_well_is_listed_again(crawl: Crawl) -> None:
    """Nobody can say which of the two was seen later."""
    crawl.push(Task("frames/v", recursive=True))
    crawl.send()
    crawl.push(Task("frames/v/0"))
    crawl.send()
    assert isinstance(crawl.pool, Delayed)
    crawl.pool.allowed = 1
    (seen,) = crawl.receive(0.0)
    assert seen.task.directory == "frames/v"
    crawl.push_again()
    assert crawl.pop() == Task("frames/v/0", recursive=True)
    crawl.pool.allowed = 1
    assert crawl.receive(0.0) == []


def test_closing_forgets_what_is_on_its_way(crawl: Crawl) -> None:
    crawl.push(Task("frames/v"))
    crawl.send()
    crawl.close()
    assert len(crawl.pool) == 0
