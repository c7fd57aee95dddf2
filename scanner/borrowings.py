"""Which assets may use a file only because their row names it: the table ``borrowed``, by the path's hash.

What is no longer so may still be written there; the asset itself decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from scanner.cases import Case
from scanner.pathhash import path_hash
from scanner.placing import Places
from scanner.records import Feature
from scanner.resolve import Resolved


class Borrowings:
    """Writes ``borrowed`` inside the caller's transaction."""

    def __init__(self, connection: Any, places: Places) -> None:
        self._db = connection  # rows are typed where they are unpacked
        self._places = places

    def hashes(self, case: Case, after: Resolved) -> Iterator[int]:
        """Those of the files that the asset uses because its row names them, and that do not lead to it."""
        for feature in Feature:
            claim, path = case.evidence.claims[feature], after.file(feature)
            named = path is not None and claim is not None and claim.path == path
            if path is not None and named and not self._places.leads_to(path, case.key):
                yield path_hash(path)

    def put(self, rows: Collection[tuple[int, int]]) -> None:
        """Write (hash, asset)."""
        self._db.executemany("INSERT OR IGNORE INTO borrowed VALUES(?,?)", rows)

    def remove(self, was: Resolved, asset: int) -> None:
        """An asset is no more; it used these files."""
        held = (was.file(feature) for feature in Feature)
        self._db.executemany(
            "DELETE FROM borrowed WHERE hash=? AND asset=?",
            [(path_hash(path), asset) for path in held if path is not None],
        )
