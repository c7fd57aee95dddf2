"""Whose an artifact is that an asset without an image could have: its orphan, or another asset's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from scanner.cases import Case
from scanner.claims import ClaimTable, Key
from scanner.expectations import OTHER_ID, Expectations
from scanner.layout import Layout
from scanner.matching import Placement
from scanner.pathhash import path_hash
from scanner.placing import Places, key_of
from scanner.records import ARTIFACTS, AssetType, Feature


class Adoption:
    """Answers from the index, inside the caller's transaction; ``mark`` is told of assets to resolve."""

    def __init__(
        self,
        connection: Any,
        layout: Layout,
        places: Places,
        claims: ClaimTable,
        expectations: Expectations,
        mark: Callable[[Key, str], None],
    ) -> None:
        self._db = connection  # rows are typed where they are unpacked
        self._layout = layout
        self._places = places
        self._claims = claims
        self._expectations = expectations
        self._mark = mark

    def without_adopted(self, case: Case) -> Case:
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
        evidence = case.evidence._replace(found=found, lent=lent)
        return case._replace(evidence=evidence)

    def _adopted(self, case: Case, path: str, claimed: str | None) -> bool:
        places = self._places.of(path)
        hashes = {path_hash(path), *(path_hash(place.key) for place in places)}
        by_other_id = {path_hash(OTHER_ID + place.key) for place in places} if path != claimed else set()
        holders = self._expecting([*hashes, *by_other_id])
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
        keys = [key_of(place, path) for place in places]
        if case.evidence.row is not None:
            recorded = [key for key in keys if self._claims.rows(key[0], [key[1]])]
            return case.key in recorded[1:]
        if any(row for _, row, _ in others):
            return True
        if keys and keys[0] != case.key:
            self._mark(keys[0], path)
            return True
        return False

    def _expecting(self, hashes: Sequence[int]) -> list[tuple[Any, ...]]:
        """Assets that look for one of these by the image that they have, or that their row names.

        What one looked for while its image was another is still written where nobody has asked for it since.
        """
        rows = self._db.execute(
            "SELECT a.type, a.id, a.listed, c.row IS NOT NULL, 0, hash, a.image FROM expected"
            " JOIN assets a USING(asset) LEFT JOIN claims c ON c.type=a.type AND c.id=a.id"
            " WHERE hash IN (SELECT value FROM json_each(?))",
            (json.dumps(hashes),),
        ).fetchall()
        return [row[:6] for row in rows if self._looks_for((AssetType(row[0]), row[1]), row[6], row[5])]

    def _looks_for(self, key: Key, image: str | None, value: int) -> bool:
        if image is None:
            row = self._claims.rows(key[0], [key[1]]).get(key[1])
            claim = self._claims.located(row)[Feature.IMAGE] if row is not None else None
            image = claim.path if claim is not None else None
        return value in self._expectations.written(key, image or "")

    def _told_holders(self, path: str, places: Sequence[Placement]) -> list[tuple[Any, ...]]:
        """Assets whose own id the path gives, if their image looks for it there."""
        holders = []
        for place in places:
            key = key_of(place, path)
            row = self._db.execute(
                "SELECT a.type, a.id, a.listed, c.row IS NOT NULL, a.image FROM assets a"
                " LEFT JOIN claims c ON c.type=a.type AND c.id=a.id WHERE a.type=? AND a.id=?",
                key,
            ).fetchone()
            if row is None or row[4] is None:
                continue
            if place.key in self._layout.keys_by_image(key[0], place.feature, key[1], row[4]):
                holders.append((*row[:4], 0, None))
        return holders

    def _namers_held(self, path: str) -> list[tuple[Any, ...]]:
        """The assets whose rows name the path."""
        sql = "SELECT type, id, listed, 1, 1, NULL FROM assets WHERE type=? AND id=?"
        namers = self._claims.naming([path]).get(path, ())
        return [held for type, id, _ in namers for held in self._db.execute(sql, (type, id))]
