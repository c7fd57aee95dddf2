"""Everything that is known about assets: their rows, and the files that could be theirs, best first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from scanner.cases import Case, Record
from scanner.claims import NO_CLAIMS, ClaimTable, Key, Namers
from scanner.expectations import Expectations
from scanner.layout import Layout
from scanner.pathhash import path_hash
from scanner.pattern import is_exact, key_directory, key_prefix
from scanner.placing import Places
from scanner.records import ARTIFACTS, AssetRow, AssetType, Feature
from scanner.resolve import Claim, Evidence, Found, Outcome, Resolved, chosen
from scanner.tree import Tree

_COLUMNS = (
    "asset, scope, listed, owner, has, checks, ts, image, segment, embedding, keypoints, others,"
    " image_mtime, image_updated, updated"
)


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
        claims = {id: self._claims.located(row) for id, row in rows.items()}
        candidates = {id: _candidates(marked[id], records.get(id), claims.get(id, NO_CLAIMS)) for id in ids}
        named = {
            claim.path for found in claims.values() for claim in found if claim is not None and claim.path
        }
        naming = self._claims.naming(named.union(*candidates.values()))
        return [
            self._gather(
                type, id, records.get(id), rows.get(id), claims.get(id, NO_CLAIMS), candidates[id], naming
            )
            for id in ids
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

    def _gather(
        self,
        type: AssetType,
        id: str,
        before: Record | None,
        row: AssetRow | None,
        claims: tuple[Claim | None, ...],
        candidates: set[str],
        naming: Namers,
    ) -> Case:
        images = self._images((type, id), candidates, naming)
        source = names_source(images, claims, before)
        names = None if source is None else self._layout.image_names(type, source)
        found: list[list[Found]] = [images]
        keys: set[str] = set()
        told = self._expectations.is_told((type, id), names)
        # Where the image is there, its own path says where its artifacts are; else the artifact's says whose.
        loose = [] if chosen(images) else self._files(candidates.difference(image.path for image in images))
        for feature in ARTIFACTS:
            wanted = self._layout.artifact_keys(type, feature, id, names.names if names else None)
            if not told:
                keys.update(wanted)
            found.append(self._artifacts((type, id), feature, claims[feature], wanted, loose))
        found = [self._judged((type, id), feature, found[feature]) for feature in Feature]
        keys.update(self._expectations.other_keys((type, id), names))
        had = before.resolved.artifacts if before is not None else set()
        owner = row.owner_id if row is not None else None
        if owner is None and names is not None:
            owner = names.owner_id
        elif row is None and names is None:
            owner = self._owner_by_artifacts(found)
        evidence = Evidence(
            type,
            id,
            row,
            claims,
            found,
            owner,
            names.timestamp if names else None,
            *self._competition((type, id), claims, naming),
            strays=self._strays((type, id), candidates | had, found),
            recorded=self.recorded[type],
        )
        return Case((type, id), before, evidence, frozenset(keys))

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

    def _images(self, key: Key, candidates: set[str], naming: Namers) -> list[Found]:
        """The files that claim the id: the one that the row names, then by pattern, extension and path."""
        ranked: list[tuple[tuple[int, int, str], Found]] = []
        for path in candidates:
            state = self._tree.state(path)
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
        self, key: Key, feature: Feature, claim: Claim | None, wanted: Sequence[str], loose: Sequence[Found]
    ) -> list[Found]:
        found: dict[str, Found] = {}
        if claim is not None and claim.path is not None:
            state = self._tree.state(claim.path)
            if state is not None:
                found[claim.path] = Found(claim.path, state)
        for path_or_key in wanted:
            for candidate in self._instances(path_or_key):
                if candidate.path not in found and self._places.is_artifact(key[0], feature, candidate.path):
                    found[candidate.path] = candidate
        for file in loose:
            if file.path not in found and self._places.is_loose(key, feature, file.path):
                found[file.path] = file
        return list(found.values())

    def _files(self, paths: Iterable[str]) -> list[Found]:
        """Those of the paths at which there is a file, in order."""
        states = ((path, self._tree.state(path)) for path in sorted(paths))
        return [Found(path, state) for path, state in states if state is not None]

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
        self, key: Key, claims: tuple[Claim | None, ...], naming: Namers
    ) -> tuple[tuple[str, ...], tuple[Feature, ...]]:
        """The rows that own this row's image, and the features whose file another row claims too."""
        rivals: tuple[str, ...] = ()
        shared = []
        for feature in Feature:
            claim = claims[feature]
            if claim is None or claim.path is None:
                continue
            others = [(type, id, as_) for type, id, as_ in naming.get(claim.path, ()) if (type, id) != key]
            state = self._tree.state(claim.path) if others else None
            if state is not None:
                if state.size:
                    shared.append(feature)
                images = [(id, type) for type, id, as_ in others if as_ is Feature.IMAGE]
                if feature is Feature.IMAGE and images and min(images) < (key[1], key[0]):
                    rivals = tuple(id for id, _ in images)
        return rivals, tuple(shared)


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


def _candidates(marked: set[str], before: Record | None, claims: tuple[Claim | None, ...]) -> set[str]:
    paths = set(marked)
    if before is not None:
        paths.update(before.resolved.others)
        if before.resolved.image is not None:
            paths.add(before.resolved.image)
        if not before.resolved.listed:
            paths.update(before.resolved.artifacts)
    claim = claims[Feature.IMAGE]
    if claim is not None and claim.path is not None:
        paths.add(claim.path)
    return paths


def _outcome(detail: tuple[int, int] | None, path: str) -> int:
    return detail[1] if detail is not None and detail[0] == path_hash(path) else Outcome.NONE
