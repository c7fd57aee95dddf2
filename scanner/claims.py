"""The part of the index that mirrors what the pipeline database claims about assets.

Rows are kept as the database has them; beside them stands, for every path that they name, which row
names it, so that a file finds its rows without a search.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw
import numpy as np

from scanner.claimpath import ClaimPaths
from scanner.pathhash import path_hash
from scanner.records import AssetRow, AssetType, Feature
from scanner.resolve import Claim

Key = tuple[AssetType, str]
"""An asset: its type and its id."""

_COLUMNS = "id, owner, ts, image, segment, embedding, keypoints, embedded, time"
NO_CLAIMS: tuple[Claim | None, ...] = (None, None, None, None)


class ClaimTable:
    """Reads and writes ``claims`` and ``named`` inside the caller's transaction."""

    def __init__(self, connection: apsw.Connection, paths: ClaimPaths) -> None:
        self._db: Any = connection  # rows are typed where they are unpacked
        self._paths = paths
        self._seen: dict[AssetType, array[int]] = {}
        self.folders: set[str] = set()
        self.any = self._db.execute("SELECT 1 FROM claims LIMIT 1").fetchone() is not None

    def located(self, row: AssetRow) -> tuple[Claim | None, ...]:
        """The row's claims by Feature; where a claim's path is None it lies outside the data root."""
        raws = (row.local_path, row.segment, row.embedding, row.keypoints)
        return tuple(None if raw is None else Claim(raw, self._paths.resolve(raw)) for raw in raws)

    def resolve(self, claimed: str) -> str | None:
        """The path below the data root that a claim means, None where it lies outside."""
        return self._paths.resolve(claimed)

    def paths_of(self, row: AssetRow | None) -> set[str]:
        """Every path below the data root that the row names."""
        if row is None:
            return set()
        return {claim.path for claim in self.located(row) if claim is not None and claim.path is not None}

    def rows(self, type: AssetType, ids: Sequence[str]) -> dict[str, AssetRow]:
        """The rows of some ids of one type."""
        if not self.any:
            return {}
        found = self._db.execute(
            f"SELECT {_COLUMNS} FROM claims WHERE type=? AND id IN (SELECT value FROM json_each(?))",
            (type, json.dumps(ids)),
        )
        return {row[0]: _row(type, row) for row in found}

    def naming(self, paths: Iterable[str]) -> dict[str, list[tuple[AssetType, str, Feature]]]:
        """Which rows name each path, and as which feature; paths that none names are left out."""
        if not self.any:
            return {}
        hashes = {path_hash(path): path for path in paths}
        found = self._db.execute(
            "SELECT hash, type, id, feature FROM named JOIN claims USING(row)"
            " WHERE hash IN (SELECT value FROM json_each(?)) ORDER BY id, type",
            (json.dumps(list(hashes)),),
        )
        result: dict[str, list[tuple[AssetType, str, Feature]]] = {}
        for value, type, id, feature in found:
            result.setdefault(hashes[value], []).append((AssetType(type), id, Feature(feature)))
        return result

    def put(self, type: AssetType, rows: Sequence[AssetRow]) -> list[tuple[AssetRow | None, AssetRow]]:
        """Insert or update rows; returns those that are new or different, each with what it was before."""
        ids = [row.asset_id for row in rows]
        before = self.rows(type, ids)
        latest = {row.asset_id: row for row in rows}
        if type in self._seen:
            self._seen[type].extend(path_hash(id) for id in latest)
        changed = [(before.get(id), row) for id, row in latest.items() if before.get(id) != row]
        for old, new in changed:
            self._write(old, new)
        self.any = self.any or bool(changed)
        return changed

    def begin_full(self, type: AssetType) -> None:
        """From now on note which rows are seen, until :meth:`end_full`."""
        self._seen[type] = array("q")

    def abandon_full(self) -> None:
        """A full comparison was broken off: what it did not see means nothing."""
        self._seen.clear()

    def end_full(self, type: AssetType) -> list[AssetRow]:
        """Remove and return the rows that a full comparison has not seen."""
        seen = self._seen.pop(type, None)
        count = self._db.execute("SELECT count(*) FROM claims WHERE type=?", (type,)).fetchone()[0]
        if seen is None or len(seen) == count:
            return []
        known = np.unique(np.frombuffer(seen, dtype=np.int64)) if seen else np.empty(0, np.int64)
        gone = [id for id in self._ids(type) if not _contains(known, path_hash(id))]
        return self._remove(type, gone)

    def unresolved(self, limit: int, after: int) -> list[tuple[int, Key]]:
        """Rows (their number and key) behind ``after`` for which the index has no asset, in order."""
        rows = self._db.execute(
            "SELECT row, c.type, c.id FROM claims c LEFT JOIN assets a ON a.type=c.type AND a.id=c.id"
            " WHERE row>? AND a.asset IS NULL ORDER BY row LIMIT ?",
            (after, limit),
        )
        return [(row, (AssetType(type), id)) for row, type, id in rows]

    def _ids(self, type: AssetType) -> Iterator[str]:
        last = ""
        while rows := self._db.execute(
            "SELECT id FROM claims WHERE type=? AND id>? ORDER BY id LIMIT 5000", (type, last)
        ).fetchall():
            yield from (row[0] for row in rows)
            last = rows[-1][0]

    def _write(self, old: AssetRow | None, new: AssetRow) -> None:
        values = (new.owner_id, new.ts, new.local_path, new.segment, new.embedding, new.keypoints)
        number = self._number(new) if old is not None else None
        if number is None:
            self._db.execute(
                "INSERT INTO claims VALUES(NULL,?,?,?,?,?,?,?,?,?,?)",
                (new.type, new.asset_id, *values, new.embedding_in_db, new.time_us),
            )
            number = self._db.last_insert_rowid()
        else:
            self._db.execute(
                "UPDATE claims SET owner=?, ts=?, image=?, segment=?, embedding=?, keypoints=?, embedded=?,"
                " time=? WHERE row=?",
                (*values, new.embedding_in_db, new.time_us, number),
            )
            if self.located(old or new) == self.located(new):
                return
            self._forget_names(number, old)
        self._note_folders(new)
        self._db.executemany(
            "INSERT OR IGNORE INTO named VALUES(?,?,?)",
            [
                (path_hash(claim.path), number, feature)
                for feature, claim in enumerate(self.located(new))
                if claim is not None and claim.path is not None
            ],
        )

    def note_all_folders(self) -> None:
        """Learn the first folders that the mirrored rows name, for an index that was taken over."""
        for type in AssetType:
            for row in self._db.execute(f"SELECT {_COLUMNS} FROM claims WHERE type=?", (type,)):
                self._note_folders(_row(type, row))

    def _note_folders(self, row: AssetRow) -> None:
        for path in self.paths_of(row):
            self.folders.add(path.split("/", 1)[0] if "/" in path else "")

    def _number(self, row: AssetRow) -> int | None:
        found = self._db.execute(
            "SELECT row FROM claims WHERE type=? AND id=?", (row.type, row.asset_id)
        ).fetchone()
        return None if found is None else int(found[0])

    def _forget_names(self, number: int, row: AssetRow | None) -> None:
        self._db.executemany(
            "DELETE FROM named WHERE hash=? AND row=?",
            [(path_hash(path), number) for path in self.paths_of(row)],
        )

    def _remove(self, type: AssetType, ids: Sequence[str]) -> list[AssetRow]:
        rows = list(self.rows(type, ids).values())
        for row in rows:
            number = self._number(row)
            if number is not None:
                self._forget_names(number, row)
                self._db.execute("DELETE FROM claims WHERE row=?", (number,))
        return rows


def _row(type: AssetType, row: tuple[Any, ...]) -> AssetRow:
    id, owner, ts, image, segment, embedding, keypoints, embedded, time = row
    return AssetRow(type, id, owner, ts, image, segment, embedding, keypoints, bool(embedded), time)


def _contains(known: np.ndarray[tuple[int], np.dtype[np.int64]], value: int) -> bool:
    place = int(np.searchsorted(known, value))
    return place < len(known) and int(known[place]) == value
