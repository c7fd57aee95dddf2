"""Lists of assets, and single ones, out of the index."""

from __future__ import annotations

import json
import logging
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any, Generic, TypeVar, cast

from scanner.division import Division
from scanner.owners import search_key
from scanner.querysql import (
    ALL,
    HAS_FILTERS,
    HAS_TERM,
    MERGED,
    Filter,
    Order,
    Row,
    Source,
    array_sql,
    count_sql,
    order_of,
    reversed_order,
)
from scanner.ranks import Ranks
from scanner.records import ARTIFACTS, AssetItem, AssetType, Feature, GalleryItem, Kind, Page, PictureItem
from scanner.resolve import CORRUPT_SHIFT, HAS
from scanner.stretches import Stretch, rows_of
from scanner.textsearch import id_term

LOG = logging.getLogger(__name__)
Item = TypeVar("Item", bound=PictureItem)


@dataclass(frozen=True, slots=True)
class View(Generic[Item]):
    """What is read of each asset of a list: the columns of a row, and the record that is made of them."""

    columns: str
    record: type[Item]


_TITLE = "(SELECT o.title FROM owners o WHERE o.type=assets.type AND o.id=assets.owner)"
_PICTURE = "id, owner, ts, {}, image, image_updated"
_ASSET = _PICTURE + ", type, segment, embedding, keypoints, has, updated"
PICTURES = View(_PICTURE.format("NULL"), PictureItem)
TITLED_PICTURES = View(_PICTURE.format(_TITLE), PictureItem)
ASSETS = View(_ASSET.format("NULL"), AssetItem)
TITLED_ASSETS = View(_ASSET.format(_TITLE), AssetItem)
_NEAR = 64  # rows that are passed over in less time than a rank takes to answer
_FAR = 1024  # rows that are passed over in less time than it is worth to make a rank
_LONG = 8192  # lists shorter than this are read from their nearer end in a fraction of a millisecond
BY_ID = ("img_id", "frame_id", "asset_id")
_CORRUPT = tuple(
    (HAS[feature] << CORRUPT_SHIFT, path)
    for feature, path in zip(ARTIFACTS, ("segment_path", "embedding_path", "keypoints_path"), strict=True)
)


def listed_scopes(db: Any, job: str, type: AssetType) -> list[int]:
    """The scopes of a job that have listed assets of a type."""
    rows = db.execute(
        "SELECT scope FROM job_scopes JOIN counters USING(scope)"
        " WHERE job=? AND type=? AND name='total' AND n>0 ORDER BY scope",
        (job, type),
    )
    return [scope for (scope,) in rows]


def count(db: Any, source: Source, filters: Filter) -> int:
    """How many assets match, counted one by one in an index."""
    if not source.branches():
        return 0
    sql, values = count_sql(source, filters)
    return sum(n for (n,) in db.execute(sql, values))


def counted(db: Any, source: Source, has: str | None) -> int:
    """How many assets of whole scopes have a feature, by the counters."""
    rows = db.execute(
        "SELECT name, sum(n) FROM counters WHERE type=? AND name IN (?, ?)"
        " AND scope IN (SELECT value FROM json_each(?)) GROUP BY name",
        (source.type, "total", _COUNTERS.get(has, has), json.dumps(list(source.scopes))),
    )
    found: dict[str, int] = dict(rows)
    if has == "none":
        return found.get("total", 0) - found.get("any", 0)
    return found.get(has or "total", 0)


_COUNTERS = {None: "total", "none": "any"}


def has_filter(has: str | None) -> Filter:
    """The filter that the parameter ``has`` stands for."""
    filters = Filter()
    if has is not None:
        filters.add(HAS_TERM, *HAS_FILTERS[has])
    return filters


def search_filter(
    source: Source, q: str | None, has: str | None = None, kinds: Sequence[Kind] = ()
) -> Filter:
    """Assets of the source that hold a text, have a feature, and of which one finding is of these kinds.

    The text is looked for in the asset's id and in the title of its product or video.
    """
    filters = has_filter(has)
    if kinds:
        filters.add(
            "id IN (SELECT f.id FROM findings f WHERE f.state=1 AND f.type=? AND f.feature<?"
            " AND f.kind IN (SELECT value FROM json_each(?)))",
            int(source.type),
            len(Feature),
            json.dumps([kind.value for kind in kinds]),
        )
    if q is not None:
        _add_text(filters, source, search_key(q))
    return filters


def _add_text(filters: Filter, source: Source, key: str) -> None:
    """Titles choose numbers: an index in the order of the list has these, and the ids, but no owners."""
    type = int(source.type)
    if source.owner is None:
        among, value = "scope IN (SELECT value FROM json_each(?))", json.dumps(list(source.scopes))
    else:
        among, value = "id=?", source.owner
    named, pattern = id_term(key)
    filters.add(
        f"{named} OR asset IN (SELECT a.asset FROM assets a WHERE a.type={type} AND a.listed"
        f" AND a.owner IN (SELECT id FROM owners WHERE type={type} AND {among} AND instr(title_key, ?)))",
        *pattern,
        value,
        key,
    )


def with_findings(db: Any, type: AssetType, assets: Sequence[AssetItem]) -> list[GalleryItem]:
    """Assets of one type, each with its published findings."""
    rows = db.execute(
        "SELECT id, feature, kind FROM findings WHERE state=1 AND type=? AND feature<?"
        " AND id IN (SELECT value FROM json_each(?)) ORDER BY id, feature, kind",
        (int(type), len(Feature), json.dumps([asset.asset_id for asset in assets])),
    )
    found: dict[str, list[tuple[Feature, Kind]]] = {}
    for id, feature, kind in rows:
        found.setdefault(id, []).append((Feature(feature), Kind(kind)))
    return [GalleryItem(asset, tuple(found.get(asset.asset_id, ()))) for asset in assets]


@dataclass(frozen=True, slots=True)
class Extent:
    """How long a list is: ``rows`` before its filter, ``total`` behind it."""

    rows: int
    total: int


def page_items(
    db: Any,
    ranks: Ranks | None,
    source: Source,
    has: str | None,
    page: Page,
    extent: Extent,
    view: View[Item],
) -> list[Item]:
    """The assets of a page, in order; ``page.sort_by`` is one of ``SORTS``."""
    return _built(view, _page_rows(db, ranks, source, has, page, extent, view.columns))


def _page_rows(
    db: Any, ranks: Ranks | None, source: Source, has: str | None, page: Page, extent: Extent, columns: str
) -> list[Row]:
    limit = min(page.limit, extent.total - page.offset)
    if limit <= 0:
        return []
    rest = extent.total - page.offset - limit
    order, filters = order_of(page.sort_by, page.descending), has_filter(has)
    passed = min(page.offset, rest)
    if ranks is not None and _is_long(source, has, passed, extent):
        # The ids in descending order are those in ascending order from their end.
        backward = page.sort_by in BY_ID and page.descending
        division = Division(source, reversed_order(order) if backward else order)
        rank = ranks.find(division, extent.rows if _is_far(has, passed, extent) else None)
        if rank is not None and rank.total(has) == extent.total:
            found = rank.page(db, has, rest if backward else page.offset, limit)
            if len(found) == limit:
                return rows_of(db, found[::-1] if backward else found, columns)
        if rank is not None:
            LOG.error("a rank of %s does not agree with the counters, and is made anew", source)
            ranks.forget()
    if rest < page.offset:
        return _rows(db, source, reversed_order(order), filters, limit, rest, columns)[::-1]
    return _rows(db, source, order, filters, limit, page.offset, columns)


def _is_long(source: Source, has: str | None, passed: int, extent: Extent) -> bool:
    """Whether a rank answers sooner than the index."""
    if extent.rows < _LONG or len(source.scopes) > MERGED:
        return False
    return has is not None or passed > _NEAR


def _is_far(has: str | None, passed: int, extent: Extent) -> bool:
    """Whether a page lies behind so much that it is worth knowing where."""
    return passed > _FAR or (has is not None and extent.total < extent.rows // 4)


def _rows(
    db: Any, source: Source, order: Order, filters: Filter, limit: int, offset: int, columns: str
) -> list[Row]:
    """These columns of the assets at these positions."""
    found: list[Row] = []
    for part in order:
        if len(found) == limit:
            break
        rows = Stretch(db, source, part, filters, ALL).rows(limit - len(found), offset, columns)
        found += rows
        if rows:
            offset = 0
        elif offset and part is not order[-1]:
            within = Filter([*filters.terms, part.condition], [*filters.values])
            offset -= count(db, source, within)
    return found


def matching(db: Any, source: Source, order: Order, filters: Filter) -> array[int]:
    """The numbers of all assets that match, in order."""
    found = array("q")
    for part in order:
        ((numbers,),) = db.execute(*array_sql(source, part, filters))
        found.extend(json.loads(numbers))
    return found


def items(db: Any, numbers: Sequence[int], view: View[Item]) -> list[Item]:
    """The assets with these numbers, in the order given."""
    return _built(view, rows_of(db, numbers, view.columns))


def by_id(db: Any, type: AssetType, id: str) -> AssetItem | None:
    """One listed asset."""
    view = TITLED_ASSETS
    rows = db.execute(f"SELECT {view.columns} FROM assets WHERE type=? AND id=? AND listed", (type, id))
    found = _built(view, rows.fetchall())
    return found[0] if found else None


def _built(view: View[Item], rows: Iterable[Row]) -> list[Item]:
    found = list(starmap(view.record, rows))
    if issubclass(view.record, AssetItem):
        for item in cast("list[AssetItem]", found):
            if item.has >> CORRUPT_SHIFT:
                _hide_corrupt(item)
    return found


def _hide_corrupt(item: AssetItem) -> None:
    for bit, path in _CORRUPT:
        if item.has & bit:
            setattr(item, path, None)
