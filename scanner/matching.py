"""One expression for many patterns: what a path is by the first that fits, and what an image's path tells.

Pure, as is the whole of :mod:`scanner.layout`, which says how rules are ordered and what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from scanner.pattern import EXT, WILDCARD, Pattern, Template, encodable, fold_ext, is_proper
from scanner.records import ARTIFACTS, AssetType, Feature

OWNER_NAMES = {AssetType.VIDEO_FRAME: "video_id", AssetType.PRODUCT_IMAGE: "product_id"}
"""The placeholder that names what an asset belongs to."""

TYPES = (AssetType.VIDEO_FRAME, AssetType.PRODUCT_IMAGE)  # in the order in which they take a path
_BETWEEN = "//"


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
        return -self.pattern.literals, not self.is_image, TYPES.index(self.type), self.feature, self.rank

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


class Branch:
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
        self.prospect = Prospect(rule, groups, wanted) if rule.is_image else None
        self.rivals: Matcher | None = None

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


class Prospect:
    """An image's rule, prepared to tell from one match where all of its artifacts are; ``groups`` are those
    of the match by name.

    Left out is what no image of this rule can fill or what would be no proper path.
    """

    __slots__ = ("_features", "_form", "_slots", "frame", "owner", "type")

    def __init__(self, rule: Rule, groups: Mapping[str, int], wanted: Wanted) -> None:
        self.type = rule.type
        self.owner = groups.get(OWNER_NAMES[rule.type], 0)
        self.frame = groups.get("frame", 0) if rule.type is AssetType.VIDEO_FRAME else 0
        keys = [
            (feature, _with_id(template, rule.id_template))
            for feature in ARTIFACTS
            for template in wanted[rule.type, feature]
            if "id" not in template.slots or _is_plain(rule.id_template)
        ]
        keys = [
            (feature, key)
            for feature, key in keys
            if all(slot in groups for slot in key.slots) and is_proper(key.form % (("x",) * len(key.slots)))
        ]
        # All in one text, parted by what is in no proper path.
        self._form = _BETWEEN.join(key.form for _, key in keys)
        self._slots = tuple(groups[slot] for _, key in keys for slot in key.slots)
        self._features = [feature for feature, _ in keys]

    def keys(self, found: re.Match[str]) -> dict[str, Feature]:
        """Where the artifacts are of the image that has matched."""
        keys = _filled(self._form, self._slots, found).split(_BETWEEN)
        return dict(zip(keys, self._features, strict=False))  # there is one empty text where there are none


def _with_id(key: Template, ids: Template) -> Template:
    """The template of a key with that of the id in place of the id."""
    named = iter(key.slots)
    slots: list[str] = []

    def piece(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%%"
        name = next(named)
        slots.extend(ids.slots if name == "id" else (name,))
        return ids.form if name == "id" else "%s"

    return Template(re.sub("%[%s]", piece, key.form), tuple(slots))


def _is_plain(template: Template) -> bool:
    """Whether what the template gives can stand for a name, filled with any names."""
    return "/" not in template.form and WILDCARD not in template.form and encodable(template.form)


def _filled(form: str, slots: tuple[int, ...], found: re.Match[str]) -> str:
    return form % (found.group(*slots) if slots else ())


class Matcher:
    """Rules whose paths have the same depth, as one expression whose first alternative that fits wins."""

    __slots__ = ("_branches", "match")

    def __init__(self, rules: Iterable[Rule], ranks: Mapping[str, int], wanted: Wanted) -> None:
        self._branches: dict[int, tuple[Rule, Branch]] = {}
        alternatives: list[str] = []
        groups = 0
        for rule in sorted(rules, key=by_order):
            source, names = rule.pattern.source(f"r{len(alternatives)}_")
            branch = Branch(rule, groups + 1, names, ranks, wanted)
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
            branch.rivals = Matcher(rivals, ranks, wanted) if rivals else None

    def branch(self, found: re.Match[str]) -> Branch:
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


def by_order(rule: Rule) -> tuple[int, bool, int, int, int]:
    return rule.order


def _compete(rule: Rule, other: Rule) -> bool:
    return not other.is_image and rule.type is not other.type and rule.may_meet(other)
