"""The part of the index that mirrors what the pipeline database claims about assets.

Rows are kept as the database has them. For a file's rows, :mod:`scanner.naming` suggests which rows may name
its path, and the rows themselves decide.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import compress
from typing import Any, cast

import apsw
import numpy as np

from scanner.bulk import Insertion
from scanner.claimpath import ClaimPaths, Form
from scanner.naming import Digests, Naming, Numbers, hashes_of
from scanner.records import AssetRow, AssetType, Feature
from scanner.resolve import Claim
from scanner.rows import AssetColumns

Key = tuple[AssetType, str]
"""An asset: its type and its id."""
Namers = dict[str, list[tuple[AssetType, str, Feature]]]
"""The rows that name each path, and as which feature."""

_COLUMNS = "type, id, owner, ts, image, segment, embedding, keypoints, embedded, time"
_PATHS = slice(4, 8)  # of these columns
_INSERTION = Insertion(f"claims({_COLUMNS})", "(?,?,?,?,?,?,?,?,?,?)", together=200)
_PORTION = 5000
_NARROW = 20  # forms of claims that are tried one after the other
_STALE = 1 << 16  # paths that no row names any more, which may be remembered all the same: 1 MB
NO_CLAIMS: tuple[Claim | None, ...] = (None, None, None, None)


class ClaimTable:
    """Reads and writes ``claims`` inside the caller's transaction."""

    def __init__(self, connection: apsw.Connection, paths: ClaimPaths) -> None:
        self._db: Any = connection  # rows are typed where they are unpacked
        self._paths = paths
        self._naming = Naming()
        self._plain: set[Form] = set()  # in which claims are remembered as they are written
        self._any_resolved = False  # or as what they mean
        self._narrow: dict[Form, None] = {}
        self._digests = {type: Digests() for type in AssetType}
        self._seen: dict[AssetType, _Seen] = {}
        self._ended: dict[AssetType, _Seen] = {}  # within this transaction
        self._stale = 0
        self._witnesses: dict[str, int] = {}
        self.folders: set[str] = set()
        self.any = self._db.execute("SELECT 1 FROM claims LIMIT 1").fetchone() is not None
        if self.any:
            self._take_over()

    def located(self, row: AssetRow) -> tuple[Claim | None, ...]:
        """The row's claims by Feature; where a claim's path is None it lies outside the data root."""
        return tuple(None if raw is None else Claim(raw, self._paths.resolve(raw)) for raw in row.claimed)

    def located_all(self, rows: Iterable[AssetRow]) -> dict[str, tuple[Claim | None, ...]]:
        """The same for each of many rows of one type, by id."""
        columns = list(zip(*rows, strict=True))
        if not columns:
            return {}
        located = map(self._located, columns[_PATHS])
        return dict(zip(columns[1], zip(*located, strict=True), strict=True))

    def _located(self, claimed: Sequence[str | None]) -> list[Claim | None]:
        raws = [raw for raw in claimed if raw is not None]
        found = map(Claim, raws, self._paths.resolve_all(raws))
        return [None if raw is None else next(found) for raw in claimed]

    def resolve(self, claimed: str) -> str | None:
        """The path below the data root that a claim means, None where it lies outside."""
        return self._paths.resolve(claimed)

    def resolve_all(self, claimed: Sequence[str]) -> list[str | None]:
        """The same for each of many."""
        return self._paths.resolve_all(claimed)

    def count_naming(self, paths: Collection[str]) -> int:
        """How many rows may name any of the paths, at least as many as do."""
        return len(self._naming.rows(self._written(paths))) if self.any else 0

    def paths_of(self, row: AssetRow | None) -> set[str]:
        """Every path below the data root that the row names."""
        if row is None:
            return set()
        paths = (self._paths.resolve(raw) for raw in row.claimed if raw is not None)
        return {path for path in paths if path is not None}

    def rows(self, type: AssetType, ids: Sequence[str]) -> dict[str, AssetRow]:
        """The rows of some ids of one type."""
        return {row[1]: _record(type, row) for row in self._found(type, ids)}

    def naming(self, paths: Iterable[str]) -> Namers:
        """Which rows name each path, and as which feature; paths that none names are left out."""
        if not self.any:
            return {}
        wanted = set(paths)
        numbers = self._naming.rows(self._written(wanted))
        if not numbers:
            return {}
        found = self._db.execute(
            "SELECT type, id, image, segment, embedding, keypoints FROM claims"
            " WHERE row IN (SELECT value FROM json_each(?)) ORDER BY id, type",
            (json.dumps(numbers),),
        )
        result: Namers = {}
        for type, id, *raws in found:
            for feature, raw in enumerate(raws):
                path = None if raw is None else self._paths.resolve(raw)
                if path in wanted:
                    result.setdefault(path, []).append((AssetType(type), id, Feature(feature)))
        return result

    def any_below(self, root: str) -> bool:
        """Whether a row names a file below a folder; asked often, it looks at one row mostly."""
        if not self.folders or (root and root.split("/", 1)[0] not in self.folders):
            return False
        witness = self._witnesses.get(root)
        if witness is not None and self._one_below(root, " WHERE row=?", (witness,)) is not None:
            return True
        found = self._one_below(root)
        if found is not None:
            self._witnesses[root] = found
        elif "/" not in root:
            self.folders.discard(root)  # its rows are gone
            self._narrow = self._narrowed()
        return found is not None

    def _one_below(self, root: str, where: str = "", values: tuple[int, ...] = ()) -> int | None:
        below = root + "/" if root else ""
        sql = f"SELECT row, image, segment, embedding, keypoints FROM claims{where}"
        for number, *raws in self._db.execute(sql, values):
            paths = (self._paths.resolve(raw) for raw in raws if raw is not None)
            if any(path is not None and path.startswith(below) for path in paths):
                return int(number)
        return None

    def put(self, type: AssetType, rows: Sequence[AssetRow]) -> list[tuple[AssetRow | None, AssetRow]]:
        """Insert or update rows; returns those that are new or different, each with what it was before."""
        if not rows:
            return []
        if self.put_first(type, rows):
            return [(None, row) for row in rows]
        latest = _latest(rows)
        keys, digests = hashes_of(_ids_of(latest)), _digests_of(latest)
        seen = self._seen.get(type)
        if seen is not None:
            seen.hashes.append(keys)
        unlike = ~self._digests[type].same(keys, digests)
        if not unlike.any():
            return []
        changed = self._compared(type, list(compress(latest, unlike.tolist())))
        self._digests[type].put(keys[unlike], digests[unlike])
        return changed

    def put_first(self, type: AssetType, rows: Sequence[AssetRow]) -> bool:
        """Insert rows of a full comparison that began over nothing; False, and nothing is changed, where it
        did not, or one of them is there by now."""
        seen = self._seen.get(type)
        if seen is None or not seen.began_empty or not self._insert_new(rows):
            return False
        keys = hashes_of(_ids_of(rows))
        seen.hashes.append(keys)
        self._digests[type].add(keys, _digests_of(rows))
        return True

    def begin(self) -> None:
        """A transaction begins: what the one before has done stands."""
        self._ended.clear()

    def forget(self) -> None:
        """A transaction was rolled back: what was remembered of rows may never have been written, and a full
        comparison that ended in it ends once more."""
        for digests in self._digests.values():
            digests.forget()
        self._seen.update(self._ended)

    def begin_full(self, type: AssetType) -> None:
        """From now on note which rows are seen, until :meth:`end_full`."""
        empty = not self._count(type)
        if empty:
            self._digests[type].forget()
        self._seen[type] = _Seen(began_empty=empty)

    def abandon_full(self) -> None:
        """A full comparison was broken off: what it did not see means nothing."""
        self._seen.clear()

    def end_full(self, type: AssetType) -> list[AssetRow]:
        """Remove and return the rows that a full comparison has not seen."""
        seen = self._seen.pop(type, None)
        if seen is None:
            return []
        self._ended[type] = seen
        known = seen.known()
        if len(known) == self._count(type):
            return []
        gone = [id for ids in self._ids(type) for id in _unknown(known, ids)]
        return self._remove(type, gone)

    # --- reading -----------------------------------------------------------------------------------

    def _found(self, type: AssetType, ids: Sequence[str]) -> Iterable[tuple[Any, ...]]:
        """What the table has of some ids: the columns of a record, then the row's number."""
        if not self.any:
            return ()
        found: Iterable[tuple[Any, ...]] = self._db.execute(
            f"SELECT {_COLUMNS}, row FROM claims WHERE type=? AND id IN (SELECT value FROM json_each(?))",
            (type, json.dumps(ids)),
        )
        return found

    def _count(self, type: AssetType) -> int:
        return int(self._db.execute("SELECT count(*) FROM claims WHERE type=?", (type,)).fetchone()[0])

    def _ids(self, type: AssetType) -> Iterator[list[str]]:
        last = ""
        while rows := self._db.execute(
            "SELECT id FROM claims WHERE type=? AND id>? ORDER BY id LIMIT ?", (type, last, _PORTION)
        ).fetchall():
            yield [row[0] for row in rows]
            last = rows[-1][0]

    # --- writing -----------------------------------------------------------------------------------

    def _compared(self, type: AssetType, rows: Sequence[AssetRow]) -> list[tuple[AssetRow | None, AssetRow]]:
        """Insert or update those of the rows that are not in the table like this."""
        if not rows:
            return []
        before = {row[1]: row for row in self._found(type, [row.asset_id for row in rows])}
        new = [row for row in rows if row.asset_id not in before]
        known = [(old, row) for row in rows if (old := before.get(row.asset_id)) is not None]
        changed = [(old, row) for old, row in known if old[:-1] != row]
        self._insert(new)
        self._update(changed)
        return [(None, row) for row in new] + [(_record(type, old), row) for old, row in changed]

    def _insert_new(self, rows: Sequence[AssetRow]) -> bool:
        """Insert rows that are probably not there; False, and nothing is changed, where one of them is."""
        try:
            with self._db:
                self._insert(rows)
        except apsw.ConstraintError:
            return False
        return True

    def _insert(self, rows: Sequence[AssetRow]) -> None:
        if not rows:
            return
        columns = _columns_of(rows)
        _INSERTION.run(self._db, zip(*columns, strict=True))
        self.any = True
        last = self._db.last_insert_rowid()
        self._note_paths(range(last - len(rows) + 1, last + 1), columns[_PATHS])

    def _update(self, changed: Sequence[tuple[tuple[Any, ...], AssetRow]]) -> None:
        self._db.executemany(
            "UPDATE claims SET owner=?, ts=?, image=?, segment=?, embedding=?, keypoints=?, embedded=?,"
            " time=? WHERE row=?",
            [(*new[2:], old[-1]) for old, new in changed],
        )
        moved = [(old[-1], new) for old, new in changed if old[_PATHS] != new.claimed]
        if moved:
            columns = _columns_of([row for _, row in moved])
            self._note_paths([number for number, _ in moved], columns[_PATHS])
        self._note_stale(len(moved))

    def _remove(self, type: AssetType, ids: Sequence[str]) -> list[AssetRow]:
        rows = list(self.rows(type, ids).values())
        self._digests[type].drop(hashes_of([row.asset_id for row in rows]))
        self._db.executemany(
            "DELETE FROM claims WHERE type=? AND id=?", [(type, row.asset_id) for row in rows]
        )
        self._note_stale(len(rows))
        return rows

    # --- paths -------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Learn what the rows name of an index that another process has written."""
        after = 0
        while rows := self._db.execute(
            f"SELECT {_COLUMNS}, row FROM claims WHERE row>? ORDER BY row LIMIT ?", (after, _PORTION)
        ).fetchall():
            columns = list(zip(*rows, strict=True))
            self._note_paths(columns[-1], columns[_PATHS])
            after = rows[-1][-1]

    def _note_paths(self, numbers: Sequence[int], columns: Sequence[Sequence[str | None]]) -> None:
        """Remember which paths rows name, by columns, and in which first folders they lie."""
        for column in columns:
            claimed = list(filter(None, column))
            owners = numbers if len(claimed) == len(numbers) else list(compress(numbers, column))
            form = self._paths.form_of(claimed, self._narrow)
            if form is None:
                self._note_resolved(self._paths.resolve_all(claimed), owners)
                continue
            self._naming.add(claimed, owners)  # as they are written: see _written
            if form not in self._narrow:
                self._note_folders(form.resolved(claimed), owners)
                self._plain.add(form)
                self._narrow = self._narrowed()

    def _note_resolved(self, paths: Sequence[str | None], owners: Sequence[int]) -> None:
        """The same of claims that are written in many ways."""
        kept = [owner for owner, path in zip(owners, paths, strict=True) if path is not None]
        below = [path for path in paths if path is not None]
        self._naming.add(below, kept)
        self._note_folders(below, kept)
        self._any_resolved = self._any_resolved or bool(below)

    def _note_folders(self, paths: Sequence[str], rows: Sequence[int]) -> None:
        """Remember new first folders, each with a row that names a file there: to find one takes long."""
        folders = [path.split("/", 1)[0] if "/" in path else "" for path in paths]
        if not self.folders.issuperset(folders):
            self.folders.update(folders)
            self._witnesses.update(zip(folders, rows, strict=True))

    def _narrowed(self) -> dict[Form, None]:
        """For the usual claims, forms that tell at one look that they lie in a folder that is known."""
        pairs = [(form, f"{folder}/") for form in self._plain for folder in self.folders if folder]
        if len(pairs) > _NARROW:
            return {}
        written = [(form.written(below), below) for form, below in pairs]
        return {Form(prefix, below): None for prefix, below in written if prefix is not None}

    def _written(self, paths: Collection[str]) -> Collection[str]:
        """How rows would write the paths: claims are remembered as they are, where all are of one form."""
        written: set[str | None] = set(paths) if self._any_resolved else set()
        for form in self._plain:
            written.update(map(form.written, paths))
        written.discard(None)
        return cast("Collection[str]", written)

    def _note_stale(self, rows: int) -> None:
        """So many rows name other paths now, or none: begin anew once most of what is remembered is old."""
        self._stale += len(Feature) * rows
        if self._stale > max(_STALE, len(self._naming) // 2):
            self._naming, self._stale = Naming(), 0
            self._take_over()


class _Seen:
    """What a full comparison has met: the hashes of the rows' ids."""

    def __init__(self, *, began_empty: bool) -> None:
        self.began_empty = began_empty
        self.hashes: list[Numbers] = []

    def known(self) -> Numbers:
        """Each hash once, in order."""
        if not self.hashes:
            return np.empty(0, np.int64)
        known = np.sort(np.concatenate(self.hashes))
        first: Numbers = known[np.append(True, known[1:] != known[:-1])]
        return first


def _unknown(known: Numbers, ids: Sequence[str]) -> Iterable[str]:
    if not len(known):
        return ids
    hashes = hashes_of(ids)
    places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return compress(ids, (known[places] != hashes).tolist())


def owner_of(row: AssetRow | None, told: str | None) -> str | None:
    """The product or video of an asset: what its row says, or else what is ``told`` by its image's path."""
    return told if row is None or row.owner_id is None else row.owner_id


def _columns_of(rows: Sequence[AssetRow]) -> Sequence[Sequence[Any]]:
    """The columns of rows, of which there is one at least."""
    return rows.columns if isinstance(rows, AssetColumns) else list(zip(*rows, strict=True))


def _ids_of(rows: Sequence[AssetRow]) -> Sequence[str]:
    return rows.columns[1] if isinstance(rows, AssetColumns) else [row.asset_id for row in rows]


def _digests_of(rows: Sequence[AssetRow]) -> Numbers:
    known = rows.digests if isinstance(rows, AssetColumns) else None
    return hashes_of(rows) if known is None else known


def _latest(rows: Sequence[AssetRow]) -> Sequence[AssetRow]:
    """The rows, of each id the last one only."""
    if len(set(_ids_of(rows))) == len(rows):
        return rows
    return list({row.asset_id: row for row in rows}.values())


def _record(type: AssetType, row: tuple[Any, ...]) -> AssetRow:
    return AssetRow._make((type, *row[1:8], bool(row[8]), row[9]))
