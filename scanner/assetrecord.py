"""Everything that the index holds about one asset: what its row claims beside what is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scanner.claimpath import ClaimPaths
from scanner.config import Config
from scanner.findingqueries import FindingReader
from scanner.records import AssetFile, AssetRecord, AssetType, Check, Feature
from scanner.resolve import CORRUPT_SHIFT, HAS, CheckState, Outcome
from scanner.tree import split

_ASSET = (
    "SELECT listed, owner, scope, has, checks, ts, image, segment, embedding, keypoints, updated"
    " FROM assets WHERE type=? AND id=?"
)
_ROW = (
    "SELECT image, segment, embedding, keypoints, embedded, time, owner, ts FROM claims WHERE type=? AND id=?"
)
_FILE = "SELECT size, files.mtime, verdict FROM dirs JOIN files USING(dir) WHERE path=? AND name=?"
_NO_FILES: tuple[None, ...] = (None,) * len(Feature)


class AssetReader:
    """Reads one asset, whether it is listed, only claimed, or artifacts without an image."""

    def __init__(self, connection: Any, config: Config, findings: FindingReader) -> None:
        self._db = connection
        self._findings = findings
        self._paths = ClaimPaths(config.data.root, config.database.path_map)

    def record(self, type: AssetType, id: str) -> AssetRecord | None:
        """What is known of it; None where neither a file nor a row is of that asset."""
        asset = self._db.execute(_ASSET, (type, id)).fetchone()
        row = self._db.execute(_ROW, (type, id)).fetchone()
        if asset is None and row is None:
            return None
        listed, owner, scope, has, checks, ts, *used, updated = asset or _unresolved(row)
        claims = _NO_FILES if row is None else row[:4]
        details = self._details(type, id)
        return AssetRecord(
            type,
            id,
            bool(listed),
            owner,
            self._title(type, owner),
            ts,
            self._jobs(scope),
            row is not None,
            None if row is None else row[5],
            row is not None and bool(row[4]),
            tuple(
                self._file(feature, used[feature], claims[feature], has, checks, details)
                for feature in Feature
            ),
            None if updated is None else updated // 1000,
            tuple(self._findings.of_asset(type, id)),
        )

    def _file(
        self,
        feature: Feature,
        path: str | None,
        claimed: str | None,
        has: int,
        checks: int,
        details: dict[int, str],
    ) -> AssetFile:
        place = None if claimed is None else self._paths.resolve(claimed)
        found = None if path is None else self._db.execute(_FILE, split(path)).fetchone()
        if path is None or found is None:
            return AssetFile(feature, None, None, None, claimed, place, Check.NONE, "")
        size, mtime_ns, verdict = found
        corrupt = bool(has >> CORRUPT_SHIFT & HAS[feature]) if feature in HAS else verdict == Outcome.CORRUPT
        state = CheckState(checks >> (2 * feature) & 3)
        check = _check(verdict, state, corrupt)
        detail = "" if check in (Check.NONE, Check.PENDING) else details.get(feature, "")
        return AssetFile(feature, path, size, mtime_ns, claimed, place, check, detail)

    def _details(self, type: AssetType, id: str) -> dict[int, str]:
        """What the content checks said, by feature."""
        rows = self._db.execute(
            "SELECT feature, detail, warning FROM details WHERE type=? AND id=?", (type, id)
        )
        return {feature: detail or warning for feature, detail, warning in rows}

    def _title(self, type: AssetType, owner: str | None) -> str | None:
        row = self._db.execute("SELECT title FROM owners WHERE type=? AND id=?", (type, owner)).fetchone()
        return None if row is None else row[0]

    def _jobs(self, scope: int) -> tuple[str, ...]:
        """The jobs whose lists have it, in order."""
        sql = "SELECT job FROM job_scopes JOIN jobs USING(job) WHERE scope=? ORDER BY job"
        return tuple(job for (job,) in self._db.execute(sql, (scope,)))


def _unresolved(row: Sequence[Any]) -> tuple[Any, ...]:
    """The columns of an asset of which there is nothing but a row, with what the row says."""
    owner, ts = row[6], row[7]
    return (False, owner, 0, 0, 0, ts, *_NO_FILES, None)


def _check(verdict: int, state: CheckState, corrupt: bool) -> Check:
    if corrupt:
        return Check.CORRUPT
    if verdict == Outcome.NONE:
        return Check.PENDING if state is CheckState.PENDING else Check.NONE
    if verdict == Outcome.UNCHECKED:
        return Check.UNCHECKED
    return Check.OK if verdict == Outcome.OK else Check.WITHHELD
