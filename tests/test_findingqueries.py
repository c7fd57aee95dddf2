"""Pages of findings: whatever an index has in their order, and however many scopes a job has."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scanner import findingqueries
from scanner.config import Config
from scanner.findingqueries import is_natural
from scanner.index import Index
from scanner.queries import Queries
from scanner.querysql import MERGED
from scanner.records import FindingItem, FindingRequest, Kind, Page

SORTS = ("asset_id", "kind", "path")


@pytest.fixture(params=[1, 3, MERGED + 1])
def queries(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queries]:
    """A job of so many scopes with 80 findings, and as many in another job."""
    path = str(tmp_path / "index.db")
    rng = random.Random(request.param)
    with closing(Index(path, Config())) as index, index.db:
        index.db.execute("INSERT INTO jobs(job) VALUES('j'), ('k')")
        for scope in range(10, 10 + 2 * request.param):
            index.db.execute("INSERT INTO job_scopes VALUES(?, ?)", ("jk"[scope % 2], scope))
        for _ in range(160):
            _insert(index, rng, 10 + rng.randrange(2 * request.param))
    with closing(Queries(path, Config())) as found:
        yield found


def _insert(index: Index, rng: random.Random, scope: int) -> None:
    path = rng.choice([None, f"frames/{rng.randrange(9)}.jpg"])
    key = (rng.randrange(2), f"a{rng.randrange(20)}", rng.randrange(4), str(rng.choice(list(Kind))))
    if index.db.execute("SELECT 1 FROM findings WHERE (type, id, feature, kind)=(?,?,?,?)", key).fetchone():
        return
    state = int(rng.random() < 0.8)
    index.db.execute(
        "INSERT INTO findings VALUES(?,?,?,?,?,?,?,NULL,'',NULL,0,0,0)", (*key, scope, state, path)
    )
    if state:
        index.db.execute(
            "INSERT INTO counters VALUES(?,?,?,1) ON CONFLICT DO UPDATE SET n=n+1",
            (scope, key[0], f"finding:{key[3]}:{key[2]}"),
        )


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("job", ["j", None])
def test_pages_are_those_of_a_sort_of_all(
    queries: Queries, sort: str, descending: bool, job: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so are all of them, however few are read at once."""
    monkeypatch.setattr(findingqueries, "PORTION", 3)
    asked = FindingRequest(Page(7, 0, sort, descending), job)
    everything = _sorted(list(queries.all_findings(asked)), sort, descending)
    assert len(everything) > 40
    monkeypatch.setattr(findingqueries, "PORTION", 1000)
    assert everything == list(queries.all_findings(asked))
    found: list[FindingItem] = []
    for offset in range(0, len(everything) + 7, 7):
        page = queries.findings(FindingRequest(Page(7, offset, sort, descending), job))
        assert page is not None
        assert page[1] == len(everything)
        found += page[0]
    assert found == everything


def _sorted(items: list[FindingItem], sort: str, descending: bool) -> list[FindingItem]:
    items = sorted(items, key=lambda item: (item.asset_id, item.type, item.feature, item.kind))
    if sort == "path":
        known = sorted((i for i in items if i.path), key=lambda i: i.path or "", reverse=descending)
        return known + [item for item in items if not item.path]
    key = {"asset_id": "asset_id", "kind": "kind"}[sort]
    return sorted(items, key=lambda item: str(getattr(item, key)), reverse=descending)


@pytest.mark.parametrize("sort", SORTS)
def test_a_page_of_a_job_is_read_from_an_index(queries: Queries, sort: str) -> None:
    """What is not searched for is answered between other requests: nothing is sorted for it."""
    asked = FindingRequest(Page(7, 0, sort, False), "j")
    assert is_natural(asked)
    statements: list[tuple[str, Any]] = []

    def note(cursor: object, sql: str, values: Any) -> bool:
        statements.append((sql, values))
        return True

    queries._db.exec_trace = note
    assert queries.findings(asked)
    queries._db.exec_trace = None
    ((page, values),) = (made for made in statements if "ORDER BY" in made[0])
    plan = [step[3] for step in queries._db.execute(f"EXPLAIN QUERY PLAN {page}", values)]
    merged = len(queries._findings._scopes("j")) <= MERGED
    assert any("TEMP B-TREE" in step for step in plan) != merged, plan


def test_scopes_that_a_job_gains_are_seen_by_pages_and_streams(queries: Queries) -> None:
    asked = FindingRequest(Page(500, 0, "asset_id", False), "j")

    def total() -> int:
        found = queries.findings(asked)
        assert found is not None
        assert len(found[0]) == len(list(queries.all_findings(asked)))
        return len(found[0])

    before = total()
    with closing(Index(queries.path, Config())) as index, index.db:
        index.db.execute("UPDATE job_scopes SET job='j' WHERE job='k'")
        index.db.execute("UPDATE meta SET value=value+1 WHERE key='revision'")
    assert len(list(queries.all_findings(asked))) > before
    assert total() > before
