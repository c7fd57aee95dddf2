"""The third part of the model: assets, claims and contents → every finding that must be published.

Part of :mod:`model`. Where a careful reader may see a finding either way it is made with ``sure`` false:
the product may have it or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from model_answers import Answers, frame_number
from model_assets import ARTIFACTS, FRAME, SECTIONS, Asset, Claim, Row

FEATURES = ("image", *ARTIFACTS)
CONFIGURABLE = {"dim", "columns", "dtype", "size"}


@dataclass(frozen=True)
class Finding:
    """One disagreement. ``paths`` are those that may be named for it (None: any, or none at all)."""

    job_id: str | None
    asset_type: str
    asset_id: str
    feature: str
    kind: str
    paths: tuple[str | None, ...] | None
    claimed_path: str | None
    sure: bool = True

    @property
    def key(self) -> tuple[str, str, str, str]:
        """At most one finding has these."""
        return (self.asset_type, self.asset_id, self.feature, self.kind)


class Findings:
    """What disagrees, after grace, over everything."""

    def __init__(self, answers: Answers) -> None:
        self.answers, self.assets, self.settings = answers, answers.assets, answers.settings
        self.disk, self.database = answers.assets.disk, answers.database
        self.shared = self._shared()
        self.unmounted = self._unmounted()
        self.withheld = 0

    def all(self) -> list[Finding]:
        """Every finding by its key, the withheld ones counted and left out."""
        self.withheld = 0
        found: dict[tuple[str, str, str, str], Finding] = {}
        for finding in self._each():
            known = found.get(finding.key)
            if known is None or (finding.sure and not known.sure):
                found[finding.key] = finding
        held = [finding for finding in found.values() if self._is_withheld(finding)]
        self.withheld = len(held)
        return sorted((f for f in found.values() if f not in held), key=lambda f: f.key)

    def _each(self) -> Iterator[Finding]:
        for asset in list(self.assets.all.values()):
            if asset.listed:
                for feature in FEATURES:
                    yield from self._listed(asset, feature)
            else:
                yield from self._image_gone(asset)
            for feature in ARTIFACTS:
                yield from self._orphans(asset, feature)
        yield from self._claimed_twice()
        yield from self._identical_embeddings()
        yield from self._missing_numbers()

    def _made(self, asset: Asset, feature: str, kind: str, *paths: str | None, sure: bool = True) -> Finding:
        claim = asset.claim(feature)
        job = min(self.answers.jobs_of(asset), default=None)
        named = tuple(self.answers.absolute(path) for path in paths) or (None,)
        return Finding(job, *asset.key, feature, kind, named, claim.text if claim else None, sure)

    # --- an asset whose image is there ---

    def _listed(self, asset: Asset, feature: str) -> Iterator[Finding]:
        slot, claim = asset.files[feature], asset.claim(feature)
        sure = not (claim and claim.outside)
        if self.database is not None:
            yield from self._claimed(asset, feature)
        if slot.used is None:
            if slot.empty:
                yield self._made(asset, feature, "empty", *slot.empty, sure=sure)
            return
        rest = slot.live[1:]
        if rest:
            idle = not self._used().issuperset(rest)
            yield self._made(asset, feature, "duplicate", slot.used, *rest, sure=sure and idle)
        if feature != "image" and self._is_stale(asset, slot.used):
            yield self._made(asset, feature, "stale", slot.used, sure=sure)
        verdict = self.answers.judge(feature, slot.used, asset.files["image"].used)
        if verdict:
            yield self._made(asset, feature, verdict[0], slot.used, sure=sure)

    def _used(self) -> set[str | None]:
        return {a.files[feature].used for a in self.answers.listed for feature in FEATURES}

    def _is_stale(self, asset: Asset, path: str) -> bool:
        image = self.answers.mtime(asset.files["image"].used) or 0
        age = image - (self.answers.mtime(path) or 0)
        return bool(age > self.settings["verify"]["stale_seconds"] * 10**9)

    def _claimed(self, asset: Asset, feature: str) -> Iterator[Finding]:
        claim, slot = asset.claim(feature), asset.files[feature]
        if claim is None:
            yield from self._unclaimed(asset, feature)
        elif claim.outside:
            yield self._made(asset, feature, "outside", None, slot.used)
        elif self.disk.there(claim.path):
            return
        elif slot.used is not None:
            yield self._made(asset, feature, "misplaced", slot.used)
        elif claim.path not in self.disk.files and not slot.empty:
            yield self._made(asset, feature, "missing")

    def _unclaimed(self, asset: Asset, feature: str) -> Iterator[Finding]:
        """A file is there that nothing records."""
        used, row = asset.files[feature].used, asset.row
        if used is None or (row is None and feature != "image"):
            return
        if row is not None and feature == "embedding" and row.embedding_in_db:
            return
        if row is None or feature in row.columns:
            yield self._made(asset, feature, "unrecorded", used)

    # --- an asset whose image is not there ---

    def _image_gone(self, asset: Asset) -> Iterator[Finding]:
        claim, empty = asset.claim("image"), asset.files["image"].empty
        if claim and claim.outside:
            yield self._made(asset, "image", "outside", None)
        elif claim and claim.path not in self.disk.files and not empty:
            yield self._made(asset, "image", "missing", sure=not self._template_hits(asset))
        if empty:
            yield self._made(asset, "image", "empty", *empty, sure=not (claim and claim.outside))
        elif claim and not claim.outside and self._size(claim) == 0:
            yield self._made(asset, "image", "empty", claim.path, sure=False)

    def _size(self, claim: Claim) -> int | None:
        file = self.disk.files.get(claim.path or "")
        return file.size if file else None

    def _template_hits(self, asset: Asset) -> bool:
        """Whether some file, though it is another row's, would be this asset's by its name."""
        template = self.settings["layout"][SECTIONS[asset.kind]]["id"]
        for path in self.disk.files:
            pattern = self.assets.image_pattern(path, asset.kind)
            if pattern and template.format(**(pattern.match(path) or {})) == asset.id:
                return True
        return False

    def _orphans(self, asset: Asset, feature: str) -> Iterator[Finding]:
        paths = self.assets.orphans.get((*asset.key, feature), [])
        live = [path for path in paths if self.disk.there(path)]
        claim = asset.claim(feature)
        inside = claim is None or not claim.outside
        sure = not asset.listed and inside and not self._image_is_anothers(asset)
        verdict = self.answers.judge(feature, live[0], None) if live else None
        if verdict:
            yield self._made(asset, feature, verdict[0], *live, sure=False)
        if live:
            yield self._made(asset, feature, "orphan", *live, sure=sure)
        elif paths:
            yield self._made(asset, feature, "empty", *paths, sure=False)
        if len(live) > 1:
            yield self._made(asset, feature, "duplicate", *live, sure=False)
        if not asset.listed:
            yield from self._claims_without_image(asset, feature, live, bool(paths))

    def _claims_without_image(
        self, asset: Asset, feature: str, live: list[str], exists: bool
    ) -> Iterator[Finding]:
        claim = asset.claim(feature)
        if claim is None:
            if live and asset.row is not None:
                yield self._made(asset, feature, "unrecorded", *live, sure=False)
        elif claim.outside:
            yield self._made(asset, feature, "outside", None, *live)
        elif claim.path in self.disk.files:
            if not self.disk.there(claim.path):
                yield self._made(asset, feature, "empty", claim.path, sure=False)
        elif live:
            yield self._made(asset, feature, "misplaced", *live, sure=False)
        elif not exists:
            yield self._made(asset, feature, "missing")

    def _image_is_anothers(self, asset: Asset) -> bool:
        claim = asset.claim("image")
        return bool(claim and self.disk.there(claim.path))

    # --- suspects ---

    def _shared(self) -> dict[str, list[tuple[Row, str]]]:
        """The paths of files that are there and that more than one row claims, with the claims."""
        claims: dict[str, list[tuple[Row, str]]] = {}
        for row, feature, claim in self.assets.claims:
            if self.disk.there(claim.path):
                claims.setdefault(claim.path or "", []).append((row, feature))
        return {
            path: rows for path, rows in claims.items() if len({(row.kind, row.id) for row, _ in rows}) > 1
        }

    def _claimed_twice(self) -> Iterator[Finding]:
        for path, rows in self.shared.items():
            for row, feature in rows:
                asset = self.assets.all[row.kind, row.id]
                yield self._made(asset, feature, "suspect", path, asset.files[feature].used)

    def _identical_embeddings(self) -> Iterator[Finding]:
        verify = self.settings["verify"]
        if not verify["content"] or verify["embedding"]["check"] != "content":
            return
        groups: dict[bytes, list[Asset]] = {}
        for asset in self.answers.listed:
            path = self.answers.good(asset, "embedding")
            if path is not None:
                groups.setdefault(_values(Path(self.disk.root, path).read_bytes()), []).append(asset)
        for group in groups.values():
            for asset in group if len(group) > 3 else ():
                yield self._made(asset, "embedding", "suspect", asset.files["embedding"].used)

    def _missing_numbers(self) -> Iterator[Finding]:
        videos: dict[str, set[int]] = {}
        for asset in self.answers.listed:
            number = frame_number(asset)
            if asset.kind == FRAME and asset.owner is not None and number is not None:
                videos.setdefault(asset.owner, set()).add(number)
        for video, numbers in videos.items():
            steps = Counter(right - left for left, right in pairwise(sorted(numbers)))
            most = [step for step, times in steps.items() if times == max(steps.values())]
            if steps and max(steps) > min(most):
                job = min(self.answers.jobs_of_owner(FRAME, video), default=None)
                sure = len(most) == 1
                yield Finding(job, FRAME, video, "image", "suspect", None, None, sure)

    # --- problems rather than findings ---

    def _unmounted(self) -> set[tuple[str, str, str]]:
        """(kind of asset, feature, prefix) for which most claims fail alike: a prefix that is not here."""
        totals: Counter[tuple[str, str]] = Counter()
        failing: Counter[tuple[str, str, str]] = Counter()
        for row, feature, claim in self.assets.claims:
            totals[row.kind, feature] += 1
            prefix = self._strange_prefix(claim)
            if prefix is not None:
                failing[row.kind, feature, prefix] += 1
        return {key for key, times in failing.items() if times >= 20 and 2 * times > totals[key[:2]]}

    def _strange_prefix(self, claim: Claim) -> str | None:
        """The first folder of a claim that lies outside, or below a folder that is not there."""
        if claim.path is None:
            return "/" + claim.text.strip("/").partition("/")[0]
        folder = claim.path.partition("/")[0]
        return None if Path(self.disk.root, folder).is_dir() else folder

    def _is_withheld(self, finding: Finding) -> bool:
        asset = self.assets.all.get((finding.asset_type, finding.asset_id))
        claim = asset.claim(finding.feature) if asset else None
        if claim is None or finding.kind not in ("missing", "misplaced", "outside"):
            return False
        prefix = self._strange_prefix(claim)
        return prefix is not None and (finding.asset_type, finding.feature, prefix) in self.unmounted


def _values(content: bytes) -> bytes:
    """The bytes of an embedding's numbers, without the header of an .npy."""
    if not content.startswith(b"\x93NUMPY\x01"):
        return content
    return content[10 + int.from_bytes(content[8:10], "little") :]


def misconfigured(answers: Answers) -> dict[str, str]:
    """The feature → the expectation by which more than half of at least 100 of its files fail."""
    found: dict[str, str] = {}
    for feature in ARTIFACTS:
        slots = [(asset.files[feature].used, asset.files["image"].used) for asset in answers.listed]
        pairs = {pair for pair in slots if pair[0] is not None}
        verdicts = [answers.judge(feature, str(path), image) for path, image in pairs]
        reasons = Counter(verdict[1] for verdict in verdicts if verdict and verdict[0] == "corrupt")
        for reason in CONFIGURABLE & reasons.keys():
            if len(pairs) >= 100 and 2 * reasons[reason] > len(pairs):
                found[feature] = reason
    return found


def counted(findings: list[Finding]) -> Mapping[str, Mapping[str, int]]:
    """``{kind: {feature: n}}``, what is 0 left out."""
    table: dict[str, dict[str, int]] = {}
    for finding in findings:
        row: dict[str, Any] = table.setdefault(finding.kind, {})
        row[finding.feature] = row.get(finding.feature, 0) + 1
    return table
