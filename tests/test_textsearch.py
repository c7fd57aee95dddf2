"""The first answer of a search is the head of what a search of everything finds, for any text and order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scanner import assetqueries, textsearch
from scanner.config import Config
from scanner.index import Index
from scanner.owners import search_key
from scanner.queries import Queries
from scanner.querysql import SORTS, Source, order_of
from scanner.records import AssetType, Page
from scanner.textsearch import TextSearch

PIECES = ("a", "B", "%", "_", "\\", "é", "e\u0301", "ß", "SS", "\u212a", "k", "İ", "1", "0", " ", "ﬁ", "A\0B")
TEXTS = (*PIECES, "", "ss", "fi", "aB", "b1", "a%", "zzz", "x" * 2000, "1\\", "É", "0a\0b")


@pytest.fixture(params=range(3))
def queries(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queries]:
    """A job of so many scopes and one, with ids and titles of odd pieces; some assets have no owner."""
    path, rng = str(tmp_path / "index.db"), random.Random(request.param)
    with closing(Index(path, Config())) as index, index.db:
        index.db.execute("INSERT INTO jobs(job) VALUES('j')")
        for scope in range(10, 11 + request.param):
            index.db.execute("INSERT INTO job_scopes VALUES('j', ?)", (scope,))
        for owner in range(30):
            _insert_owner(index.db, rng, owner, 10 + rng.randrange(1 + request.param))
        _insert_asset(index.db, rng, "nobody", None, 10)
        for type in AssetType:
            index.db.execute("INSERT INTO counters VALUES(10, ?, 'total', 1)", (type,))
    with closing(Queries(path, Config())) as found:
        yield found


def _text(rng: random.Random) -> str:
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 4)))


def _insert_owner(db: Any, rng: random.Random, number: int, scope: int) -> None:
    title = rng.choice([None, _text(rng), f"{_text(rng)} {_text(rng)}"])
    key = None if title is None else search_key(title)
    for type in AssetType:
        listed = sum(
            _insert_asset(db, rng, f"{_text(rng)}{number}", f"o{number}", scope, type) for _ in range(9)
        )
        db.execute(
            "INSERT INTO owners(type, id, recorded, scope, title, title_key, assets) VALUES(?,?,1,?,?,?,?)",
            (type, f"o{number}", scope, title, key, listed),
        )


def _insert_asset(
    db: Any, rng: random.Random, id: str, owner: str | None, scope: int, type: int = AssetType.PRODUCT_IMAGE
) -> bool:
    """Whether there is one more that is listed."""
    if db.execute("SELECT 1 FROM assets WHERE type=? AND id=?", (type, id)).fetchone():
        return False
    listed, ts = rng.random() < 0.9, rng.choice([None, 1.5, 2.0])
    updated = rng.randrange(5) * 10**9
    db.execute(
        "INSERT INTO assets(type, id, listed, owner, scope, has, checks, ts, image, image_updated, updated)"
        " VALUES(?,?,?,?,?,?,0,?,'x',?,?)",
        (type, id, listed, owner, scope, rng.randrange(8), ts, updated, updated),
    )
    return listed


@pytest.mark.parametrize("few", [0, 20, 4096])
@pytest.mark.parametrize("type", AssetType)
def test_the_first_are_those_of_all(
    queries: Queries, type: AssetType, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many count as few, and wherever what is remembered ends."""
    monkeypatch.setattr(textsearch, "FEW", few)
    monkeypatch.setattr(textsearch, "HEAD", 12)
    source = Source(type, tuple(range(10, 13)))
    sizes = set()
    for text in TEXTS:
        key = search_key(text)
        expected = _by_hand(queries, source, key)
        for sort in SORTS:
            for descending in (False, True):
                order = order_of(sort, descending)
                filters = assetqueries.search_filter(source, text)
                everything = assetqueries.matching(queries._db, source, order, filters)
                assert set(everything) == expected, ascii(text)
                found = TextSearch(queries._db, source, key).first(order)
                assert found.total == len(everything), ascii(text)
                assert found.numbers == everything[: len(found.numbers)], ascii(text)
                assert len(found.numbers) >= min(12, found.total)
                sizes.add(min(found.total, 21))
    assert {0, 21} < sizes


def _by_hand(queries: Queries, source: Source, key: str) -> set[int]:
    """What holds the text, compared here and not in SQL."""
    rows = queries._db.execute(
        "SELECT asset, a.id, title FROM assets a LEFT JOIN owners o ON o.type=a.type AND o.id=a.owner"
        " WHERE a.type=? AND listed AND a.scope BETWEEN 10 AND 12",
        (source.type,),
    )
    return {asset for asset, *texts in rows if any(text and key in search_key(text) for text in texts)}


def test_pages_of_a_search_follow_on_each_other(queries: Queries, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the first answer knows, and then all others."""
    monkeypatch.setattr(textsearch, "FEW", 5)
    monkeypatch.setattr(textsearch, "HEAD", 12)
    for sort in ("img_id", "updated_at"):
        for offsets in (range(0, 200, 7), (150, 0), (7, 1000)):
            queries._found.clear()
            whole = queries.images("j", None, "1", Page(1000, 0, sort, True))
            queries._found.clear()
            assert whole is not None
            assert whole[1] > 12
            for offset in offsets:
                page = queries.images("j", None, "1", Page(7, offset, sort, True))
                assert page is not None
                assert page[1] == whole[1]
                assert [i.asset_id for i in page[0]] == [i.asset_id for i in whole[0][offset : offset + 7]]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["img_id", "updated_at"])
@pytest.mark.parametrize("product", [None, "o1", "nope"])
@pytest.mark.parametrize("queries", [0], indirect=True)
def test_a_job_without_products_has_no_images_to_find(
    queries: Queries, tmp_path: Path, product: str | None, sort: str, order: str
) -> None:
    with closing(Index(str(tmp_path / "index.db"), Config())) as index, index.db:
        index.db.execute("INSERT INTO jobs(job) VALUES('empty')")
    assert queries.images("empty", product, "a", Page(10, 0, sort, order == "desc")) == ([], 0)
    assert queries.images("j", "nope", "a", Page(10, 0, sort, order == "desc")) == ([], 0)
