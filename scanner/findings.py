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

from scanner.assets import AssetTable
from scanner.bulk import Insertion
from scanner.cases import Comparison
from scanner.claimpath import first_parts
from scanner.claims import Key
from scanner.owners import Counts
from scanner.pathhash import path_hash
from scanner.records import AssetType, Feature, Kind
from scanner.resolve import JUDGED, CheckState, Disagreement, Outcome, check_state
from scanner.settings import VerifyConfig
from scanner.tree import Tree

FRAMES = 4
"""In the place of a feature: the finding is about the frames of a video, whose id is the asset's."""
SAME = 4
"""From how many images on identical embeddings are suspect."""
CONFIRMED = "confirmed"
"""The key in ``meta`` of when everything published was last confirmed as a whole, in microseconds."""
STRANGE = (Kind.MISSING, Kind.MISPLACED, Kind.OUTSIDE)
"""The kinds that a prefix which is not mounted brings about."""
CHECKED_WITH_IMAGE = (Feature.SEGMENT, Feature.KEYPOINTS)
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


class Detail(NamedTuple):
    """What a content check said beyond its outcome; ``hash`` is of the path of the file."""

    hash: int
    outcome: int
    detail: str
    warning: str
    digest: int | None


_NO_DETAILS: dict[Feature, Detail] = {}


class FindingTable:
    """Writes ``findings`` and ``details`` inside the caller's transaction; ``counts`` takes the changes
    to the counters. ``roots`` are those that patterns name: where one is away, no prefix is wrong."""

    def __init__(
        self,
        connection: Any,
        tree: Tree,
        assets: AssetTable,
        counts: Counts,
        settings: VerifyConfig,
        roots: Sequence[str] = (),
    ) -> None:
        self._db = connection  # rows are typed where they are unpacked
        self._tree = tree
        self._assets = assets
        self._counts = counts
        self._roots = roots
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

    # --- what content checks say ---------------------------------------------------------------------

    def put_detail(self, key: Key, feature: Feature, detail: Detail | None) -> None:
        """Keep what a check said about the file that an asset uses; None: there is nothing to say."""
        before = self._db.execute(
            "SELECT digest FROM details WHERE type=? AND id=? AND feature=?", (*key, feature)
        ).fetchone()
        if before is None and detail is None:
            return
        old = None if before is None else before[0]
        new = None if detail is None else detail.digest
        self._drop_detail(key, feature)
        if detail is not None:
            self._db.execute("INSERT INTO details VALUES(?,?,?,?,?,?,?,?)", (*key, feature, *detail))
        if old != new:
            self._mark_same(old)
            self._mark_same(new)

    def failing(self) -> dict[tuple[Feature, Outcome], int]:
        """How many files fail each expectation that can be configured."""
        rows = self._db.execute(
            "SELECT feature, outcome, count(*) FROM details"
            " WHERE outcome >= 3 AND outcome >= 10 GROUP BY outcome, feature"
        )
        return {(Feature(feature), Outcome(outcome)): n for feature, outcome, n in rows}

    def _drop_detail(self, key: Key, feature: int) -> None:
        self._db.execute("DELETE FROM details WHERE type=? AND id=? AND feature=?", (*key, feature))

    def _mark_same(self, digest: int | None) -> None:
        """A group of identical embeddings has changed: around the bound, all of it is looked at again."""
        if digest is None:
            return
        rows = self._db.execute(
            "SELECT type, id FROM details WHERE digest=? LIMIT ?", (digest, SAME + 1)
        ).fetchall()
        if SAME - 1 <= len(rows) <= SAME:
            for type, id in rows:
                self._assets.mark((AssetType(type), id))

    # --- writing -------------------------------------------------------------------------------------

    def _write(self, type: AssetType, comparisons: Sequence[Comparison]) -> None:
        known = [comparison.key[1] for comparison in comparisons if not comparison.fresh]
        ids = json.dumps(known)
        stored = self._stored(type, ids) if known else {}
        details = self._details(type, ids) if known else {}
        now = time.time_ns() // 1000
        inserts: list[tuple[object, ...]] = []
        for comparison in comparisons:
            id = comparison.key[1]
            if comparison.fresh:
                inserts += self._first(comparison, now)
                continue
            wanted = self._wanted(comparison, details.get(id, _NO_DETAILS))
            self._merge(type, comparison, stored.get(id, ()), wanted, now, inserts)
        self._insert(inserts)

    def _first(self, comparison: Comparison, now: int) -> Iterator[tuple[object, ...]]:
        """The rows of what is found about an asset of which nothing was known, and nothing is stored."""
        (type, id), scope = comparison.key, comparison.scope
        if comparison.after.checks:
            self._check_order(comparison)
        due = now + self._grace_us
        for found in comparison.found:
            feature, kind, path, claimed, detail = found
            reason = self._reason(comparison, found)
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

    def _details(self, type: AssetType, ids: str) -> dict[str, dict[Feature, Detail]]:
        result: dict[str, dict[Feature, Detail]] = {}
        rows = self._db.execute(
            "SELECT id, feature, hash, outcome, detail, warning, digest FROM details"
            " WHERE type=? AND id IN (SELECT value FROM json_each(?))",
            (type, ids),
        )
        for id, feature, *rest in rows.fetchall():
            result.setdefault(id, {})[Feature(feature)] = Detail(*rest)
        return result

    def _merge(
        self,
        type: AssetType,
        comparison: Comparison,
        stored: Iterable[Stored],
        wanted: dict[tuple[int, str], tuple[Disagreement, str | None, int]],
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
        for found, reason, state in wanted.values():
            feature, kind, path, claimed, detail = found
            new = Stored(id, int(feature), str(kind), scope, state, path, claimed, detail, reason)
            inserts.append(self._begun(type, new, now))

    def _confirm(
        self,
        type: AssetType,
        old: Stored,
        scope: int,
        new: tuple[Disagreement, str | None, int],
        now: int,
    ) -> None:
        found, reason, state = new
        self.writes += old.state == Status.PUBLISHED
        if state == Status.WAITING and (old.kind != Kind.CORRUPT or old.state == Status.PUBLISHED):
            state = old.state
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

    # --- what is wanted ------------------------------------------------------------------------------

    def _wanted(
        self, comparison: Comparison, details: dict[Feature, Detail]
    ) -> dict[tuple[int, str], tuple[Disagreement, str | None, int]]:
        """By feature and kind: the disagreement, its shared reason, and the state in which it begins."""
        if comparison.after.checks:
            self._check_order(comparison)
        valid = self._valid(comparison, details) if details else details
        from_content = self._from_content(comparison, valid) if valid else ()
        wanted: dict[tuple[int, str], tuple[Disagreement, str | None, int]] = {}
        for found in (*comparison.found, *from_content):
            place = (int(found.feature), str(found.kind))
            if found.kind is Kind.CORRUPT and not found.detail and found.feature in valid:
                found = found._replace(detail=valid[found.feature].detail)
            known = wanted.get(place)
            if known is not None:
                found = known[0]._replace(detail=f"{known[0].detail}; {found.detail}")
            wanted[place] = (found, self._reason(comparison, found), self._first_state(found, valid))
        return wanted

    def _first_state(self, found: Disagreement, valid: dict[Feature, Detail]) -> Status:
        """What is withheld with others is so from the beginning."""
        if found.kind is not Kind.CORRUPT:
            return Status.WAITING
        detail = valid.get(found.feature)
        return Status.WITHHELD if detail and detail.outcome in self._assets.rules.excused else Status.WAITING

    def _reason(self, comparison: Comparison, found: Disagreement) -> str | None:
        claim = comparison.evidence.claims[found.feature]
        if found.kind not in STRANGE or claim is None:
            return None
        if claim.path is None:
            return first_parts("/" + claim.raw.lstrip("/"))
        folder, slash, _ = claim.path.partition("/")
        if not slash or folder in self._roots or self._tree.directory_id(folder) is not None:
            return None
        return folder

    def _valid(self, comparison: Comparison, details: dict[Feature, Detail]) -> dict[Feature, Detail]:
        """The details that are about the files as they are; the others are dropped."""
        valid = {}
        for feature, detail in details.items():
            path = _used(comparison, feature)
            state = check_state(comparison.after.checks, feature)
            if path is None or state not in JUDGED:
                self._drop(comparison.key, feature, detail)
            elif detail.hash != path_hash(path):
                self._drop(comparison.key, feature, detail)
                self.judge_anew(comparison.key, feature, path)
            else:
                valid[feature] = detail
        return valid

    def _drop(self, key: Key, feature: Feature, detail: Detail) -> None:
        self._drop_detail(key, feature)
        self._mark_same(detail.digest)

    def _check_order(self, comparison: Comparison) -> None:
        """What is compared with the image is judged after it, so where the image waits it waits as well."""
        if check_state(comparison.after.checks, Feature.IMAGE) is not CheckState.PENDING:
            return
        for feature in CHECKED_WITH_IMAGE:
            path = _used(comparison, feature)
            if path is not None and check_state(comparison.after.checks, feature) in JUDGED:
                self.judge_anew(comparison.key, feature, path)

    def judge_anew(self, key: Key, feature: Feature, path: str) -> None:
        """Forget the verdict on the file that an asset uses, for it to be asked for once more."""
        state = self._tree.state(path)
        if state is not None and state.verdict == Outcome.BY_USE:
            self.put_detail(key, feature, None)
        else:
            self._tree.set_verdict(path, None, Outcome.NONE)
        self._assets.mark(key)

    def _from_content(self, comparison: Comparison, valid: dict[Feature, Detail]) -> list[Disagreement]:
        result = []
        for feature, detail in valid.items():
            claim = comparison.evidence.claims[feature]
            raw = claim.raw if claim else None
            path = _used(comparison, feature)
            if detail.outcome in self._assets.rules.excused:
                result.append(Disagreement(feature, Kind.CORRUPT, path, raw, detail.detail))
            warning = "; ".join(filter(None, (detail.warning, self._same(detail))))
            if warning and detail.outcome == Outcome.OK:
                result.append(Disagreement(feature, Kind.SUSPECT, path, raw, warning))
        return result

    def _same(self, detail: Detail) -> str:
        if detail.digest is None:
            return ""
        row = self._db.execute("SELECT count(*) FROM details WHERE digest=?", (detail.digest,)).fetchone()
        if row[0] < SAME:
            return ""
        return "the embedding is byte-identical to those of other images"


def _used(comparison: Comparison, feature: Feature) -> str | None:
    """The path of the file that the asset uses as a feature."""
    return comparison.after.file(feature) if comparison.after.listed else None
