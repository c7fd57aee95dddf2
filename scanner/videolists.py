"""The videos of a job, remembered: sorted and filtered without asking the index for each of them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from scanner.owners import search_key
from scanner.querysql import Row
from scanner.records import Page, VideoItem

_MOST_FOUND = 200_000  # places in lists that filters have left
_MOST_FILTERS = 1000  # also of those that have left nothing


class VideoFilter(NamedTuple):
    """What a list of videos is narrowed to; None lets everything through."""

    q: str | None = None
    platform: str | None = None
    min_frames: int | None = None


class Entry(NamedTuple):
    """A video with what it is compared by; ``updated_ns`` is None where nothing in it has a time."""

    item: VideoItem
    title_key: str | None
    platform: str | None
    updated_ns: int | None


def entry_of(row: Row) -> Entry:
    """An entry from (id, platform, url, title, duration, assets, time, newest, title key)."""
    id, platform, url, title, duration, assets, time, newest, title_key = row
    updated = max((ns for ns in (newest, time and time * 1000) if ns is not None), default=None)
    micros = None if updated is None else updated // 1000
    item = VideoItem(id, platform, url, title, duration, assets, micros)
    return Entry(item, title_key, None if platform is None else platform.casefold(), updated)


_KEYS: dict[str, Callable[[Entry], Any]] = {
    "updated_at": lambda entry: entry.updated_ns,
    "duration_s": lambda entry: entry.item.duration_s,
    "frames_count": lambda entry: entry.item.frames_count,
    "title": lambda entry: entry.title_key,
}


class VideoList:
    """All videos of one job, as of one state of the index."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = sorted(entries, key=lambda entry: entry.item.video_id)
        self._sorted: dict[tuple[str, bool], list[Entry]] = {}
        self._found: dict[tuple[str, bool, VideoFilter], list[Entry]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def page(self, filters: VideoFilter, page: Page) -> tuple[list[VideoItem], int]:
        """A page of what the filters let through, and how many that are."""
        entries = self._filtered(page.sort_by, page.descending, filters)
        part = entries[page.offset : page.offset + page.limit]
        return [entry.item for entry in part], len(entries)

    def _filtered(self, sort: str, descending: bool, filters: VideoFilter) -> list[Entry]:
        if filters == _EVERYTHING:
            return self._in_order(sort, descending)
        key = (sort, descending, filters)
        found = self._found.get(key)
        if found is None:
            found = list(_matching(self._in_order(sort, descending), filters))
            held = sum(map(len, self._found.values()))
            if len(self._found) >= _MOST_FILTERS or held + len(found) > _MOST_FOUND:
                self._found.clear()
            self._found[key] = found
        return found

    def _in_order(self, sort: str, descending: bool) -> list[Entry]:
        """Nulls last, ties by id ascending."""
        known = self._sorted.get((sort, descending))
        if known is None:
            key = _KEYS[sort]
            with_value = [entry for entry in self._entries if key(entry) is not None]
            with_value.sort(key=key, reverse=descending)
            known = with_value + [entry for entry in self._entries if key(entry) is None]
            self._sorted[sort, descending] = known
        return known


_EVERYTHING = VideoFilter()


def _matching(entries: Iterable[Entry], filters: VideoFilter) -> Iterable[Entry]:
    q, platform, fewest = filters
    if q is not None:
        key = search_key(q)
        entries = (entry for entry in entries if entry.title_key is not None and key in entry.title_key)
    if platform is not None:
        name = platform.casefold()
        entries = (entry for entry in entries if entry.platform == name)
    if fewest is not None:
        entries = (entry for entry in entries if entry.item.frames_count >= fewest)
    return entries
