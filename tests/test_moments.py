"""Everything that is asked inside a moment is answered from one state of the index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from scanner import schema
from scanner.config import Config
from scanner.index import Index
from scanner.moments import Moment
from scanner.queries import Queries
from scanner.records import JobRow
from scanner.rows import Rows, Table


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with closing(Index(str(tmp_path / "index.db"), Config())) as made:
        yield made


def add_job(index: Index, name: str) -> None:
    with index.transaction():
        index.put(Rows(Table.JOBS, [JobRow(name)]))


def test_what_is_written_meanwhile_is_seen_by_the_next_one(index: Index) -> None:
    add_job(index, "a")
    with closing(Queries(index.path, Config())) as queries:
        with queries.moment as outer:
            assert queries.status("a") is not None
            add_job(index, "b")
            with queries.moment as inner:
                assert (inner, queries.revision()) == (outer, outer)
                assert queries.status("b") is None
            assert queries.status("b") is None, "leaving an inner one ends nothing"
        with queries.moment as later:
            assert later != outer
            assert queries.status("b") is not None
        assert queries.revision() == later


def test_a_moment_ends_with_an_error_and_holds_nothing_up(index: Index) -> None:
    with closing(schema.open_reader(index.path)) as db:
        moment = Moment(db)
        with pytest.raises(ZeroDivisionError), moment, moment:
            raise ZeroDivisionError
        before = index.revision
        add_job(index, "a")
        with moment as revision:
            assert revision == index.revision != before
        # With a reader in an older state the log of changes could not be begun anew.
        busy, _, _ = index.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0


def test_an_index_without_a_revision_has_none(tmp_path: Path) -> None:
    path = str(tmp_path / "empty.db")
    with closing(apsw.Connection(path)) as db:
        schema.create(db)
    with closing(schema.open_reader(path)) as db, Moment(db) as revision:
        assert revision == 0
