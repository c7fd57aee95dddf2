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

from scanner.pattern import EXT, WILDCARD, Pattern, Template, encodable, fold_ext, is_proper, match_key
from scanner.records import ARTIFACTS, AssetType, Feature
from scanner.settings import LayoutConfig

OWNER_NAMES = {AssetType.VIDEO_FRAME: "video_id", AssetType.PRODUCT_IMAGE: "product_id"}
"""The placeholder that names what an asset belongs to."""

_TYPES = (AssetType.VIDEO_FRAME, AssetType.PRODUCT_IMAGE)  # in the order in which they take a path
_DIGITS = re.compile(r"[0-9]+")


class Placement(NamedTuple):
    """What the patterns say about one path.

    ``rank`` is the position of the pattern in its list, ``ext_rank`` that of the matched extension among
    ``extensions`` (0 without ``{ext}``). ``asset_id`` is None where the path does not tell it; an artifact
    then belongs to the image whose ``artifact_keys`` hold ``key``.
    """

    type: AssetType
    feature: Feature
    rank: int
    ext_rank: int
    asset_id: str | None
    owner_id: str | None
    key: str


class ImageNames(NamedTuple):
    """What an image's own path says about it; ``timestamp`` is in seconds, None for product images."""

    names: Mapping[str, str]
    asset_id: str | None
    owner_id: str | None
    timestamp: float | None


class ToldImage(NamedTuple):
    """An image whose path tells its asset's id, what else it says, and the keys of the asset's artifacts
    with the feature of each."""

    type: AssetType
    asset_id: str
    owner_id: str | None
    timestamp: float | None
    keys: dict[str, Feature]


Wanted = Mapping[tuple[AssetType, Feature], Sequence[Template]]
"""What the patterns of each artifact are filled with names by."""


class Rule(NamedTuple):
    """One pattern and what a path is that matches it."""

    type: AssetType
    feature: Feature
    rank: int
    pattern: Pattern
    id_template: Template

    @property
    def is_image(self) -> bool:
        """Whether this rule finds source files."""
        return self.feature is Feature.IMAGE

    @property
    def order(self) -> tuple[int, bool, int, int, int]:
        """The sort key: the first of several rules that match takes the path."""
        return -self.pattern.literals, not self.is_image, _TYPES.index(self.type), self.feature, self.rank

    def id_source(self) -> Template | None:
        """How this rule's names give the asset's id; None where they do not suffice."""
        if not self.is_image and "id" in self.pattern.names:
            return Template("%s", ("id",))
        known = set(self.pattern.names)
        if self.is_image and self.pattern.has_ext:
            known.add(EXT)
        return self.id_template if known.issuperset(self.id_template.slots) else None

    def may_meet(self, other: Rule) -> bool:
        """False only if no path can match both rules."""
        mine, theirs = self.pattern, other.pattern
        return (
            mine.depth == theirs.depth
            and (mine.prefix.startswith(theirs.prefix) or theirs.prefix.startswith(mine.prefix))
            and (mine.suffix.endswith(theirs.suffix) or theirs.suffix.endswith(mine.suffix))
        )


class _Branch:
    """A rule as one alternative of a combined expression: turns its groups into a Placement."""

    __slots__ = ("_ext", "_head", "_id_form", "_id_slots", "_key", "_owner", "_ranks", "prospect", "rivals")

    def __init__(
        self, rule: Rule, first_group: int, order: Sequence[str], ranks: Mapping[str, int], wanted: Wanted
    ) -> None:
        groups = {name: first_group + position for position, name in enumerate(order)}
        ids, key = rule.id_source(), rule.pattern.template
        self._head = (rule.type, rule.feature, rule.rank)
        self._id_form = ids.form if ids else None
        self._id_slots = tuple(groups[slot] for slot in ids.slots) if ids else ()
        self._owner = groups.get(OWNER_NAMES[rule.type], 0)
        self._ext = groups.get(EXT, 0)
        self._key = (key.form, tuple(groups[slot] for slot in key.slots))
        self._ranks = ranks
        self.prospect = _Prospect(rule, groups, wanted) if rule.is_image else None
        self.rivals: _Matcher | None = None

    def asset_id(self, found: re.Match[str]) -> str | None:
        """The id that the match tells."""
        return None if self._id_form is None else _filled(self._id_form, self._id_slots, found)

    def placement(self, path: str, found: re.Match[str]) -> Placement:
        """The placement of the path that ``found`` matched."""
        asset_id = self.asset_id(found)
        owner = found[self._owner] if self._owner else None
        ext_rank, key = 0, path
        if self._ext:
            ext_rank, key = self._ranks[fold_ext(found[self._ext])], _filled(*self._key, found)
        return Placement(*self._head, ext_rank, asset_id, owner, key)


class _Prospect:
    """An image's rule, prepared to tell from one match where all of its artifacts are; ``groups`` are those
    of the match by name.

    ``keys`` are the feature, the form and the groups that fill it, 0 for the asset's id; left out is what
    no image of this rule can fill or what would be no proper path.
    """

    __slots__ = ("frame", "keys", "owner", "type")

    def __init__(self, rule: Rule, groups: Mapping[str, int], wanted: Wanted) -> None:
        groups = {name: number for name, number in groups.items() if name != EXT}
        self.type = rule.type
        self.owner = groups.get(OWNER_NAMES[rule.type], 0)
        self.frame = groups.get("frame", 0) if rule.type is AssetType.VIDEO_FRAME else 0
        if _is_plain(rule.id_template):
            groups["id"] = 0
        else:
            groups.pop("id", None)
        self.keys = [
            (feature, form, tuple(groups[slot] for slot in slots))
            for feature in ARTIFACTS
            for form, slots in wanted[rule.type, feature]
            if all(slot in groups for slot in slots) and is_proper(form % (("x",) * len(slots)))
        ]


def _is_plain(template: Template) -> bool:
    """Whether what the template gives can stand for a name, filled with any names."""
    return "/" not in template.form and WILDCARD not in template.form and encodable(template.form)


def _filled(form: str, slots: tuple[int, ...], found: re.Match[str]) -> str:
    return form % (found.group(*slots) if slots else ())


class _Matcher:
    """Rules whose paths have the same depth, as one expression whose first alternative that fits wins."""

    __slots__ = ("_branches", "match")

    def __init__(self, rules: Iterable[Rule], ranks: Mapping[str, int], wanted: Wanted) -> None:
        self._branches: dict[int, tuple[Rule, _Branch]] = {}
        alternatives: list[str] = []
        groups = 0
        for rule in sorted(rules, key=_order):
            source, names = rule.pattern.source(f"r{len(alternatives)}_")
            branch = _Branch(rule, groups + 1, names, ranks, wanted)
            groups += len(names) + 1
            self._branches[groups] = (rule, branch)
            # An empty last group, so that lastindex tells the alternative also where it captures nothing.
            alternatives.append(source + r"\Z()")
        self.match = re.compile("|".join(alternatives)).match

    def link_rivals(self, rules: Sequence[Rule], ranks: Mapping[str, int], wanted: Wanted) -> None:
        """Let each artifact know the artifacts of the other type that may lie at the same path."""
        for rule, branch in self._branches.values():
            if rule.is_image:
                continue
            rivals = [other for other in rules if _compete(rule, other)]
            branch.rivals = _Matcher(rivals, ranks, wanted) if rivals else None

    def branch(self, found: re.Match[str]) -> _Branch:
        """The rule whose alternative has matched."""
        return self._branches[found.lastindex or 0][1]

    def classify(self, path: str) -> tuple[Placement, ...]:
        """The winner, and behind an artifact the best one of the other type."""
        found = self.match(path)
        if found is None:
            return ()
        branch = self.branch(found)
        first = branch.placement(path, found)
        if branch.rivals is None:
            return (first,)
        return (first, *branch.rivals.classify(path))


def _order(rule: Rule) -> tuple[int, bool, int, int, int]:
    return rule.order


def _compete(rule: Rule, other: Rule) -> bool:
    return not other.is_image and rule.type is not other.type and rule.may_meet(other)


class Layout:
    """All patterns of a configuration. Immutable, safe to share between threads.

    Raises ValueError where a pattern or a template cannot be understood.
    """

    def __init__(self, config: LayoutConfig) -> None:
        self._fps = config.frames.fps
        self._ranks: dict[str, int] = {}
        for rank, extension in enumerate(config.extensions):
            self._ranks.setdefault(fold_ext(extension), rank)
        self._rules = _rules(config)
        self._images: dict[AssetType, list[tuple[Rule, Template | None]]] = {kind: [] for kind in _TYPES}
        self._wanted: dict[tuple[AssetType, Feature], list[Template]] = {
            (kind, feature): [] for kind in _TYPES for feature in ARTIFACTS
        }
        for rule in sorted(self._rules, key=_order):
            if rule.is_image:
                self._images[rule.type].append((rule, rule.id_source()))
        for rule in self._rules:
            if not rule.is_image:
                self._wanted[rule.type, rule.feature].append(rule.pattern.template)
        self._all = self._matchers(self._rules)
        self._artifacts = self._matchers([rule for rule in self._rules if not rule.is_image])
        self.roots = _roots(self._rules)
        self.telling = frozenset(kind for kind in _TYPES if _tells(kind, self._rules, config.extensions))
        """The types of asset whose artifacts' paths alone say whose they are: nothing else can lie there."""

    def _matchers(self, rules: Sequence[Rule]) -> dict[int, _Matcher]:
        depths: dict[int, list[Rule]] = {}
        for rule in rules:
            depths.setdefault(rule.pattern.depth, []).append(rule)
        matchers = {depth: _Matcher(group, self._ranks, self._wanted) for depth, group in depths.items()}
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

    def image_names(self, type: AssetType, path: str) -> ImageNames | None:
        """The names that a path gives by the image patterns of a type, whatever else it matches."""
        for rule, template in self._images[type]:
            groups = rule.pattern.groups(path)
            if groups is not None:
                return self._image_names(rule, template, groups)
        return None

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
        known = {**names, "id": asset_id} if names else {"id": asset_id}
        if not _fits_placeholder(asset_id):
            del known["id"]
        keys: list[str] = []
        for form, slots in self._wanted[type, feature]:
            try:
                key = form % tuple([known[slot] for slot in slots])
            except KeyError:
                continue
            if is_proper(key) and key not in keys:
                keys.append(key)
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
        return ToldImage(
            prospect.type,
            asset_id,
            found[prospect.owner] if prospect.owner else None,
            self._timestamp(found[prospect.frame]) if prospect.frame else None,
            {
                form % tuple([found[slot] if slot else asset_id for slot in slots]): feature
                for feature, form, slots in prospect.keys
            },
        )

    def match_key(self, key: str, path: str) -> int | None:
        """The rank of the extension that makes ``path`` an instance of ``key`` (0 if exact), else None."""
        return match_key(key, path, self._ranks)

    def _timestamp(self, frame: str) -> float | None:
        """The seconds at which a frame stands by its number and ``fps``; None where they do not tell.

        The number is the last run of digits in what ``{frame}`` stands for.
        """
        runs = _DIGITS.findall(frame) if self._fps > 0 else []
        seconds = float(runs[-1]) / self._fps if runs else math.inf
        return seconds if math.isfinite(seconds) else None


def _rules(config: LayoutConfig) -> tuple[Rule, ...]:
    """Every pattern of the configuration, the lists in their own order."""
    sections = {AssetType.VIDEO_FRAME: config.frames, AssetType.PRODUCT_IMAGE: config.products}
    return tuple(
        Rule(kind, feature, rank, Pattern(text, config.extensions), Template.of(sections[kind].id))
        for kind in _TYPES
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


def _fits_placeholder(text: str) -> bool:
    """Whether a placeholder could match the text, in a path that can be listed."""
    return text != "" and "/" not in text and WILDCARD not in text and encodable(text)
