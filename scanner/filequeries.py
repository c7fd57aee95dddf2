"""Which files may be served: images and artifacts of listed assets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from scanner.layout import Layout
from scanner.pathhash import path_hash
from scanner.records import Feature
from scanner.tree import split

_USES = " a.listed AND ?2 IN (a.image, a.segment, a.embedding, a.keypoints)"


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as the index holds it; sizes in bytes, times in nanoseconds."""

    size: int
    mtime_ns: int
    inode: int


class FileReader:
    """Finds the asset that uses a file, from the path alone."""

    def __init__(self, connection: Any, layout: Layout) -> None:
        self._db = connection
        self._layout = layout

    def file(self, path: str) -> KnownFile | None:
        """The file, if it has content and is the image or an artifact of a listed asset."""
        directory, name = split(path)
        row = self._db.execute(
            "SELECT size, files.mtime, files.inode FROM dirs JOIN files USING(dir)"
            " WHERE path=? AND name=? AND size>0",
            (directory, name),
        ).fetchone()
        return KnownFile(*row) if row is not None and self._is_used(path) else None

    def _is_used(self, path: str) -> bool:
        placements = {*self._layout.classify(path), *self._layout.classify(path, images=False)}
        keys = [(place.type, path if place.asset_id is None else place.asset_id) for place in placements]
        hashes = [path_hash(place.key) for place in placements if place.feature is not Feature.IMAGE]
        return (
            any(self._is_of(type, id, path) for type, id in keys)
            or (bool(hashes) and self._is_expected(hashes, path))
            or self._is_claimed(path)
        )

    def _is_of(self, type: int, id: str, path: str) -> bool:
        """Whether the asset that the path names uses the file."""
        return self._found(f"SELECT 1 FROM assets a WHERE a.type=?1 AND a.id=?3 AND {_USES}", type, path, id)

    def _is_expected(self, hashes: list[int], path: str) -> bool:
        """Whether an asset that looks here for an artifact uses the file."""
        return self._found(
            "SELECT 1 FROM expected JOIN assets a USING(asset)"
            f" WHERE hash IN (SELECT value FROM json_each(?1)) AND {_USES}",
            json.dumps(hashes),
            path,
        )

    def _is_claimed(self, path: str) -> bool:
        """Whether an asset whose row names the file uses it."""
        return self._found(
            "SELECT 1 FROM named JOIN claims c USING(row) JOIN assets a ON a.type=c.type AND a.id=c.id"
            f" WHERE hash=?1 AND {_USES}",
            path_hash(path),
            path,
        )

    def _found(self, sql: str, *values: object) -> bool:
        return self._db.execute(sql + " LIMIT 1", values).fetchone() is not None
