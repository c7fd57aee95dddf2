"""The part of the index that says what disagrees: every finding, and how many there are of which kind.

What a comparison shows anew is written as *waiting*; it is published once it has held for the grace period
and has been looked at again. What a comparison shows no more is deleted with it, in the same transaction.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from scanner.bulk import Insertion
from scanner.cases import Comparison
from scanner.claims import Key
from scanner.judgements import NO_DETAILS, Judgements, Wanted
from scanner.owners import Counts
from scanner.records import AssetType, Kind
from scanner.settings import VerifyConfig

FRAMES = 4
"""In the place of a feature: the finding is about the frames of a video, whose id is the asset's."""
CONFIRMED = "confirmed"
"""The key in ``meta`` of when everything published was last confirmed as a whole, in microseconds."""
_INSERTION = Insertion("findings", "(?,?,?,?,?,?,?,?,?,?,?,?,?)")
_PORTION = 2000


class Status(IntEnum):
    """Where a finding stands; the integer is what the index stores."""

    WAITING = 0
    PUBLISHED = 1
    WITHHELD = 2


class Stored(NamedTuple):
    """A finding as the index holds it, without its times."""

    id: str
    feature: int
    kind: str
    scope: int
    state: int
    path: str | None
    claimed: str | None
    detail: str
    reason: str | None


STORED = ", ".join(Stored._fields)
"""The columns of ``findings`` that make a :class:`Stored`: all but the type and the times."""


class FindingTable:
    """Writes ``findings`` inside the caller's transaction; ``counts`` takes the changes to the counters."""

    def __init__(
        self, connection: Any, judgements: Judgements, counts: Counts, settings: VerifyConfig
    ) -> None:
        self._db = connection  # rows are typed where they are unpacked
        self._judgements = judgements
        self._counts = counts
        self._grace_us = int(settings.grace_seconds * 1e6)
        self._pending: dict[Key, Comparison] = {}
        self._videos: set[str] = set()
        self.writes = 0

    def forget(self) -> None:
        """Drop what has not been written; call it when a transaction is rolled back."""
        self._pending.clear()

    def add(self, comparison: Comparison, *, crawled: bool) -> None:
        """Take what came of resolving an asset; until the disk and the rows have been read, a missing row
        means nothing."""
        if not crawled and comparison.evidence.row is None:
            found = [item for item in comparison.found if item.kind is not Kind.UNRECORDED]
            comparison = comparison._replace(found=found)
        if comparison.found or not comparison.fresh:  # of an asset that was not there, nothing is stored
            earlier = self._pending.get(comparison.key)
            if earlier is not None and not earlier.fresh:
                comparison = comparison._replace(fresh=False)
            self._pending[comparison.key] = comparison
        if comparison.key[0] is AssetType.VIDEO_FRAME:
            owners = (comparison.owner, comparison.after.owner)
            self._videos.update(owner for owner in owners if owner is not None)
        if len(self._pending) >= _PORTION:
            self.flush()

    def note_videos(self, videos: Iterable[str]) -> None:
        """Frames of these have come, with nothing to disagree about."""
        self._videos.update(videos)

    def take_videos(self) -> set[str]:
        """The videos whose frames may have changed since the last call."""
        videos, self._videos = self._videos, set()
        return videos

    def flush(self) -> bool:
        """Write what was taken; True if there was anything, and assets may have been marked by it."""
        if not self._pending:
            return False
        pending, self._pending = self._pending, {}
        for type in AssetType:
            ours = [comparison for key, comparison in pending.items() if key[0] is type]
            if ours:
                self._write(type, ours)
        return True

    # --- writing -------------------------------------------------------------------------------------

    def _write(self, type: AssetType, comparisons: Sequence[Comparison]) -> None:
        known = [comparison.key[1] for comparison in comparisons if not comparison.fresh]
        ids = json.dumps(known)
        stored = self._stored(type, ids) if known else {}
        details = self._judgements.of(type, ids) if known else {}
        now = time.time_ns() // 1000
        inserts: list[tuple[object, ...]] = []
        for comparison in comparisons:
            id = comparison.key[1]
            if comparison.fresh:
                inserts += self._first(comparison, now)
                continue
            wanted = self._judgements.wanted(comparison, details.get(id, NO_DETAILS))
            self._merge(type, comparison, stored.get(id, ()), wanted, now, inserts)
        self._insert(inserts)

    def _first(self, comparison: Comparison, now: int) -> Iterator[tuple[object, ...]]:
        """The rows of what is found about an asset of which nothing was known, and nothing is stored."""
        (type, id), scope = comparison.key, comparison.scope
        if comparison.after.checks:
            self._judgements.check_order(comparison)
        due = now + self._grace_us
        for found in comparison.found:
            feature, kind, path, claimed, detail = found
            reason = self._judgements.reason(comparison, found)
            state = Status.WAITING
            yield type, id, feature, str(kind), scope, state, path, claimed, detail, reason, now, now, due

    def _insert(self, rows: list[tuple[object, ...]]) -> None:
        _INSERTION.run(self._db, rows)
        self.writes += len(rows)

    def insert_about_frames(self, video: str, scope: int, detail: str, state: Status) -> None:
        """A finding about the frames of a video."""
        new = Stored(video, FRAMES, str(Kind.SUSPECT), scope, state, None, None, detail, None)
        self._insert([self._begun(AssetType.VIDEO_FRAME, new, time.time_ns() // 1000)])

    def _begun(self, type: AssetType, new: Stored, now: int) -> tuple[object, ...]:
        """The row of a finding that begins, which is counted."""
        self._count(type, new, 1)
        return type, *new, now, now, now + self._grace_us

    def _stored(self, type: AssetType, ids: str) -> dict[str, list[Stored]]:
        result: dict[str, list[Stored]] = {}
        rows = self._db.execute(
            f"SELECT {STORED} FROM findings WHERE type=? AND id IN (SELECT value FROM json_each(?))"
            " AND feature<4",
            (type, ids),
        )
        for row in rows:
            result.setdefault(row[0], []).append(Stored(*row))
        return result

    def _merge(
        self,
        type: AssetType,
        comparison: Comparison,
        stored: Iterable[Stored],
        wanted: dict[tuple[int, str], Wanted],
        now: int,
        inserts: list[tuple[object, ...]],
    ) -> None:
        """Delete what is no more, confirm what is still so, and collect what is new."""
        id, scope = comparison.key[1], comparison.scope
        for old in stored:
            still = wanted.pop((old.feature, old.kind), None)
            if still is None:
                self.delete(type, old)
            else:
                self._confirm(type, old, scope, still, now)
        for found, reason, withheld in wanted.values():
            state = Status.WITHHELD if withheld else Status.WAITING
            feature, kind, path, claimed, detail = found
            new = Stored(id, int(feature), str(kind), scope, state, path, claimed, detail, reason)
            inserts.append(self._begun(type, new, now))

    def _confirm(
        self,
        type: AssetType,
        old: Stored,
        scope: int,
        new: Wanted,
        now: int,
    ) -> None:
        found, reason, withheld = new
        state = Status.WITHHELD if withheld else Status.WAITING
        self.writes += old.state == Status.PUBLISHED
        if state == Status.WAITING and (old.kind != Kind.CORRUPT or old.state == Status.PUBLISHED):
            state = Status(old.state)
        if (old.scope, old.state) != (scope, state):
            self._count(type, old, -1)
            self._count(type, old._replace(scope=scope, state=state), 1)
        self._db.execute(
            "UPDATE findings SET scope=?, state=?, path=?, claimed=?, detail=?, reason=?, seen=?"
            " WHERE type=? AND id=? AND feature=? AND kind=?",
            (
                scope,
                state,
                found.path,
                found.claimed,
                found.detail,
                reason,
                now,
                type,
                old.id,
                old.feature,
                old.kind,
            ),
        )

    def delete(self, type: AssetType, old: Stored) -> None:
        """Remove a finding, its cause being gone."""
        self._db.execute(
            "DELETE FROM findings WHERE type=? AND id=? AND feature=? AND kind=?",
            (type, old.id, old.feature, old.kind),
        )
        self._count(type, old, -1)

    def postpone(self, type: AssetType, old: Stored, until_us: int) -> None:
        """Leave a finding that waits alone until then, in microseconds."""
        self._db.execute(
            "UPDATE findings SET due=? WHERE type=? AND id=? AND feature=? AND kind=?",
            (until_us, type, old.id, old.feature, old.kind),
        )

    def set_state(self, type: AssetType, old: Stored, state: Status) -> None:
        """Publish a finding, or withhold it."""
        if old.state == state:
            return
        self._db.execute(
            "UPDATE findings SET state=? WHERE type=? AND id=? AND feature=? AND kind=?",
            (state, type, old.id, old.feature, old.kind),
        )
        self._count(type, old, -1)
        self._count(type, old._replace(state=state), 1)

    def _count(self, type: AssetType, finding: Stored, change: int) -> None:
        """Note that a finding has come or gone."""
        if finding.state == Status.WAITING:
            return
        withheld = finding.state == Status.WITHHELD
        name = "withheld" if withheld else f"finding:{finding.kind}:{finding.feature % FRAMES}"
        key = (finding.scope, int(type), name)
        self._counts[key] = self._counts.get(key, 0) + change
