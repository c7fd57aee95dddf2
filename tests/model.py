"""What the sidecar must answer, read off a directory and the rows of a database in plain Python.

This is the judge of the product in the tests and shares no code with it: neither ``scanner`` nor
``web`` is imported. It is as simple and slow as may be, so that it can be held against the endpoint
specification sentence by sentence. :class:`Model` is a snapshot of the moment in which it was made.

Readings, where the specification can be read in more than one way:

*Files and owners*

- A file that a row of either table names by ``local_path`` is an image of that row's type only,
  whatever patterns match it: never another asset's image or pattern-found artifact. A row may still
  claim it as an artifact in plain words.
- Of two rows that name one file the lower id (then product before frame) owns it. The other one has
  lost its file, so that a file with its templated id is its asset, with all that row's columns.
- A row's columns (owner, ``ts``, claims) belong to the asset of that id and type, however its image was
  found.
- If the row of an id has its ``local_path`` on disk, a file whose name gives the same id is a duplicate
  of it.
- A named file of size 0 is not there, so a file with the templated id is used in its place.
- ``{id}`` in an artifact's pattern is the asset's id; every other name is what the used image's own
  pattern captured. An image that no pattern matches has ``{id}`` alone. ``{ext}`` in an artifact's
  pattern stands for any extension: by the order of extensions, then by path.
- A file found by a pattern counts only if that pattern takes it (more literal characters, images
  first); a file that fits both kinds of asset goes to the more literal pattern only among assets that
  exist.
- A claimed artifact counts if it is there, whatever it is called and whoever else uses it.
- Empty text in a path column is null; a claim with an ignored name in it is not there; a claim that
  names a directory is missing.
- ``path_map`` is applied to the text as written, longest prefix first, whole components only.

*Rows and jobs*

- A job exists if it has a row in ``jobs`` (a product of a job without a row is in no job); a video is
  in a job only if it has a row in ``videos``.
- A frame's or image's owner is its row's, if that is not null, else what its path says. An owner
  without a row leaves it in no job.
- ``ts`` of a frame with a row is the row's, also if null; ``fps`` serves frames without one, whose
  ``{frame}`` consists of digits.
- A timestamp that cannot be read, and a number that is not finite, count as null.

*Queries*

- A repeated parameter whose last value is empty is absent. Leading zeros are digits. ``include`` other
  than ``urls`` is a bad parameter. The default order goes with the endpoint, not with ``sort_by``.
- An unknown ``product_id`` or ``video_id`` filter finds nothing; it is not 404.
- ``total`` is before paging. Two decimals: at an exact tie both neighbours are right.

*Findings*

- Missing columns give neither claims nor ``unrecorded``.
- ``outside`` replaces ``missing``, ``misplaced`` and ``unrecorded``; whether ``corrupt``, ``stale``,
  ``empty`` and ``duplicate`` of the file that a pattern found remain is open.
- An artifact of an asset without an image is an ``orphan``, claimed or not, and no ``misplaced`` or
  ``unrecorded`` (open). An empty one is at most ``empty`` (open). It is none where an asset that is there
  has it, or where it is named by the id that an image's path gives while that image's row gives another.
- An orphan's product or video, where there is no row and no image, is what its own path names.
- Embeddings are identical where their numbers are, with or without the header of an .npy.
- Of equally literal patterns of both kinds, frames take a file before products.
- A further file of size 0 is no duplicate; whether one that another asset uses is one is open, and so
  is whether an orphan is also ``corrupt``.
- A file that two rows claim is ``suspect`` for each of the claims.
- Frames' numbers: if two steps are the most common the smaller decides (open).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from model_answers import Answers, Failure, Judge, Pairs, Percent, Unsettled
from model_assets import DEFAULTS, Assets, Database, Tables, merged
from model_findings import Finding, Findings, counted, misconfigured

__all__ = ["DEFAULTS", "ENDPOINTS", "Failure", "Finding", "Model", "Percent", "Unsettled", "rows_of_sqlite"]

ENDPOINTS = {
    "status": "/status/{}",
    "jobs": "/jobs",
    "videos": "/jobs/{}/videos",
    "frames": "/jobs/{}/videos/{}/frames",
    "images": "/jobs/{}/images",
    "summary": "/jobs/{}/features/summary",
    "product_images": "/jobs/{}/features/product-images",
    "video_frames": "/jobs/{}/features/video-frames",
    "product_image": "/features/product-images/{}",
    "video_frame": "/features/video-frames/{}",
}


class Model(Answers):
    """The answers for one directory and one state of the database.

    ``settings`` is the configuration as ``config.toml`` nests it (defaults fill what is left out),
    ``tables`` the rows of the database by table, None without one; ``verdict`` says what a content check
    must find of (feature, path below the root, image's path), by default that everything is good.
    ``data_root`` is where the files lie; answers show ``settings["data"]["root"]`` if that is given.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        tables: Tables | None,
        data_root: Path,
        verdict: Judge | None = None,
    ) -> None:
        whole = merged(settings)
        if "root" not in settings.get("data", {}):
            whole["data"]["root"] = str(data_root)
        root = whole["data"]["root"]
        database = None if tables is None else Database(tables, whole, root)
        assets = Assets(whole, database, data_root)
        content = whole["verify"]["content"] and verdict is not None
        super().__init__(whole, assets, cache(verdict) if content and verdict else nothing_wrong)
        self._answered: dict[Any, Any] = {}
        self._disregard(misconfigured(self))

    def _disregard(self, problems: Mapping[str, str]) -> None:
        """Verdicts that most files of a feature share say more of the configuration than of the files."""
        judge = self.judge

        def lenient(feature: str, path: str, image: str | None) -> tuple[str, str] | None:
            verdict = judge(feature, path, image)
            return None if verdict and verdict[1] == problems.get(feature) else verdict

        self.judge = lenient if problems else judge

    def answer(self, endpoint: str, names: Sequence[str] = (), pairs: Pairs = ()) -> Any:
        """The body, or the :class:`Failure`, of an endpoint named as in ``ENDPOINTS``."""
        asked = (endpoint, tuple(names), tuple(pairs))
        if asked not in self._answered:  # who waits for a server to say the same asks again and again
            method: Callable[..., Any] = getattr(self, endpoint)
            self._answered[asked] = method(*names, pairs=pairs)
        return self._answered[asked]

    def findings(self, job: str | None = None) -> list[Finding]:
        """What disagrees: of one job, or of everything."""
        return self._found if job is None else [f for f in self._found if job in self._jobs_of_finding(f)]

    @cached_property
    def _found(self) -> list[Finding]:
        return Findings(self).all()

    def _jobs_of_finding(self, finding: Finding) -> set[str]:
        asset = self.assets.all.get((finding.asset_type, finding.asset_id))
        if asset is not None:
            return self.jobs_of(asset)
        return self.jobs_of_owner(finding.asset_type, finding.asset_id)

    def verification(self, job: str | None = None) -> Any:
        """Those members of the body that do not depend on when it is asked for."""
        if job is not None and job not in self.job_ids():
            return Failure(404)
        listed = [asset for asset in self.listed if job is None or job in self.jobs_of(asset)]
        sure = [finding for finding in self.findings(job) if finding.sure]
        return {"job_id": job, "assets": len(listed), "findings": counted(sure), "total": len(sure)}


def nothing_wrong(feature: str, path: str, image: str | None) -> None:
    """The judge that finds every content good."""
    return


def rows_of_sqlite(path: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of an SQLite pipeline database, for a model of what is there now."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        every = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in found}
    connection.close()
    return {name: [dict(row) for row in rows] for name, rows in every.items()}
