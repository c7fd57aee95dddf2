"""Rows of the index by columns, in which very many are made, sent and written at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple


class Directories(NamedTuple):
    """Columns of ``dirs``; the first directory is the parent of all others."""

    paths: list[str]
    inodes: list[int]
    mtimes: list[int]
    fingerprints: list[int]


class Files(NamedTuple):
    """Columns of ``files``, each directory being the position of one in :class:`Directories`."""

    directories: list[int]
    names: list[str]
    inodes: list[int]
    sizes: list[int]
    mtimes: list[int]
    ctimes: list[int]
    flags: list[int]


class Assets(NamedTuple):
    """Columns of ``assets`` for the whole assets of one type and owner, as if no row knew them.

    ``elsewhere`` are keys, each with the asset's position, under which artifacts that were not met may be.
    """

    type: int
    owner: str | None
    ids: list[str]
    has: list[int]
    checks: list[int]
    timestamps: list[float | None]
    images: list[str]
    segments: list[str | None]
    embeddings: list[str | None]
    keypoints: list[str | None]
    image_mtimes: list[int]
    image_updated: list[int]
    updated: list[int]
    elsewhere: list[tuple[int, str]]

    @property
    def columns(self) -> tuple[list[Any], ...]:
        """What each asset has one of."""
        return self[2:-1]

    @property
    def paths(self) -> tuple[Sequence[str | None], ...]:
        """The columns of the files' paths, by Feature."""
        return self.images, self.segments, self.embeddings, self.keypoints

    def those(self, selected: Sequence[bool]) -> Assets:
        """Some of the assets, without what is elsewhere."""
        columns = (list(compress(column, selected)) for column in self.columns)
        return Assets._make([self.type, self.owner, *columns, []])
