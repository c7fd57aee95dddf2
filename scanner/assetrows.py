"""The rows of ``assets``, gathered and written in bulk, and what they count for their jobs and owners."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from typing import Any

from scanner.bulk import Insertion
from scanner.cases import Case, Record
from scanner.columns import Assets
from scanner.owners import OwnerTable
from scanner.records import AssetType, Feature
from scanner.resolve import HAS, CheckState, Resolved, check_state

_WHOLE = Insertion(
    "assets(type, scope, owner, listed, asset, id, has, checks, ts, image, segment, embedding, keypoints,"
    " image_mtime, image_updated, updated)",
    "(?,?,?,1,?,?,?,?,?,?,?,?,?,?,?,?)",
)
_INSERTION = Insertion(
    "assets(asset, type, id, scope, listed, owner, has, checks, ts, image, segment, embedding, keypoints,"
    " others, image_mtime, image_updated, updated)",
    "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
)
Moves = dict[str, list[tuple[int | None, int | None]]]


class AssetRows:
    """Takes the new state of assets of one type after the other; :meth:`flush` writes it.

    ``unlisted`` is how many assets have no image.
    """

    def __init__(self, connection: Any, owners: OwnerTable) -> None:
        self._db = connection  # rows are typed where they are unpacked
        self._owners = owners
        self._inserts: list[tuple[object, ...]] = []
        self._updates: list[tuple[object, ...]] = []
        self._moves: Moves = {}
        self._next = 1 + (self._db.execute("SELECT max(asset) FROM assets").fetchone()[0] or 0)
        self.unlisted = 0
        self.forget()

    def forget(self) -> None:
        """Drop what is not written; call it when a transaction is rolled back."""
        self._inserts.clear()
        self._updates.clear()
        self._moves.clear()
        self.unlisted = int(self._db.execute("SELECT count(*) FROM assets WHERE NOT listed").fetchone()[0])

    def put(self, case: Case, scope: int, after: Resolved) -> int:
        """Take the new state of an asset; returns its number."""
        before, type = case.before, case.key[0]
        if before is None:
            number = self._next
            self._next += 1
            self._inserts.append((number, type, case.key[1], *_values(after, scope)))
            self.unlisted += not after.listed
        else:
            number = before.number
            self._updates.append((*_values(after, scope), number))
            self.unlisted += before.resolved.listed - after.listed
        self._count(type, before, Record(number, scope, after))
        return number

    def delete(self, case: Case) -> None:
        """Remove an asset of which nothing is left."""
        before = case.before
        if before is None:
            return
        self._db.execute("DELETE FROM assets WHERE asset=?", (before.number,))
        self.unlisted -= not before.resolved.listed
        self._count(case.key[0], before, None)

    def insert(self, assets: Assets, owners: Sequence[str | None], scopes: Sequence[int]) -> None:
        """Insert assets of which the index knows none, by columns, and count them for their jobs; each has
        an owner and a scope, whatever the group's own owner."""
        type = assets.type
        numbers = range(self._next, self._next + len(assets.ids))
        self._next = numbers.stop
        _WHOLE.run(self._db, zip(repeat(type), scopes, owners, numbers, *assets.columns, strict=False))
        counts = self._owners.counts
        alike = Counter(zip(scopes, assets.has, assets.checks, strict=True))
        for (scope, has, checks), number in alike.items():
            for name in _counted(has & 7, checks):
                key = (scope, type, name)
                counts[key] = counts.get(key, 0) + number
        gains: dict[str, tuple[int, int]] = {}
        for owner, time in zip(owners, assets.image_mtimes, strict=True):
            if owner is not None:
                number, newest = gains.get(owner, (0, time))
                gains[owner] = number + 1, max(newest, time)
        self._owners.gain(AssetType(type), gains)

    def flush(self, type: AssetType) -> bool:
        """Write what was taken; True if there was anything."""
        inserts, updates, moves = self._inserts, self._updates, self._moves
        self._inserts, self._updates, self._moves = [], [], {}
        _INSERTION.run(self._db, inserts)
        self._db.executemany(
            "UPDATE assets SET scope=?, listed=?, owner=?, has=?, checks=?, ts=?, image=?, segment=?,"
            " embedding=?, keypoints=?, others=?, image_mtime=?, image_updated=?, updated=? WHERE asset=?",
            updates,
        )
        self._owners.adjust(type, moves)
        return bool(inserts or updates or moves)

    def _count(
        self,
        type: AssetType,
        before: Record | None,
        after: Record | None,
    ) -> None:
        counts = self._owners.counts
        for record, sign in ((before, -1), (after, 1)):
            if record is not None and record.resolved.listed:
                for name in _counted(record.resolved.has & 7, record.resolved.checks):
                    key = (record.scope, int(type), name)
                    counts[key] = counts.get(key, 0) + sign
        old, new = _place(before), _place(after)
        if old == new:
            return
        if old[0] == new[0] and old[0] is not None:
            self._moves.setdefault(old[0], []).append((old[1], new[1]))
            return
        if old[0] is not None:
            self._moves.setdefault(old[0], []).append((old[1], None))
        if new[0] is not None:
            self._moves.setdefault(new[0], []).append((None, new[1]))


def _place(record: Record | None) -> tuple[str | None, int | None]:
    """The owner of a listed asset and the time of its image."""
    if record is None or not record.resolved.listed:
        return None, None
    return record.resolved.owner, record.resolved.image_mtime


def _values(after: Resolved, scope: int) -> tuple[object, ...]:
    listed, owner, has, checks, ts, image, segment, embedding, keypoints, others, *times = after
    text = json.dumps(others) if others else None
    return scope, listed, owner, has, checks, ts, image, segment, embedding, keypoints, text, *times


_counted_cache: dict[tuple[int, int], tuple[str, ...]] = {}


def _counted(has: int, checks: int) -> tuple[str, ...]:
    """The names of the counters to which a listed asset adds one."""
    known = _counted_cache.get((has, checks))
    if known is None:
        names = ["total", *(feature.wire for feature, bit in HAS.items() if has & bit)]
        if has:
            names.append("any")
        for feature in Feature:
            state = check_state(checks, feature)
            if state is not CheckState.NOTHING:
                names.append(f"{state.name.lower()}:{feature.wire}")
        known = _counted_cache[has, checks] = tuple(names)
    return known
