"""What the configured patterns say about a path: which asset and feature it is, and where artifacts lie.

Pure: nothing here looks at the disk. Of several patterns that match a path the one with more literal
characters takes it; then images go before artifacts, frames before products, segment before embedding
before keypoints, and the earlier pattern of a list before the later.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from scanner.matching import OWNER_NAMES, TYPES, Matcher, Placement, Prospect, Rule, by_order
from scanner.pattern import EXT, WILDCARD, Pattern, Template, encodable, fold_ext, is_proper, match_key
from scanner.records import ARTIFACTS, AssetType, Feature
from scanner.settings import LayoutConfig

_DIGITS = re.compile(r"[0-9]+")


class ImageNames(NamedTuple):
    """What an image's own path says about it; ``timestamp`` is in seconds, None for product images."""

    names: Mapping[str, str]
    asset_id: str | None
    owner_id: str | None
    timestamp: float | None


class ToldImage(NamedTuple):
    """An image whose path tells its asset's id, and what else it says."""

    type: AssetType
    asset_id: str
    owner_id: str | None
    timestamp: float | None
    prospect: Prospect
    found: re.Match[str]

    @property
    def keys(self) -> dict[str, Feature]:
        """The keys of the asset's artifacts with the feature of each, found out anew each time."""
        return self.prospect.keys(self.found)


class Layout:
    """All patterns of a configuration. Immutable, safe to share between threads.

    Raises ValueError where a pattern or a template cannot be understood.
    """

    def __init__(self, config: LayoutConfig) -> None:
        self.config = config
        self._fps = config.frames.fps
        self._ranks: dict[str, int] = {}
        for rank, extension in enumerate(config.extensions):
            self._ranks.setdefault(fold_ext(extension), rank)
        self._rules = _rules(config)
        self._images: dict[AssetType, list[tuple[Rule, Template | None]]] = {kind: [] for kind in TYPES}
        self._wanted: dict[tuple[AssetType, Feature], list[Template]] = {
            (kind, feature): [] for kind in TYPES for feature in ARTIFACTS
        }
        for rule in sorted(self._rules, key=by_order):
            if rule.is_image:
                self._images[rule.type].append((rule, rule.id_source()))
        for rule in self._rules:
            if not rule.is_image:
                self._wanted[rule.type, rule.feature].append(rule.pattern.template)
        self._all = self._matchers(self._rules)
        self._artifacts = self._matchers([rule for rule in self._rules if not rule.is_image])
        self.roots = _roots(self._rules)
        self.telling = frozenset(kind for kind in TYPES if _tells(kind, self._rules, config.extensions))
        """The types of asset whose artifacts' paths alone say whose they are: nothing else can lie there."""

    def _matchers(self, rules: Sequence[Rule]) -> dict[int, Matcher]:
        depths: dict[int, list[Rule]] = {}
        for rule in rules:
            depths.setdefault(rule.pattern.depth, []).append(rule)
        matchers = {depth: Matcher(group, self._ranks, self._wanted) for depth, group in depths.items()}
        for depth, matcher in matchers.items():
            matcher.link_rivals(depths[depth], self._ranks, self._wanted)
        return matchers

    def classify(self, path: str, images: bool = True) -> tuple[Placement, ...]:
        """What a path relative to the data root is; nothing where no pattern matches.

        An image is exactly one placement. An artifact may be two, the better first, of the two types:
        it belongs to the asset that exists. ``images=False`` leaves the images' patterns out, for a file
        that the database names as an artifact only.
        """
        matcher = (self._all if images else self._artifacts).get(path.count("/"))
        return matcher.classify(path) if matcher is not None else ()

    def told_asset(self, places: Sequence[Placement]) -> tuple[AssetType, str] | None:
        """The asset of a file that is all this, if that alone says whose it is; see :attr:`telling`."""
        if len(places) != 1:
            return None
        type, asset_id = places[0].type, places[0].asset_id
        return None if asset_id is None or type not in self.telling else (type, asset_id)

    def image_names(self, type: AssetType, path: str) -> ImageNames | None:
        """The names that a path gives by the image patterns of a type, whatever else it matches."""
        for rule, template in self._images[type]:
            groups = rule.pattern.groups(path)
            if groups is not None:
                return self._image_names(rule, template, groups)
        return None

    def image_rules(self, type: AssetType) -> Sequence[tuple[Rule, Template | None]]:
        """The image patterns of a type, each with how its names give the id, None where they do not."""
        return self._images[type]

    def _image_names(self, rule: Rule, template: Template | None, groups: dict[str, str]) -> ImageNames:
        asset_id = template.fill(groups) if template else None
        groups.pop(EXT, None)
        owner = groups.get(OWNER_NAMES[rule.type])
        timestamp = self._timestamp(groups.get("frame", "")) if rule.type is AssetType.VIDEO_FRAME else None
        return ImageNames(groups, asset_id, owner, timestamp)

    def artifact_keys(
        self, type: AssetType, feature: Feature, asset_id: str, names: Mapping[str, str] | None
    ) -> tuple[str, ...]:
        """The keys under which an asset's artifact is looked for, in order of preference.

        ``names`` are those of its image's path, None where that matches no pattern; ``{id}`` is
        always ``asset_id``. Patterns that need another name, or that would give no proper path, are left out.
        """
        return tuple(self._keys(type, feature, _placeholders(asset_id, names)))

    def _keys(self, type: AssetType, feature: Feature, known: Mapping[str, str]) -> list[str]:
        keys: list[str] = []
        for form, slots in self._wanted[type, feature]:
            try:
                key = form % tuple([known[slot] for slot in slots])
            except KeyError:
                continue
            if is_proper(key) and key not in keys:
                keys.append(key)
        return keys

    def all_artifact_keys(
        self, type: AssetType, asset_id: str, names: Mapping[str, str] | None
    ) -> tuple[str, ...]:
        """Those of all artifacts, as ``artifact_keys`` gives them for one feature."""
        known = _placeholders(asset_id, names)
        keys: list[str] = []
        for feature in ARTIFACTS:
            keys += self._keys(type, feature, known)
        return tuple(keys)

    def keys_by_image(
        self, type: AssetType, feature: Feature, asset_id: str, image: str | None
    ) -> tuple[str, ...]:
        """As ``artifact_keys``, by the path of the asset's image, None where it is not known."""
        names = self.image_names(type, image) if image is not None else None
        return self.artifact_keys(type, feature, asset_id, names.names if names else None)

    def told_image(self, path: str) -> ToldImage | None:
        """As ``classify``, for an image whose path tells its id, with all that it says; else None."""
        matcher = self._all.get(path.count("/"))
        found = matcher.match(path) if matcher is not None else None
        if matcher is None or found is None:
            return None
        branch = matcher.branch(found)
        asset_id, prospect = branch.asset_id(found), branch.prospect
        if prospect is None or asset_id is None:
            return None
        owner = found[prospect.owner] if prospect.owner else None
        timestamp = self._timestamp(found[prospect.frame]) if prospect.frame else None
        return ToldImage(prospect.type, asset_id, owner, timestamp, prospect, found)

    def match_key(self, key: str, path: str) -> int | None:
        """The rank of the extension that makes ``path`` an instance of ``key`` (0 if exact), else None."""
        return match_key(key, path, self._ranks)

    def _timestamp(self, frame: str) -> float | None:
        """The seconds at which a frame stands by its number and ``fps``; None where they do not tell.

        The number is the last run of digits in what ``{frame}`` stands for.
        """
        if self._fps <= 0:
            return None
        runs = _DIGITS.findall(frame)
        seconds = float(runs[-1]) / self._fps if runs else math.inf
        return seconds if math.isfinite(seconds) else None


def _rules(config: LayoutConfig) -> tuple[Rule, ...]:
    """Every pattern of the configuration, the lists in their own order."""
    sections = {AssetType.VIDEO_FRAME: config.frames, AssetType.PRODUCT_IMAGE: config.products}
    return tuple(
        Rule(kind, feature, rank, Pattern(text, config.extensions), Template.of(sections[kind].id))
        for kind in TYPES
        for feature in Feature
        for rank, text in enumerate(getattr(sections[kind], feature.wire))
    )


def _tells(kind: AssetType, rules: Sequence[Rule], extensions: Sequence[str]) -> bool:
    """Whether each artifact, where an image of its names looks for it, is that image's own and no other's."""
    ours = [rule for rule in rules if rule.type is kind and not rule.is_image]
    return all(
        rule.id_source() is not None
        and rule.pattern.is_unambiguous(extensions)
        and not any(other is not rule and other.may_meet(rule) for other in rules)
        for rule in ours
    )


def _roots(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The first folders of all patterns; the data root alone where one of them may lie anywhere in it."""
    folders = {_first_folder(rule.pattern.prefix) for rule in rules}
    return ("",) if "" in folders else tuple(sorted(folders))


def _first_folder(prefix: str) -> str:
    folder, slash, _ = prefix.partition("/")
    return folder if slash else ""


def _placeholders(asset_id: str, names: Mapping[str, str] | None) -> Mapping[str, str]:
    """What the placeholders of an artifact's pattern stand for."""
    known = {**names, "id": asset_id} if names else {"id": asset_id}
    if not _fits_placeholder(asset_id):
        del known["id"]
    return known


def _fits_placeholder(text: str) -> bool:
    """Whether a placeholder could match the text, in a path that can be listed."""
    return text != "" and "/" not in text and WILDCARD not in text and encodable(text)
