"""Directories and files in the index: what a listing makes true, and what is read before it is written."""

from __future__ import annotations

from collections.abc import Iterator

import apsw
import pytest

from scanner import schema
from scanner.listing import Listing
from scanner.records import Entry
from scanner.tree import Tree

OLD = 1_000


def entry(name: str, size: int = 5, mtime: int = OLD) -> Entry:
    return Entry(name, sum(name.encode()), size, mtime, mtime)


def listing(directory: str, *entries: Entry, folders: tuple[str, ...] = (), print_: int = 0) -> Listing:
    files = {one.name: one for one in entries}
    return Listing(directory, 1, 7, OLD, files, folders, fingerprint=print_)


def names(directory: str, asked: set[str], *entries: Entry) -> Listing:
    return Listing(directory, 1, 7, OLD, {one.name: one for one in entries}, (), frozenset(asked))


def never(path: str, entry: Entry) -> bool:
    return False


@pytest.fixture
def tree() -> Iterator[Tree]:
    connection = apsw.Connection(":memory:")
    schema.create(connection)
    yield Tree(connection, lambda path: 0, lambda paths, entries: [0] * len(paths))
    connection.close()


def prints(tree: Tree) -> dict[str, int]:
    """The fingerprint of every directory."""
    return {path: number for portion in tree.catalogue() for path, _, _, number in portion}


def test_what_was_gathered_is_read_as_if_it_was_written(tree: Tree) -> None:
    tree.apply(listing("frames", folders=("v",)), never)
    tree.apply(listing("frames/v", entry("1.jpg"), entry("2.jpg")), never)
    state = tree.state("frames/v/1.jpg")
    assert state is not None
    assert (state.size, state.mtime_ns) == (5, OLD)
    assert [path for path, _ in tree.with_prefix("frames/v", "2")] == ["frames/v/2.jpg"]
    assert tree.below("frames") == ["frames", "frames/v"]
    assert tree.state("frames/v/3.jpg") is None


def test_a_listing_says_what_is_new_different_and_gone(tree: Tree) -> None:
    tree.apply(listing("v", entry("1.jpg"), entry("2.jpg"), folders=("a", "b")), never)
    tree.apply(listing("v/a", entry("seg.png")), never)
    tree.apply(listing("v/b"), never)
    changes = tree.apply(listing("v", entry("2.jpg", size=6), entry("3.jpg"), folders=("b", "c")), never)
    assert {path: state and state.size for path, state in changes.files.items()} == {
        "v/1.jpg": None,
        "v/2.jpg": 6,
        "v/3.jpg": 5,
        "v/a/seg.png": None,
    }
    assert changes.new_directories == ["v/c"]
    assert changes.gone_directories == ["v/a"]
    assert changes.files_change == -1


def test_a_file_that_may_still_grow_is_held_and_what_was_known_of_it_stays(tree: Tree) -> None:
    tree.apply(listing("v", entry("1.jpg")), never)
    changes = tree.apply(listing("v", entry("1.jpg", size=9, mtime=50), print_=3), lambda *_: True)
    assert (changes.held, changes.files) == ({"v/1.jpg"}, {})
    state = tree.state("v/1.jpg")
    assert state is not None
    assert state.size == 5
    assert prints(tree) == {"v": 0}


def test_only_files_that_are_young_are_asked_about(tree: Tree) -> None:
    asked: list[str] = []

    def ask(path: str, entry: Entry) -> bool:
        asked.append(path)
        return False

    tree.apply(listing("v", entry("1.jpg", mtime=99), entry("2.jpg", mtime=100)), ask, young_ns=100)
    assert asked == ["v/2.jpg"]


def test_a_fingerprint_stands_only_for_what_the_index_has_as_a_whole(tree: Tree) -> None:
    tree.apply(listing("v", entry("1.jpg"), print_=3), never)
    assert prints(tree) == {"v": 3}
    tree.apply(names("v", {"1.jpg"}, entry("1.jpg")), never)  # as it was
    assert prints(tree) == {"v": 3}
    tree.apply(names("v", {"2.jpg"}, entry("2.jpg")), never)
    assert prints(tree) == {"v": 0}


def test_a_folder_that_goes_takes_the_fingerprint_of_what_it_lay_in(tree: Tree) -> None:
    tree.apply(listing("v", folders=("a",)), never)
    tree.apply(listing("v/a", print_=4), never)
    tree.apply(listing("v", folders=("a",), print_=3), never)
    assert prints(tree) == {"v": 3, "v/a": 4}
    tree.remove("v/a")
    assert prints(tree) == {"v": 0}


def test_a_catalogue_that_has_ended_gives_nothing_that_came_later(tree: Tree) -> None:
    catalogue = tree.catalogue(size=1)
    assert list(catalogue) == []
    tree.apply(listing("v"), never)
    assert list(catalogue) == []
    assert [portion[0][0] for portion in tree.catalogue(size=1)] == ["v"]


def test_a_catalogue_has_the_data_root_itself_and_each_directory_once(tree: Tree) -> None:
    for directory in ("", "b", "a", "a/x", "a0"):
        tree.apply(listing(directory), never)
    assert [row[0] for portion in tree.catalogue(size=2) for row in portion] == ["", "a", "a/x", "a0", "b"]
