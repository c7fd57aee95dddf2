"""Which files are to be checked, newest first, and what becomes of the verdicts.

Files wait in the index, not in memory: an asset whose check is pending is found by an index that holds
such assets alone. What is compared with an image is checked after the image.
"""

from __future__ import annotations

import heapq
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from scanner.checkpool import AHEAD, CheckPool
from scanner.claims import Key
from scanner.config import Config
from scanner.judgements import CHECKED_WITH_IMAGE, Detail
from scanner.pathhash import path_hash
from scanner.records import AssetType, Feature
from scanner.resolve import CheckState, Outcome
from scanner.tree import State, split
from scanner.users import Uses
from scanner.verdicts import Identity, Status, Task, Verdict

if TYPE_CHECKING:
    from scanner.worker import Worker

RECENT_NS = 2_000_000_000
"""A file modified less than this ago may be written to without another time; it is read once more."""
AGAIN_SECONDS = 2.0
RETRY_SECONDS = 1.0
_PORTION = 200
_RESULTS = 200
_RETRIES = 500
_GATHER_SECONDS = 0.1

OUTCOMES = {
    "verify.embedding.dim": Outcome.EMBEDDING_DIM,
    "verify.embedding.dtype": Outcome.EMBEDDING_DTYPE,
    "verify.keypoints.columns": Outcome.KEYPOINTS_COLUMNS,
    "verify.keypoints.dtype": Outcome.KEYPOINTS_DTYPE,
    "verify.segment.size": Outcome.SEGMENT_SIZE,
}


class Tag(NamedTuple):
    """What a verdict is about: an asset's file, as it was when the check was asked for."""

    key: Key
    feature: Feature
    path: str
    identity: Identity
    image: str | None
    image_identity: Identity | None


class ContentChecks:
    """Feeds a pool of checking processes from a worker's index; call :meth:`step` often."""

    def __init__(self, config: Config, worker: Worker) -> None:
        self._config = config
        self._worker = worker
        self._index = worker.index
        self._db: Any = worker.index.db
        self._pool: CheckPool[Tag] | None = None
        self._root = os.path.realpath(config.data.root)
        self._flying: set[str] = set()
        self._later: dict[str, float] = {}
        self._again: list[tuple[float, Key, Feature, str]] = []
        self._results: deque[tuple[Tag, Verdict]] = deque()
        self._write_at = 0.0
        self._look_at = 0.0
        self._revision = -1
        self._retried_ns: int | None = None
        self._retry_from: tuple[int, str, int] | None = None
        self.done = 0

    @property
    def pending(self) -> int:
        """How many verdicts are awaited: files that wait, are read, or are to be read once more."""
        return self._index.unjudged + len(self._again) + len(self._results)

    def close(self) -> None:
        """End the checking processes."""
        if self._pool is not None:
            self._pool.close()

    def step(self, now: float) -> bool:
        """Take verdicts and ask for further ones; True while there is anything to be done soon."""
        busy = self._take_results(now)
        if not self._config.verify.content or self._worker.full is not None:
            return busy
        self._retry_unchecked()
        return self._ask(now) or busy or bool(self._flying)

    # --- asking --------------------------------------------------------------------------------------

    def _ask(self, now: float) -> bool:
        room = self._pool.room if self._pool is not None else AHEAD * self._config.verify.workers
        asked = 0
        while self._again and self._again[0][0] <= now and asked < room:
            _, key, feature, path = heapq.heappop(self._again)
            asked += self._ask_for(key, feature, path)
        if room - asked < 16 or (self._revision == self._index.revision and now < self._look_at):
            return bool(asked)
        self._revision, self._look_at = self._index.revision, now + RETRY_SECONDS
        for path in [path for path, due in self._later.items() if due <= now]:
            del self._later[path]
        for key, feature, path in self._due():
            if asked >= room:
                self._revision = -1
                break
            asked += self._ask_for(key, feature, path)
        return bool(asked)

    def _due(self) -> Iterator[tuple[Key, Feature, str]]:
        """Files without a verdict, those of the newest assets first."""
        rows = self._db.execute(
            "SELECT type, id, checks, image, segment, embedding, keypoints FROM assets"
            " WHERE listed AND (checks & 85) & ~(checks >> 1) ORDER BY updated DESC LIMIT ?",
            (_PORTION + len(self._flying) + len(self._later),),
        ).fetchall()
        for type, id, checks, *paths in rows:
            image_waits = (checks & 3) == CheckState.PENDING
            for feature in Feature:
                if (checks >> (2 * feature)) & 3 != CheckState.PENDING or paths[feature] is None:
                    continue
                if image_waits and feature in CHECKED_WITH_IMAGE:
                    continue
                yield (AssetType(type), id), feature, paths[feature]

    def _ask_for(self, key: Key, feature: Feature, path: str) -> bool:
        state = self._index.tree.state(path)
        if path in self._flying or path in self._later or state is None:
            return False
        image = self._file_of(key, Feature.IMAGE) if feature in CHECKED_WITH_IMAGE else None
        image_state = None if image is None else self._index.tree.state(image)
        tag = Tag(
            key,
            feature,
            path,
            identity_of(state),
            image if image_state else None,
            identity_of(image_state) if image_state else None,
        )
        if self._pool is None:
            self._pool = CheckPool(self._config.verify, self._real_roots())
        absolute = self._worker.lister.absolute
        image_path = absolute(tag.image) if tag.image is not None else None
        task = Task(absolute(path), path, feature, tag.identity, image_path, tag.image_identity, self._root)
        self._pool.submit(task, tag)
        self._flying.add(path)
        return True

    def _file_of(self, key: Key, feature: Feature) -> str | None:
        sql = f"SELECT {feature.wire} FROM assets WHERE type=? AND id=? AND listed"
        row = self._db.execute(sql, key).fetchone()
        return None if row is None else row[0]

    def _real_roots(self) -> list[str]:
        absolute = self._worker.lister.absolute
        return [os.path.realpath(absolute(root)) for root in self._worker.roots.all]

    def _retry_unchecked(self) -> None:
        """With every full pass, what could not be read is tried again, a part of it at a time."""
        if self._retried_ns != self._worker.last_pass_ns:
            first = self._retried_ns is None
            self._retried_ns = self._worker.last_pass_ns
            self._retry_from = None if first else (-1, "", -1)
        if self._retry_from is None or len(self._again) >= _RETRIES:
            return
        rows = self._db.execute(
            "SELECT type, id, feature FROM details WHERE outcome >= 3 AND outcome = 3"
            " AND (type, id, feature) > (?,?,?) ORDER BY type, id, feature LIMIT ?",
            (*self._retry_from, _RETRIES),
        ).fetchall()
        self._retry_from = rows[-1] if rows else None
        for type, id, feature in rows:
            path = self._file_of((AssetType(type), id), Feature(feature))
            if path is not None:
                heapq.heappush(self._again, (0.0, (AssetType(type), id), Feature(feature), path))

    # --- taking --------------------------------------------------------------------------------------

    def _take_results(self, now: float) -> bool:
        if self._pool is None:
            return False
        self._results.extend(self._pool.results())
        if not self._results or (len(self._results) < _RESULTS and now < self._write_at):
            return False
        self._write_at = now + _GATHER_SECONDS
        portion = list(islice(self._results, _RESULTS))
        with self._index.transaction():
            recent = self._write(portion, now)
        for _ in portion:
            self._results.popleft()
        for tag in recent:
            heapq.heappush(self._again, (now + AGAIN_SECONDS, tag.key, tag.feature, tag.path))
        self.done += len(portion)
        return True

    def _write(self, portion: Sequence[tuple[Tag, Verdict]], now: float) -> list[Tag]:
        """Store verdicts; returns what they are about where the file is to be read once more."""
        judged, recent = [], []
        wall = time.time_ns()
        uses = self._index.users.of(tag.path for tag, _ in portion)
        for tag, verdict in portion:
            self._flying.discard(tag.path)
            if verdict.status is Status.VANISHED or not self._still(tag):
                self._later[tag.path] = now + RETRY_SECONDS
                self._worker.dirty.mark(*split(tag.path))
                continue
            if not self._keep(tag, verdict, uses[tag.path]):
                continue
            judged.append(tag.path)
            self._index.assets.mark(tag.key)
            if wall - max(tag.identity.mtime_ns, tag.identity.ctime_ns) < RECENT_NS:
                recent.append(tag)
        self._index.assets.mark_files(judged)
        return recent

    def _keep(self, tag: Tag, verdict: Verdict, uses: Uses) -> bool:
        """Store a verdict; False where it is about a file, or an image, that the asset has no more.

        Whoever uses the file instead has not been judged yet and is asked for in turn.
        """
        use = tag.key, tag.feature
        if use not in uses or (tag.image is not None and tag.image != uses[use]):
            return False
        outcome = outcome_of(verdict)
        if tag.feature is Feature.IMAGE and outcome is not Outcome.UNCHECKED:
            self._compare_with_image(tag)
        stored = Outcome.BY_USE if len(uses) > 1 else outcome
        if not self._index.tree.set_verdict(tag.path, tag.identity, stored):
            return False
        detail = detail_of(tag.path, verdict) if stored is Outcome.BY_USE or _says_more(verdict) else None
        self._index.judgements.put_detail(*use, detail)
        return True

    def _compare_with_image(self, tag: Tag) -> None:
        """Where an image could not be read and now can be, what was judged without it is judged again."""
        sql = "SELECT checks FROM assets WHERE type=? AND id=?"
        row = self._db.execute(sql, tag.key).fetchone()
        if row is None or row[0] & 3 != CheckState.UNCHECKED:
            return
        for feature in CHECKED_WITH_IMAGE:
            path = self._file_of(tag.key, feature)
            if path is not None:
                self._index.judgements.judge_anew(tag.key, feature, path)

    def _still(self, tag: Tag) -> bool:
        """Whether the image that a file was compared with is the one that is there."""
        if tag.image is None:
            return True
        state = self._index.tree.state(tag.image)
        return state is not None and identity_of(state) == tag.image_identity


def outcome_of(verdict: Verdict) -> Outcome:
    """What is stored of a verdict with the file."""
    if verdict.status is Status.CORRUPT and verdict.expectation is not None:
        return OUTCOMES.get(verdict.expectation, Outcome.CORRUPT)
    return Outcome(int(verdict.status))


def _says_more(verdict: Verdict) -> bool:
    """Whether there is anything to keep beside the outcome."""
    return outcome_of(verdict) is not Outcome.OK or bool(verdict.warnings) or verdict.digest is not None


def detail_of(path: str, verdict: Verdict) -> Detail:
    """What is kept of a verdict beside the outcome that is stored with the file."""
    outcome = outcome_of(verdict)
    digest = verdict.digest if outcome is Outcome.OK else None
    return Detail(path_hash(path), outcome, verdict.detail, "; ".join(verdict.warnings), digest)


def identity_of(state: State) -> Identity:
    """Which bytes the index knows under a path."""
    return Identity(*state[:4])
