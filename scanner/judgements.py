"""What content checks have said of the files that assets use, and what an asset disagrees about by that.

The outcome stands with the file; what there is to say beside it is in ``details``, by asset and feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from scanner.assets import AssetTable
from scanner.cases import Comparison
from scanner.claimpath import first_parts
from scanner.claims import Key
from scanner.pathhash import path_hash
from scanner.records import AssetType, Feature, Kind
from scanner.resolve import JUDGED, CheckState, Disagreement, Outcome, check_state
from scanner.tree import Tree

SAME = 4
"""From how many images on identical embeddings are suspect."""
STRANGE = (Kind.MISSING, Kind.MISPLACED, Kind.OUTSIDE)
"""The kinds that a prefix which is not mounted brings about."""
CHECKED_WITH_IMAGE = (Feature.SEGMENT, Feature.KEYPOINTS)


class Wanted(NamedTuple):
    """A finding that there should be, the reason that it shares with others, and whether it is withheld with
    them from the beginning."""

    found: Disagreement
    reason: str | None
    withheld: bool


class Detail(NamedTuple):
    """What a content check said beyond its outcome; ``hash`` is of the path of the file."""

    hash: int
    outcome: int
    detail: str
    warning: str
    digest: int | None


NO_DETAILS: dict[Feature, Detail] = {}


class Judgements:
    """Writes ``details`` inside the caller's transaction; ``roots`` are those that patterns name: where one
    is away, no prefix is wrong."""

    def __init__(self, connection: Any, tree: Tree, assets: AssetTable, roots: Sequence[str]) -> None:
        self._db = connection  # rows are typed where they are unpacked
        self._tree = tree
        self._assets = assets
        self._roots = roots

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

    def of(self, type: AssetType, ids: str) -> dict[str, dict[Feature, Detail]]:
        """What is kept of assets of one type, whose ids are a list in JSON."""
        result: dict[str, dict[Feature, Detail]] = {}
        rows = self._db.execute(
            "SELECT id, feature, hash, outcome, detail, warning, digest FROM details"
            " WHERE type=? AND id IN (SELECT value FROM json_each(?))",
            (type, ids),
        )
        for id, feature, *rest in rows.fetchall():
            result.setdefault(id, {})[Feature(feature)] = Detail(*rest)
        return result

    def wanted(self, comparison: Comparison, details: dict[Feature, Detail]) -> dict[tuple[int, str], Wanted]:
        """By feature and kind: the disagreement, its shared reason, and the state in which it begins."""
        if comparison.after.checks:
            self.check_order(comparison)
        valid = self._valid(comparison, details) if details else details
        from_content = self._from_content(comparison, valid) if valid else ()
        wanted: dict[tuple[int, str], Wanted] = {}
        for found in (*comparison.found, *from_content):
            place = (int(found.feature), str(found.kind))
            if found.kind is Kind.CORRUPT and not found.detail and found.feature in valid:
                found = found._replace(detail=valid[found.feature].detail)
            known = wanted.get(place)
            if known is not None:
                found = known.found._replace(detail=f"{known.found.detail}; {found.detail}")
            wanted[place] = Wanted(found, self.reason(comparison, found), self._is_excused(found, valid))
        return wanted

    def _is_excused(self, found: Disagreement, valid: dict[Feature, Detail]) -> bool:
        """Whether it fails by an expectation that most files fail."""
        detail = valid.get(found.feature)
        return found.kind is Kind.CORRUPT and bool(detail and detail.outcome in self._assets.rules.excused)

    def reason(self, comparison: Comparison, found: Disagreement) -> str | None:
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

    def check_order(self, comparison: Comparison) -> None:
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
