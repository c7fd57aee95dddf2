"""The videos of a job out of the index, with the pictures that stand for them."""

from __future__ import annotations

import json
from typing import Any

from scanner.owners import search_key
from scanner.querysql import Filter, Row
from scanner.records import AssetType, Feature, Page, PreviewFrame, VideoItem
from scanner.resolve import HAS

_SORTS = {
    "updated_at": "max(coalesce(time*1000, newest), coalesce(newest, time*1000))",
    "duration_s": "duration",
    "frames_count": "assets",
    "title": "title_key",
}
_FRAMES = " FROM assets WHERE type=1 AND owner=? AND listed"
_MASK = HAS[Feature.SEGMENT]


class VideoReader:
    """Reads videos. ``local`` says that no database is configured: a video is then what has frames."""

    def __init__(self, connection: Any, local: bool) -> None:
        self._db = connection
        self._there = "(recorded OR assets>0)" if local else "recorded"

    def scopes(self, job: str) -> list[int]:
        """The scopes of a job that have videos in them."""
        rows = self._db.execute(
            "SELECT scope FROM job_scopes JOIN counters USING(scope)"
            " WHERE job=? AND type=1 AND name='owners' AND n>0",
            (job,),
        )
        return [scope for (scope,) in rows]

    def scope(self, job: str, type: AssetType, owner: str, only_there: bool) -> int | None:
        """The scope of a product or video of this job; ``only_there`` asks that it be one of its list."""
        row = self._db.execute(
            "SELECT o.scope FROM owners o JOIN job_scopes j ON j.scope=o.scope AND j.job=?"
            f" WHERE type=? AND id=? AND {self._there if only_there else '1'}",
            (job, type, owner),
        ).fetchone()
        return None if row is None else int(row[0])

    def page(self, job: str, filters: Filter, page: Page, urls: bool) -> tuple[list[VideoItem], int]:
        """A page of the job's videos, and how many match."""
        source = (
            f" FROM owners WHERE scope IN (SELECT value FROM json_each(?)) AND type=1 AND {self._there}"
            + filters.sql()
        )
        values = [json.dumps(self.scopes(job)), *filters.values]
        key, direction = _SORTS[page.sort_by], "DESC" if page.descending else "ASC"
        rows = self._db.execute(
            "SELECT id, platform, url, title, duration, assets, time, newest"
            f"{source} ORDER BY {key} IS NULL, {key} {direction}, id LIMIT ? OFFSET ?",
            [*values, page.limit, page.offset],
        ).fetchall()
        total = self._db.execute(f"SELECT count(*){source}", values).fetchone()[0]
        return [self._item(row, urls) for row in rows], total

    def _item(self, row: Row, urls: bool) -> VideoItem:
        id, platform, url, title, duration, assets, time, newest = row
        times = [*([time] if time is not None else []), *([newest // 1000] if newest is not None else [])]
        fields = (id, platform, url, title, duration, assets, max(times, default=None))
        if not urls or not assets:
            return VideoItem(*fields)
        return VideoItem(*fields, self._first(id), self._preview(id, duration))

    def _first(self, video: str) -> str | None:
        row = self._db.execute(
            f"SELECT image{_FRAMES} ORDER BY ts IS NULL, ts, id LIMIT 1", (video,)
        ).fetchone()
        return None if row is None else str(row[0])

    def _preview(self, video: str, duration: float | None) -> PreviewFrame | None:
        """The frame nearest to the middle, one with a mask before any other."""
        number = self._nearest(video, duration)
        row = self._db.execute(
            "SELECT id, ts, image, segment, has FROM assets WHERE asset=?", (number,)
        ).fetchone()
        if row is None:
            return None
        id, ts, image, segment, has = row
        return PreviewFrame(id, ts, image, segment if has & _MASK else None)

    def _nearest(self, video: str, duration: float | None) -> int | None:
        values: list[Any] = [video]
        first, last = self._db.execute(f"SELECT min(ts), max(ts){_FRAMES}", (video,)).fetchone()
        if first is None:
            distance = "abs(2*place-frames+1)"
        else:
            distance = "ts IS NULL, abs(ts-?)"
            values.append((first + last) / 2 if duration is None else duration / 2)
        row = self._db.execute(
            "SELECT asset FROM (SELECT asset, has, ts, id, count(*) OVER () AS frames,"
            f" row_number() OVER (ORDER BY ts IS NULL, ts, id)-1 AS place{_FRAMES})"
            f" ORDER BY has & {_MASK} DESC, {distance}, place LIMIT 1",
            values,
        ).fetchone()
        return None if row is None else int(row[0])


def video_filter(q: str | None, platform: str | None, min_frames: int | None) -> Filter:
    """The filter of the list of videos."""
    filters = Filter()
    if q is not None:
        filters.add("instr(title_key, ?)", search_key(q))
    if platform is not None:
        filters.add("fold(platform)=?", platform.casefold())
    if min_frames is not None:
        filters.add("assets>=?", min_frames)
    return filters
