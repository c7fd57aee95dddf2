"""Rows are inserted many at a time, none is left out, and a clash leaves it to the caller."""

from __future__ import annotations

from collections.abc import Iterator

import apsw
import pytest

from scanner.bulk import TOGETHER, Insertion

INSERTION = Insertion("pairs(number, text)", "(?,'t'||?)")


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    made = apsw.Connection(":memory:")
    made.execute("CREATE TABLE pairs(number INTEGER PRIMARY KEY, text TEXT)")
    yield made
    made.close()


@pytest.mark.parametrize("count", [0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1, 3 * TOGETHER])
def test_any_number_of_rows_is_inserted(connection: apsw.Connection, count: int) -> None:
    INSERTION.run(connection, zip(range(count), map(str, range(count)), strict=True))
    assert connection.execute("SELECT * FROM pairs ORDER BY number").fetchall() == [
        (number, f"t{number}") for number in range(count)
    ]


@pytest.mark.parametrize("place", [0, TOGETHER])
def test_a_row_that_is_there_already_is_refused(connection: apsw.Connection, place: int) -> None:
    INSERTION.run(connection, [(place, "before")])
    with pytest.raises(apsw.ConstraintError):
        INSERTION.run(connection, ((number, "") for number in range(TOGETHER + 1)))
