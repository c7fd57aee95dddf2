"""Positions of lists are those of a sort by hand, though no more is sorted than an index lacks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import apsw
import pytest

from scanner import schema
from scanner.querysql import ALL, Branch, Filter, Source, order_of, prepare, reversed_order
from scanner.records import AssetType
from scanner.stretches import Stretch

IMAGE, FRAME = AssetType.PRODUCT_IMAGE, AssetType.VIDEO_FRAME
SIZE = 90
COLUMNS = "id, has"
SORTS = ("updated_at", "image_updated_at", "asset_id", "ts")
SOURCES = (
    Source(FRAME, (1,)),
    Source(IMAGE, (1,)),
    Source(FRAME, (1, 2)),
    Source(FRAME, owner="o1"),
    Source(IMAGE, owner="o1"),
)
Asset = dict[str, Any]


@pytest.fixture(params=[1, 4, 1000], ids=["all times equal", "few times", "hardly any equal"])
def world(request: pytest.FixtureRequest) -> Iterator[tuple[apsw.Connection, list[Asset]]]:
    """Assets of both types in two scopes and of two owners, with so many different times."""
    rng = random.Random(request.param)
    db = apsw.Connection(":memory:")
    prepare(db)
    schema.create(db)
    assets = []
    for number, place in enumerate(rng.sample(range(4 * SIZE), 4 * SIZE)):
        scope, type = 1 + place % 2, AssetType(place // 2 % 2)
        times = [rng.randrange(request.param) for _ in range(3)]
        ts = None if type is IMAGE or times[2] % 3 == 2 else float(times[2])
        asset = {
            "asset": number,
            "type": type,
            "id": f"a{place:03}",
            "owner": f"o{scope}",
            "scope": scope,
            "has": rng.randrange(8),
            "updated": times[0],
            "image_updated": times[1],
            "ts": ts,
        }
        db.execute(
            f"INSERT INTO assets(listed, checks, {', '.join(asset)})"
            f" VALUES(1, 0, {', '.join('?' * len(asset))})",
            list(asset.values()),
        )
        assets.append(asset)
    yield db, assets
    db.close()


def by_hand(assets: list[Asset], source: Source, sort: str, descending: bool, backward: bool) -> list[Asset]:
    """All assets of a source in an order, with those that have no time at the end of it."""
    found = [
        asset
        for asset in assets
        if asset["type"] is source.type
        and (asset["owner"] == source.owner or asset["scope"] in source.scopes)
    ]
    found.sort(key=lambda asset: asset["id"], reverse=descending and sort == "asset_id")
    if sort != "asset_id":
        column = sort.removesuffix("_at")
        known = [asset for asset in found if asset[column] is not None]
        known.sort(key=lambda asset: asset[column], reverse=descending)
        found = known + [asset for asset in found if asset[column] is None]
    return found[::-1] if backward else found


@pytest.mark.parametrize("sort", SORTS)
def test_every_position_is_that_of_a_sort_by_hand(
    world: tuple[apsw.Connection, list[Asset]], sort: str
) -> None:
    db, assets = world
    rng = random.Random(sort)
    for source in SOURCES:
        for descending in (False, True):
            for backward in (False, True):
                expected = by_hand(assets, source, sort, descending, backward)
                order = order_of(sort, descending)
                for part in reversed_order(order) if backward else order:
                    column = part.terms[0].column
                    null = [asset for asset in expected if asset["ts"] is None]
                    there = expected if sort != "ts" else null if column == "id" else _without(expected, null)
                    stretch = Stretch(db, source, part, Filter(), ALL)
                    for _ in range(25):
                        limit, offset = rng.choice((1, 2, 7, 30, 200)), rng.randrange(SIZE + 5)
                        found = stretch.rows(limit, offset, COLUMNS)
                        wanted = there[offset : offset + limit]
                        assert found == [(asset["id"], asset["has"]) for asset in wanted], (source, part)


def _without(assets: list[Asset], others: list[Asset]) -> list[Asset]:
    return [asset for asset in assets if asset not in others]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("source", "sort"),
    [
        *((Source(FRAME, (1,)), sort) for sort in ("updated_at", "asset_id", "ts")),
        *((Source(IMAGE, (1,)), sort) for sort in ("updated_at", "asset_id", "image_updated_at")),
        *((Source(FRAME, owner="o1"), sort) for sort in ("asset_id", "ts")),
        (Source(IMAGE, owner="o1"), "asset_id"),
    ],
)
def test_what_an_index_has_is_not_sorted(
    world: tuple[apsw.Connection, list[Asset]], source: Source, sort: str, descending: bool
) -> None:
    db, _ = world
    for within in _withins(sort):
        for part in (order_of(sort, descending)[0], reversed_order(order_of(sort, descending))[-1]):
            filters = Filter()
            filters.add("((has & ?) <> 0) = ?", 7, 1)
            asked: list[str] = []
            db.exec_trace = lambda _, sql, values: asked.append(sql) or True  # noqa: B023
            Stretch(db, source, part, filters, within).rows(20, 5, COLUMNS)
            db.exec_trace = None
            assert asked
            for sql in asked:
                plan = [row[3] for row in db.execute("EXPLAIN QUERY PLAN " + sql, [1] * sql.count("?"))]
                assert not [step for step in plan if "TEMP B-TREE" in step], (sql, plan)


def _withins(sort: str) -> list[Branch]:
    return [ALL, ("ts=? AND id > ?", [1.0, "a"])] if sort == "ts" else [ALL]
