"""The part of the index that says what claim, disk and content make of each asset.

Assets are marked when a file or a row that concerns them has changed, and resolved together at the end of
a transaction: their evidence is gathered in bulk, :mod:`scanner.resolve` decides, and what is different is
written, with the counters of their jobs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from scanner.adoption import Adoption
from scanner.assetrows import AssetRows
from scanner.borrowings import Borrowings
from scanner.cases import Case, Comparison, Record
from scanner.claims import NO_CLAIMS, ClaimTable, Key
from scanner.counterparts import Side, alone
from scanner.expectations import Expectations
from scanner.fresh import FreshAsset, FreshAssets, evidence_of
from scanner.gathering import Gatherer, names_source
from scanner.layout import Layout
from scanner.owners import OwnerTable
from scanner.pathhash import path_hash
from scanner.placing import Classifier, Places, key_of
from scanner.records import AssetType, Feature
from scanner.resolve import JUDGED, Outcome, Resolved, Rules, check_state, chosen, compare, resolve
from scanner.tree import State, Tree

_CHUNK = 1000
_ALL_PENDING = 0b01010101
Compared = Callable[[Comparison], None]


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
        self._places = Places(classifier, claims)
        self._expectations = Expectations(connection, layout)
        self._borrowings = Borrowings(connection, self._places)
        self._gatherer = Gatherer(connection, layout, self._places, tree, claims, self._expectations)
        self._adoption = Adoption(connection, layout, self._places, claims, self._expectations, self.mark)
        self.rows = AssetRows(connection, owners)
        self._marked: dict[Key, set[str]] = {}
        self._fresh = FreshAssets(layout)
        self._sought: set[str] = set()

    @property
    def recorded(self) -> dict[AssetType, frozenset[Feature]]:
        """The features that the table of each type of asset has a column for, to be changed in place."""
        return self._gatherer.recorded

    @property
    def unlisted(self) -> int:
        """How many assets have no image."""
        return self.rows.unlisted

    @property
    def marked(self) -> int:
        """How many assets wait to be resolved."""
        return len(self._marked) + len(self._fresh)

    @property
    def any(self) -> bool:
        """Whether there is any asset, listed or not, or any that waits to be resolved."""
        return bool(self._marked) or self._db.execute("SELECT 1 FROM assets LIMIT 1").fetchone() is not None

    def is_marked(self, key: Key) -> bool:
        """Whether the asset waits to be resolved."""
        return key in self._marked or key in self._fresh

    def forget(self) -> None:
        """Drop what is marked; call it when a transaction is rolled back."""
        self._marked.clear()
        self._fresh.clear()
        self._sought.clear()
        self.rows.forget()

    def mark(self, key: Key, candidate: str | None = None) -> None:
        """Resolve the asset again; ``candidate`` is a file that may be its image or artifact."""
        candidates = self._marked.setdefault(key, set())
        if candidate is not None:
            candidates.add(candidate)
        fresh = self._fresh.pop(key)
        if fresh is not None:
            self._give_up([fresh])

    def mark_new_files(self, files: Mapping[str, State | None]) -> None:
        """As :meth:`mark_files`, for files of which most were not known before."""
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
                self.mark(key_of(place, path), path)
                if place.feature is not Feature.IMAGE:
                    self._sought.add(place.key)

    def mark_owned(self, type: AssetType, owner: str) -> None:
        """Mark every asset of a product or video."""
        for which in ("listed", "NOT listed"):  # each has an index of its own
            sql = f"SELECT id FROM assets WHERE type=? AND owner=? AND {which}"
            for (id,) in self._db.execute(sql, (type, owner)).fetchall():
                self.mark((type, id))

    def mark_alone(self, table: Side, limit: int, after: int) -> int | None:
        """Mark rows without an asset, or assets without a row; see :func:`scanner.counterparts.alone`."""
        keys, further = alone(self._db, table, limit, after)
        for key in keys:
            self.mark(key)
        return further

    def resolve_claim(self, claimed: str) -> str | None:
        """The path below the data root that a claim means, None where it lies outside."""
        return self._claims.resolve(claimed)

    def is_matched(self, path: str) -> bool:
        """Whether a pattern or a row knows the file."""
        return bool(self._classify(path)) or bool(self._claims.naming([path]))

    def known(self, key: Key) -> bool:
        """Whether the index has the asset, listed or not."""
        return self._db.execute("SELECT 1 FROM assets WHERE type=? AND id=?", key).fetchone() is not None

    def known_of(self, type: AssetType, ids: Sequence[str]) -> set[str]:
        """Those of the ids that the index has, listed or not."""
        rows = self._db.execute(
            "SELECT id FROM assets WHERE type=? AND id IN (SELECT value FROM json_each(?))",
            (type, json.dumps(ids)),
        )
        return {id for (id,) in rows}

    def seek(self, keys: Iterable[str]) -> None:
        """Files have come by these keys: whoever looks for them is resolved again."""
        if self._expectations.any:
            self._sought.update(keys)

    def resolve_marked(self) -> bool:
        """Resolve all that is marked, and what that marks in turn; True if anything changed."""
        self.seek(self._fresh.keys())
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

    def expecting(self, hashes: Collection[int]) -> list[Key]:
        """The assets that look for an artifact by any of these hashes of keys."""
        return self._expectations.assets(hashes)

    def _mark_expecting(self, hashes: Collection[int]) -> None:
        for key in self.expecting(hashes):
            self.mark(key)

    def _resolve(self, type: AssetType, marked: Mapping[str, set[str]]) -> bool:
        """Resolve assets; those with an image first, since they decide whose the artifacts are."""
        cases = self._gatherer.cases(type, marked)
        listed = [case for case in cases if chosen(case.evidence.found[Feature.IMAGE]) is not None]
        changed = self._write(type, listed)
        others = [case for case in cases if chosen(case.evidence.found[Feature.IMAGE]) is None]
        return self._write(type, [self._adoption.without_adopted(case) for case in others]) or changed

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
    ) -> list[Case]:
        ids = [asset.key[1] for asset in assets]
        known = self.known_of(type, ids)
        rows = self._claims.rows(type, ids)
        naming = self._claims.naming(path for asset in assets for path in asset.paths())
        cases = []
        for asset in assets:
            row = rows.get(asset.key[1])
            claims = NO_CLAIMS if row is None else self._claims.located(row)
            evidence = evidence_of(asset, row, claims, naming, self.recorded[type])
            told = asset.key[1] in known or asset.key in self._marked or self._may_have_more(asset)
            if evidence is None or told:
                given_up.append(asset)
            else:
                cases.append(Case(asset.key, None, evidence, frozenset(), True))
        return cases

    def _may_have_more(self, asset: FreshAsset) -> bool:
        """Whether files of the asset have been there before: one that a row gives another id may use them."""
        if not self._claims.any:
            return False
        for key, feature in asset.keys.items():
            piece = asset.pieces[feature]
            if piece is not None and piece.key == key:
                continue
            if self._tree.may_have(key):
                return True
        return False

    def _give_up(self, assets: Iterable[FreshAsset]) -> None:
        """Let the general way find out about these."""
        self.mark_files([path for asset in assets for path in asset.paths()])

    # --- writing -----------------------------------------------------------------------------------

    def _write(self, type: AssetType, cases: Sequence[Case]) -> bool:
        owners = list({case.evidence.owner for case in cases if case.evidence.owner is not None})
        scopes = self._owners.scopes(type, owners) if owners else {}
        none = self._owners.disk_scope()
        expected: list[tuple[int, int]] = []
        borrowed: list[tuple[int, int]] = []
        handed: set[str] = set()
        for case in cases:
            owner, before = case.evidence.owner, case.before
            scope = scopes[owner] if owner is not None else none
            after = resolve(case.evidence, self.rules)
            found = compare(case.evidence, self.rules)
            owned = before.resolved.owner if before is not None else None
            self._compared(Comparison(case.key, scope, found, after, case.evidence, before is None, owned))
            if not after.listed and case.evidence.row is None and not any(case.evidence.found):
                self._delete(case)
                continue
            if before is not None and (before.scope, before.resolved) == (scope, after):
                continue
            number = self.rows.put(case, scope, after)
            if before is None and after.image is None and not any(case.evidence.found):
                expected.extend((path_hash(key), number) for key in case.keys)
            elif not case.fresh:
                expected.extend((value, number) for value in self._new_keys(case, before))
                borrowed.extend((value, number) for value in self._borrowings.hashes(case, after))
                handed.update(self._hand_over(case, after))
                self._mark_other_id(case, after)
                self._judge_anew(case, after)
        changed = self.rows.flush(type)
        self._expectations.put(expected)
        self._borrowings.put(borrowed)
        self._mark_claiming(handed)
        return changed

    def _delete(self, case: Case) -> None:
        self.rows.delete(case)
        if case.before is None:
            return
        number = case.before.number
        self._expectations.remove(map(path_hash, case.keys), number)
        self._borrowings.remove(case.before.resolved, number)

    def _new_keys(self, case: Case, before: Record | None) -> set[int]:
        """The hashes to write; what the asset looked for before and does not any more is removed."""
        images = case.evidence.found[Feature.IMAGE]
        source = names_source(images, case.evidence.claims, before)
        if before is not None and before.resolved.image is not None and before.resolved.image == source:
            return set()
        new = {path_hash(key) for key in case.keys}
        if before is not None and before.resolved.image is not None:
            old = self._expectations.written(case.key, before.resolved.image)
            self._expectations.remove(old - new, before.number)
            new -= old
        return new

    def _hand_over(self, case: Case, after: Resolved) -> list[str]:
        """An asset has appeared or gone: artifacts that it shares with others are theirs to look at again.

        Returns the paths of those that other rows may claim.
        """
        before = case.before.resolved if case.before is not None else None
        if (before is not None and before.listed) == after.listed:
            return []
        paths = [found.path for candidates in case.evidence.found[1:] for found in candidates]
        if before is not None:  # with another image it had others
            paths.extend(before.artifacts.difference(paths))
        hashes: set[int] = set()
        for path in paths:
            for place in self._places.of_artifact(path):
                key = key_of(place, path)
                if key != case.key:
                    self.mark(key, path)
                if self.rows.unlisted:
                    hashes.add(path_hash(place.key))
        if hashes:
            self._mark_expecting(hashes)
            self._marked.pop(case.key, None)
        return paths if self.rows.unlisted else []

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

    def _mark_other_id(self, case: Case, after: Resolved) -> None:
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

    def _judge_anew(self, case: Case, after: Resolved) -> None:
        """A file that was judged for another asset, or as another feature, is judged once more by all."""
        if not after.listed or not after.checks & ~_ALL_PENDING:
            return
        before = case.before.resolved if case.before is not None and case.before.resolved.listed else None
        for feature in Feature:
            path = after.file(feature)
            if path is None or (before is not None and before.file(feature) == path):
                continue
            if check_state(after.checks, feature) in JUDGED:
                self._tree.set_verdict(path, None, Outcome.NONE)
                self.mark_files([path])
