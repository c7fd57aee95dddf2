"""What a file is: what the patterns say about its path, and what rows that name it leave of that."""

from __future__ import annotations

from scanner.claims import ClaimTable, Key
from scanner.layout import Layout
from scanner.matching import Placement
from scanner.records import AssetType, Feature


class Classifier:
    """Remembers, for as long as a transaction lasts, what the patterns say about paths."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[str, tuple[Placement, ...]] = {}

    def __call__(self, path: str, *, images: bool = True) -> tuple[Placement, ...]:
        """See :meth:`scanner.layout.Layout.classify`."""
        if not images:
            return self._layout.classify(path, images=False)
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self._layout.classify(path)
        return known

    def forget(self) -> None:
        """Forget everything; the next transaction is about other paths."""
        self._known.clear()


class Places:
    """The classifier's answers in the light of the mirrored rows."""

    def __init__(self, classify: Classifier, claims: ClaimTable) -> None:
        self.classify = classify
        self._claims = claims

    def of(self, path: str) -> tuple[Placement, ...]:
        """What a file is by the patterns, a file that rows name only as an artifact being no image."""
        namers = self._claims.naming([path]).get(path) if self._claims.any else None
        if not namers:
            return self.classify(path)
        if any(feature is Feature.IMAGE for _, _, feature in namers):
            return ()
        return self.classify(path, images=False)

    def is_artifact(self, type: AssetType, feature: Feature, path: str) -> bool:
        """Whether the file may be such an artifact."""
        return any(place.type is type and place.feature is feature for place in self.of(path))

    def is_loose(self, key: Key, feature: Feature, path: str) -> bool:
        """Whether the path alone says that the file is this asset's artifact, image or no image."""
        places = self.of(path)
        return bool(places) and places[0].feature is feature and key_of(places[0], path) == key

    def of_artifact(self, path: str) -> tuple[Placement, ...]:
        """What a file is that some asset has as its artifact, whatever the images' patterns say."""
        places = self.classify(path)
        if places and places[0].feature is Feature.IMAGE:
            return self.classify(path, images=False)
        return places

    def leads_to(self, path: str, key: Key) -> bool:
        """Whether the patterns alone take a file for one of this asset."""
        return any(
            key_of(place, path) == key
            for images in (True, False)
            for place in self.classify(path, images=images)
        )


def key_of(place: Placement, path: str) -> Key:
    """The asset that a placement speaks of; one whose id the path does not tell goes by the path."""
    return place.type, path if place.asset_id is None else place.asset_id
