"""Which assets look for a path: the table ``expected``, by the hash of the key that a pattern gives.

Only what a path does not tell by itself is written: most artifacts say whose they are.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from scanner.claims import Key
from scanner.layout import ImageNames, Layout
from scanner.pathhash import path_hash
from scanner.records import ARTIFACTS, AssetType

OTHER_ID = "\0"
"""Stands before a key under which an artifact would lie if the asset had the id that its path gives."""


class Expectations:
    """Reads and writes ``expected`` inside the caller's transaction."""

    def __init__(self, connection: Any, layout: Layout) -> None:
        self._db = connection  # rows are typed where they are unpacked
        self._layout = layout
        self.any = self._db.execute("SELECT 1 FROM expected LIMIT 1").fetchone() is not None

    def is_told(self, key: Key, names: ImageNames | None) -> bool:
        """Whether every artifact that an image of these names looks for says that it is this asset's."""
        return names is not None and names.asset_id == key[1] and key[0] in self._layout.telling

    def other_keys(self, key: Key, names: ImageNames | None) -> Iterator[str]:
        """What would be looked for under the id that the image's path gives, where its row has another one.

        The asset does not use such a file, but its image is there: it is nobody's orphan. The keys stand
        apart from those of files that are used.
        """
        if names is None or names.asset_id is None or names.asset_id == key[1]:
            return
        for feature in ARTIFACTS:
            for wanted in self._layout.artifact_keys(key[0], feature, names.asset_id, None):
                yield OTHER_ID + wanted

    def assets(self, hashes: Collection[int]) -> list[Key]:
        """The assets that look for any of these."""
        if not hashes or not self.any:
            return []
        rows = self._db.execute(
            "SELECT type, id FROM expected JOIN assets USING(asset)"
            " WHERE hash IN (SELECT value FROM json_each(?))",
            (json.dumps(list(hashes)),),
        )
        return [(AssetType(type), id) for type, id in rows.fetchall()]

    def put(self, rows: Collection[tuple[int, int]]) -> None:
        """Write (hash, asset)."""
        self._db.executemany("INSERT OR IGNORE INTO expected VALUES(?,?)", rows)
        self.any = self.any or bool(rows)

    def remove(self, hashes: Iterable[int], asset: int) -> None:
        """An asset does not look for these any more."""
        self._db.executemany(
            "DELETE FROM expected WHERE hash=? AND asset=?", [(value, asset) for value in hashes]
        )

    def written(self, key: Key, image: str) -> set[int]:
        """The hashes that an asset wrote when this was its image."""
        names = self._layout.image_names(key[0], image)
        if self.is_told(key, names):
            return set()
        wanted = {
            wanted
            for feature in ARTIFACTS
            for wanted in self._layout.artifact_keys(key[0], feature, key[1], names and names.names)
        }
        return {path_hash(text) for text in wanted.union(self.other_keys(key, names))}
