"""The mirrored rows of assets: what is new, what has changed, what is gone, and which rows name a path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner import schema
from scanner.claimpath import ClaimPaths
from scanner.claims import ClaimTable
from scanner.records import AssetRow, AssetType, Feature

FRAME = AssetType.VIDEO_FRAME


def frame(id: str, image: str | None = None, **claims: str) -> AssetRow:
    return AssetRow(FRAME, id, "v", 1.5, image, time_us=7)._replace(**claims)


def open_claims(path: Path) -> ClaimTable:
    connection = schema.open_writer(str(path))
    if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        schema.create(connection)
    return ClaimTable(connection, ClaimPaths("/data", {"/app": "/data/out"}))


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[ClaimTable]:
    made = open_claims(tmp_path / "index.db")
    with closing(made._db):
        yield made


def full(claims: ClaimTable, *batches: list[AssetRow]) -> tuple[set[str], list[AssetRow]]:
    """A full comparison: the ids that were new or different, and the rows that were gone."""
    claims.begin_full(FRAME)
    changed = {new.asset_id for batch in batches for _, new in claims.put(FRAME, batch)}
    return changed, claims.end_full(FRAME)


def test_only_new_and_different_rows_are_told_with_what_they_were(claims: ClaimTable) -> None:
    first = frame("f1", "/data/1.jpg")
    assert claims.put(FRAME, [first, frame("f2")]) == [(None, first), (None, frame("f2"))]
    assert claims.put(FRAME, [first, frame("f2")]) == []
    second = frame("f1", "/data/2.jpg")
    assert claims.put(FRAME, [second, frame("f2")]) == [(first, second)]
    assert claims.put(FRAME, [first]) == [(second, first)]
    assert claims.rows(FRAME, ["f1", "f3"]) == {"f1": first}


def test_a_full_comparison_removes_what_it_has_not_met(claims: ClaimTable) -> None:
    rows = [frame(f"f{number}", f"/data/{number}.jpg") for number in range(1201)]
    assert full(claims, rows[:700], rows[700:]) == ({row.asset_id for row in rows}, [])
    assert full(claims, rows[:700], rows[700:]) == (set(), [])
    assert full(claims, rows[1:]) == (set(), [rows[0]])
    assert claims.naming(["0.jpg"]) == {}
    assert full(claims, rows) == ({"f0"}, [])


def test_a_row_that_is_met_twice_hides_no_row_that_is_gone(claims: ClaimTable) -> None:
    """A view may give an id more than once: two rows are met, but not the two that are mirrored."""
    full(claims, [frame("f1"), frame("f2")])
    assert full(claims, [frame("f1")], [frame("f1")]) == (set(), [frame("f2")])


def test_a_row_that_a_lookup_brought_during_a_first_sync_stays_as_it_is(claims: ClaimTable) -> None:
    claims.begin_full(FRAME)
    claims.put(FRAME, [frame("f2", "/data/2.jpg")])
    later = [frame("f1"), frame("f2", "/data/new.jpg"), frame("f3")]
    changed = claims.put(FRAME, later)
    assert sorted(new.asset_id for _, new in changed) == ["f1", "f2", "f3"]
    assert claims.end_full(FRAME) == []
    assert claims.rows(FRAME, ["f1", "f2", "f3"]) == {row.asset_id: row for row in later}
    assert claims.naming(["2.jpg", "new.jpg"]) == {"new.jpg": [(FRAME, "f2", Feature.IMAGE)]}


def test_what_was_rolled_back_is_written_when_it_comes_again(claims: ClaimTable) -> None:
    row = frame("f1", "/data/1.jpg")
    claims._db.execute("BEGIN")
    claims.put(FRAME, [row])
    claims._db.execute("ROLLBACK")
    claims.forget()
    assert claims.naming(["1.jpg"]) == {}
    assert claims.put(FRAME, [row]) == [(None, row)]
    assert claims.naming(["1.jpg"]) == {"1.jpg": [(FRAME, "f1", Feature.IMAGE)]}


def test_rows_name_paths_in_whatever_spelling(claims: ClaimTable) -> None:
    claims.put(
        FRAME,
        [
            frame("f1", "/data/x/1.jpg", segment="x//./1.png", keypoints="/elsewhere/1.bin"),
            frame("f2", "/app/1.jpg", segment="/data/x/1.png", embedding="x/1.png"),
        ],
    )
    assert claims.naming(["x/1.jpg", "x/1.png", "out/1.jpg", "1.bin", "x"]) == {
        "x/1.jpg": [(FRAME, "f1", Feature.IMAGE)],
        "x/1.png": [
            (FRAME, "f1", Feature.SEGMENT),
            (FRAME, "f2", Feature.SEGMENT),
            (FRAME, "f2", Feature.EMBEDDING),
        ],
        "out/1.jpg": [(FRAME, "f2", Feature.IMAGE)],
    }
    assert claims.folders == {"x", "out"}


def test_another_process_takes_over_what_rows_name(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    rows = [frame(f"f{number}", f"/data/x/{number}.jpg") for number in range(3)]
    for _ in range(2):
        claims = open_claims(path)
        with closing(claims._db):
            claims.put(FRAME, rows)
            assert claims.folders == {"x"}
            assert claims.naming(["x/1.jpg"]) == {"x/1.jpg": [(FRAME, "f1", Feature.IMAGE)]}
            assert claims.put(FRAME, rows) == []


def test_what_rows_named_once_is_not_remembered_for_ever(
    claims: ClaimTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scanner.claims._STALE", 100)
    for number in range(200):
        claims.put(FRAME, [frame("f1", f"/data/x/{number}.jpg"), frame(f"g{number % 3}", f"{number}.jpg")])
    full(claims, [frame("f1", "/data/x/199.jpg")])
    assert len(claims._naming) < 100
    assert claims.naming(["x/199.jpg", "x/198.jpg", "199.jpg"]) == {
        "x/199.jpg": [(FRAME, "f1", Feature.IMAGE)]
    }


def test_a_folder_is_claimed_for_as_long_as_a_row_names_a_file_in_it(claims: ClaimTable) -> None:
    assert not claims.any_below("x")
    full(claims, [frame("f1", "/data/x/1.jpg"), frame("f2", "/data/y/1.jpg"), frame("f3", "/data/x/2.jpg")])
    assert claims.any_below("x")
    assert claims.any_below("y")
    assert claims.any_below("")
    assert not claims.any_below("z")
    full(claims, [frame("f2", "/data/y/1.jpg"), frame("f3", "/data/x/2.jpg")])
    assert claims.any_below("x")
    full(claims, [frame("f2", "/data/y/1.jpg")])
    assert not claims.any_below("x")
    claims.put(FRAME, [frame("f4", "/data/x/4.jpg")])
    assert claims.any_below("x")


ROWS = st.builds(
    frame,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([None, "/data/1", "2", "/app/3", "/out/1"]),
    segment=st.sampled_from(["/data/1", "x/2", "./1"]),
)
STEPS = st.lists(st.tuples(st.booleans(), st.lists(ROWS, max_size=4)), max_size=8)


@given(steps=STEPS)
def test_the_table_holds_what_it_was_given_and_names_what_that_names(
    steps: list[tuple[bool, list[AssetRow]]],
) -> None:
    claims = open_claims(Path(":memory:"))
    paths = ClaimPaths("/data", {"/app": "/data/out"})
    with closing(claims._db):
        model: dict[str, AssetRow] = {}
        for everything, rows in steps:
            latest = {row.asset_id: row for row in rows}
            if everything:
                claims.begin_full(FRAME)
                model = {id: row for id, row in model.items() if id in latest}
            before = claims.rows(FRAME, ["a", "b", "c"])
            changed = claims.put(FRAME, rows)
            assert {new.asset_id: old for old, new in changed} == {
                id: before.get(id) for id, row in latest.items() if before.get(id) != row
            }
            if everything:
                claims.end_full(FRAME)
            model.update(latest)
            assert claims.rows(FRAME, ["a", "b", "c"]) == model
            named: dict[str, set[tuple[AssetType, str, Feature]]] = {}
            for row in model.values():
                for feature, raw in zip(Feature, row.claimed, strict=True):
                    path = None if raw is None else paths.resolve(raw)
                    if path is not None:
                        named.setdefault(path, set()).add((FRAME, row.asset_id, feature))
            found = claims.naming(["1", "2", "out/3", "x/2"])
            assert {path: set(keys) for path, keys in found.items()} == named


def test_what_is_remembered_of_a_few_rows_that_change_for_days_stays_small(claims: ClaimTable) -> None:
    for turn in range(200):
        rows = [frame(f"f{n}", f"/data/{n}.jpg", segment=f"/data/{n}/{turn}.png") for n in range(200)]
        claims.put(FRAME, rows)
    assert len(claims._naming) < 40_000
    assert claims.naming(["7/199.png", "7/198.png"]) == {"7/199.png": [(FRAME, "f7", Feature.SEGMENT)]}
