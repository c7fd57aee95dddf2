"""The rows of a folder of images and of the folders of their artifacts, ready to be written.

Pure, so that whoever lists the directories can make them and whoever writes the index only has to. What the
patterns alone say is decided here: what each file is, and which assets are whole (see :mod:`scanner.fresh`)
with nothing to be found about them. All other files are named as the ``rest``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import NamedTuple

from scanner.columns import Assets, Directories, Files
from scanner.layout import Layout, ToldImage
from scanner.listing import Listing
from scanner.pattern import is_exact, key_directory
from scanner.portions import is_large
from scanner.records import AssetType, Entry, Feature
from scanner.resolve import HAS, CheckState, Rules
from scanner.tree import LINK, UNMATCHED, State, join, kind_flags

_FLAGS = [kind_flags(feature) for feature in Feature]


class Ready(NamedTuple):
    """All of it. ``rest`` are the positions of files that make no whole asset, those that no pattern knows
    included; ``deeper`` are the folders of the folders; ``seen_ns`` is when the first look began."""

    device: int
    seen_ns: int
    directories: Directories
    files: Files
    assets: list[Assets]
    rest: list[int]
    deeper: list[str]

    @property
    def directory(self) -> str:
        """The directory whose folders the others are."""
        return self.directories.paths[0]

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
    if not _is_plain(family):
        return None
    entries = [sorted(listing.files.values()) for listing in family]
    columns = [list(column) for column in zip(*chain.from_iterable(entries), strict=True)]
    names, inodes, sizes, mtimes, ctimes, links = columns or [[] for _ in Entry._fields]
    seen_ns = min(listing.seen_ns for listing in family)
    if max(chain(mtimes, ctimes), default=0) >= seen_ns - settle_ns:
        return None
    numbers = list(chain.from_iterable(repeat(n, len(some)) for n, some in enumerate(entries)))
    prefixes = [join(listing.directory, "") for listing in family]
    sighted = _Sighted([prefixes[n] + name for n, name in zip(numbers, names, strict=True)], layout)
    flags = [one | LINK if link else one for one, link in zip(sighted.flags, links, strict=True)]
    files = Files(numbers, names, inodes, sizes, mtimes, ctimes, flags)
    directories = _directories(family)
    assets, rest = _Sorting(sighted, files, rules, frozenset(directories.paths)).sorted_out()
    deeper = [join(listing.directory, name) for listing in family[1:] for name in listing.directories]
    return Ready(family[0].device, seen_ns, directories, files, assets, rest, deeper)


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


def _directories(family: Sequence[Listing]) -> Directories:
    """All of them; one with folders that have not been listed has no fingerprint yet."""
    return Directories(
        [listing.directory for listing in family],
        [listing.inode for listing in family],
        [listing.mtime_ns for listing in family],
        [listing.fingerprint if not n or not listing.directories else 0 for n, listing in enumerate(family)],
    )


class _Sighted:
    """What files are by their paths, and the assets that they make, each with a number.

    ``places`` has four positions of files an asset, by Feature, -1 where none was met. ``odd`` are assets
    with more files than that, ``loose`` the positions of all files that are in no place.
    """

    def __init__(self, paths: list[str], layout: Layout) -> None:
        self.paths = paths
        self.keys: list[dict[str, Feature]] = []
        self.owners: list[tuple[AssetType, str | None]] = []
        self.ids: list[str] = []
        self.timestamps: list[float | None] = []
        self.places: list[int] = []
        self.odd: set[int] = set()
        self.loose: list[int] = []
        self._layout = layout
        self._numbers: dict[tuple[AssetType, str], int] = {}
        self._expected: dict[str, int] = {}
        self._guessed: list[tuple[int, Feature, str]] = []
        self.flags = self._look()
        self.odd.update(n for n, feature, key in self._guessed if self.keys[n].get(key) is not feature)

    def _look(self) -> list[int]:
        flags = []
        expected, places = self._expected, self.places
        for position, path in enumerate(self.paths):
            place = expected.get(path)
            if place is None:
                flags.append(self._unexpected(position, path))
            else:
                flags.append(_FLAGS[place & 3])
                if places[place] < 0:
                    places[place] = position
                else:
                    self._put(place, position)
        return flags

    def _unexpected(self, position: int, path: str) -> int:
        """Take a file that no image has asked for; returns its flags."""
        told = self._layout.told_image(path)
        if told is not None and told.type in self._layout.telling:
            self._take_image(told, position)
            return _FLAGS[Feature.IMAGE]
        places = self._layout.classify(path)
        if not places:
            self.loose.append(position)
            return UNMATCHED
        place, asset = places[0], self._layout.told_asset(places)
        if asset is None:
            self.loose.append(position)
        else:
            number = self._number(*asset)
            self._guessed.append((number, place.feature, place.key))
            self._put(4 * number + place.feature, position)
        return _FLAGS[place.feature]

    def _take_image(self, told: ToldImage, position: int) -> None:
        number = self._number(told.type, told.asset_id)
        if self.places[4 * number] < 0:
            self.owners[number] = (told.type, told.owner_id)
            self.timestamps[number] = told.timestamp
            self.keys[number] = told.keys
            for key, feature in told.keys.items():
                self._expected[key] = 4 * number + feature
        self._put(4 * number, position)

    def _number(self, type: AssetType, id: str) -> int:
        number = self._numbers.setdefault((type, id), len(self.ids))
        if number == len(self.ids):
            self.ids.append(id)
            self.owners.append((type, None))
            self.timestamps.append(None)
            self.keys.append({})
            self.places += (-1, -1, -1, -1)
        return number

    def _put(self, place: int, position: int) -> None:
        if self.places[place] < 0:
            self.places[place] = position
        else:
            self.odd.add(place // 4)
            self.loose.append(position)


class _Sorting:
    """Parts the assets that are whole from all other files; ``listed`` are the directories."""

    def __init__(self, sighted: _Sighted, files: Files, rules: Rules, listed: frozenset[str]) -> None:
        self._sighted = sighted
        self._files = files
        self._stale_ns = rules.stale_ns
        self._checks = [_pending(has, rules) for has in range(8)]
        self._listed = listed

    def sorted_out(self) -> tuple[list[Assets], list[int]]:
        """The whole assets by type and owner, and the positions of all other files."""
        sighted, files = self._sighted, self._files
        rest, odd = sighted.loose, sighted.odd
        doubtful = files.mtimes and min(files.mtimes) < max(files.mtimes) - self._stale_ns
        if doubtful or 0 in files.sizes or -1 in sighted.places[::4]:
            odd.update(filter(self._is_odd, range(len(sighted.ids))))
        whole: dict[tuple[AssetType, str | None], list[int]] = {}
        for number, owner in enumerate(sighted.owners):
            if number in odd:
                rest.extend(place for place in sighted.places[4 * number : 4 * number + 4] if place >= 0)
            else:
                whole.setdefault(owner, []).append(number)
        return [self._assets(*owner, numbers) for owner, numbers in whole.items()], rest

    def _is_odd(self, number: int) -> bool:
        """Whether an asset has no image, or a file that is empty, or older than the image."""
        image, *others = self._sighted.places[4 * number : 4 * number + 4]
        met = [place for place in others if place >= 0]
        if image < 0 or not all(self._files.sizes[place] for place in (image, *met)):
            return True
        oldest = self._files.mtimes[image] - self._stale_ns
        return any(self._files.mtimes[place] < oldest for place in met)

    def _assets(self, type: AssetType, owner: str | None, numbers: list[int]) -> Assets:
        sighted, mtimes, paths = self._sighted, self._files.mtimes, self._sighted.paths
        images, *others = ([sighted.places[4 * n + feature] for n in numbers] for feature in Feature)
        has = [(s >= 0) | (e >= 0) << 1 | (k >= 0) << 2 for s, e, k in zip(*others, strict=True)]
        image_mtimes = [mtimes[image] for image in images]
        updated = image_mtimes
        for column in others:
            met = [mtimes[n] if n >= 0 else time for n, time in zip(column, image_mtimes, strict=True)]
            updated = list(map(max, updated, met))
        segments, embeddings, keypoints = (
            [paths[n] if n >= 0 else None for n in column] for column in others
        )
        return Assets(
            int(type),
            owner,
            [sighted.ids[n] for n in numbers],
            has,
            [self._checks[one] for one in has],
            [sighted.timestamps[n] for n in numbers],
            [paths[n] for n in images],
            segments,
            embeddings,
            keypoints,
            image_mtimes,
            list(image_mtimes),
            updated,
            list(self._elsewhere(numbers, has)),
        )

    def _elsewhere(self, numbers: list[int], has: list[int]) -> Iterator[tuple[int, str]]:
        """Keys of artifacts that were not met, where that does not say that they are not there."""
        sighted = self._sighted
        for position, (number, one) in enumerate(zip(numbers, has, strict=True)):
            if one.bit_count() == len(sighted.keys[number]):
                continue
            for key, feature in sighted.keys[number].items():
                place = sighted.places[4 * number + feature]
                if place >= 0 and sighted.paths[place] == key:
                    continue
                if not is_exact(key) or key_directory(key) not in self._listed:
                    yield position, key


def _pending(has: int, rules: Rules) -> int:
    """The checks of an asset with these artifacts of which nothing has been checked."""
    there = [Feature.IMAGE, *(feature for feature, bit in HAS.items() if has & bit)]
    return sum(CheckState.PENDING << 2 * feature for feature in there if feature in rules.checks)
