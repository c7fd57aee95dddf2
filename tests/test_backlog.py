"""Bulk work goes on in slices, in order, and begins anew where there was no room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from scanner import backlog
from scanner.backlog import Backlog
from scanner.config import load_config
from scanner.exceptions import IndexFull
from scanner.index import Index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    config = load_config(environ={"SIDECAR_DATA__ROOT": str(tmp_path)}, cwd=str(tmp_path))
    with closing(Index(str(tmp_path / "index.db"), config)) as made:
        yield made


def test_a_step_ends_in_time_and_the_next_goes_on(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "STEP_SECONDS", 0.0)
    work = Backlog(index)
    done: list[str] = []

    def slices(name: str) -> Iterator[None]:
        for number in range(2):
            assert index.db.in_transaction
            done.append(f"{name}{number}")
            yield

    work.add(lambda: slices("a"))
    work.add(lambda: slices("b"))
    assert (work.step(), done) == (True, []), "no time, nothing done"
    monkeypatch.setattr(backlog, "STEP_SECONDS", 10.0)
    assert (work.step(), done) == (False, ["a0", "a1", "b0", "b1"])
    assert len(work) == 0


def test_work_for_which_there_was_no_room_begins_anew(index: Index) -> None:
    work = Backlog(index)
    done: list[int] = []

    def slices() -> Iterator[None]:
        done.append(len(done))
        if len(done) == 1:
            raise apsw.FullError("no room")
        yield

    work.add(slices)
    with pytest.raises(IndexFull):
        work.step()
    assert (len(work), index.db.in_transaction) == (1, False)
    assert (work.step(), done) == (False, [0, 1])
