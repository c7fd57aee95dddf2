"""Every question that is put to the index, as one object: reads in, records out.

An answer is of one moment: whatever statements it takes see the same state of the index. A question that
names a job, video or asset which is not known is answered with None.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import apsw

from scanner import assetqueries, schema
from scanner.assetqueries import (
    ASSETS,
    PICTURES,
    TITLED_ASSETS,
    TITLED_PICTURES,
    Extent,
    Item,
    View,
    count,
    counted,
    has_filter,
    items,
    listed_scopes,
    matching,
    page_items,
    search_filter,
    with_findings,
)
from scanner.assetrecord import AssetReader
from scanner.config import Config
from scanner.division import Division, Rank
from scanner.filequeries import FileReader, KnownFile
from scanner.findingqueries import FindingReader, Place
from scanner.jobqueries import JobLine, JobReader
from scanner.layout import Layout
from scanner.moments import Moment
from scanner.owners import search_key
from scanner.querysql import Order, Source, order_of, prepare
from scanner.ranks import Ranks
from scanner.records import (
    AssetItem,
    AssetRecord,
    AssetType,
    FindingItem,
    FindingRequest,
    GalleryItem,
    JobOverview,
    JobStatus,
    JobSummary,
    Kind,
    Page,
    PictureItem,
    Verification,
    VideoItem,
)
from scanner.textsearch import Matches, Search, TextSearch
from scanner.videolists import VideoFilter
from scanner.videoqueries import VideoReader

Pictures = tuple[list[PictureItem], int]
Assets = tuple[list[AssetItem], int]
T = TypeVar("T")
_STATE = "SELECT value, (SELECT max(seq) FROM moves) FROM meta WHERE key='owners'"
_REMEMBERED = 20_000  # answers to small questions
_MATCHES = 1 << 20  # numbers of assets that searches have found
_SEARCHES = 1000  # also of those that have found nothing


class Queries:
    """Reads the index at ``path`` on a connection of its own; for one thread at a time.

    Inside ``moment``, which gives the revision, all answers are of one state of the index, else each is of
    the latest. Raises :class:`apsw.CantOpenError` if there is no index.
    """

    def __init__(self, path: str, config: Config) -> None:
        self._config = config
        self._open(path)

    def _open(self, path: str) -> None:
        db, config = schema.open_reader(path), self._config
        self.path = path
        self._db: Any = db  # rows are typed where they are unpacked
        self.moment = Moment(db)
        prepare(self._db)
        self.revision()  # SQLite opens what it keeps beside the file when it first reads: now that is there
        local = not config.database.url
        self._jobs = JobReader(self._db, local)
        self._videos = VideoReader(self._db, local)
        self._files = FileReader(self._db, Layout(config.layout))
        self._findings = FindingReader(self._db, config.data.root)
        self._records = AssetReader(self._db, config, self._findings)
        self._ranks = Ranks()
        self._revision: int | None = None
        self._owners = 0
        self._seq = 0
        self._logged = False
        self._known: dict[Hashable, Any] = {}
        self._found: dict[Hashable, Matches] = {}

    def follow(self, path: str) -> None:
        """Read from this file from now on; nothing changes where it cannot be opened."""
        if path != self.path:
            before = self._db
            self._open(path)
            before.close()

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def is_whole(self) -> bool:
        """Whether all of the index can be read; every page is looked at."""
        try:
            return bool(self._db.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)])
        except apsw.Error:
            return False

    def revision(self) -> int:
        """A number that is another one whenever the index changed."""
        with self.moment as revision:
            return revision

    @property
    def wanted(self) -> Division | None:
        """A list that was asked for far down, and which would be answered faster if it were divided."""
        return self._ranks.wanted

    def divided(self, division: Division) -> tuple[Rank, int]:
        """The list divided, and the number of the log of which that is true; for :meth:`adopt`.

        It takes some tenths of a second for a long one, and is for a connection that answers nothing else.
        """
        with self._moment():
            return Rank(self._db, division), self._seq

    def adopt(self, path: str, rank: Rank, seq: int) -> None:
        """Use what :meth:`divided` made of the index at ``path``, wherever that was."""
        if path == self.path:
            self._ranks.adopt(rank, seq)

    def prepare(self) -> bool:
        """Divide one list that is wanted; False if there is none more."""
        if self.wanted is None:
            return False
        self.adopt(self.path, *self.divided(self.wanted))
        return self.wanted is not None

    # --- jobs ------------------------------------------------------------------------------------

    def status(self, job_id: str) -> JobStatus | None:
        """The snapshot of a job."""
        with self._moment():
            return self._remember(("status", job_id), lambda: self._jobs.status(job_id))

    def jobs(self, q: str | None, phase: str | None, page: Page) -> tuple[list[JobStatus], int]:
        """A page of jobs, and how many match; ``q`` is a part of the id."""
        with self._moment():
            lines = self._remember(JobLine, self._jobs.lines)
            key = None if q is None else search_key(q)
            found = [
                job
                for job in lines
                if (key is None or key in search_key(job.job_id)) and phase in (None, job.phase)
            ]
            part = _sorted_jobs(found, page)[page.offset : page.offset + page.limit]
            return [status for job in part if (status := self.status(job.job_id)) is not None], len(found)

    def summary(self, job_id: str) -> JobSummary | None:
        """The feature counts of a job."""
        with self._moment():
            return self._remember(("summary", job_id), lambda: self._jobs.summary(job_id))

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
            if not self._exists(job_id):
                return None
            filters = VideoFilter(q, platform, min_frames)
            found, total = self._videos.page(job_id, filters, page, self._owners)
            return [self._pictured(item) for item in found] if urls else found, total

    def frames(self, job_id: str, video_id: str, page: Page) -> Pictures | None:
        """A page of a video's frames; None also for a video that is not of that job."""
        with self._moment():
            if not self._exists(job_id):
                return None
            assets = self._owned(job_id, AssetType.VIDEO_FRAME, video_id, only_there=True)
            if assets is None:
                return None
            return self._page(Source(AssetType.VIDEO_FRAME, owner=video_id), None, page, assets, PICTURES)

    def images(self, job_id: str, product_id: str | None, q: str | None, page: Page) -> Pictures | None:
        """A page of the job's product images; ``q`` is a part of the product's title or of the id."""
        if page.sort_by == "updated_at":
            page = replace(page, sort_by="image_updated_at")
        with self._moment():
            if not self._exists(job_id):
                return None
            if q is None:
                return self._of_job(job_id, AssetType.PRODUCT_IMAGE, product_id, None, page, TITLED_PICTURES)
            source = self._narrowed(job_id, AssetType.PRODUCT_IMAGE, product_id)
            return self._search(Search(source, q), page, TITLED_PICTURES)

    def product_images(self, job_id: str, has: str | None, page: Page) -> Assets | None:
        """A page of product images with their artifacts."""
        with self._moment():
            if not self._exists(job_id):
                return None
            return self._of_job(job_id, AssetType.PRODUCT_IMAGE, None, has, page, ASSETS)

    def video_frames(self, job_id: str, video_id: str | None, has: str | None, page: Page) -> Assets | None:
        """A page of frames with their artifacts; an unknown ``video_id`` matches nothing."""
        with self._moment():
            if not self._exists(job_id):
                return None
            return self._of_job(job_id, AssetType.VIDEO_FRAME, video_id, has, page, ASSETS)

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
        with self._moment():
            if not self._exists(job_id):
                return None
            if q is None and not kinds:
                found, total = self._of_job(job_id, type, owner_id, has, page, TITLED_ASSETS)
            else:
                source = self._narrowed(job_id, type, owner_id)
                found, total = self._search(Search(source, q, has, kinds), page, TITLED_ASSETS)
            return with_findings(self._db, type, found), total

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
            if job_id is not None and not self._exists(job_id):
                return None
            return self._remember(("findings", job_id), lambda: self._findings.verification(job_id))

    def findings(self, wanted: FindingRequest) -> tuple[list[FindingItem], int] | None:
        """A page of findings, and how many match; None where there is no such job."""
        with self._moment():
            if wanted.job_id is not None and not self._exists(wanted.job_id):
                return None
            return self._findings.findings(wanted)

    def findings_behind(
        self, wanted: FindingRequest, place: Place | None
    ) -> tuple[list[FindingItem], Place | None]:
        """Some of all findings; see :meth:`FindingReader.portion`."""
        with self._moment():
            return self._findings.portion(wanted, place)

    def all_findings(self, wanted: FindingRequest) -> Iterator[FindingItem]:
        """All findings in the order that the page names, whatever its limit and offset.

        They are read in portions, between which the index may change: nothing is held meanwhile.
        """
        found, place = self.findings_behind(wanted, None)
        yield from found
        while place is not None:
            found, place = self.findings_behind(wanted, place)
            yield from found

    # --- everything at once ----------------------------------------------------------------------

    def overview(self, job_id: str) -> JobOverview | None:
        """A job with its feature counts and its verification."""
        with self._moment():
            status = self.status(job_id)
            return None if status is None else self._overview(status)

    def overviews(
        self, q: str | None, phase: str | None, page: Page
    ) -> tuple[list[JobOverview], int, Verification]:
        """A page of jobs as :meth:`jobs` has it, how many match, and the verification of everything."""
        with self._moment():
            found, total = self.jobs(q, phase, page)
            items = [item for job in found if (item := self._overview(job)) is not None]
            report = self.verification(None)
        if report is None:
            raise LookupError("everything has a report")  # None is said of a job alone
        return items, total, report

    def _overview(self, status: JobStatus) -> JobOverview | None:
        summary, report = self.summary(status.job_id), self.verification(status.job_id)
        return None if summary is None or report is None else JobOverview(status, summary, report)

    # --- parts -----------------------------------------------------------------------------------

    @contextmanager
    def _moment(self) -> Iterator[None]:
        """Everything read inside is of one state of the index, and so is what is remembered."""
        with self.moment as revision:
            if self.moment.is_new:
                self._catch_up(revision)
                self.moment.is_new = False
            yield

    def _catch_up(self, revision: int) -> None:
        """Drop or correct what is remembered of an earlier state."""
        self._owners, seq = self._db.execute(_STATE).fetchone()
        if revision != self._revision:
            self._revision = revision
            self._known.clear()
            self._found.clear()
            self._findings.forget()
        self._seq, self._logged = seq or 0, seq is not None
        self._ranks.catch_up(self._db, self._seq)

    def _remember(self, key: Hashable, read: Callable[[], T]) -> T:
        """What ``read`` says, read once while the index is unchanged."""
        try:
            known: T = self._known[key]
        except KeyError:
            known = read()
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = known
        return known

    def _pictured(self, item: VideoItem) -> VideoItem:
        return self._remember((VideoItem, item.video_id), lambda: self._videos.with_pictures(item))

    def _exists(self, job: str) -> bool:
        return self._remember(("job", job), lambda: self._jobs.exists(job))

    def _owned(self, job: str, type: AssetType, owner: str, only_there: bool = False) -> int | None:
        """How many assets a product or video of the job has; None if it is not of that job."""
        return self._remember(
            (job, type, owner, only_there), lambda: self._videos.assets(job, type, owner, only_there)
        )

    def _of_job(
        self, job: str, type: AssetType, owner: str | None, has: str | None, page: Page, view: View[Item]
    ) -> tuple[list[Item], int]:
        """A page of the assets of a job, or of one owner in it; of an owner that is not in it: nothing."""
        if owner is None:
            source = self._source(job, type)
            rows = self._remember((source.scopes, type), lambda: counted(self._db, source, None))
        else:
            source, rows = Source(type, owner=owner), self._owned(job, type, owner) or 0
        return self._page(source, has, page, rows, view)

    def _source(self, job: str, type: AssetType) -> Source:
        return self._remember((job, type), lambda: Source(type, tuple(listed_scopes(self._db, job, type))))

    def _narrowed(self, job: str, type: AssetType, owner: str | None) -> Source:
        """The assets of a job, or of one owner if it is in the job."""
        if owner is None:
            return self._source(job, type)
        return Source(type, owner=owner) if self._owned(job, type, owner) else Source(type)

    def _page(
        self, source: Source, has: str | None, page: Page, rows: int, view: View[Item]
    ) -> tuple[list[Item], int]:
        total = rows
        if has is not None and rows:
            key = (source.type, source.scopes, source.owner, has)
            total = self._remember(key, lambda: self._total(source, has))
        ranks = self._ranks if self._logged else None
        return page_items(self._db, ranks, source, has, page, Extent(rows, total), view), total

    def _total(self, source: Source, has: str) -> int:
        if source.owner is None:
            return counted(self._db, source, has)
        return count(self._db, source, has_filter(has))

    def _search(self, search: Search, page: Page, view: View[Item]) -> tuple[list[Item], int]:
        """A page of what matches, of which the first are remembered, and all once more are asked for."""
        order, end = order_of(page.sort_by, page.descending), page.offset + page.limit
        key = (search, order)
        found = self._found.get(key)
        if found is None or not found.reach(end):
            found = self._matches(search, order, end, again=found is not None)
            held = sum(len(matches.numbers) for matches in self._found.values())
            if len(self._found) >= _SEARCHES or held + len(found.numbers) > _MATCHES:
                self._found.clear()
            self._found[key] = found
        part = found.numbers[page.offset : end]
        return items(self._db, part.tolist(), view), found.total

    def _matches(self, search: Search, order: Order, end: int, *, again: bool) -> Matches:
        source, q, has, kinds = search
        if q is not None and has is None and not kinds and source.owner is None and not again:
            found = TextSearch(self._db, source, search_key(q)).first(order)
            if found.reach(end):
                return found
        numbers = matching(self._db, source, order, search_filter(source, q, has, kinds))
        return Matches(len(numbers), numbers)


def _sorted_jobs(jobs: list[JobLine], page: Page) -> list[JobLine]:
    """In the order of the page: nulls last, ties by id ascending, in which they are given."""
    if page.sort_by == "job_id":
        return jobs[::-1] if page.descending else jobs
    known = [job for job in jobs if job.updated_us is not None]
    known.sort(key=lambda job: job.updated_us or 0, reverse=page.descending)
    return known + [job for job in jobs if job.updated_us is None]
