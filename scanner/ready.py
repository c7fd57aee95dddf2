"""The rows of a folder of images and of the folders of their artifacts, ready to be written.

Pure, so that whoever lists the directories can make them and whoever writes the index only has to. What the
patterns alone say is decided here: what each file is, and which assets are whole, their files being where
the image looks for them, with nothing to disagree about. All other files are named as the ``rest``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any, NamedTuple

from scanner.layout import Layout, Placement
from scanner.listing import Listing
from scanner.pattern import is_exact, key_directory
from scanner.portions import is_large
from scanner.records import ARTIFACTS, AssetType, Feature
from scanner.resolve import HAS, CheckState, Rules
from scanner.tree import LINK, UNMATCHED, State, join, kind_flags

_FLAGS = {feature: kind_flags(feature) for feature in Feature}


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


class Ready(NamedTuple):
    """All of it. ``rest`` are the positions of files that make no whole asset, those that no pattern knows
    included; ``deeper`` are the folders of the folders."""

    device: int
    directories: Directories
    files: Files
    assets: list[Assets]
    rest: list[int]
    deeper: list[str]

    def path(self, position: int) -> str:
        """The path of a file."""
        return join(self.directories.paths[self.files.directories[position]], self.files.names[position])

    def unmatched(self) -> list[str]:
        """The files that no pattern knows."""
        return [self.path(position) for position in self.rest if self.files.flags[position] & UNMATCHED]

    def states(self, positions: Sequence[int]) -> dict[str, State]:
        """Files by their paths."""
        _, _, inodes, sizes, mtimes, ctimes, flags = self.files
        return {
            self.path(n): State(inodes[n], sizes[n], mtimes[n], ctimes[n], flags[n], 0) for n in positions
        }


def make(family: Sequence[Listing], layout: Layout, rules: Rules, settle_ns: int) -> Ready | None:
    """The rows of a directory and all its folders, the directory first, of none of which anything is known.

    None where any of them shows more than files that have not changed for ``settle_ns``, and folders, or
    where a folder is missing.
    """
    if not (_is_plain(family) and all(_is_settled(listing, settle_ns) for listing in family)):
        return None
    gathering = _Gathering(layout)
    for listing in family:
        gathering.add(listing)
    directories = Directories(
        [listing.directory for listing in family],
        [listing.inode for listing in family],
        [listing.mtime_ns for listing in family],
        [listing.fingerprint if not n or not listing.directories else 0 for n, listing in enumerate(family)],
    )
    assets, rest = gathering.sorted_out(rules, frozenset(directories.paths))
    deeper = [join(listing.directory, name) for listing in family[1:] for name in listing.directories]
    return Ready(family[0].device, directories, gathering.files, assets, rest, deeper)


def _is_plain(family: Sequence[Listing]) -> bool:
    first = family[0]
    folders = {join(first.directory, name) for name in first.directories}
    return folders == {listing.directory for listing in family[1:]} and all(
        listing.device == first.device
        and listing.names is None
        and not listing.unreadable
        and not listing.skipped
        and not is_large(listing)
        for listing in family
    )


def _is_settled(listing: Listing, settle_ns: int) -> bool:
    """Whether no file of it is young enough to be growing still."""
    young_ns = listing.seen_ns - settle_ns
    return all(entry[3] < young_ns and entry[4] < young_ns for entry in listing.files.values())


class _Asset:
    """An asset on its way: the positions of its files by Feature, and where its image looks for artifacts.

    ``further`` are files beside those, which make it one to be looked into.
    """

    __slots__ = ("further", "id", "keys", "owner", "places", "timestamp", "type")

    def __init__(self, type: AssetType, id: str) -> None:
        self.type = type
        self.id = id
        self.owner: str | None = None
        self.timestamp: float | None = None
        self.keys: dict[str, Feature] = {}
        self.places: list[int | None] = [None, None, None, None]
        self.further: list[int] = []

    def take(self, feature: int, position: int) -> None:
        """A file is the asset's; there may be one of each feature."""
        if self.places[feature] is None:
            self.places[feature] = position
        else:
            self.further.append(position)

    def positions(self) -> Iterator[int]:
        """All of its files."""
        yield from (position for position in self.places if position is not None)
        yield from self.further


class _Gathering:
    """Collects the files of a family, and the assets that they make."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._paths: list[str] = []
        self._expected: dict[str, _Asset] = {}
        self._assets: dict[tuple[AssetType, str], _Asset] = {}
        self._loose: list[int] = []
        self._directories = 0
        self.files = Files([], [], [], [], [], [], [])

    def add(self, listing: Listing) -> None:
        """Take the files of the next directory."""
        entries = sorted(listing.files.values())
        if entries:
            names, *about, links = zip(*entries, strict=True)
            self.files.names.extend(names)
            for column, values in zip(self.files[2:6], about, strict=True):
                column.extend(values)
            self.files.directories.extend([self._directories] * len(entries))
            flags = self._flags(join(listing.directory, ""), names)
            if any(links):
                flags = [one | LINK if link else one for one, link in zip(flags, links, strict=True)]
            self.files.flags.extend(flags)
        self._directories += 1

    def _flags(self, prefix: str, names: Sequence[str]) -> list[int]:
        flags = []
        expected, paths = self._expected, self._paths
        position = len(paths)
        for name in names:
            path = prefix + name
            asset = expected.get(path)
            if asset is None:
                flags.append(self._classified(path, position))
            else:
                feature = asset.keys[path]
                asset.take(feature, position)
                flags.append(_FLAGS[feature])
            paths.append(path)
            position += 1
        return flags

    def _classified(self, path: str, position: int) -> int:
        """Take a file that no image has asked for; returns its flags."""
        places = self._layout.classify(path)
        if not places:
            self._loose.append(position)
            return UNMATCHED
        place = places[0]
        if len(places) > 1 or place.asset_id is None or place.type not in self._layout.telling:
            self._loose.append(position)
        else:
            self._take(place, path, position)
        return _FLAGS[place.feature]

    def _take(self, place: Placement, path: str, position: int) -> None:
        key = (place.type, str(place.asset_id))
        asset = self._assets.get(key)
        if asset is None:
            asset = self._assets[key] = _Asset(*key)
        if place.feature is Feature.IMAGE and asset.places[Feature.IMAGE] is None:
            expectation = self._layout.expectation(*key, path)
            if expectation is not None:
                asset.owner, asset.timestamp, asset.keys = expectation
                self._expected.update(dict.fromkeys(asset.keys, asset))
        asset.take(place.feature, position)

    def sorted_out(self, rules: Rules, listed: frozenset[str]) -> tuple[list[Assets], list[int]]:
        """The whole assets by type and owner, and the positions of all other files."""
        whole: dict[tuple[int, str | None], Assets] = {}
        rest = self._loose
        for asset in self._assets.values():
            if not self._is_whole(asset, rules):
                rest.extend(asset.positions())
                continue
            owned = whole.get((asset.type, asset.owner))
            if owned is None:
                owned = whole[asset.type, asset.owner] = _assets(asset.type, asset.owner)
            self._put(owned, asset, rules, listed)
        return list(whole.values()), rest

    def _is_whole(self, asset: _Asset, rules: Rules) -> bool:
        """Whether it has an image, each artifact is where that looks for it, and none is empty or stale."""
        image = asset.places[Feature.IMAGE]
        if image is None or asset.further or not self.files.sizes[image]:
            return False
        oldest = self.files.mtimes[image] - rules.stale_ns
        for feature in ARTIFACTS:
            position = asset.places[feature]
            if position is None:
                continue
            if not self.files.sizes[position] or self.files.mtimes[position] < oldest:
                return False
            path = self._paths[position]
            if asset.keys.get(path) is not feature and not self._is_wanted(asset, feature, path):
                return False
        return True

    def _is_wanted(self, asset: _Asset, feature: Feature, path: str) -> bool:
        """Whether the image looks for the artifact by a key that leaves its extension open."""
        return asset.keys.get(self._layout.classify(path)[0].key) is feature

    def _put(self, owned: Assets, asset: _Asset, rules: Rules, listed: frozenset[str]) -> None:
        paths, mtimes = self._paths, self.files.mtimes
        image, *artifacts = asset.places
        assert image is not None
        has = checks = 0
        updated = mtimes[image]
        if Feature.IMAGE in rules.checks:
            checks = int(CheckState.PENDING)
        found: list[str | None] = []
        for feature, position in zip(ARTIFACTS, artifacts, strict=True):
            if position is None:
                found.append(None)
                continue
            found.append(paths[position])
            has |= HAS[feature]
            updated = max(updated, mtimes[position])
            if feature in rules.checks:
                checks |= CheckState.PENDING << 2 * feature
        if None in found:
            owned.elsewhere.extend((len(owned.ids), key) for key in self._unmet(asset, listed))
        at = mtimes[image]
        row = (asset.id, has, checks, asset.timestamp, paths[image], *found, at, at, updated)
        for column, value in zip(owned.columns, row, strict=True):
            column.append(value)

    def _unmet(self, asset: _Asset, listed: frozenset[str]) -> Iterator[str]:
        """Keys of artifacts that were not met, where that does not say that they are not there."""
        for key, feature in asset.keys.items():
            position = asset.places[feature]
            if position is not None and self._paths[position] == key:
                continue
            if not is_exact(key) or key_directory(key) not in listed:
                yield key


def _assets(type: AssetType, owner: str | None) -> Assets:
    return Assets(int(type), owner, *([] for _ in range(12)))
