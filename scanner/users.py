"""Who uses a file: several rows may claim one, and a pattern with few names may give it to several assets."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from scanner.claims import ClaimTable, Key
from scanner.matching import Placement
from scanner.pathhash import path_hash
from scanner.placing import key_of
from scanner.records import AssetType, Feature

Use = tuple[Key, Feature]
Uses = dict[Use, str | None]
"""As what the listed assets use a file, each with the path of that asset's image."""


class FileUsers:
    """Answers from the index, inside the caller's transaction; ``expecting`` gives the assets that look for
    an artifact by one of these hashes of keys."""

    def __init__(
        self,
        connection: Any,
        claims: ClaimTable,
        classify: Callable[..., tuple[Placement, ...]],
        expecting: Callable[[Collection[int]], Iterable[Key]],
    ) -> None:
        self._db = connection  # rows are typed where they are unpacked
        self._claims = claims
        self._classify = classify
        self._expecting = expecting

    def of(self, paths: Iterable[str]) -> dict[str, Uses]:
        """The uses of each path."""
        uses: dict[str, Uses] = {path: {} for path in paths}
        ids: dict[AssetType, set[str]] = {type: set() for type in AssetType}
        hashes: set[int] = set()
        for namers in self._claims.naming(uses).values():
            for type, id, _ in namers:
                ids[type].add(id)
        for path in uses:
            for place in {*self._classify(path), *self._classify(path, images=False)}:
                type, id = key_of(place, path)
                ids[type].add(id)
                if place.feature is not Feature.IMAGE:
                    hashes.add(path_hash(place.key))
        for type, id in self._expecting(hashes):
            ids[type].add(id)
        for type, some in ids.items():
            if some:
                self._add(uses, type, some)
        return uses

    def _add(self, uses: Mapping[str, Uses], type: AssetType, ids: set[str]) -> None:
        rows = self._db.execute(
            "SELECT id, image, segment, embedding, keypoints FROM assets"
            " WHERE type=? AND id IN (SELECT value FROM json_each(?)) AND listed",
            (type, json.dumps(list(ids))),
        )
        for id, *files in rows:
            for feature in Feature:
                if files[feature] in uses:
                    uses[files[feature]][(type, id), feature] = files[Feature.IMAGE]
