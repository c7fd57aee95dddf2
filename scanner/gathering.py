"""Everything that is known about assets: their rows, and the files that could be theirs, best first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from scanner.cases import Case, Record
from scanner.claims import NO_CLAIMS, ClaimTable, Key, Namers, owner_of
from scanner.expectations import Expectations
from scanner.layout import Layout
from scanner.pathhash import path_hash
from scanner.pattern import is_exact, key_directory, key_prefix
from scanner.placing import Places
from scanner.records import ARTIFACTS, AssetRow, AssetType, Feature
from scanner.resolve import Claim, Evidence, Found, Outcome, Resolved, chosen
from scanner.tree import State, Tree

_COLUMNS = (
    "asset, scope, listed, owner, has, checks, ts, image, segment, embedding, keypoints, others,"
    " image_mtime, image_updated, updated"
)
_NOTHING: tuple[tuple[Found, ...], ...] = ((), (), (), ())  # the candidates by feature where there are none


class Subject(NamedTuple):
    """An asset in question: what the index has of it, its row and what that claims.

    ``candidates`` are files that may be its image or artifacts, ``paths`` these and all that are claimed.
    """

    key: Key
    before: Record | None
    row: AssetRow | None
    claims: tuple[Claim | None, ...]
    candidates: set[str]
    paths: set[str]


class Gatherer:
    """Gathers evidence in bulk, inside the caller's transaction.

    ``recorded`` are the features that the table of each type of asset has a column for.
    """

    def __init__(
        self,
        connection: Any,
        layout: Layout,
        places: Places,
        tree: Tree,
        claims: ClaimTable,
        expectations: Expectations,
    ) -> None:
        self._db = connection  # rows are typed where they are unpacked
        self._layout = layout
        self._places = places
        self._tree = tree
        self._claims = claims
        self._expectations = expectations
        self.recorded: dict[AssetType, frozenset[Feature]] = {type: frozenset(Feature) for type in AssetType}

    def cases(self, type: AssetType, marked: Mapping[str, set[str]]) -> list[Case]:
        """A case for each id; ``marked`` gives files that may be its image or artifacts."""
        ids = list(marked)
        records = self._records(type, ids)
        rows = self._claims.rows(type, ids)
        claims = self._claims.located_all(rows.values())
        subjects = [
            _subject((type, id), records.get(id), rows.get(id), claims.get(id, NO_CLAIMS), marked[id])
            for id in ids
        ]
        present = self._tree.present({path for subject in subjects for path in subject.paths})
        naming = self._claims.naming(present)
        return [
            self._absent(subject, present) or self._gather(subject, present, naming) for subject in subjects
        ]

    def _records(self, type: AssetType, ids: Sequence[str]) -> dict[str, Record]:
        rows = self._db.execute(
            f"SELECT id, {_COLUMNS} FROM assets WHERE type=? AND id IN (SELECT value FROM json_each(?))",
            (type, json.dumps(ids)),
        )
        result = {}
        for id, number, scope, listed, *rest in rows:
            rest[8] = tuple(json.loads(rest[8])) if rest[8] else ()
            result[id] = Record(number, scope, Resolved(bool(listed), *rest))
        return result

    def _absent(self, subject: Subject, present: Mapping[str, State]) -> Case | None:
        """The case of an asset of which no file is there, None where there may be one.

        Where a disk is not mounted most are so: it is enough to see that nothing is there.
        """
        if present and not present.keys().isdisjoint(subject.paths):
            return None
        (type, id), before, row, claims = subject[:4]
        source = names_source((), claims, before)
        names = None if source is None else self._layout.image_names(type, source)
        wanted = self._layout.all_artifact_keys(type, id, names.names if names else None)
        if any(self._is_there(key) for key in wanted if key not in subject.paths):
            return None
        keys = frozenset() if self._expectations.is_told(subject.key, names) else frozenset(wanted)
        others = frozenset(self._expectations.other_keys(subject.key, names))
        owner = owner_of(row, names.owner_id if names else None)
        timestamp = names.timestamp if names else None
        evidence = Evidence(type, id, row, claims, _NOTHING, owner, timestamp, recorded=self.recorded[type])
        return Case(subject.key, before, evidence, keys | others if others else keys)

    def _is_there(self, key: str) -> bool:
        """Whether any file is an instance of the key."""
        if is_exact(key):
            return self._tree.state(key) is not None
        return next(self._instances(key), None) is not None

    def _gather(self, subject: Subject, present: Mapping[str, State], naming: Namers) -> Case:
        key, before, row, claims, candidates, _ = subject
        type, id = key
        images = self._images(key, candidates, present, naming)
        source = names_source(images, claims, before)
        names = None if source is None else self._layout.image_names(type, source)
        found: list[list[Found]] = [images]
        keys: set[str] = set()
        told = self._expectations.is_told(key, names)
        # Where the image is there, its own path says where its artifacts are; else the artifact's says whose.
        rest = () if chosen(images) else candidates.difference(image.path for image in images)
        loose = [Found(path, present[path]) for path in sorted(rest) if path in present]
        for feature in ARTIFACTS:
            wanted = self._layout.artifact_keys(type, feature, id, names.names if names else None)
            if not told:
                keys.update(wanted)
            found.append(self._artifacts(key, feature, _claimed(claims[feature], present), wanted, loose))
        found = [self._judged(key, feature, found[feature]) for feature in Feature]
        keys.update(self._expectations.other_keys(key, names))
        had = before.resolved.artifacts if before is not None else set()
        owner = owner_of(row, names.owner_id if names else None)
        if row is None and names is None:
            owner = self._owner_by_artifacts(found)
        evidence = Evidence(
            type,
            id,
            row,
            claims,
            found,
            owner,
            names.timestamp if names else None,
            *_competition(key, claims, present, naming),
            strays=self._strays(key, candidates | had, found),
            recorded=self.recorded[type],
        )
        return Case(key, before, evidence, frozenset(keys))

    def _strays(self, key: Key, candidates: set[str], found: Sequence[Sequence[Found]]) -> Sequence[str]:
        """Files that their names give to the asset and that it does not use: kept in case that changes.

        With an image they are those that the image's names do not lead to; without one, also empty ones.
        """
        met = {file.path for file in chain.from_iterable(found)}
        rest = candidates - met
        if not chosen(found[Feature.IMAGE]):
            used = filter(None, map(chosen, found))
            rest = (candidates | met).difference(file.path for file in chain(found[Feature.IMAGE], used))
        return sorted(
            path
            for path in rest
            if self._tree.state(path) is not None
            and any(self._places.is_loose(key, feature, path) for feature in ARTIFACTS)
        )

    def _images(
        self, key: Key, candidates: set[str], present: Mapping[str, State], naming: Namers
    ) -> list[Found]:
        """The files that claim the id: the one that the row names, then by pattern, extension and path."""
        ranked: list[tuple[tuple[int, int, str], Found]] = []
        for path in candidates:
            state = present.get(path)
            if state is None:
                continue
            namers = naming.get(path)
            if namers:
                owner = next(((type, id) for type, id, feature in namers if feature is Feature.IMAGE), None)
                if owner == key:
                    ranked.append(((-1, 0, path), Found(path, state)))
                continue
            ranked.extend(
                ((place.rank, place.ext_rank, path), Found(path, state))
                for place in self._places.classify(path)
                if place.feature is Feature.IMAGE and (place.type, place.asset_id) == key
            )
        return [found for _, found in sorted(ranked)]

    def _artifacts(
        self, key: Key, feature: Feature, claimed: Found | None, wanted: Sequence[str], loose: Sequence[Found]
    ) -> list[Found]:
        found = {} if claimed is None else {claimed.path: claimed}
        for path_or_key in wanted:
            for candidate in self._instances(path_or_key):
                if candidate.path not in found and self._places.is_artifact(key[0], feature, candidate.path):
                    found[candidate.path] = candidate
        for file in loose:
            if file.path not in found and self._places.is_loose(key, feature, file.path):
                found[file.path] = file
        return list(found.values())

    def _owner_by_artifacts(self, found: Sequence[Sequence[Found]]) -> str | None:
        """The product or video that the artifacts' own paths name, where nothing else names one."""
        for file in chain.from_iterable(found[1:]):
            for place in self._places.of(file.path):
                if place.owner_id is not None:
                    return place.owner_id
        return None

    def _judged(self, key: Key, feature: Feature, found: list[Found]) -> list[Found]:
        """The files with the outcome that is this asset's, where each use of a file has one of its own."""
        if not any(candidate.state.verdict == Outcome.BY_USE for candidate in found):
            return found
        row = self._db.execute(
            "SELECT hash, outcome FROM details WHERE type=? AND id=? AND feature=?", (*key, feature)
        ).fetchone()
        return [
            file
            if file.state.verdict != Outcome.BY_USE
            else file._replace(state=file.state._replace(verdict=_outcome(row, file.path)))
            for file in found
        ]

    def _instances(self, key: str) -> Iterator[Found]:
        """The files that a key stands for, by the order of extensions and then by path."""
        if is_exact(key):
            state = self._tree.state(key)
            if state is not None:
                yield Found(key, state)
            return
        ranked = []
        for path, state in self._tree.with_prefix(key_directory(key), key_prefix(key)):
            rank = self._layout.match_key(key, path)
            if rank is not None:
                ranked.append((rank, path, state))
        for _, path, state in sorted(ranked):
            yield Found(path, state)


def _competition(
    key: Key, claims: Sequence[Claim | None], present: Mapping[str, State], naming: Namers
) -> tuple[tuple[str, ...], tuple[Feature, ...]]:
    """The rows that own this row's image, and the features whose file another row claims too."""
    rivals: tuple[str, ...] = ()
    shared = []
    for feature in Feature:
        file = _claimed(claims[feature], present)
        if file is None:
            continue
        others = [(type, id, as_) for type, id, as_ in naming.get(file.path, ()) if (type, id) != key]
        if others and file.state.size:
            shared.append(feature)
        images = [(id, type) for type, id, as_ in others if as_ is Feature.IMAGE]
        if feature is Feature.IMAGE and images and min(images) < (key[1], key[0]):
            rivals = tuple(id for id, _ in images)
    return rivals, tuple(shared)


def _claimed(claim: Claim | None, present: Mapping[str, State]) -> Found | None:
    """The file that is claimed, if it is there."""
    if claim is None or claim.path is None or claim.path not in present:
        return None
    return Found(claim.path, present[claim.path])


def names_source(
    images: Sequence[Found], claims: Sequence[Claim | None], before: Record | None
) -> str | None:
    """The path whose names the artifacts' patterns use: the image, or where it should be or was."""
    used = chosen(images) or (images[0] if images else None)
    if used is not None:
        return used.path
    claim = claims[Feature.IMAGE]
    if claim is not None and claim.path is not None:
        return claim.path
    return before.resolved.image if before is not None else None


def _subject(
    key: Key, before: Record | None, row: AssetRow | None, claims: tuple[Claim | None, ...], marked: set[str]
) -> Subject:
    candidates = set(marked)
    if before is not None:
        candidates.update(before.resolved.others)
        if before.resolved.image is not None:
            candidates.add(before.resolved.image)
        if not before.resolved.listed:
            candidates.update(before.resolved.artifacts)
    paths = {claim.path for claim in claims if claim is not None and claim.path is not None}
    claim = claims[Feature.IMAGE]
    if claim is not None and claim.path is not None:
        candidates.add(claim.path)
    return Subject(key, before, row, claims, candidates, paths | candidates)


def _outcome(detail: tuple[int, int] | None, path: str) -> int:
    return detail[1] if detail is not None and detail[0] == path_hash(path) else Outcome.NONE
