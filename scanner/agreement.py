"""Rows of the database beside assets that come ready: whether both say the same, and what the rows add.

Most rows name exactly the files that are there. That is seen column by column; an asset of which it is not
so is *disputed*, and left to the general way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain

from scanner.claims import ClaimTable, owner_of
from scanner.columns import Assets
from scanner.records import AssetRow, AssetType, Feature
from scanner.resolve import HAS, row_times
from scanner.tree import Tree

Rows = Sequence[AssetRow | None]
"""The row of each asset, None where it has none."""
OUTSIDE = ""
"""Stands for the file of a claim that leads out of the data root: no file has this path."""


class Agreement:
    """Compares inside the caller's transaction."""

    def __init__(self, tree: Tree, claims: ClaimTable) -> None:
        self._tree = tree
        self._claims = claims

    def rows(self, assets: Assets) -> Rows:
        """The row of each asset."""
        found = self._claims.rows(AssetType(assets.type), assets.ids)
        return [found.get(id) for id in assets.ids]

    def disputed(
        self, assets: Assets, rows: Rows, recorded: Collection[Feature], *, crawled: bool
    ) -> set[int]:
        """The positions of the assets that are disputed; once the disk has been read (``crawled``), those
        without a row are. ``recorded`` are the features that the rows have a column for."""
        disputed = set(self._perhaps_elsewhere(assets))
        for feature, column in zip(Feature, assets.paths, strict=True):
            claimed = self._claimed(rows, feature)
            if claimed != column:
                disputed.update(_differing(feature, claimed, column, rows, recorded))
        disputed.update(self._named_by_others(assets, rows, some_differ=bool(disputed)))
        if crawled:
            disputed.update(position for position, row in enumerate(rows) if row is None)
        return disputed

    def _claimed(self, rows: Rows, feature: Feature) -> list[str | None]:
        """The files that the rows name as a feature."""
        raws = [None if row is None else row.claimed[feature] for row in rows]
        paths = iter(self._claims.resolve_all([raw for raw in raws if raw is not None]))
        return [None if raw is None else next(paths) or OUTSIDE for raw in raws]

    def _perhaps_elsewhere(self, assets: Assets) -> Iterator[int]:
        """Assets of which a file may have been there before, used by one that a row gives another id."""
        for position, key in assets.elsewhere:
            if self._tree.may_have(key):
                yield position

    def _named_by_others(self, assets: Assets, rows: Rows, *, some_differ: bool) -> Iterator[int]:
        """Assets of which a row names a file that is not theirs, or names it as another feature."""
        paths = {path for path in chain.from_iterable(assets.paths) if path is not None}
        # As long as all rows agree, each that claims anything names some of these paths, and only its own.
        claiming = sum(row is not None and any(row.claimed) for row in rows)
        if not some_differ and self._claims.count_naming(paths) == claiming:
            return
        naming = self._claims.naming(paths)
        for feature, column in zip(Feature, assets.paths, strict=True):
            for position, path in enumerate(column):
                own = (assets.type, assets.ids[position], feature)
                if path is not None and any(namer != own for namer in naming.get(path, ())):
                    yield position


def _differing(
    feature: Feature,
    claimed: Sequence[str | None],
    files: Sequence[str | None],
    rows: Rows,
    recorded: Collection[Feature],
) -> Iterator[int]:
    """Where the claimed file is another one, or none although the row ought to name it."""
    for position, (claim, file, row) in enumerate(zip(claimed, files, rows, strict=True)):
        if claim == file:
            continue
        ought = row is not None and feature in recorded
        if feature is Feature.EMBEDDING and row is not None and row.embedding_in_db:
            ought = False
        if claim is not None or ought:
            yield position


def with_rows(assets: Assets, rows: Rows, owners: Sequence[str | None]) -> Sequence[str | None]:
    """Let the assets have what their rows say; returns their owners, which were ``owners`` without that."""
    if not any(rows):
        return owners
    for position, row in enumerate(rows):
        if row is not None:
            _add(assets, position, row)
    return list(map(owner_of, rows, owners))


def _add(assets: Assets, position: int, row: AssetRow) -> None:
    """What the row of one asset says beside its claims."""
    assets.timestamps[position] = row.ts
    if row.embedding_in_db:
        assets.has[position] |= HAS[Feature.EMBEDDING]
    for time in row_times(row):
        for column in (assets.image_updated, assets.updated):
            column[position] = max(column[position], time)
