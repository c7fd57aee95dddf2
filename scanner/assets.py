"""The part of the index that says what claim, disk and content make of each asset.

Assets are marked when a file or a row that concerns them has changed, and resolved together at the end of
a transaction: their evidence is gathered in bulk, :mod:`scanner.resolve` decides, and what is different is
written, with the counters of their jobs.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from scanner.claims import NO_CLAIMS, ClaimTable, Key
from scanner.fresh import FreshAsset, FreshAssets, evidence_of
from scanner.layout import ImageNames, Layout, Placement
from scanner.owners import OwnerTable
from scanner.pathhash import path_hash
from scanner.pattern import is_exact, key_directory, key_prefix
from scanner.records import ARTIFACTS, AssetRow, AssetType, Feature
from scanner.resolve import (
    HAS,
    CheckState,
    Claim,
    Disagreement,
    Evidence,
    Found,
    Outcome,
    Resolved,
    Rules,
    chosen,
    compare,
    resolve,
)
from scanner.tree import State, Tree

_CHUNK = 1000
_COLUMNS = (
    "asset, scope, listed, owner, has, checks, ts, image, segment, embedding, keypoints, others,"
    " image_mtime, image_updated, updated"
)
_OTHER_ID = "\0"
"""Stands before a key under which an artifact would lie if the asset had the id that its path gives."""
_ALL_PENDING = 0b01010101
Naming = Mapping[str, list[tuple[AssetType, str, Feature]]]


class Comparison(NamedTuple):
    """What came of resolving one asset; ``after`` is what the index will hold of it.

    ``fresh``: nothing was known of the asset before.
    """

    key: Key
    scope: int
    found: list[Disagreement]
    after: Resolved
    evidence: Evidence
    fresh: bool = False


Compared = Callable[[Comparison], None]


class Classifier:
    """Remembers, for as long as a transaction lasts, what the patterns say about paths."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[str, tuple[Placement, ...]] = {}

    def __call__(self, path: str, *, images: bool = True) -> tuple[Placement, ...]:
        """See :meth:`scanner.layout.Layout.classify`."""
        if not images:
            return self._layout.classify(path, images=False)
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self._layout.classify(path)
        return known

    def forget(self) -> None:
        """Forget everything; the next transaction is about other paths."""
        self._known.clear()


class Record(NamedTuple):
    """An asset as the index holds it."""

    number: int
    scope: int
    resolved: Resolved


class _Case(NamedTuple):
    """One asset on its way: what the index had, and the evidence that was gathered."""

    key: Key
    before: Record | None
    evidence: Evidence
    keys: frozenset[str]
    fresh: bool = False


class AssetTable:
    """Marks and resolves assets inside the caller's transaction.

    ``compared`` is told what came of every asset that was resolved.
    """

    def __init__(
        self,
        connection: Any,
        layout: Layout,
        classifier: Classifier,
        tree: Tree,
        claims: ClaimTable,
        owners: OwnerTable,
        rules: Rules,
        compared: Compared,
    ) -> None:
        self._db = connection  # rows are typed where they are unpacked
        self._layout = layout
        self._classify = classifier
        self._tree = tree
        self._claims = claims
        self._owners = owners
        self._compared = compared
        self.rules = rules
        self.recorded: dict[AssetType, frozenset[Feature]] = {type: frozenset(Feature) for type in AssetType}
        self._marked: dict[Key, set[str]] = {}
        self._fresh = FreshAssets(layout)
        self._sought: set[str] = set()
        self._expecting = self._db.execute("SELECT 1 FROM expected LIMIT 1").fetchone() is not None
        self._next = 1 + (self._db.execute("SELECT max(asset) FROM assets").fetchone()[0] or 0)
        self._unlisted = self._count_unlisted()

    @property
    def marked(self) -> int:
        """How many assets wait to be resolved."""
        return len(self._marked) + len(self._fresh)

    @property
    def any(self) -> bool:
        """Whether there is any asset, listed or not, or any that waits to be resolved."""
        return bool(self._marked) or self._db.execute("SELECT 1 FROM assets LIMIT 1").fetchone() is not None

    def forget(self) -> None:
        """Drop what is marked; call it when a transaction is rolled back."""
        self._marked.clear()
        self._fresh.clear()
        self._sought.clear()
        self._unlisted = self._count_unlisted()

    def mark(self, key: Key, candidate: str | None = None) -> None:
        """Resolve the asset again; ``candidate`` is a file that may be its image or artifact."""
        candidates = self._marked.setdefault(key, set())
        if candidate is not None:
            candidates.add(candidate)
        fresh = self._fresh.pop(key)
        if fresh is not None:
            self._give_up([fresh])

    def mark_new_files(self, files: Mapping[str, State | None]) -> None:
        """Mark every asset that the files of a directory concern of which nothing was known before."""
        offer, classify = self._fresh.offer, self._classify
        self.mark_files(
            [path for path, state in files.items() if state is None or not offer(path, state, classify)]
        )

    def feature_of(self, path: str) -> Feature | None:
        """What the patterns make of a file, None where they know nothing of it."""
        feature = self._fresh.expected(path)
        if feature is None and (places := self._classify(path)):
            feature = places[0].feature
        return feature

    def mark_files(self, paths: Iterable[str]) -> None:
        """Mark every asset that files at these paths concern, there or gone."""
        paths = list(paths)
        naming = self._claims.naming(paths)
        for path in paths:
            placements = self._classify(path)
            if path in naming:
                for type, id, _ in naming[path]:
                    self.mark((type, id), path)
                placements += self._classify(path, images=False)
            for place in placements:
                self.mark(self._key_of(place, path), path)
                if place.feature is not Feature.IMAGE:
                    self._sought.add(place.key)

    def mark_owned(self, type: AssetType, owner: str) -> None:
        """Mark every asset of a product or video."""
        for which in ("listed", "NOT listed"):
            sql = f"SELECT id FROM assets WHERE type=? AND owner=? AND {which}"
            for (id,) in self._db.execute(sql, (type, owner)).fetchall():
                self.mark((type, id))

    def mark_rowless(self, limit: int, after: int) -> int | None:
        """Mark assets behind number ``after`` that no row knows; returns where to go on, None at the end."""
        rows = self._db.execute(
            "SELECT a.asset, a.type, a.id FROM assets a LEFT JOIN claims c ON c.type=a.type AND c.id=a.id"
            " WHERE a.asset>? AND c.row IS NULL ORDER BY a.asset LIMIT ?",
            (after, limit),
        ).fetchall()
        for _, type, id in rows:
            self.mark((AssetType(type), id))
        return rows[-1][0] if rows else None

    def resolve_claim(self, claimed: str) -> str | None:
        """The path below the data root that a claim means, None where it lies outside."""
        return self._claims.resolve(claimed)

    def is_matched(self, path: str) -> bool:
        """Whether a pattern or a row knows the file."""
        return bool(self._classify(path)) or bool(self._claims.naming([path]))

    def known(self, key: Key) -> bool:
        """Whether the index has the asset, listed or not."""
        return self._db.execute("SELECT 1 FROM assets WHERE type=? AND id=?", key).fetchone() is not None

    def resolve_marked(self) -> bool:
        """Resolve all that is marked, and what that marks in turn; True if anything changed."""
        if self._expecting:
            self._sought.update(self._fresh.keys())
        changed = self._resolve_fresh()
        self._mark_expecting({path_hash(key) for key in self._sought})
        self._sought.clear()
        while self._marked:
            portion = dict(islice(self._marked.items(), _CHUNK))
            for key in portion:
                del self._marked[key]
            for type in AssetType:
                ours = {id: candidates for (kind, id), candidates in portion.items() if kind is type}
                if ours:
                    changed |= self._resolve(type, ours)
        return changed

    def _count_unlisted(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM assets WHERE NOT listed").fetchone()[0])

    def _key_of(self, place: Placement, path: str) -> Key:
        return place.type, path if place.asset_id is None else place.asset_id

    def _mark_expecting(self, hashes: set[int]) -> None:
        if not hashes or not self._expecting:
            return
        rows = self._db.execute(
            "SELECT type, id FROM expected JOIN assets USING(asset)"
            " WHERE hash IN (SELECT value FROM json_each(?))",
            (json.dumps(list(hashes)),),
        )
        for type, id in rows.fetchall():
            self.mark((AssetType(type), id))

    # --- assets of which nothing was known ------------------------------------------------------

    def _resolve_fresh(self) -> bool:
        changed = False
        while self._fresh:
            given_up: list[FreshAsset] = []
            for type, assets in self._fresh.take(_CHUNK).items():
                changed = self._write(type, self._fresh_cases(type, assets, given_up)) or changed
            self._give_up(given_up)
        return changed

    def _fresh_cases(
        self, type: AssetType, assets: Sequence[FreshAsset], given_up: list[FreshAsset]
    ) -> list[_Case]:
        ids = [asset.key[1] for asset in assets]
        known = self._known(type, ids)
        rows = self._claims.rows(type, ids)
        naming = self._claims.naming(path for asset in assets for path in asset.paths())
        cases = []
        for asset in assets:
            row = rows.get(asset.key[1])
            claims = NO_CLAIMS if row is None else self._claims.located(row)
            evidence = evidence_of(asset, row, claims, naming, self.recorded[type])
            if evidence is None or asset.key[1] in known or asset.key in self._marked:
                given_up.append(asset)
            else:
                cases.append(_Case(asset.key, None, evidence, frozenset(), True))
        return cases

    def _known(self, type: AssetType, ids: Sequence[str]) -> set[str]:
        rows = self._db.execute(
            "SELECT id FROM assets WHERE type=? AND id IN (SELECT value FROM json_each(?))",
            (type, json.dumps(ids)),
        )
        return {id for (id,) in rows}

    def _give_up(self, assets: Iterable[FreshAsset]) -> None:
        """Let the general way find out about these."""
        self.mark_files([path for asset in assets for path in asset.paths()])

    # --- gathering -------------------------------------------------------------------------------

    def _resolve(self, type: AssetType, marked: Mapping[str, set[str]]) -> bool:
        ids = list(marked)
        records = self._records(type, ids)
        rows = self._claims.rows(type, ids)
        claims = {id: self._claims.located(row) for id, row in rows.items()}
        candidates = {id: _candidates(marked[id], records.get(id), claims.get(id, NO_CLAIMS)) for id in ids}
        named = {
            claim.path for found in claims.values() for claim in found if claim is not None and claim.path
        }
        naming = self._claims.naming(named.union(*candidates.values()))
        cases = [
            self._gather(
                type, id, records.get(id), rows.get(id), claims.get(id, NO_CLAIMS), candidates[id], naming
            )
            for id in ids
        ]
        listed = [case for case in cases if chosen(case.evidence.found[Feature.IMAGE]) is not None]
        changed = self._write(type, listed)
        others = [case for case in cases if chosen(case.evidence.found[Feature.IMAGE]) is None]
        return self._write(type, [self._without_adopted(case) for case in others]) or changed

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
        naming: Naming,
    ) -> _Case:
        images = self._images((type, id), claims, candidates, naming)
        source = self._names_source(images, claims, before)
        names = None if source is None else self._layout.image_names(type, source)
        found: list[list[Found]] = [images]
        keys: set[str] = set()
        told = self._is_told((type, id), names)
        # Where the image is there, its own path says where its artifacts are; else the artifact's says whose.
        loose = [] if chosen(images) else sorted(candidates - {image.path for image in images})
        for feature in ARTIFACTS:
            wanted = self._layout.artifact_keys(type, feature, id, names.names if names else None)
            if not told:
                keys.update(wanted)
            found.append(self._artifacts((type, id), feature, claims[feature], wanted, loose))
        found = [self._judged((type, id), feature, found[feature]) for feature in Feature]
        keys.update(self._other_keys((type, id), names))
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
            recorded=self.recorded[type],
        )
        return _Case((type, id), before, evidence, frozenset(keys))

    def _is_told(self, key: Key, names: ImageNames | None) -> bool:
        """Whether every artifact that an image of these names looks for says that it is this asset's."""
        return names is not None and names.asset_id == key[1] and key[0] in self._layout.telling

    def _images(
        self, key: Key, claims: tuple[Claim | None, ...], candidates: set[str], naming: Naming
    ) -> list[Found]:
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
                for place in self._classify(path)
                if place.feature is Feature.IMAGE and (place.type, place.asset_id) == key
            )
        return [found for _, found in sorted(ranked)]

    def _names_source(
        self, images: Sequence[Found], claims: Sequence[Claim | None], before: Record | None
    ) -> str | None:
        """The path whose names the artifacts' patterns use: the image, or where it should be or was."""
        used = chosen(images) or (images[0] if images else None)
        if used is not None:
            return used.path
        claim = claims[Feature.IMAGE]
        if claim is not None and claim.path is not None:
            return claim.path
        return before.resolved.image if before is not None else None

    def _artifacts(
        self, key: Key, feature: Feature, claim: Claim | None, wanted: Sequence[str], loose: Sequence[str]
    ) -> list[Found]:
        found: dict[str, Found] = {}
        if claim is not None and claim.path is not None:
            state = self._tree.state(claim.path)
            if state is not None:
                found[claim.path] = Found(claim.path, state)
        for path_or_key in wanted:
            for candidate in self._instances(path_or_key):
                if candidate.path not in found and self._is_artifact(key[0], feature, candidate.path):
                    found[candidate.path] = candidate
        for path in loose:
            if path not in found and self._is_loose(key, feature, path):
                state = self._tree.state(path)
                if state is not None:
                    found[path] = Found(path, state)
        return list(found.values())

    def _other_keys(self, key: Key, names: ImageNames | None) -> Iterator[str]:
        """What would be looked for under the id that the image's path gives, where its row has another one.

        The asset does not use such a file, but its image is there: it is nobody's orphan. The keys stand
        apart from those of files that are used.
        """
        if names is None or names.asset_id is None or names.asset_id == key[1]:
            return
        for feature in ARTIFACTS:
            for wanted in self._layout.artifact_keys(key[0], feature, names.asset_id, None):
                yield _OTHER_ID + wanted

    def _owner_by_artifacts(self, found: Sequence[Sequence[Found]]) -> str | None:
        """The product or video that the artifacts' own paths name, where nothing else names one."""
        for file in chain.from_iterable(found[1:]):
            for place in self._placements(file.path):
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

    def _placements(self, path: str) -> tuple[Placement, ...]:
        """What a file is by the patterns, a file that rows name only as an artifact being no image."""
        namers = self._claims.naming([path]).get(path) if self._claims.any else None
        if not namers:
            return self._classify(path)
        if any(feature is Feature.IMAGE for _, _, feature in namers):
            return ()
        return self._classify(path, images=False)

    def _is_artifact(self, type: AssetType, feature: Feature, path: str) -> bool:
        return any(place.type is type and place.feature is feature for place in self._placements(path))

    def _is_loose(self, key: Key, feature: Feature, path: str) -> bool:
        """Whether the path alone says that the file is this asset's artifact, image or no image."""
        places = self._placements(path)
        return bool(places) and places[0].feature is feature and self._key_of(places[0], path) == key

    def _competition(
        self, key: Key, claims: tuple[Claim | None, ...], naming: Naming
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

    # --- artifacts without an image ----------------------------------------------------------------

    def _without_adopted(self, case: _Case) -> _Case:
        """Leave out artifacts that belong to another asset, for one whose image is not there.

        One that an asset with an image has is no orphan, whoever claims it: to remove it would harm that one.
        """
        found = list(case.evidence.found)
        if not any(found[1:]):
            return case
        lent = []
        for feature in ARTIFACTS:
            claim = case.evidence.claims[feature]
            claimed = claim.path if claim is not None else None
            found[feature] = [f for f in found[feature] if not self._adopted(case, f.path, claimed)]
            left = {f.path for f in case.evidence.found[feature]} - {f.path for f in found[feature]}
            if claimed in left:
                lent.append(feature)
        evidence = dataclasses.replace(case.evidence, found=found, lent=lent)
        return _Case(case.key, case.before, evidence, case.keys)

    def _adopted(self, case: _Case, path: str, claimed: str | None) -> bool:
        places = self._placements(path)
        hashes = {path_hash(path), *(path_hash(place.key) for place in places)}
        by_other_id = {path_hash(_OTHER_ID + place.key) for place in places} if path != claimed else set()
        holders = self._db.execute(
            "SELECT a.type, a.id, a.listed, c.row IS NOT NULL, 0, hash FROM expected"
            " JOIN assets a USING(asset) LEFT JOIN claims c ON c.type=a.type AND c.id=a.id"
            " WHERE hash IN (SELECT value FROM json_each(?))",
            (json.dumps([*hashes, *by_other_id]),),
        ).fetchall()
        holders += self._namers_held(path)
        holders += self._told_holders(path, places)
        others = [
            (listed, row and value not in by_other_id, claims)
            for type, id, listed, row, claims, value in holders
            if (type, id) != case.key
        ]
        if any(listed for listed, _, _ in others):
            return True
        if path == claimed:
            return False
        if any(claims for _, _, claims in others):
            return True
        keys = [self._key_of(place, path) for place in places]
        if case.evidence.row is not None:
            recorded = [key for key in keys if self._claims.rows(key[0], [key[1]])]
            return case.key in recorded[1:]
        if any(row for _, row, _ in others):
            return True
        if keys and keys[0] != case.key:
            self.mark(keys[0], path)
            return True
        return False

    def _told_holders(self, path: str, places: Sequence[Placement]) -> list[tuple[Any, ...]]:
        """Assets whose own id the path gives, if their image looks for it there."""
        holders = []
        for place in places:
            key = self._key_of(place, path)
            row = self._db.execute(
                "SELECT a.type, a.id, a.listed, c.row IS NOT NULL, a.image FROM assets a"
                " LEFT JOIN claims c ON c.type=a.type AND c.id=a.id WHERE a.type=? AND a.id=?",
                key,
            ).fetchone()
            if row is None or row[4] is None:
                continue
            names = self._layout.image_names(key[0], row[4])
            wanted = self._layout.artifact_keys(key[0], place.feature, key[1], names and names.names)
            if place.key in wanted:
                holders.append((*row[:4], 0, None))
        return holders

    def _namers_held(self, path: str) -> list[tuple[Any, ...]]:
        """The assets whose rows name the path."""
        sql = "SELECT type, id, listed, 1, 1, NULL FROM assets WHERE type=? AND id=?"
        namers = self._claims.naming([path]).get(path, ())
        return [held for type, id, _ in namers for held in self._db.execute(sql, (type, id))]

    # --- writing -----------------------------------------------------------------------------------

    def _write(self, type: AssetType, cases: Sequence[_Case]) -> bool:
        owners = list({case.evidence.owner for case in cases if case.evidence.owner is not None})
        scopes = self._owners.scopes(type, owners) if owners else {}
        none = self._owners.disk_scope()
        inserts: list[tuple[object, ...]] = []
        updates: list[tuple[object, ...]] = []
        expected: list[tuple[int, int]] = []
        borrowed: list[tuple[int, int]] = []
        moves: dict[str, list[tuple[int | None, int | None]]] = {}
        handed: set[str] = set()
        for case in cases:
            owner = case.evidence.owner
            scope = scopes[owner] if owner is not None else none
            after = resolve(case.evidence, self.rules)
            before = case.before
            found = compare(case.evidence, self.rules)
            self._compared(Comparison(case.key, scope, found, after, case.evidence, before is None))
            if not after.listed and case.evidence.row is None and not any(case.evidence.found):
                self._delete(case, moves)
                continue
            if before is not None and (before.scope, before.resolved) == (scope, after):
                continue
            number = before.number if before is not None else self._new_number()
            values = _values(after, scope)
            if before is None:
                inserts.append((number, type, case.key[1], *values))
                self._unlisted += not after.listed
            else:
                updates.append((*values, number))
                self._unlisted += before.resolved.listed - after.listed
            self._count(type, before, Record(number, scope, after), moves)
            if not case.fresh:
                expected.extend((value, number) for value in self._new_keys(case, before))
                borrowed.extend((path_hash(path), number) for path in self._borrowed(case, after))
                handed.update(self._hand_over(case, after))
                self._mark_other_id(case, after)
                self._judge_anew(case, after)
        self._flush(inserts, updates, expected)
        self._db.executemany("INSERT OR IGNORE INTO borrowed VALUES(?,?)", borrowed)
        self._mark_claiming(handed)
        self._owners.adjust(type, moves)
        return bool(inserts or updates or moves)

    def _flush(
        self,
        inserts: Sequence[tuple[object, ...]],
        updates: Sequence[tuple[object, ...]],
        expected: Sequence[tuple[int, int]],
    ) -> None:
        self._db.executemany(
            "INSERT INTO assets(asset, type, id, scope, listed, owner, has, checks, ts, image, segment,"
            " embedding, keypoints, others, image_mtime, image_updated, updated)"
            " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            inserts,
        )
        self._db.executemany(
            "UPDATE assets SET scope=?, listed=?, owner=?, has=?, checks=?, ts=?, image=?, segment=?,"
            " embedding=?, keypoints=?, others=?, image_mtime=?, image_updated=?, updated=? WHERE asset=?",
            updates,
        )
        self._db.executemany("INSERT OR IGNORE INTO expected VALUES(?,?)", expected)
        self._expecting = self._expecting or bool(expected)

    def _borrowed(self, case: _Case, after: Resolved) -> Iterator[str]:
        """The files that an asset uses because its row names them, and that alone do not lead to it."""
        used = (after.image, after.segment, after.embedding, after.keypoints)
        for claim, path in zip(case.evidence.claims, used, strict=True):
            if path is None or claim is None or claim.path != path:
                continue
            if not self._leads_to(path, case.key):
                yield path

    def _leads_to(self, path: str, key: Key) -> bool:
        """Whether the patterns alone take a file for one of this asset."""
        return any(
            self._key_of(place, path) == key
            for images in (True, False)
            for place in self._classify(path, images=images)
        )

    def _new_number(self) -> int:
        self._next += 1
        return self._next - 1

    def _new_keys(self, case: _Case, before: Record | None) -> list[int]:
        """The hashes to write; what the asset looked for before and does not any more is removed."""
        images = case.evidence.found[Feature.IMAGE]
        source = self._names_source(images, case.evidence.claims, before)
        if before is not None and before.resolved.image is not None and before.resolved.image == source:
            return []
        new = {path_hash(key) for key in case.keys}
        if before is not None and before.resolved.image is not None:
            old = self._keys_written(case.key, before.resolved.image)
            self._db.executemany(
                "DELETE FROM expected WHERE hash=? AND asset=?",
                [(value, before.number) for value in old - new],
            )
            new -= old
        return list(new)

    def _keys_written(self, key: Key, image: str) -> set[int]:
        """The hashes that an asset wrote when this was its image."""
        names = self._layout.image_names(key[0], image)
        if self._is_told(key, names):
            return set()
        wanted = {
            wanted
            for feature in ARTIFACTS
            for wanted in self._layout.artifact_keys(key[0], feature, key[1], names and names.names)
        }
        return {path_hash(text) for text in wanted.union(self._other_keys(key, names))}

    def _delete(self, case: _Case, moves: dict[str, list[tuple[int | None, int | None]]]) -> None:
        before = case.before
        if before is None:
            return
        self._db.execute("DELETE FROM assets WHERE asset=?", (before.number,))
        self._db.executemany(
            "DELETE FROM expected WHERE hash=? AND asset=?",
            [(path_hash(key), before.number) for key in case.keys],
        )
        self._unlisted -= not before.resolved.listed
        was = before.resolved
        held = (was.image, was.segment, was.embedding, was.keypoints)
        self._db.executemany(
            "DELETE FROM borrowed WHERE hash=? AND asset=?",
            [(path_hash(path), before.number) for path in held if path is not None],
        )
        self._count(case.key[0], before, None, moves)

    def _hand_over(self, case: _Case, after: Resolved) -> list[str]:
        """An asset has appeared or gone: artifacts that it shares with others are theirs to look at again.

        Returns the paths of those that other rows may claim.
        """
        was = case.before is not None and case.before.resolved.listed
        if was == after.listed:
            return []
        paths = [found.path for candidates in case.evidence.found[1:] for found in candidates]
        hashes: set[int] = set()
        for path in paths:
            places = self._classify(path)
            if places and places[0].feature is Feature.IMAGE:
                places = self._classify(path, images=False)
            for place in places:
                key = self._key_of(place, path)
                if key != case.key:
                    self.mark(key, path)
                if self._unlisted:
                    hashes.add(path_hash(place.key))
        if hashes:
            self._mark_expecting(hashes)
            self._marked.pop(case.key, None)
        return paths if self._unlisted else []

    def _mark_claiming(self, paths: Collection[str]) -> None:
        """Mark the assets without an image whose rows claim files that have changed hands."""
        if not paths:
            return
        claiming: dict[Key, str] = {}
        for path, namers in self._claims.naming(paths).items():
            claiming.update(((type, id), path) for type, id, _ in namers)
        for type in AssetType:
            ids = [id for kind, id in claiming if kind is type]
            rows = self._db.execute(
                "SELECT id FROM assets"
                " WHERE type=? AND id IN (SELECT value FROM json_each(?)) AND NOT listed",
                (type, json.dumps(ids)),
            )
            for (id,) in rows.fetchall():
                self.mark((type, id), claiming[type, id])

    def _mark_other_id(self, case: _Case, after: Resolved) -> None:
        """An image has come under an id, or left it: the id that its path gives may gain orphans or lose."""
        before = case.before.resolved if case.before is not None else None
        for resolved, other in ((before, after), (after, before)):
            if resolved is None or resolved.image is None or not resolved.listed:
                continue
            if other is not None and other.listed and other.image == resolved.image:
                return
            names = self._layout.image_names(case.key[0], resolved.image)
            if names is not None and names.asset_id not in (None, case.key[1]):
                self.mark((case.key[0], names.asset_id))

    def _judge_anew(self, case: _Case, after: Resolved) -> None:
        """A file that was judged for another asset, or as another feature, is judged once more by all."""
        if not after.listed or not after.checks & ~_ALL_PENDING:
            return
        before = case.before.resolved if case.before is not None and case.before.resolved.listed else None
        for feature in Feature:
            path = after.file(feature)
            if path is None or (before is not None and before.file(feature) == path):
                continue
            if (after.checks >> (2 * feature)) & 3 in (CheckState.CHECKED, CheckState.UNCHECKED):
                self._tree.set_verdict(path, None, Outcome.NONE)
                self.mark_files([path])

    def _count(
        self,
        type: AssetType,
        before: Record | None,
        after: Record | None,
        moves: dict[str, list[tuple[int | None, int | None]]],
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
            moves.setdefault(old[0], []).append((old[1], new[1]))
            return
        if old[0] is not None:
            moves.setdefault(old[0], []).append((old[1], None))
        if new[0] is not None:
            moves.setdefault(new[0], []).append((None, new[1]))


def _outcome(detail: tuple[int, int] | None, path: str) -> int:
    return detail[1] if detail is not None and detail[0] == path_hash(path) else Outcome.NONE


def _place(record: Record | None) -> tuple[str | None, int | None]:
    """The owner of a listed asset and the time of its image."""
    if record is None or not record.resolved.listed:
        return None, None
    return record.resolved.owner, record.resolved.image_mtime


def _candidates(marked: set[str], before: Record | None, claims: tuple[Claim | None, ...]) -> set[str]:
    paths = set(marked)
    if before is not None:
        paths.update(before.resolved.others)
        if before.resolved.image is not None:
            paths.add(before.resolved.image)
        if not before.resolved.listed:
            orphans = (before.resolved.segment, before.resolved.embedding, before.resolved.keypoints)
            paths.update(path for path in orphans if path is not None)
    claim = claims[Feature.IMAGE]
    if claim is not None and claim.path is not None:
        paths.add(claim.path)
    return paths


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
            state = CheckState((checks >> (2 * feature)) & 3)
            if state is not CheckState.NOTHING:
                names.append(f"{state.name.lower()}:{feature.wire}")
        known = _counted_cache[has, checks] = tuple(names)
    return known
