"""Why one file or asset is listed, or is not: the answer of ``sidecar explain``.

A private index in a temporary directory gets the rows of the pipeline database and the few files that
concern what is asked for, so that the answer follows from the same rules as those of a running sidecar.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field

from scanner.checks import check
from scanner.claims import Key
from scanner.config import Config
from scanner.contentchecks import detail_of, identity_of
from scanner.exceptions import PipelineUnavailable
from scanner.explainasset import AssetTeller, files_of
from scanner.explainfile import FileTeller, located
from scanner.explainpatterns import pattern_lines
from scanner.explainscope import MOST_ASSETS, Scope
from scanner.index import Index
from scanner.listing import Lister
from scanner.pattern import encodable
from scanner.pipeline import Pipeline
from scanner.placing import key_of
from scanner.queries import Queries
from scanner.records import AssetItem, AssetType, Feature
from scanner.resolve import Disagreement, Outcome
from scanner.verdicts import Identity, Status, Task, Verdict


@dataclass(slots=True)
class AssetAnswer:
    """What is made of one asset; ``item`` is None where it is not listed.

    ``jobs`` are those whose lists have it, ``jobless`` says why there is none.
    """

    type: AssetType
    asset_id: str
    lines: list[str]
    item: AssetItem | None
    jobs: list[str]
    jobless: str
    uses: bool = True
    """Whether it uses the file that was asked for."""


@dataclass(slots=True)
class Explanation:
    """What there is to say. ``path`` is relative to the data root, None for an id or a path outside.

    ``listed``: it is in the lists of a job. ``failed``: what could not be looked at, one line each.
    """

    target: str
    path: str | None = None
    file_lines: list[str] = field(default_factory=list)
    assets: list[AssetAnswer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    listed: bool = False


def explain(config: Config, target: str, cwd: str) -> Explanation:
    """Explain a file (absolute, or relative to the data root or ``cwd``) or the id of an asset."""
    answer = Explanation(target)
    try:
        os.stat(config.data.root)
    except OSError as error:
        answer.failed.append(f"the data root {config.data.root}: {os.strerror(error.errno or 0)}")
        return answer
    with tempfile.TemporaryDirectory(prefix="sidecar-explain-") as directory:
        _Inquiry(config, answer, os.path.join(directory, "index.db")).run(cwd)
    return answer


class _Inquiry:
    """One question: fills ``answer`` by means of a private index at ``place``."""

    def __init__(self, config: Config, answer: Explanation, place: str) -> None:
        self.config = config
        self.answer = answer
        self.found: dict[Key, list[Disagreement]] = {}
        self.verdicts: dict[tuple[Key, Feature], Verdict] = {}
        self.place = place
        self.database_read = bool(config.database.url)

    def run(self, cwd: str) -> None:
        """Answer, and leave nothing open."""
        self.index = Index(self.place, self.config, self._compared)
        try:
            self.lister = Lister(self.config.data.root, self.config.scan.ignore)
            self.scope = Scope(self.config, self.index, self.lister)
            self._mirror()
            self._look(cwd)
        finally:
            self.index.close()

    def _compared(self, key: Key, found: list[Disagreement]) -> None:
        self.found[key] = found

    # --- the database --------------------------------------------------------------------------------

    def _mirror(self) -> None:
        """Take over every row; where the database cannot be read, say so and go on without."""
        if not self.config.database.url:
            return
        pipeline = Pipeline(self.config.database)
        try:
            for item in pipeline.poll(full=True):
                with self.index.transaction():
                    self.index.put(item)
            self.answer.notes.extend(f"database: {notice}" for notice in pipeline.notices)
        except PipelineUnavailable as error:
            self.database_read = False
            self.answer.notes.append(
                f"the database could not be read, rows and jobs are not considered: {error}"
            )
        finally:
            pipeline.close()

    # --- what is asked for ---------------------------------------------------------------------------

    def _look(self, cwd: str) -> None:
        path = self._path(cwd)
        self.answer.path = path
        if path is None:
            self._ask_for_id()
        else:
            self._ask_for_file(path)
        self.answer.failed.extend(
            f"{self.lister.absolute(where)}: {reason}" for where, reason in sorted(self.scope.failed.items())
        )

    def _path(self, cwd: str) -> str | None:
        target = self.answer.target
        path = located(self.config.data.root, target, cwd)
        if path is not None or not encodable(target) or self._types_of(target):
            return path
        if "/" in target or self.index.layout.classify(target):
            return self.index.paths.resolve(target)
        return None

    def _types_of(self, id: str) -> list[AssetType]:
        return [type for type in AssetType if self.index.claims.rows(type, [id])]

    def _ask_for_id(self) -> None:
        target = self.answer.target
        if target.startswith("/") or not encodable(target):
            self.answer.file_lines.append(
                f"it does not lie below the data root {self.config.data.root}, below which every file lies"
            )
            return
        keys = [(type, target) for type in AssetType]
        for key in keys:
            self.scope.add_key(key)
        self._resolve(keys)
        known = [key for key in keys if self._known(key)]
        if not known:
            self.answer.file_lines.append(
                "it is no file, no row has this id, and no pattern finds an image for it"
            )
        self._tell(known, None)

    def _ask_for_file(self, path: str) -> None:
        lines = self.answer.file_lines
        lines.extend(FileTeller(self.lister, self.scope, self.config.scan.ignore).lines(path))
        if not encodable(path):
            return
        lines.extend(pattern_lines(self.config, self.index.layout, path))
        naming = self.index.claims.naming([path]).get(path, [])
        if self.database_read:
            lines.extend(
                f"row: the {type.wire} {id} names it as its {feature.wire}" for type, id, feature in naming
            )
            if not naming:
                lines.append("row: none names it")
        self.scope.add_path(path)
        self._resolve([])
        keys = [key for key in self.scope.keys if self._uses(key, path)]
        if not keys:
            named = [(type, id) for type, id, _ in naming]
            placed = [key_of(place, path) for place in self.index.layout.classify(path)]
            keys = [key for key in dict.fromkeys([*named, *placed]) if self._known(key)]
        self._tell(keys, path)

    # --- resolving -----------------------------------------------------------------------------------

    def _resolve(self, focus: list[Key]) -> None:
        """Look at the disk, resolve, check what is used, and resolve with the verdicts."""
        self.scope.close()
        if self.scope.cut:
            self.answer.notes.append(f"only {MOST_ASSETS} of the assets around these files are considered")
        self.index.mirror.crawled = True
        with self.index.transaction():
            self.scope.apply()
            self._mark_all()
        asked = focus or [key for key in self.scope.keys if self._uses(key, self.answer.path or "")]
        with self.index.transaction():
            for key in asked:
                self._check(key)
            self._mark_all()

    def _mark_all(self) -> None:
        for key in self.scope.keys:
            self.index.assets.mark(key)
        self.index.assets.mark_files(self.scope.paths)

    def _known(self, key: Key) -> bool:
        return self.index.assets.known(key)

    def _uses(self, key: Key, path: str) -> bool:
        return path in files_of(self.index, key)

    def _check(self, key: Key) -> None:
        files = files_of(self.index, key)
        for feature in Feature:
            path = files[feature]
            if path is None or feature not in self.index.assets.rules.checks:
                continue
            verdict = self.verdicts[key, feature] = self._verdict(feature, path, files[Feature.IMAGE])
            if verdict.status is not Status.VANISHED:
                # Without the digest: how many embeddings are alike, only the whole index can tell.
                detail = detail_of(path, verdict)._replace(digest=None)
                self.index.tree.set_verdict(path, None, Outcome.BY_USE)
                self.index.judgements.put_detail(key, feature, detail)

    def _verdict(self, feature: Feature, path: str, image: str | None) -> Verdict:
        task = Task(
            self.lister.absolute(path),
            path,
            feature,
            self._identity(path),
            self.lister.absolute(image) if image is not None else None,
            self._identity(image) if image is not None else None,
            os.path.realpath(self.config.data.root),
        )
        roots = [os.path.realpath(self.lister.absolute(root)) for root in self.scope.roots.all]
        return check(task, self.config.verify, roots)

    def _identity(self, path: str) -> Identity:
        state = self.index.tree.state(path)
        return Identity(0, 0, 0, 0) if state is None else identity_of(state)

    # --- telling -------------------------------------------------------------------------------------

    def _tell(self, keys: list[Key], path: str | None) -> None:
        queries = Queries(self.place, self.config)
        try:
            for key in keys:
                self.answer.assets.append(self._asset(queries, key, path))
        finally:
            queries.close()
        self.answer.listed = any(self._is_listed(asset, path) for asset in self.answer.assets)

    def _is_listed(self, asset: AssetAnswer, path: str | None) -> bool:
        item = asset.item
        if item is None or not (asset.jobs or (self.config.database.url and not self.database_read)):
            return False
        shown = (item.image_path, item.segment_path, item.embedding_path, item.keypoints_path)
        return path is None or path in shown

    def _asset(self, queries: Queries, key: Key, path: str | None) -> AssetAnswer:
        type, id = key
        item = queries.asset(type, id)
        row = self.index.db.execute(
            "SELECT jobs, owner FROM assets JOIN scopes USING(scope) WHERE type=? AND id=?", key
        ).fetchone()
        named, owner = (json.loads(row[0]), row[1]) if row is not None else ([], None)
        jobs = [job for job in named if queries.status(job) is not None]
        jobless = self._jobless(type, owner, named) if not jobs else ""
        teller = AssetTeller(
            self.index,
            self.scope,
            self.verdicts,
            self.config,
            database_read=self.database_read,
        )
        lines = teller.lines(key, self.found.get(key, []))
        return AssetAnswer(type, id, lines, item, jobs, jobless, path is None or self._uses(key, path))

    def _jobless(self, type: AssetType, owner: str | None, named: list[str]) -> str:
        what = "video" if type is AssetType.VIDEO_FRAME else "product"
        if self.config.database.url and not self.database_read:
            return "not known, the database could not be read"
        if named:
            return (
                f"in no list, its {what} is in the job {', '.join(named)}, of which the database has no row"
            )
        if owner is None:
            return f"in no list, neither its path nor its row names a {what}"
        known = self.index.db.execute("SELECT recorded FROM owners WHERE type=? AND id=?", (type, owner))
        recorded = known.fetchone()
        if recorded is None or not recorded[0]:
            return f"in no list, the database has no row of the {what} {owner}"
        return f"in no list, the {what} {owner} is in no job"
