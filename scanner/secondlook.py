"""Where to look once more before a finding is published: every place at which the disk can mend it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from scanner.findings import FRAMES, Stored
from scanner.index import Index
from scanner.pattern import WILDCARD, Template, is_exact, is_proper
from scanner.records import ARTIFACTS, AssetType, Feature


class SecondLook:
    """Knows the paths of a finding, below the data root; reads the index, never the disk."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._layout = index.layout
        self._db: Any = index.db

    def paths(self, type: AssetType, finding: Stored) -> list[str]:
        """The file, what is claimed, the image, and where patterns look for what is missing."""
        if finding.feature == FRAMES:
            return []
        claimed = None if finding.claimed is None else self._index.assets.resolve_claim(finding.claimed)
        paths = [path for path in (finding.path, claimed) if path is not None]
        image = self.image(type, finding.id)
        if image is None:
            image = self.claimed_image(type, finding.id)
            paths += self._named(self.image_keys(type, finding.id))
        if image is not None:
            paths.append(image)
        if finding.feature in ARTIFACTS:
            feature = Feature(finding.feature)
            paths += filter(is_exact, self._layout.keys_by_image(type, feature, finding.id, image))
        return paths

    def image(self, type: AssetType, id: str) -> str | None:
        """The path of the asset's image, None where it is not there."""
        sql = "SELECT image FROM assets WHERE type=? AND id=? AND listed"
        row = self._db.execute(sql, (type, id)).fetchone()
        return None if row is None else row[0]

    def claimed_image(self, type: AssetType, id: str) -> str | None:
        """Where the asset's row says that its image is."""
        row = self._index.claims.rows(type, [id]).get(id)
        claim = None if row is None else self._index.claims.located(row)[Feature.IMAGE]
        return None if claim is None else claim.path

    def image_keys(self, type: AssetType, id: str) -> Iterator[str]:
        """Where the patterns look for an image with this id, as far as the id tells it."""
        for rule, template in self._layout.image_rules(type):
            names = None if template is None else read_id(template, id)
            if names is not None and rule.pattern.names.issubset(names):
                key = rule.pattern.render(names)
                if is_proper(key):
                    yield key

    def _named(self, keys: Iterable[str]) -> Iterator[str]:
        """The paths that keys stand for, by the extensions as they are mostly written."""
        for key in keys:
            for extension in self._layout.config.extensions if WILDCARD in key else ("",):
                yield key.replace(WILDCARD, extension)


def read_id(template: Template, id: str) -> dict[str, str] | None:
    """Names of which the template makes this id, each as long as can be from the left; None without any."""
    found = _expression(template).fullmatch(id)
    return None if found is None else dict(zip(dict.fromkeys(template.slots), found.groups(), strict=True))


@lru_cache
def _expression(template: Template) -> re.Pattern[str]:
    return re.compile(id_source(template, {}), re.DOTALL)


def id_source(template: Template, known: dict[str, str]) -> str:
    """The expression of all ids that the template makes with some names known, the others as its groups."""
    groups: dict[str, int] = {}
    pieces = [re.escape(text) for text in literals(template)]
    for place, slot in enumerate(template.slots):
        if slot in known:
            pieces[place] += re.escape(known[slot])
        elif slot in groups:
            pieces[place] += f"(?:\\{groups[slot]})"
        else:
            groups[slot] = len(groups) + 1
            pieces[place] += "([^/]+)"
    return "".join(pieces)


def literals(template: Template) -> list[str]:
    """The texts before, between and behind the names of a template."""
    return [text.replace("\0", "%") for text in template.form.replace("%%", "\0").split("%s")]
