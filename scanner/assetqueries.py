"""Lists of assets, and single ones, out of the index."""

from __future__ import annotations

import json
import logging
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scanner.owners import search_key
from scanner.querysql import (
    HAS_FILTERS,
    MERGED,
    Filter,
    Order,
    Row,
    Source,
    array_sql,
    count_sql,
    list_sql,
    order_of,
    reversed_order,
)
from scanner.ranks import Ranks
from scanner.records import ARTIFACTS, AssetItem, AssetType, Feature, GalleryItem, Kind, Page
from scanner.resolve import CORRUPT_SHIFT, HAS

LOG = logging.getLogger(__name__)
_COLUMNS = (
    "SELECT a.asset, a.type, a.id, a.owner, a.ts, {title}, a.image, a.segment, a.embedding, a.keypoints,"
    " a.has, a.image_updated, a.updated FROM assets a{owners} WHERE "
)
_UNTITLED = _COLUMNS.format(title="NULL", owners="")
_TITLED = _COLUMNS.format(title="o.title", owners=" LEFT JOIN owners o ON o.type=a.type AND o.id=a.owner")
_FAR = 1024  # rows that are passed over in less time than a rank takes to answer
_LONG = 8192  # lists shorter than this are read from their nearer end in a fraction of a millisecond
_SHORT = 50  # pages of up to this many have a statement of their own
BY_ID = ("img_id", "frame_id", "asset_id")
_TYPES = tuple(AssetType)
_SEGMENT, _EMBEDDING, _KEYPOINTS = (HAS[feature] for feature in ARTIFACTS)
# ASCII needs no Unicode to be folded, and is what ids are made of.
_ID_KEY = "CASE WHEN octet_length(id)=length(id) THEN lower(id) ELSE search_key(id) END"


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
        filters.add(HAS_FILTERS[has])
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
    filters.add(
        f"instr({_ID_KEY}, ?) OR asset IN (SELECT a.asset FROM assets a WHERE a.type={type} AND a.listed"
        f" AND a.owner IN (SELECT id FROM owners WHERE type={type} AND {among} AND instr(title_key, ?)))",
        key,
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


def page_numbers(
    db: Any, ranks: Ranks | None, source: Source, has: str | None, page: Page, extent: Extent
) -> list[int]:
    """The numbers of the assets of a page, in order; ``page.sort_by`` is one of ``SORTS``."""
    limit = min(page.limit, extent.total - page.offset)
    if limit <= 0:
        return []
    rest = extent.total - page.offset - limit
    order, filters = order_of(page.sort_by, page.descending), has_filter(has)
    if ranks is not None and _is_long(source, has, min(page.offset, rest), extent):
        # The ids in descending order are those in ascending order from their end.
        backward = page.sort_by in BY_ID and page.descending
        rank = ranks.find(source, reversed_order(order) if backward else order, extent.rows)
        if rank is not None and rank.total(has) == extent.total:
            found = rank.page(db, has, filters, rest if backward else page.offset, limit)
            if len(found) == limit:
                return found[::-1] if backward else found
        if rank is not None:
            LOG.error("a rank of %s does not agree with the counters, and is made anew", source)
            ranks.forget()
    if rest < page.offset:
        return _numbers(db, source, reversed_order(order), filters, limit, rest)[::-1]
    return _numbers(db, source, order, filters, limit, page.offset)


def _is_long(source: Source, has: str | None, passed: int, extent: Extent) -> bool:
    """Whether a page lies behind so much that it is worth knowing where."""
    if extent.rows < _LONG or len(source.scopes) > MERGED:
        return False
    return passed > _FAR or (has is not None and extent.total < extent.rows // 4)


def _numbers(db: Any, source: Source, order: Order, filters: Filter, limit: int, offset: int) -> list[int]:
    """The numbers of the assets at these positions."""
    found: list[int] = []
    for part in order:
        if len(found) == limit:
            break
        sql, values = list_sql(source, part, filters, keys=False)
        rows = [row[0] for row in db.execute(sql, [*values, limit - len(found), offset])]
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


def items(db: Any, numbers: Sequence[int], titles: bool = False) -> list[AssetItem]:
    """The assets with these numbers, in the order given; ``titles`` fills those of their products."""
    select = _TITLED if titles else _UNTITLED
    if len(numbers) > _SHORT:
        rows = db.execute(select + "a.asset IN (SELECT value FROM json_each(?))", (json.dumps(numbers),))
    else:
        rows = db.execute(select + f"a.asset IN ({', '.join('?' * len(numbers))})", numbers)
    found = {row[0]: row for row in rows}
    return [_item(found[number]) for number in numbers]


def by_id(db: Any, type: AssetType, id: str) -> AssetItem | None:
    """One listed asset."""
    row = db.execute(_TITLED + "a.type=? AND a.id=? AND a.listed", (type, id)).fetchone()
    return None if row is None else _item(row)


def _item(row: Row) -> AssetItem:
    _, type, id, owner, ts, title, image, segment, embedding, keypoints, has, image_updated, updated = row
    corrupt = has >> CORRUPT_SHIFT
    return AssetItem(
        _TYPES[type],
        id,
        owner,
        ts,
        title,
        image,
        None if corrupt & _SEGMENT else segment,
        None if corrupt & _EMBEDDING else embedding,
        None if corrupt & _KEYPOINTS else keypoints,
        bool(has & _SEGMENT),
        bool(has & _EMBEDDING),
        bool(has & _KEYPOINTS),
        image_updated // 1000,
        updated // 1000,
    )
