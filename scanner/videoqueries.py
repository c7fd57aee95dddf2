"""The videos of a job out of the index, with the pictures that stand for them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

from scanner.owners import search_key
from scanner.querysql import Filter, Row
from scanner.records import AssetType, Feature, Page, PreviewFrame, VideoItem
from scanner.resolve import HAS
from scanner.videolists import VideoFilter, VideoList, entry_of

Videos = tuple[list[VideoItem], int]
_SORTS = {
    "updated_at": "max(coalesce(time*1000, newest), coalesce(newest, time*1000))",
    "duration_s": "duration",
    "frames_count": "assets",
    "title": "title_key",
}
_COLUMNS = "id, platform, url, title, duration, assets, time, newest, title_key"
_SOURCE = " FROM owners WHERE scope IN (SELECT scope FROM job_scopes WHERE job=?) AND type=1 AND "
_MOST_OF_ONE = 20_000
_MOST_OF_ALL = 50_000
"""How many videos are remembered; of a job with more the index is asked each time."""
_FRAMES = " FROM assets WHERE type=1 AND owner=? AND listed"
_MASK = HAS[Feature.SEGMENT]


class VideoReader:
    """Reads videos. ``local`` says that no database is configured: a video is then what has frames."""

    def __init__(self, connection: Any, local: bool) -> None:
        self._db = connection
        self._there = "(recorded OR assets>0)" if local else "recorded"
        self._lists: OrderedDict[str, tuple[int, VideoList | None]] = OrderedDict()

    def assets(self, job: str, type: AssetType, owner: str, only_there: bool) -> int | None:
        """How many listed assets a product or video of this job has; None if it is not of this job.

        ``only_there`` asks that it be one of the job's list.
        """
        row = self._db.execute(
            "SELECT o.assets FROM owners o JOIN job_scopes j ON j.scope=o.scope AND j.job=?"
            f" WHERE type=? AND id=? AND {self._there if only_there else '1'}",
            (job, type, owner),
        ).fetchone()
        return None if row is None else int(row[0])

    def page(self, job: str, filters: VideoFilter, page: Page, changes: int) -> Videos:
        """A page of the job's videos, and how many match; ``changes`` is how often owners have changed."""
        known = self._lists.get(job)
        if known is None or known[0] != changes:
            known = self._lists[job] = (changes, self._read(job))
            self._make_room()
        self._lists.move_to_end(job)
        videos = known[1]
        return self._ask(job, filters, page) if videos is None else videos.page(filters, page)

    def with_pictures(self, item: VideoItem) -> VideoItem:
        """The video with the pictures that stand for it, where it has frames."""
        if not item.frames_count:
            return item
        first, preview = self._pictures(item.video_id, item.duration_s, item.frames_count)
        return replace(item, first_image_path=first, preview=preview)

    def _read(self, job: str) -> VideoList | None:
        """All videos of a job; None where they are too many to be remembered."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS}{_SOURCE}{self._there} LIMIT ?", (job, _MOST_OF_ONE + 1)
        ).fetchall()
        return None if len(rows) > _MOST_OF_ONE else VideoList(map(entry_of, rows))

    def _make_room(self) -> None:
        while len(self._lists) > 1 and sum(len(v or ()) + 1 for _, v in self._lists.values()) > _MOST_OF_ALL:
            self._lists.popitem(last=False)

    def _ask(self, job: str, filters: VideoFilter, page: Page) -> Videos:
        where = _sql_filter(filters)
        source, values = f"{_SOURCE}{self._there}{where.sql()}", [job, *where.values]
        key, direction = _SORTS[page.sort_by], "DESC" if page.descending else "ASC"
        rows = self._db.execute(
            f"SELECT {_COLUMNS}{source} ORDER BY {key} IS NULL, {key} {direction}, id LIMIT ? OFFSET ?",
            [*values, page.limit, page.offset],
        ).fetchall()
        total = self._db.execute(f"SELECT count(*){source}", values).fetchone()[0]
        return [entry_of(row).item for row in rows], total

    def _pictures(self, video: str, duration: float | None, count: int) -> tuple[str, PreviewFrame]:
        """The image of the first frame, and the preview, of a video that has this many frames."""
        first, ts = self._one(f"SELECT image, ts{_FRAMES} ORDER BY ts IS NULL, ts, id LIMIT 1", video)
        number = self._by_place(video, count) if ts is None else self._by_time(video, duration, ts)
        id, ts, image, segment, has = self._one(
            "SELECT id, ts, image, segment, has FROM assets WHERE asset=?", number
        )
        return first, PreviewFrame(id, ts, image, segment if has & _MASK else None)

    def _by_time(self, video: str, duration: float | None, first: float) -> int:
        """The frame nearest in time to the middle of the video, one with a mask before any other."""
        if duration is None:
            (last,) = self._one(f"SELECT ts{_FRAMES} AND (ts IS NULL)=0 ORDER BY ts DESC LIMIT 1", video)
            middle = (first + last) / 2
        else:
            middle = duration / 2
        return int(
            self._one(
                f"SELECT asset{_FRAMES} ORDER BY has & {_MASK} DESC, ts IS NULL, abs(ts-?), ts, id LIMIT 1",
                video,
                middle,
            )[0]
        )

    def _by_place(self, video: str, count: int) -> int:
        """The same where no frame has a time: nearest to the middle by position, the earlier first."""
        middle, id = self._one(
            f"SELECT asset, id{_FRAMES} ORDER BY id LIMIT 1 OFFSET ?", video, (count - 1) // 2
        )
        masked = f"SELECT asset, id{_FRAMES} AND has & {_MASK}"
        before = self._found(f"{masked} AND id<=? ORDER BY id DESC LIMIT 1", video, id)
        after = self._found(f"{masked} AND id>? ORDER BY id LIMIT 1", video, id)
        if before is None or after is None:
            return int((before or after or (middle,))[0])
        # With an even number of frames the middle lies half a step behind the frame that was taken for it.
        behind = 2 * self._steps(video, before[1], id) + (count % 2 == 0)
        ahead = 2 * self._steps(video, id, after[1]) - (count % 2 == 0)
        return int((before if behind <= ahead else after)[0])

    def _steps(self, video: str, start: str, end: str) -> int:
        """How many frames further on ``end`` stands."""
        return int(self._one(f"SELECT count(*){_FRAMES} AND id>? AND id<=?", video, start, end)[0])

    def _found(self, sql: str, *values: Any) -> Row | None:
        found: Row | None = self._db.execute(sql, values).fetchone()
        return found

    def _one(self, sql: str, *values: Any) -> Row:
        """The first row of a statement that has one while the video has frames."""
        found = self._found(sql, *values)
        if found is None:
            raise LookupError(f"the index counts frames that it does not have: {values[0]!r}")
        return found


def _sql_filter(given: VideoFilter) -> Filter:
    filters = Filter()
    if given.q is not None:
        filters.add("instr(title_key, ?)", search_key(given.q))
    if given.platform is not None:
        filters.add("fold(platform)=?", given.platform.casefold())
    if given.min_frames is not None:
        filters.add("assets>=?", given.min_frames)
    return filters
