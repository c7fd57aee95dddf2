"""Assets that a first look shows whole: the mass of what a crawl, a storm or a new video brings.

Where the patterns alone say what each file is, and nothing in the index or the database says otherwise,
an asset needs no search for candidates: its files are exactly those that were met. Everything else is left
to the general way of :mod:`scanner.gathering`.

An asset is *whole* if it has one image and at most one file of each other feature, none of them empty, each
where the image looks for it; if the index has nothing of it yet; and if no other row names one of its files,
and its own row no file but these. Of families that the index knows nothing of, :mod:`scanner.ready` finds
such assets by columns and :mod:`scanner.agreement` holds them against the rows: there they must also show
nothing to be found about them, so that they need not be resolved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from scanner.claims import Key, Namers, owner_of
from scanner.layout import Layout
from scanner.matching import Placement
from scanner.records import ARTIFACTS, AssetRow, AssetType, Feature
from scanner.resolve import Claim, Evidence, Found
from scanner.tree import State


class Piece(NamedTuple):
    """A file of an asset, and the key under which an image would look for it."""

    found: Found
    key: str


class FreshAsset:
    """The files of one asset by Feature, None where there is none, and what its image's path says.

    ``keys`` maps each key under which the image looks for an artifact to the feature.
    """

    __slots__ = ("key", "keys", "owner_id", "pieces", "timestamp")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.pieces: list[Piece | None] = [None, None, None, None]
        self.owner_id: str | None = None
        self.timestamp: float | None = None
        self.keys: dict[str, Feature] = {}

    def paths(self) -> list[str]:
        """The paths of all its files."""
        return [piece.found.path for piece in self.pieces if piece is not None]


class FreshAssets:
    """Collects files that are new, by the asset they make.

    Only for types whose artifacts tell their asset (:attr:`scanner.layout.Layout.telling`): then a file of
    the asset that was met before has left an asset of that id in the index, and what lies where an image
    looks for an artifact can be nothing else.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._assets: dict[Key, FreshAsset] = {}
        self._expected: dict[str, FreshAsset] = {}

    def __len__(self) -> int:
        return len(self._assets)

    def __contains__(self, key: Key) -> bool:
        return key in self._assets

    def clear(self) -> None:
        """Forget all; call it when a transaction is rolled back."""
        self._assets.clear()
        self._expected.clear()

    def expected(self, path: str) -> Feature | None:
        """The feature as which an image looks for this very path."""
        asset = self._expected.get(path)
        return None if asset is None else asset.keys[path]

    def offer(self, path: str, state: State, classify: Callable[[str], Sequence[Placement]]) -> bool:
        """Take a new file; False where it needs the general way, and its asset with it."""
        if not state.size:
            return False
        asset = self._expected.get(path)
        if asset is not None:
            return _take(asset, asset.keys[path], Piece(Found(path, state), path))
        places = classify(path)
        key = self._layout.told_asset(places)
        if key is None:
            return False
        place = places[0]
        asset = self._assets.get(key)
        if asset is None:
            asset = self._assets[key] = FreshAsset(key)
        taken = _take(asset, place.feature, Piece(Found(path, state), place.key))
        if taken and place.feature is Feature.IMAGE:
            self._expect(asset, path)
        return taken

    def _expect(self, asset: FreshAsset, image: str) -> None:
        told = self._layout.told_image(image)
        if told is not None:
            asset.owner_id, asset.timestamp, asset.keys = told.owner_id, told.timestamp, told.keys
            for key in asset.keys:
                self._expected[key] = asset

    def pop(self, key: Key) -> FreshAsset | None:
        """Give up an asset: its files are for the general way; None if there is none."""
        asset = self._assets.pop(key, None)
        if asset is not None:
            self._forget_keys(asset)
        return asset

    def keys(self) -> Iterator[str]:
        """The key of every artifact that was taken."""
        for asset in self._assets.values():
            yield from (piece.key for piece in asset.pieces[1:] if piece is not None)

    def take(self, limit: int) -> dict[AssetType, list[FreshAsset]]:
        """Remove and return up to ``limit`` assets, by type."""
        taken: dict[AssetType, list[FreshAsset]] = {}
        for key in list(islice(self._assets, limit)):
            asset = self._assets.pop(key)
            self._forget_keys(asset)
            taken.setdefault(key[0], []).append(asset)
        return taken

    def _forget_keys(self, asset: FreshAsset) -> None:
        for key in asset.keys:
            if self._expected.get(key) is asset:
                del self._expected[key]


def evidence_of(
    asset: FreshAsset,
    row: AssetRow | None,
    claims: tuple[Claim | None, ...],
    naming: Namers,
    recorded: frozenset[Feature],
) -> Evidence | None:
    """All that is known about the asset, or None where its files do not speak for themselves."""
    type, id = asset.key
    pieces = asset.pieces
    if pieces[Feature.IMAGE] is None:
        return None
    if (naming and not _named_alone(asset.key, pieces, naming)) or not _looked_for(asset):
        return None
    if row is not None and not _as_claimed(pieces, claims):
        return None
    owner = owner_of(row, asset.owner_id)
    found = [[] if piece is None else [piece.found] for piece in pieces]
    return Evidence(type, id, row, claims, found, owner, asset.timestamp, recorded=recorded)


def _take(asset: FreshAsset, feature: Feature, piece: Piece) -> bool:
    """Make a file part of the asset, unless there is another of its feature."""
    if asset.pieces[feature] is not None:
        return False
    asset.pieces[feature] = piece
    return True


def _looked_for(asset: FreshAsset) -> bool:
    """Whether the image looks for its artifacts where they are: two ids may read alike."""
    for feature in ARTIFACTS:
        piece = asset.pieces[feature]
        if piece is not None and asset.keys.get(piece.key) is not feature:
            return False
    return True


def _named_alone(key: Key, pieces: Sequence[Piece | None], naming: Namers) -> bool:
    """Whether no other row, and no other feature, names a file of the asset."""
    for feature, piece in enumerate(pieces):
        namers = () if piece is None else naming.get(piece.found.path, ())
        if any(namer != (*key, feature) for namer in namers):
            return False
    return True


def _as_claimed(pieces: Sequence[Piece | None], claims: tuple[Claim | None, ...]) -> bool:
    """Whether every file that the row names is the one that was met."""
    for piece, claim in zip(pieces, claims, strict=True):
        if claim is not None and (piece is None or claim.path != piece.found.path):
            return False
    return True
