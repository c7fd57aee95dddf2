"""Some listing processes as if they were one: who is asked, and that nothing is listed by two."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from parcels import TERMS
from reconciling import DEADLINE

from scanner.dirty import DirtySet
from scanner.listing import Lister
from scanner.listpool import ListingPool
from scanner.listprocess import Wanted
from scanner.watch import DirectoryWatcher
from scanner.worklist import Task


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ListingPool]:
    """Two processes over a root with three directories."""
    for name in ("a", "b", "c"):
        (tmp_path / "frames" / name).mkdir(parents=True)
    lister = Lister(str(tmp_path), [])
    lister.use_roots(["frames"])
    made = ListingPool(lister, DirectoryWatcher(DirtySet(), str(tmp_path), "polling"), lambda: TERMS, 2)
    yield made
    made.close()


def wanted(*names: str) -> list[Wanted]:
    """Requests for some of the directories."""
    return [Wanted(Task(f"frames/{name}")) for name in names]


def everything(pool: ListingPool) -> list[str]:
    """The directories that come until none is on its way, in order of their names."""
    come: list[str] = []
    end = time.monotonic() + DEADLINE
    while len(pool):
        assert time.monotonic() < end, f"only {come} came"
        come += [seen.look.directory for seen in pool.receive(0.1)]
    return sorted(come)


def test_a_second_process_is_started_where_the_first_is_at_work(pool: ListingPool) -> None:
    pool.send(wanted("a"))
    assert len(pool.pids()) == 1
    pool.send(wanted("b"))
    assert len(pool.pids()) == 2
    assert everything(pool) == ["frames/a", "frames/b"]


def test_what_comes_one_after_the_other_needs_one_process(pool: ListingPool) -> None:
    for name in ("a", "b", "c"):
        pool.send(wanted(name))
        assert everything(pool) == [f"frames/{name}"]
    assert len(pool.pids()) == 1


def test_a_directory_that_is_asked_for_twice_comes_once(pool: ListingPool) -> None:
    """The later answer counts, whoever gives it."""
    pool.send(wanted("a", "b"))
    pool.send(wanted("a"))
    assert len(pool.pids()) == 2
    assert len(pool) == 2
    assert everything(pool) == ["frames/a", "frames/b"]


def test_what_one_of_them_loses_comes_back_and_the_other_goes_on(pool: ListingPool) -> None:
    pool.send(wanted("a"))
    everything(pool)
    (first,) = pool.pids()
    os.kill(first, signal.SIGSTOP)
    pool.send(wanted("a", "b"))
    pool.send(wanted("c"))
    os.kill(first, signal.SIGKILL)
    come: list[str] = []
    lost: set[str] = set()
    end = time.monotonic() + DEADLINE
    while len(pool):
        assert time.monotonic() < end
        come += [seen.look.directory for seen in pool.receive(0.1)]
        lost |= {task.directory for task in pool.lost()}
    assert come == ["frames/c"]
    assert lost == {"frames/a", "frames/b"}
    assert pool.usable
