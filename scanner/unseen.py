"""What cannot be seen now, and which findings may be wrong for that: what they miss may lie there.

A root that is away and a directory that answers with an error hide files. A finding that rests on the
absence of a file is no finding while that file may be among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from scanner.findings import FRAMES, Stored
from scanner.index import Index
from scanner.layout import Layout
from scanner.matching import OWNER_NAMES
from scanner.pattern import Pattern, Template, is_exact, key_directory
from scanner.records import ARTIFACTS, AssetType, Feature, Kind
from scanner.secondlook import SecondLook, id_source
from scanner.worker import Worker

BY_ABSENCE = frozenset({Kind.MISSING, Kind.MISPLACED, Kind.EMPTY, Kind.ORPHAN})
"""The kinds that say that some file is not there."""
MANY = 100
"""From so many places on they are not told apart any more: whatever is missing may lie in one of them."""


class Unseen:
    """The places below the data root that cannot be seen; :meth:`look` takes note of what they are now."""

    def __init__(self, worker: Worker, look: SecondLook) -> None:
        self._worker = worker
        self._look = look
        self._index: Index = worker.index
        self._places: tuple[str, ...] = ()
        self._many = False
        self._images: dict[AssetType, list[_ImagePlace]] = {}

    def look(self) -> None:
        """Take note of what cannot be seen now."""
        away = [root.path for root in self._worker.roots.unavailable()]
        places = (*away, *self._worker.unreadable)
        if places == self._places:
            return
        self._places = places
        self._many = len(places) >= MANY
        told = () if self._many else places
        self._images = {type: list(_image_places(self._index.layout, type, told)) for type in AssetType}

    def may_refute(self, type: AssetType, finding: Stored) -> bool:
        """Whether something that cannot be seen now may show that the finding is wrong."""
        if not self._places:
            return False
        if finding.feature == FRAMES:
            return self._may_be_image(type, owner=finding.id)
        claimed = None if finding.claimed is None else self._index.assets.resolve_claim(finding.claimed)
        if any(path is not None and self.hides(path) for path in (finding.path, claimed)):
            return True
        if finding.kind not in BY_ABSENCE:
            return False
        return self._may_be_elsewhere(type, finding)

    def hides(self, path: str) -> bool:
        """Whether a file at this path could not be seen."""
        return any(not place or path == place or path.startswith(place + "/") for place in self._places)

    def _may_be_elsewhere(self, type: AssetType, finding: Stored) -> bool:
        """Whether a file that is missing may be where a pattern looks for it: the artifact or the image."""
        image = self._look.image(type, finding.id)
        if image is None:
            image = self._look.claimed_image(type, finding.id)
            if self._may_be_image(type, id=finding.id) or (image is not None and self.hides(image)):
                return True
        if finding.feature not in ARTIFACTS:
            return False
        keys = self._index.layout.keys_by_image(type, Feature(finding.feature), finding.id, image)
        return any(self._hides_instance(key) for key in keys)

    def _hides_instance(self, key: str) -> bool:
        """Whether a file that a key stands for could not be seen."""
        if is_exact(key):
            return self.hides(key)
        match = self._index.layout.match_key
        return self.hides(key_directory(key)) or any(match(key, place) is not None for place in self._places)

    def _may_be_image(self, type: AssetType, *, id: str | None = None, owner: str | None = None) -> bool:
        return self._many or any(place.may_be(id, owner) for place in self._images[type])


class _ImagePlace:
    """A place that cannot be seen, where a pattern of images reaches into it."""

    __slots__ = ("_id", "_owner")

    def __init__(self, names: dict[str, str], template: Template | None, owner: str) -> None:
        self._id = None if template is None else re.compile(id_source(template, names), re.DOTALL)
        self._owner = names.get(owner)

    def may_be(self, id: str | None, owner: str | None) -> bool:
        """Whether an image with this id, and of this product or video, may lie there."""
        if owner is not None and self._owner is not None and owner != self._owner:
            return False
        return id is None or (self._id is not None and self._id.fullmatch(id) is not None)


def _image_places(layout: Layout, type: AssetType, places: Iterable[str]) -> Iterator[_ImagePlace]:
    """Where images of a type may lie among places that cannot be seen, as far as their paths tell ids."""
    extensions = layout.config.extensions
    for rule, template in layout.image_rules(type):
        parts = rule.pattern.text.split("/")
        starts = [Pattern("/".join(parts[: count + 1]), extensions) for count in range(len(parts))]
        for place in places:
            names = _names(starts, place)
            if names is not None:
                yield _ImagePlace(names, template, OWNER_NAMES[type])


def _names(starts: Sequence[Pattern], place: str) -> dict[str, str] | None:
    """What a path that begins with ``place`` says by a pattern; None where none can match it."""
    if not place:
        return {}
    depth = place.count("/")
    return starts[depth].groups(place) if depth < len(starts) else None
