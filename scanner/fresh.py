"""Assets that a first look shows whole: the mass of what a crawl or a new video brings.

Where the patterns alone say what each file is, and nothing in the index or the database says otherwise,
an asset needs no search for candidates: its files are exactly those that were met. Everything else is left
to the general way of :mod:`scanner.assets`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from scanner.claims import Key
from scanner.layout import Layout, Placement
from scanner.records import ARTIFACTS, AssetRow, AssetType, Feature
from scanner.resolve import Claim, Evidence, Found
from scanner.tree import State


class Piece(NamedTuple):
    """A file of an asset, and the key under which an image would look for it."""

    found: Found
    key: str


Pieces = list[Piece | None]
"""The files of one asset by Feature, None where there is none."""
Naming = Mapping[str, list[tuple[AssetType, str, Feature]]]


class FreshAssets:
    """Collects the files of directories that were read for the first time, by the asset they make.

    Only for types whose artifacts tell their asset (:attr:`scanner.layout.Layout.telling`): then a file of
    the asset that was met before has left an asset of that id in the index.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._pieces: dict[Key, Pieces] = {}

    def __len__(self) -> int:
        return len(self._pieces)

    def clear(self) -> None:
        """Forget all; call it when a transaction is rolled back."""
        self._pieces.clear()

    def offer(self, path: str, state: State, places: Sequence[Placement]) -> bool:
        """Take a new file; False where it needs the general way, and its asset with it."""
        if len(places) != 1 or not state.size:
            return False
        place = places[0]
        if place.asset_id is None or place.type not in self._layout.telling:
            return False
        pieces = self._pieces.get((place.type, place.asset_id))
        if pieces is None:
            pieces = self._pieces[place.type, place.asset_id] = [None, None, None, None]
        elif pieces[place.feature] is not None:
            return False
        pieces[place.feature] = Piece(Found(path, state), place.key)
        return True

    def pop(self, key: Key) -> Pieces | None:
        """Give up an asset: its files, for the general way; None if there is none."""
        return self._pieces.pop(key, None)

    def keys(self) -> Iterator[str]:
        """The key of every artifact that was taken."""
        for pieces in self._pieces.values():
            yield from (piece.key for piece in pieces[1:] if piece is not None)

    def take(self, limit: int) -> dict[AssetType, dict[str, Pieces]]:
        """Remove and return up to ``limit`` assets, by type and id."""
        taken: dict[AssetType, dict[str, Pieces]] = {}
        for key in list(islice(self._pieces, limit)):
            taken.setdefault(key[0], {})[key[1]] = self._pieces.pop(key)
        return taken

    def evidence(
        self,
        key: Key,
        pieces: Pieces,
        row: AssetRow | None,
        claims: tuple[Claim | None, ...],
        naming: Naming,
        recorded: frozenset[Feature],
    ) -> Evidence | None:
        """All that is known about the asset, or None where the files do not speak for themselves."""
        type, id = key
        image = pieces[Feature.IMAGE]
        if image is None or (naming and not _named_alone(key, pieces, naming)):
            return None
        if row is not None and not _as_claimed(pieces, claims):
            return None
        names = self._layout.image_names(type, image.found.path)
        if names is None or not self._looked_for(key, pieces, names.names):
            return None
        owner = names.owner_id if row is None or row.owner_id is None else row.owner_id
        found = [[] if piece is None else [piece.found] for piece in pieces]
        return Evidence(type, id, row, claims, found, owner, names.timestamp, recorded=recorded)

    def _looked_for(self, key: Key, pieces: Pieces, names: Mapping[str, str]) -> bool:
        """Whether the image looks for its artifacts where they are: two ids may read alike."""
        for feature in ARTIFACTS:
            piece = pieces[feature]
            if piece is not None and piece.key not in self._layout.artifact_keys(
                key[0], feature, key[1], names
            ):
                return False
        return True


def _named_alone(key: Key, pieces: Pieces, naming: Naming) -> bool:
    """Whether no other row, and no other feature, names a file of the asset."""
    for feature, piece in enumerate(pieces):
        namers = () if piece is None else naming.get(piece.found.path, ())
        if any(namer != (*key, feature) for namer in namers):
            return False
    return True


def _as_claimed(pieces: Pieces, claims: tuple[Claim | None, ...]) -> bool:
    """Whether every file that the row names is the one that was met."""
    for piece, claim in zip(pieces, claims, strict=True):
        if claim is not None and (piece is None or claim.path != piece.found.path):
            return False
    return True
