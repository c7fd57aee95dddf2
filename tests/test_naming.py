"""What is remembered of mirrored rows: which may name a path, and how each was last written."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scanner.naming import Digests, Naming, hashes_of


@given(st.lists(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=30), max_size=12))
def test_naming_suggests_every_row_that_was_added_with_a_path(batches: list[list[tuple[int, int]]]) -> None:
    naming, expected = Naming(), dict[str, set[int]]()
    for batch in batches:
        naming.add([str(path) for path, _ in batch], [row for _, row in batch])
        for path, row in batch:
            expected.setdefault(str(path), set()).add(row)
        for path in map(str, range(41)):
            assert set(naming.rows([path])) == expected.get(path, set())
    assert set(naming.rows([*expected, "other"])) == {row for rows in expected.values() for row in rows}


OPERATIONS = st.one_of(
    st.tuples(st.just("put"), st.dictionaries(st.integers(0, 20), st.integers(1, 3), max_size=15)),
    st.tuples(st.just("drop"), st.dictionaries(st.integers(0, 20), st.none(), max_size=3)),
    st.tuples(st.just("forget"), st.just({})),
)


@given(st.lists(OPERATIONS, max_size=25))
def test_digests_know_the_latest_of_each_row_and_no_other(
    operations: list[tuple[str, dict[int, int]]],
) -> None:
    digests, model = Digests(), dict[int, int]()
    for name, rows in operations:
        keys = hashes_of([f"id{key}" for key in rows])
        if name == "put":
            digests.put(keys, np.array(list(rows.values()), np.int64))
            model.update(rows)
        elif name == "drop":
            digests.drop(keys)
            model = {key: value for key, value in model.items() if key not in rows}
        else:
            digests.forget()
            model.clear()
        everything = hashes_of([f"id{key}" for key in range(21)])
        for value in (1, 2, 3):
            same = digests.same(everything, np.full(21, value, np.int64)).tolist()
            assert same == [model.get(key) == value for key in range(21)]


def test_a_row_whose_digest_is_that_of_no_knowledge_is_never_taken_for_the_same() -> None:
    digests = Digests()
    digests.put(np.array([7], np.int64), np.array([0], np.int64))
    assert not digests.same(np.array([7], np.int64), np.array([0], np.int64)).any()
