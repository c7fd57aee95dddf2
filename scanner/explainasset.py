"""What speaks for and against each file of one asset, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from scanner.claims import NO_CLAIMS, Key
from scanner.config import Config
from scanner.explainpatterns import SECTIONS
from scanner.explainscope import Scope
from scanner.index import Index
from scanner.pattern import is_exact, key_directory
from scanner.records import AssetType, Feature
from scanner.resolve import Disagreement
from scanner.tree import LINK, split
from scanner.verdicts import Verdict


def files_of(index: Index, key: Key) -> list[str | None]:
    """The files that an asset uses, by Feature; a file may be used that is corrupt."""
    row = index.db.execute(
        "SELECT image, segment, embedding, keypoints FROM assets WHERE type=? AND id=?", key
    ).fetchone()
    return list(row) if row is not None else [None] * len(Feature)


class AssetTeller:
    """Tells about the assets of a resolved scope; ``database_read`` says that the rows are known."""

    def __init__(
        self,
        index: Index,
        scope: Scope,
        verdicts: Mapping[tuple[Key, Feature], Verdict],
        config: Config,
        *,
        database_read: bool,
    ) -> None:
        self._index = index
        self._scope = scope
        self._verdicts = verdicts
        self._prefix = config.data.root.rstrip("/") + "/"
        self._layout = config.layout
        self._database_read = database_read

    def lines(self, key: Key, found: Sequence[Disagreement]) -> list[str]:
        """The row, the choice for each feature, and the disagreements that were found."""
        return [*self._row_lines(key), *self._choice_lines(key), *self._finding_lines(key, found)]

    def _row_lines(self, key: Key) -> Iterator[str]:
        if not self._database_read:
            return
        type, id = key
        row = self._index.claims.rows(type, [id]).get(id)
        if row is None:
            yield "row: the database has none with this id"
            return
        owner = f" of {row.owner_id}" if row.owner_id is not None else ""
        yield f"row: the database has one{owner}"
        for feature, claim in zip(Feature, self._index.claims.located(row), strict=True):
            if feature is Feature.EMBEDDING and row.embedding_in_db:
                yield "row: embedding: the database itself holds it"
            elif claim is None:
                yield f"row: {feature.wire}: no path"
            elif claim.path is None:
                yield f"row: {feature.wire}: {claim.raw}, which lies outside the data root: never opened"
            else:
                yield f"row: {feature.wire}: {claim.raw}, which is {self._prefix}{claim.path} here"

    def _choice_lines(self, key: Key) -> Iterator[str]:
        """For each feature the file that is used, and why; then why each other candidate is not."""
        files = files_of(self._index, key)
        for feature in Feature:
            used = files[feature]
            candidates = dict(self._candidates(key, feature, files[Feature.IMAGE]))
            if used is None:
                yield f"{feature.wire}: no file is used"
            else:
                reason = candidates.pop(used, "its path names the asset")
                yield f"{feature.wire}: {used} is used: {reason}{self._judged(key, feature, used)}"
            for path, reason in candidates.items():
                yield f"{feature.wire}: not used: {path} ({reason}): {self._unused(key, path, used)}"

    def _candidates(self, key: Key, feature: Feature, image: str | None) -> Iterator[tuple[str, str]]:
        """Paths that could be the feature's file, the best first, each with what speaks for it."""
        type, id = key
        row = self._index.claims.rows(type, [id]).get(id)
        claims = self._index.claims.located(row) if row is not None else NO_CLAIMS
        claim = claims[feature]
        claimed = claim.path if claim is not None else None
        at = claims[Feature.IMAGE]
        source = image or (at.path if at is not None else None)
        if feature is Feature.IMAGE:
            paths = self._scope.images(key)
        else:
            keys = self._index.layout.keys_by_image(type, feature, id, source)
            paths = [path for key_ in keys for path in self._instances(key_)]
        others = [(path, self._pattern(type, feature, path)) for path in paths if path != claimed]
        yield from ([(claimed, "the row names it")] if claimed is not None else []) + others

    def _pattern(self, type: AssetType, feature: Feature, path: str) -> str:
        """By which pattern of its list the file is looked for; the earlier pattern goes first."""
        layout = self._index.layout
        texts = getattr(getattr(self._layout, SECTIONS[type]), feature.wire)
        for place in (*layout.classify(path), *layout.classify(path, images=False)):
            if (place.type, place.feature) == (type, feature):
                return f"by pattern {place.rank + 1} of {len(texts)}, {texts[place.rank]}"
        return "by a pattern, though another one takes the file"

    def _instances(self, key: str) -> list[str]:
        if is_exact(key):
            return [key]
        here = [path for path in self._scope.paths if key_directory(path) == key_directory(key)]
        ranked = [
            (rank, path) for path in here if (rank := self._index.layout.match_key(key, path)) is not None
        ]
        return [path for _, path in sorted(ranked)]

    def _unused(self, key: Key, path: str, used: str | None) -> str:
        state = self._index.tree.state(path)
        if state is None:
            return self._scope.unreachable(split(path)[0]) or "not there"
        if not state.size:
            return "size 0 is not there"
        namers = self._index.claims.naming([path]).get(path, [])
        others = [id for type, id, _ in namers if (type, id) != key]
        if others:
            return f"the row of {others[0]} names it"
        return "another file goes before it (duplicate)" if used is not None else "it is something else"

    def _judged(self, key: Key, feature: Feature, path: str) -> str:
        state = self._index.tree.state(path)
        linked = ", through a symbolic link" if state is not None and state.flags & LINK else ""
        verdict = self._verdicts.get((key, feature))
        if verdict is None:
            return linked
        detail = f" ({verdict.detail})" if verdict.detail else ""
        text = f"{linked}; content {verdict.status.name.lower()}{detail}"
        if verdict.expectation is not None:
            text += f": not as {verdict.expectation} expects"
        return text

    def _finding_lines(self, key: Key, disagreements: Sequence[Disagreement]) -> Iterator[str]:
        for found in disagreements:
            detail = found.detail
            if not detail and (key, found.feature) in self._verdicts:
                detail = self._verdicts[key, found.feature].detail
            yield f"finding: {found.feature.wire} {found.kind.value}: {detail}"
