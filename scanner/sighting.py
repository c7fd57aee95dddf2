"""What files are by their paths alone, and which of the assets that they make are whole.

Pure. An asset is whole as :mod:`scanner.fresh` says, with nothing to be found about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scanner.columns import Assets
from scanner.layout import Layout, ToldImage
from scanner.pattern import is_exact, key_directory
from scanner.records import AssetType, Feature
from scanner.resolve import HAS, CheckState, Rules
from scanner.tree import UNMATCHED, kind_flags

Owned = tuple[Assets, Sequence[str | None]]
"""Assets of one type, and the owner of each."""
_FLAGS = [kind_flags(feature) for feature in Feature]
_NOWHERE = (-1, -1, -1, -1)


class Sighted:
    """What files are by their paths, and the assets that they make, each with a number.

    ``places`` has four positions of files an asset, by Feature, -1 where none was met; ``told`` is what the
    path of its image says. ``odd`` are assets with more files than that, ``loose`` the positions of all files
    that are in no place. ``foresee``: artifacts may be expected, so that it is worth remembering where the
    images look for them; it turns true when there are any.
    """

    def __init__(self, layout: Layout, *, foresee: bool = True) -> None:
        self.paths: list[str] = []
        self.ids: list[str] = []
        self.told: list[ToldImage | None] = []
        self.places: list[int] = []
        self.odd: set[int] = set()
        self.loose: list[int] = []
        self.foresee = foresee
        self._layout = layout
        self._numbers: dict[tuple[AssetType, str], int] = {}
        self._keys: dict[int, dict[str, Feature]] = {}
        self._expected: dict[str, int] = {}
        self._guessed: list[tuple[int, Feature, str]] = []

    def __contains__(self, asset: tuple[AssetType, str]) -> bool:
        """Whether any file of the asset was met."""
        return asset in self._numbers

    def take(self, paths: Sequence[str]) -> list[int]:
        """Look at further files, none of which was met before; returns their flags."""
        flags = []
        expected, places = self._expected, self.places
        first = len(self.paths)
        self.paths += paths
        for position, path in enumerate(paths, first):
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

    def finish(self) -> None:
        """Call it when all files were taken."""
        self.odd.update(n for n, feature, key in self._guessed if self.keys(n).get(key) is not feature)

    def keys(self, number: int) -> dict[str, Feature]:
        """Where the image of an asset looks for its artifacts."""
        keys = self._keys.get(number)
        if keys is None:
            told = self.told[number]
            keys = self._keys[number] = {} if told is None else told.keys
        return keys

    def keys_met(self) -> list[str]:
        """The keys of the artifacts that were met before their image, or without it."""
        return [key for _, _, key in self._guessed]

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
            self.foresee = True
        return _FLAGS[place.feature]

    def _take_image(self, told: ToldImage, position: int) -> None:
        number = self._number(told.type, told.asset_id)
        place = 4 * number
        if self.places[place] >= 0:
            self._put(place, position)
            return
        self.places[place] = position
        self.told[number] = told
        if self.foresee:
            for key, feature in self.keys(number).items():
                self._expected[key] = place + feature

    def _number(self, type: AssetType, id: str) -> int:
        number = self._numbers.setdefault((type, id), len(self.ids))
        if number == len(self.ids):
            self.ids.append(id)
            self.told.append(None)
            self.places += _NOWHERE
        return number

    def _put(self, place: int, position: int) -> None:
        if self.places[place] < 0:
            self.places[place] = position
        else:
            self.odd.add(place // 4)
            self.loose.append(position)


class Sorting:
    """Parts the assets that are whole from all other files, each of which has a size and an mtime.

    ``listed`` are directories of which it is known what is not in them; None: where else files may be is
    asked for by nobody.
    """

    def __init__(
        self,
        sighted: Sighted,
        sizes: Sequence[int],
        mtimes: Sequence[int],
        rules: Rules,
        listed: frozenset[str] | None,
    ) -> None:
        self._sighted = sighted
        self._sizes = sizes
        self._mtimes = mtimes
        self._stale_ns = rules.stale_ns
        self._checks = [_pending(has, rules) for has in range(8)]
        self._listed = listed

    def by_owner(self) -> tuple[list[Assets], list[int]]:
        """The whole assets by type and owner, and the positions of all other files; to be asked once."""
        whole, rest = self._parted()
        groups: dict[tuple[AssetType, str | None], list[int]] = {}
        for number, told in whole:
            groups.setdefault((told.type, told.owner_id), []).append(number)
        return [self._assets(*owner, numbers) for owner, numbers in groups.items()], rest

    def by_type(self) -> tuple[list[Owned], list[int]]:
        """The same for very many owners: the whole assets by type alone, each with its owner."""
        whole, rest = self._parted()
        groups: dict[AssetType, tuple[list[int], list[str | None]]] = {}
        for number, (type, _, owner, *_) in whole:
            if (group := groups.get(type)) is None:
                group = groups[type] = [], []
            group[0].append(number)
            group[1].append(owner)
        return [(self._assets(type, None, ours), owners) for type, (ours, owners) in groups.items()], rest

    def _parted(self) -> tuple[list[tuple[int, ToldImage]], list[int]]:
        """The numbers of the whole assets with what their images tell, and the positions of other files."""
        sighted, mtimes = self._sighted, self._mtimes
        rest, odd = sighted.loose, sighted.odd
        doubtful = mtimes and min(mtimes) < max(mtimes) - self._stale_ns
        if (sighted.foresee and doubtful) or 0 in self._sizes or -1 in sighted.places[::4]:
            odd.update(filter(self._is_odd, range(len(sighted.ids))))
        for number in odd:
            rest.extend(place for place in sighted.places[4 * number : 4 * number + 4] if place >= 0)
        told = enumerate(sighted.told)
        return [(n, one) for n, one in told if one is not None and n not in odd], rest

    def _is_odd(self, number: int) -> bool:
        """Whether an asset has no image, or a file that is empty, or older than the image."""
        image, *others = self._sighted.places[4 * number : 4 * number + 4]
        met = [place for place in others if place >= 0]
        if image < 0 or not all(self._sizes[place] for place in (image, *met)):
            return True
        oldest = self._mtimes[image] - self._stale_ns
        return any(self._mtimes[place] < oldest for place in met)

    def _assets(self, type: AssetType, owner: str | None, numbers: list[int]) -> Assets:
        sighted, mtimes, paths = self._sighted, self._mtimes, self._sighted.paths
        images, *others = ([sighted.places[4 * n + feature] for n in numbers] for feature in Feature)
        has = [(s >= 0) | (e >= 0) << 1 | (k >= 0) << 2 for s, e, k in zip(*others, strict=True)]
        image_mtimes = [mtimes[image] for image in images]
        updated = image_mtimes
        for column in others if any(has) else ():
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
            [told.timestamp if (told := sighted.told[n]) else None for n in numbers],
            [paths[n] for n in images],
            segments,
            embeddings,
            keypoints,
            image_mtimes,
            list(image_mtimes),
            list(updated),
            [] if self._listed is None else list(self._elsewhere(numbers, has, self._listed)),
        )

    def _elsewhere(
        self, numbers: list[int], has: list[int], listed: frozenset[str]
    ) -> Iterator[tuple[int, str]]:
        """Keys of artifacts that were not met, where that does not say that they are not there."""
        sighted = self._sighted
        for position, (number, one) in enumerate(zip(numbers, has, strict=True)):
            keys = sighted.keys(number)
            if one.bit_count() == len(keys):
                continue
            for key, feature in keys.items():
                place = sighted.places[4 * number + feature]
                if place >= 0 and sighted.paths[place] == key:
                    continue
                if not is_exact(key) or key_directory(key) not in listed:
                    yield position, key


def _pending(has: int, rules: Rules) -> int:
    """The checks of an asset with these artifacts of which nothing has been checked."""
    there = [Feature.IMAGE, *(feature for feature, bit in HAS.items() if has & bit)]
    return sum(CheckState.PENDING << 2 * feature for feature in there if feature in rules.checks)
