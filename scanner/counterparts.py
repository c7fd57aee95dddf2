"""Which rows have no asset, and which assets no row: looked for in portions, there may be very many."""

from __future__ import annotations

from typing import Any, Literal

from scanner.records import AssetType

LOOKED_THROUGH = 10_000
"""How many rows a portion of a search may pass over: some ten milliseconds."""
Side = Literal["claims", "assets"]
_NUMBERS: dict[Side, str] = {"claims": "row", "assets": "asset"}


def alone(
    connection: Any, table: Side, limit: int, after: int
) -> tuple[list[tuple[AssetType, str]], int | None]:
    """What one of the two tables has behind number ``after`` and the other has not, and where to go on, None
    at the end.

    Most may have a counterpart, so that what is looked through is limited as well.
    """
    number, until = _NUMBERS[table], after + LOOKED_THROUGH
    other: Side = "assets" if table == "claims" else "claims"
    rows = connection.execute(
        f"SELECT ours.{number}, ours.type, ours.id FROM {table} ours"
        f" LEFT JOIN {other} theirs ON theirs.type=ours.type AND theirs.id=ours.id"
        f" WHERE ours.{number}>? AND ours.{number}<=? AND theirs.{_NUMBERS[other]} IS NULL"
        f" ORDER BY ours.{number} LIMIT ?",
        (after, until, limit),
    ).fetchall()
    found = [(AssetType(type), id) for _, type, id in rows]
    if len(rows) == limit:
        return found, int(rows[-1][0])
    last = connection.execute(f"SELECT max({number}) FROM {table}").fetchone()[0] or 0
    return found, until if until < last else None
