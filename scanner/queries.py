"""Every question that is put to the index, as one object: reads in, records out.

An answer is of one moment: whatever statements it takes see the same state of the index. A question that
names a job, video or asset which is not known is answered with None.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scanner import assetqueries, schema
from scanner.assetqueries import (
    count,
    counted,
    gallery_filter,
    has_filter,
    listed_scopes,
    page_items,
    text_filter,
    with_findings,
)
from scanner.assetrecord import AssetReader
from scanner.config import Config
from scanner.filequeries import FileReader, KnownFile
from scanner.findingqueries import FindingReader
from scanner.jobqueries import JobReader
from scanner.layout import Layout
from scanner.owners import search_key
from scanner.querysql import Filter, Source, prepare
from scanner.records import (
    AssetItem,
    AssetRecord,
    AssetType,
    Feature,
    FindingItem,
    GalleryItem,
    JobStatus,
    JobSummary,
    Kind,
    Page,
    Verification,
    VideoItem,
)
from scanner.videoqueries import VideoReader, video_filter

Assets = tuple[list[AssetItem], int]


class Queries:
    """Reads the index at ``path`` on a connection of its own; for one thread at a time.

    Raises :class:`apsw.CantOpenError` if there is no index.
    """

    def __init__(self, path: str, config: Config) -> None:
        self._db: Any = schema.open_reader(path)  # rows are typed where they are unpacked
        prepare(self._db)
        local = not config.database.url
        self._jobs = JobReader(self._db, local)
        self._videos = VideoReader(self._db, local)
        self._files = FileReader(self._db, Layout(config.layout))
        self._findings = FindingReader(self._db, config.data.root)
        self._records = AssetReader(self._db, config, self._findings)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def revision(self) -> int:
        """A number that is another one whenever the index changed."""
        row = self._db.execute("SELECT value FROM meta WHERE key='revision'").fetchone()
        return 0 if row is None else int(row[0])

    # --- jobs ------------------------------------------------------------------------------------

    def status(self, job_id: str) -> JobStatus | None:
        """The snapshot of a job."""
        with self._moment():
            found = self._jobs.statuses(job_id)
        return found[0] if found else None

    def jobs(self, q: str | None, phase: str | None, page: Page) -> tuple[list[JobStatus], int]:
        """A page of jobs, and how many match; ``q`` is a part of the id."""
        with self._moment():
            found = self._jobs.statuses(None)
        key = None if q is None else search_key(q)
        found = [
            job
            for job in found
            if (key is None or key in search_key(job.job_id)) and phase in (None, job.phase)
        ]
        return _sorted_jobs(found, page)[page.offset : page.offset + page.limit], len(found)

    def summary(self, job_id: str) -> JobSummary | None:
        """The feature counts of a job."""
        with self._moment():
            return self._jobs.summary(job_id)

    # --- what jobs have --------------------------------------------------------------------------

    def videos(
        self,
        job_id: str,
        q: str | None,
        platform: str | None,
        min_frames: int | None,
        page: Page,
        urls: bool,
    ) -> tuple[list[VideoItem], int] | None:
        """A page of the job's videos, also those without frames; ``urls`` fills their pictures."""
        with self._moment():
            if not self._jobs.exists(job_id):
                return None
            return self._videos.page(job_id, video_filter(q, platform, min_frames), page, urls)

    def frames(self, job_id: str, video_id: str, page: Page) -> Assets | None:
        """A page of a video's frames; None also for a video that is not of that job."""
        with self._moment():
            if not self._jobs.exists(job_id):
                return None
            if self._videos.scope(job_id, AssetType.VIDEO_FRAME, video_id, only_there=True) is None:
                return None
            source = Source(AssetType.VIDEO_FRAME, owner=video_id)
            return self._assets(source, page.sort_by, Filter(), page)

    def images(self, job_id: str, product_id: str | None, q: str | None, page: Page) -> Assets | None:
        """A page of the job's product images; ``q`` is a part of the product's title or of the id."""
        filters = Filter() if q is None else text_filter(q)
        sort = "image_updated_at" if page.sort_by == "updated_at" else page.sort_by
        return self._of_job(job_id, AssetType.PRODUCT_IMAGE, product_id, sort, filters, page)

    def product_images(self, job_id: str, has: str | None, page: Page) -> Assets | None:
        """A page of product images with their artifacts."""
        return self._with_features(job_id, AssetType.PRODUCT_IMAGE, None, has, page)

    def video_frames(self, job_id: str, video_id: str | None, has: str | None, page: Page) -> Assets | None:
        """A page of frames with their artifacts; an unknown ``video_id`` matches nothing."""
        return self._with_features(job_id, AssetType.VIDEO_FRAME, video_id, has, page)

    def asset(self, type: AssetType, asset_id: str) -> AssetItem | None:
        """One listed asset."""
        return assetqueries.by_id(self._db, type, asset_id)

    def gallery(
        self,
        job_id: str,
        type: AssetType,
        owner_id: str | None,
        has: str | None,
        q: str | None,
        kinds: tuple[Kind, ...],
        page: Page,
    ) -> tuple[list[GalleryItem], int] | None:
        """A page of the job's assets of one type with their findings; empty ``kinds`` means no filter."""
        filters = gallery_filter(type, has, q, kinds)
        with self._moment():
            found = self._in_job(job_id, type, owner_id, page.sort_by, filters, page)
            return None if found is None else (with_findings(self._db, type, found[0]), found[1])

    def record(self, type: AssetType, asset_id: str) -> AssetRecord | None:
        """Everything about one asset, also one that is not listed."""
        with self._moment():
            return self._records.record(type, asset_id)

    def file(self, path: str) -> KnownFile | None:
        """The file at a path relative to the data root, if an asset uses it and it has content."""
        with self._moment():
            return self._files.file(path)

    # --- verification ----------------------------------------------------------------------------

    def verification(self, job_id: str | None) -> Verification | None:
        """What verification knows about a job, or with None about everything."""
        with self._moment():
            if job_id is not None and not self._jobs.exists(job_id):
                return None
            return self._findings.verification(job_id)

    def findings(
        self,
        job_id: str | None,
        kinds: tuple[Kind, ...],
        features: tuple[Feature, ...],
        asset_type: AssetType | None,
        q: str | None,
        page: Page,
    ) -> tuple[list[FindingItem], int] | None:
        """A page of findings; empty ``kinds`` or ``features`` mean all."""
        with self._moment():
            if job_id is not None and not self._jobs.exists(job_id):
                return None
            return self._findings.findings(job_id, kinds, features, asset_type, q, page)

    def all_findings(
        self,
        job_id: str | None,
        kinds: tuple[Kind, ...],
        features: tuple[Feature, ...],
        asset_type: AssetType | None,
        q: str | None,
        page: Page,
    ) -> Iterator[FindingItem]:
        """All findings in the order that ``page`` names, whatever its limit and offset."""
        return self._findings.all_findings(job_id, kinds, features, asset_type, q, page)

    # --- parts -----------------------------------------------------------------------------------

    @contextmanager
    def _moment(self) -> Iterator[None]:
        """Everything read inside is of one state of the index."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def _with_features(
        self, job: str, type: AssetType, owner: str | None, has: str | None, page: Page
    ) -> Assets | None:
        if owner is not None:
            return self._of_job(job, type, owner, page.sort_by, has_filter(has), page)
        with self._moment():
            if not self._jobs.exists(job):
                return None
            source = Source(type, listed_scopes(self._db, job, type))
            items = page_items(self._db, source, page.sort_by, has_filter(has), page)
            return items, counted(self._db, source, has)

    def _of_job(
        self, job: str, type: AssetType, owner: str | None, sort: str, filters: Filter, page: Page
    ) -> Assets | None:
        """A page of the assets of a job, or of one owner in it; of an owner that is not in it: nothing."""
        with self._moment():
            return self._in_job(job, type, owner, sort, filters, page)

    def _in_job(
        self, job: str, type: AssetType, owner: str | None, sort: str, filters: Filter, page: Page
    ) -> Assets | None:
        """The same inside a moment."""
        if not self._jobs.exists(job):
            return None
        if owner is None:
            source = Source(type, listed_scopes(self._db, job, type))
        elif self._videos.scope(job, type, owner, only_there=False) is not None:
            source = Source(type, owner=owner)
        else:
            return [], 0
        return self._assets(source, sort, filters, page)

    def _assets(self, source: Source, sort: str, filters: Filter, page: Page) -> Assets:
        if not filters.terms and source.owner is None:
            total = counted(self._db, source, None)
        else:
            total = count(self._db, source, filters)
        return page_items(self._db, source, sort, filters, page), total


def _sorted_jobs(jobs: list[JobStatus], page: Page) -> list[JobStatus]:
    """In the order of the page: nulls last, ties by id ascending."""
    jobs = sorted(jobs, key=lambda job: job.job_id)
    if page.sort_by == "job_id":
        return jobs[::-1] if page.descending else jobs
    known = [job for job in jobs if job.updated_us is not None]
    known.sort(key=lambda job: job.updated_us or 0, reverse=page.descending)
    return known + [job for job in jobs if job.updated_us is None]
