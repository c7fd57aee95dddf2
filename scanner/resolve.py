"""What claim, disk and content make of one asset: pure, so that every rule can be tried without a disk.

The index gathers the evidence of an asset (its row, and the files that could be its image or one of its
artifacts, best first); :func:`resolve` chooses among them and :func:`compare` names the disagreements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from scanner.records import AssetRow, AssetType, Feature, Kind
from scanner.tree import State

HAS = {Feature.SEGMENT: 1, Feature.EMBEDDING: 2, Feature.KEYPOINTS: 4}
"""The bit of ``assets.has`` that says ``has_X``; the same bit shifted by CORRUPT_SHIFT says corrupt."""
CORRUPT_SHIFT = 3
_NOWHERE = "no file at the claimed path or where a pattern looks"
_FEATURES = tuple(Feature)
_ARTIFACT_BITS = tuple((feature, bit, 2 * int(feature)) for feature, bit in HAS.items())


class Outcome(IntEnum):
    """What is stored of a content check. The ones from DIM on fail one expectation that can be configured.

    ``BY_USE`` stands with a file that several assets use, or one as several features: each use has an
    outcome of its own, among the details.
    """

    NONE = 0
    OK = 1
    CORRUPT = 2
    UNCHECKED = 3
    BY_USE = 4
    EMBEDDING_DIM = 10
    EMBEDDING_DTYPE = 11
    KEYPOINTS_COLUMNS = 12
    KEYPOINTS_DTYPE = 13
    SEGMENT_SIZE = 14


class CheckState(IntEnum):
    """Where the content check of a feature's file stands; two bits for each feature in ``assets.checks``."""

    NOTHING = 0
    PENDING = 1
    CHECKED = 2
    UNCHECKED = 3


JUDGED = (CheckState.CHECKED, CheckState.UNCHECKED)
"""The states in which there is a verdict."""


class Found(NamedTuple):
    """A file that could be the asset's image or artifact."""

    path: str
    state: State


class Claim(NamedTuple):
    """What a row says about one feature: as written, and below the data root (None: it lies outside)."""

    raw: str
    path: str | None


class Evidence(NamedTuple):
    """Everything that is known about one asset.

    ``claims`` and ``found`` are indexed by Feature. ``found`` holds candidates in order of preference,
    files of size 0 included; ``claims`` is None for a feature that no row names. ``rivals`` are rows that
    name the same image file, ``shared`` the features whose file another row claims too, ``lent`` those whose
    claimed file is an asset's that is listed, which this one is not. ``strays`` are files that would be this
    asset's by their names, but not by those of its image: without one they are orphans. ``recorded`` are the
    features that the row's table has a column for.
    """

    type: AssetType
    asset_id: str
    row: AssetRow | None
    claims: Sequence[Claim | None]
    found: Sequence[Sequence[Found]]
    owner: str | None = None
    timestamp: float | None = None
    rivals: Sequence[str] = ()
    shared: Sequence[Feature] = ()
    lent: Sequence[Feature] = ()
    strays: Sequence[str] = ()
    recorded: frozenset[Feature] = frozenset(Feature)


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that decide how evidence is read."""

    database: bool
    stale_ns: int
    checks: frozenset[Feature] = frozenset()
    excused: frozenset[Outcome] = frozenset()


class Resolved(NamedTuple):
    """One row of ``assets``, in the order of its columns from ``listed`` on, without the scope."""

    listed: bool
    owner: str | None
    has: int
    checks: int
    ts: float | None
    image: str | None
    segment: str | None
    embedding: str | None
    keypoints: str | None
    others: tuple[str, ...]
    image_mtime: int | None
    image_updated: int | None
    updated: int | None

    def file(self, feature: Feature) -> str | None:
        """The path of the file that is used, corrupt or not."""
        return (self.image, self.segment, self.embedding, self.keypoints)[feature]

    @property
    def artifacts(self) -> set[str]:
        """The paths of the artifacts that are used."""
        return {path for path in (self.segment, self.embedding, self.keypoints) if path is not None}


class Disagreement(NamedTuple):
    """A finding before it has held for the grace period."""

    feature: Feature
    kind: Kind
    path: str | None
    claimed: str | None
    detail: str


def chosen(found: Sequence[Found]) -> Found | None:
    """The file that is used: the first candidate that is there, and a file of size 0 is not there."""
    for candidate in found:
        if candidate.state.size:
            return candidate
    return None


def check_state(checks: int, feature: Feature) -> CheckState:
    """Where the check of a feature's file stands by ``assets.checks``."""
    return CheckState((checks >> (2 * feature)) & 3)


def is_corrupt(state: State, excused: frozenset[Outcome] = frozenset()) -> bool:
    """Whether content that was read has been judged, by more than an expectation that most files fail."""
    verdict = state.verdict
    return verdict == Outcome.CORRUPT or (verdict >= Outcome.EMBEDDING_DIM and verdict not in excused)


def resolve(evidence: Evidence, rules: Rules) -> Resolved:
    """The asset as lists and details show it."""
    found, row = evidence.found, evidence.row
    times = [] if row is None else row_times(row)
    if not any(found):
        return _absent(evidence, times[0] if times else None)
    image = chosen(found[Feature.IMAGE])
    checks = 0
    if image is not None:
        times.append(image.state.mtime_ns)
        checks = _checked(Feature.IMAGE, image.state, rules)
    image_updated = max(times, default=None)
    has = 0
    paths: list[str | None] = [None, None, None]
    for feature, bit, shift in _ARTIFACT_BITS:
        artifact = chosen(found[feature])
        if artifact is None:
            continue
        paths[feature - 1], state = artifact
        checks |= _checked(feature, state, rules) << shift
        if state.verdict > Outcome.OK and is_corrupt(state, rules.excused):
            has |= bit << CORRUPT_SHIFT
        else:
            has |= bit
            times.append(state.mtime_ns)
    if row is not None and row.embedding_in_db:
        has |= HAS[Feature.EMBEDDING]
    return Resolved(
        image is not None,
        evidence.owner,
        has,
        checks,
        row.ts if row is not None else evidence.timestamp,
        image.path if image else None,
        paths[0],
        paths[1],
        paths[2],
        (*(other.path for other in found[Feature.IMAGE] if other is not image), *evidence.strays),
        image.state.mtime_ns if image else None,
        image_updated,
        max(times, default=None),
    )


def _absent(evidence: Evidence, time_ns: int | None) -> Resolved:
    """An asset of which no file is there."""
    row, others = evidence.row, tuple(evidence.strays)
    has = HAS[Feature.EMBEDDING] if row is not None and row.embedding_in_db else 0
    ts = row.ts if row is not None else evidence.timestamp
    return Resolved(False, evidence.owner, has, 0, ts, None, None, None, None, others, None, time_ns, time_ns)


def row_times(row: AssetRow) -> list[int]:
    """The row's time in nanoseconds; one that those cannot count (before 1678, after 2261) says nothing."""
    if row.time_us is None or abs(row.time_us) >= 1 << 53:
        return []
    return [row.time_us * 1000]


def _checked(feature: Feature, state: State, rules: Rules) -> CheckState:
    if feature not in rules.checks:
        return CheckState.NOTHING
    if state.verdict == Outcome.NONE:
        return CheckState.PENDING
    return CheckState.UNCHECKED if state.verdict == Outcome.UNCHECKED else CheckState.CHECKED


def compare(evidence: Evidence, rules: Rules) -> list[Disagreement]:
    """Every disagreement about the asset, at most one for each feature and kind.

    The details of corrupt and suspect content are known to whoever checked it and are added there;
    whether an artifact without an image is another asset's after all, the index decides.
    """
    if not any(evidence.found):
        return _without_files(evidence, rules)
    if _undisputed(evidence, rules):
        return []
    result: list[Disagreement] = []
    image = chosen(evidence.found[Feature.IMAGE])
    for feature, claim, found in zip(_FEATURES, evidence.claims, evidence.found, strict=True):
        if claim is None and not found:
            continue
        if rules.database and claim is not None and claim.path is None:
            result.append(_outside(feature, claim))
            continue
        result.extend(_about_place(feature, evidence, rules))
        if found:
            result.extend(_about_content(feature, evidence, rules, image))
        if found or evidence.shared:
            result.extend(_about_others(feature, evidence))
    return result


def _without_files(evidence: Evidence, rules: Rules) -> list[Disagreement]:
    """What is to be said about claims where there is no file."""
    result: list[Disagreement] = []
    for feature, claim in zip(_FEATURES, evidence.claims, strict=True):
        if claim is None:
            continue
        if rules.database and claim.path is None:
            result.append(_outside(feature, claim))
            continue
        if rules.database and feature not in evidence.lent and not _lost_to_rival(feature, evidence):
            result.append(Disagreement(feature, Kind.MISSING, None, claim.raw, _NOWHERE))
        if evidence.shared:
            result.extend(_about_others(feature, evidence))
    return result


def _outside(feature: Feature, claim: Claim) -> Disagreement:
    detail = f"the claimed path lies outside the data root: {claim.raw}"
    return Disagreement(feature, Kind.OUTSIDE, None, claim.raw, detail)


def _undisputed(evidence: Evidence, rules: Rules) -> bool:
    """Whether one look shows that nothing can disagree, as is so for most assets."""
    if evidence.shared or evidence.rivals or not evidence.found[Feature.IMAGE]:
        return False
    oldest = evidence.found[Feature.IMAGE][0].state.mtime_ns - rules.stale_ns
    for files, claim in zip(evidence.found, evidence.claims, strict=True):
        if not files:
            if claim is not None:
                return False
            continue
        path, state = files[0]
        if len(files) > 1 or not state.size or state.verdict > Outcome.OK or state.mtime_ns < oldest:
            return False
        if rules.database if claim is None else claim.path != path:
            return False
    return True


def _about_place(feature: Feature, evidence: Evidence, rules: Rules) -> list[Disagreement]:
    """Is the file where the row says: missing, misplaced, unrecorded, empty."""
    found = evidence.found[feature]
    claim = evidence.claims[feature]
    used = chosen(found)
    raw = claim.raw if claim else None
    if used is None and found:
        detail = "the file has size 0"
        return [Disagreement(feature, Kind.EMPTY, found[0].path, raw, detail)]
    if not rules.database or feature in evidence.lent:
        return []
    if claim is not None and used is None:
        if _lost_to_rival(feature, evidence):
            return []
        return [Disagreement(feature, Kind.MISSING, None, raw, _NOWHERE)]
    if claim is not None and used is not None and used.path != claim.path:
        if _lost_to_rival(feature, evidence):
            return []
        detail = f"the claimed file is not there; {used.path} is used"
        return [Disagreement(feature, Kind.MISPLACED, used.path, raw, detail)]
    if claim is None and used is not None and _unrecorded(feature, evidence):
        detail = "the row does not name this file" if evidence.row else "no row names this image"
        return [Disagreement(feature, Kind.UNRECORDED, used.path, None, detail)]
    return []


def _lost_to_rival(feature: Feature, evidence: Evidence) -> bool:
    return feature is Feature.IMAGE and bool(evidence.rivals)


def _unrecorded(feature: Feature, evidence: Evidence) -> bool:
    row = evidence.row
    if feature is Feature.IMAGE:
        return row is None or feature in evidence.recorded
    if row is None or feature not in evidence.recorded:
        return False
    return not (feature is Feature.EMBEDDING and row.embedding_in_db)


def _about_content(
    feature: Feature, evidence: Evidence, rules: Rules, image: Found | None
) -> list[Disagreement]:
    """Is the file that is used good: corrupt, stale, orphan.

    An artifact without an image is an orphan and no more: content is judged for assets that are listed.
    """
    used = chosen(evidence.found[feature])
    if used is None:
        return []
    claim = evidence.claims[feature]
    raw = claim.raw if claim else None
    result = []
    if image is None:  # there is nothing to hold the content against
        return [Disagreement(feature, Kind.ORPHAN, used.path, raw, "the image is not on disk")]
    if is_corrupt(used.state, rules.excused):
        result.append(Disagreement(feature, Kind.CORRUPT, used.path, raw, ""))
    if feature is Feature.IMAGE:
        return result
    if image.state.mtime_ns - used.state.mtime_ns > rules.stale_ns:
        seconds = (image.state.mtime_ns - used.state.mtime_ns) / 1e9
        detail = f"{seconds:.1f} s older than the image {image.path}"
        result.append(Disagreement(feature, Kind.STALE, used.path, raw, detail))
    return result


def _about_others(feature: Feature, evidence: Evidence) -> list[Disagreement]:
    """Files and rows that compete: duplicate, and suspect where two rows claim one file."""
    used = chosen(evidence.found[feature])
    claim = evidence.claims[feature]
    raw = claim.raw if claim else None
    result = []
    further = [f.path for f in evidence.found[feature] if f.state.size and f is not used]
    if further:
        detail = "not used: " + ", ".join(further)
        result.append(Disagreement(feature, Kind.DUPLICATE, used.path if used else None, raw, detail))
    if claim is not None and feature in evidence.shared:
        detail = f"another row claims this file too: {raw}"
        result.append(Disagreement(feature, Kind.SUSPECT, claim.path, raw, detail))
    return result
