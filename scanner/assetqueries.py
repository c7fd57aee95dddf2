"""Lists of assets, and single ones, out of the index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from scanner.owners import search_key
from scanner.querysql import HAS_FILTERS, Filter, Row, Source, count_sql, page_sql
from scanner.records import ARTIFACTS, AssetItem, AssetType, Feature, GalleryItem, Kind, Page
from scanner.resolve import CORRUPT_SHIFT, HAS

_ITEMS = (
    "SELECT a.asset, a.type, a.id, a.owner, a.ts, o.title, a.image, a.segment, a.embedding, a.keypoints,"
    " a.has, a.image_updated, a.updated"
    " FROM assets a LEFT JOIN owners o ON o.type=a.type AND o.id=a.owner WHERE "
)
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
    """How many assets of whole scopes have a feature, by the counters where they can tell."""
    if has in ("any", "none"):
        return count(db, source, has_filter(has))
    row = db.execute(
        "SELECT coalesce(sum(n), 0) FROM counters"
        " WHERE type=? AND name=? AND scope IN (SELECT value FROM json_each(?))",
        (source.type, has or "total", json.dumps(list(source.scopes))),
    ).fetchone()
    return int(row[0])


def has_filter(has: str | None) -> Filter:
    """The filter that the parameter ``has`` stands for."""
    filters = Filter()
    if has is not None:
        filters.add(HAS_FILTERS[has])
    return filters


def text_filter(q: str, type: AssetType = AssetType.PRODUCT_IMAGE) -> Filter:
    """Assets whose id, or whose product's or video's title, holds the text."""
    key = search_key(q)
    filters = Filter()
    filters.add(
        f"instr({_ID_KEY}, ?) OR owner IN"
        f" (SELECT id FROM owners WHERE type={int(type)} AND instr(title_key, ?))",
        key,
        key,
    )
    return filters


def gallery_filter(type: AssetType, has: str | None, q: str | None, kinds: Sequence[Kind]) -> Filter:
    """Assets that have a feature, hold a text, and of which one finding is of one of these kinds."""
    filters = Filter() if q is None else text_filter(q, type)
    if has is not None:
        filters.add(HAS_FILTERS[has])
    if kinds:
        filters.add(
            "id IN (SELECT f.id FROM findings f WHERE f.state=1 AND f.type=? AND f.feature<?"
            " AND f.kind IN (SELECT value FROM json_each(?)))",
            int(type),
            len(Feature),
            json.dumps([kind.value for kind in kinds]),
        )
    return filters


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


def page_items(db: Any, source: Source, sort: str, filters: Filter, page: Page) -> list[AssetItem]:
    """The assets of a page, in order."""
    if not source.branches():
        return []
    sql, values = page_sql(source, sort, filters, page)
    return items(db, [row[0] for row in db.execute(sql, values)])


def items(db: Any, numbers: Sequence[int]) -> list[AssetItem]:
    """The assets with these numbers, in the order given."""
    rows = db.execute(_ITEMS + "a.asset IN (SELECT value FROM json_each(?))", (json.dumps(numbers),))
    found = {row[0]: row for row in rows}
    return [_item(found[number]) for number in numbers]


def by_id(db: Any, type: AssetType, id: str) -> AssetItem | None:
    """One listed asset."""
    row = db.execute(_ITEMS + "a.type=? AND a.id=? AND a.listed", (type, id)).fetchone()
    return None if row is None else _item(row)


def _item(row: Row) -> AssetItem:
    _, type, id, owner, ts, title, image, segment, embedding, keypoints, has, image_updated, updated = row
    corrupt = has >> CORRUPT_SHIFT
    return AssetItem(
        AssetType(type),
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
