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
_AS = "CASE ?2 WHEN a.image THEN 0 WHEN a.segment THEN 1 WHEN a.embedding THEN 2 ELSE 3 END"


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as the index holds it, and what it is of its asset; sizes in bytes, times in nanoseconds."""

    size: int
    mtime_ns: int
    inode: int
    feature: Feature


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
        if row is None or (feature := self._use(path)) is None:
            return None
        size, mtime_ns, inode = row
        return KnownFile(size, mtime_ns, inode, feature)

    def _use(self, path: str) -> Feature | None:
        placements = {*self._layout.classify(path), *self._layout.classify(path, images=False)}
        keys = [(place.type, path if place.asset_id is None else place.asset_id) for place in placements]
        hashes = [path_hash(place.key) for place in placements if place.feature is not Feature.IMAGE]
        for type, id in keys:
            if (feature := self._of(type, id, path)) is not None:
                return feature
        feature = self._expected(hashes, path) if hashes else None
        return self._claimed(path) if feature is None else feature

    def _of(self, type: int, id: str, path: str) -> Feature | None:
        """As what the asset that the path names uses the file."""
        sql = f"SELECT {_AS} FROM assets a WHERE a.type=?1 AND a.id=?3 AND {_USES}"
        return self._found(sql, type, path, id)

    def _expected(self, hashes: list[int], path: str) -> Feature | None:
        """As what an asset that looks here for an artifact uses the file."""
        return self._found(
            f"SELECT {_AS} FROM expected JOIN assets a USING(asset)"
            f" WHERE hash IN (SELECT value FROM json_each(?1)) AND {_USES}",
            json.dumps(hashes),
            path,
        )

    def _claimed(self, path: str) -> Feature | None:
        """As what an asset uses the file because its row names it, wherever that lies."""
        return self._found(
            f"SELECT {_AS} FROM borrowed JOIN assets a USING(asset) WHERE hash=?1 AND {_USES}",
            path_hash(path),
            path,
        )

    def _found(self, sql: str, *values: object) -> Feature | None:
        row = self._db.execute(sql + " LIMIT 1", values).fetchone()
        return None if row is None else Feature(row[0])
