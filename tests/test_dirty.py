"""The dirty set: what it hands out, in which order, and that it stays bounded and loses nothing."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.dirty import SETTLED_FACTOR, Dirty, DirtySet

NONE: frozenset[str] = frozenset()


def names(*wanted: str) -> frozenset[str]:
    return frozenset(wanted)


def test_names_of_one_directory_come_out_together_and_once():
    dirty = DirtySet()
    for name in ("x", "y", "x"):
        dirty.mark("a", name)
    assert dirty.take(10) == [Dirty("a", names("x", "y"), NONE, False)]
    assert dirty.take(10) == []


@pytest.mark.parametrize(
    ("events", "settled"),
    [
        ([True], True),
        ([False], False),
        ([False, True], True),
        ([True, False], False),
        ([True, None], True),
        ([False, None], False),
        ([None], False),
        ([True, False, True], True),
    ],
)
def test_a_name_is_settled_if_the_last_event_that_says_so_was_a_close_or_a_rename(events, settled):
    dirty = DirtySet()
    for event in events:
        dirty.mark("a", "x", settled=event)
    assert dirty.take(1) == [Dirty("a", names("x"), names("x") if settled else NONE, False)]


def test_several_names_at_once_are_the_same_as_one_after_the_other():
    dirty = DirtySet()
    dirty.mark_names("a", {"x": True, "y": False, "z": None})
    dirty.mark_names("a", {})
    assert dirty.take(1) == [Dirty("a", names("x", "y", "z"), names("x"), False)]


def test_many_names_collapse_into_their_directory_which_keeps_those_that_are_settled():
    dirty = DirtySet(max_names=3)
    for name in ("v", "w", "x"):
        dirty.mark("a", name, settled=name != "w")
    assert dirty.pending == 3
    dirty.mark("a", "y", settled=True)
    dirty.mark("a", "v", settled=False)
    assert dirty.pending == 1
    assert dirty.take(1) == [Dirty("a", None, names("x", "y"), False)]


def test_a_directory_that_is_whole_remembers_a_bounded_number_of_settled_names():
    dirty = DirtySet(max_names=3)
    for number in range(1000):
        dirty.mark("a", str(number), settled=True)
    (item,) = dirty.take(1)
    assert item.names is None
    assert len(item.settled) == 3 * SETTLED_FACTOR


def test_names_over_all_directories_are_bounded():
    dirty = DirtySet(max_held_names=10)
    for number in range(100):
        dirty.mark(f"d{number}", "x", settled=True)
    items = dirty.take(1000)
    assert len(items) == 100
    assert sum(len(item.names or ()) + len(item.settled) for item in items) <= 20
    assert all(item.names is None for item in items[10:])


def test_a_recursive_mark_is_of_the_whole_directory():
    dirty = DirtySet()
    dirty.mark("a", "x", settled=True)
    dirty.mark("a", recursive=True)
    dirty.mark("a", "y")
    assert dirty.take(1) == [Dirty("a", None, names("x"), True)]


def test_everything_known_is_the_data_root_recursively():
    dirty = DirtySet()
    dirty.mark("a", "x")
    dirty.mark_all()
    assert dirty.pending == 2
    assert dirty.take(9) == [Dirty("a", names("x"), NONE, False), Dirty("", None, NONE, True)]


def test_a_directory_under_constant_writes_does_not_starve_others_nor_itself():
    dirty = DirtySet()
    dirty.mark("busy", "0")
    dirty.mark("quiet", "x")
    order = []
    for number in range(1, 5):
        dirty.mark("busy", str(number))
        order += [item.directory for item in dirty.take(1)]
    assert order == ["busy", "quiet", "busy", "busy"]


def test_what_was_taken_is_pending_until_it_is_done():
    dirty = DirtySet()
    dirty.mark_names("a", {"x": None, "y": None})
    dirty.mark("b")
    assert (dirty.pending, len(dirty)) == (3, 3)
    first = dirty.take(1)
    dirty.mark("a", "z")
    assert dirty.pending == 4
    dirty.done(first)
    assert dirty.pending == 2
    dirty.done(dirty.take(5))
    assert dirty.pending == 0


def test_reporting_more_as_done_than_was_taken_is_refused():
    dirty = DirtySet()
    with pytest.raises(ValueError, match="only 0 were taken"):
        dirty.done([Dirty("a", None, NONE, False)])


@pytest.mark.parametrize("bounds", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_bounds_below_one_are_refused(bounds):
    with pytest.raises(ValueError, match="at least 1"):
        DirtySet(*bounds)


def test_an_empty_set_is_not_false():
    assert DirtySet()


def test_many_directories_collapse_into_their_parents_which_are_recursive():
    dirty = DirtySet(max_directories=10)
    dirty.mark("other", "x", settled=True)
    for number in range(30):
        dirty.mark(f"frames/v{number % 2}/{number}", "seg.png")
    items = {item.directory: item for item in dirty.take(100)}
    assert items["other"] == Dirty("other", names("x"), names("x"), False)
    assert items["frames/v0"].recursive
    assert items["frames/v0"].names is None
    assert items["frames/v1"].recursive


def test_at_worst_the_data_root_is_recursive():
    dirty = DirtySet(max_directories=1)
    for number in range(9):
        dirty.mark(f"d{number}")
    taken = dirty.take(9)
    assert Dirty("", None, NONE, True) in taken
    assert len(taken) == 1


def test_wait_returns_when_something_is_marked_by_another_thread():
    dirty = DirtySet()
    thread = threading.Timer(0.05, dirty.mark, ("a",))
    thread.start()
    assert dirty.wait(30)
    thread.join()


def test_wait_gives_up_after_the_timeout():
    dirty = DirtySet()
    before = time.monotonic()
    assert not dirty.wait(0.02)
    assert time.monotonic() - before >= 0.02


def test_a_wake_ends_one_wait_also_when_it_came_first():
    dirty = DirtySet()
    dirty.wake()
    assert dirty.wait(30)
    assert not dirty.wait(0)


def test_marks_from_many_threads_all_arrive():
    dirty = DirtySet()

    def mark(thread: int) -> None:
        for number in range(2000):
            dirty.mark(f"d{number % 7}", f"{thread}-{number % 50}")

    threads = [threading.Thread(target=mark, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    seen: set[tuple[str, str]] = set()
    while any(thread.is_alive() for thread in threads) or dirty.pending:
        items = dirty.take(3)
        seen |= {(item.directory, name) for item in items for name in item.names or ()}
        dirty.done(items)
    for thread in threads:
        thread.join()
    assert seen == {(f"d{n % 7}", f"{t}-{n % 50}") for t in range(4) for n in range(2000)}
    assert dirty.pending == 0


SEGMENTS = st.lists(st.sampled_from("abc"), max_size=3).map("/".join)
MARKS = st.tuples(
    SEGMENTS,
    st.one_of(st.none(), st.sampled_from("vwxyz")),
    st.sampled_from([True, False, None]),
    st.booleans(),
)


def covered(item: Dirty, directory: str, name: str | None) -> bool:
    if item.directory == directory:
        return item.names is None or (name is not None and name in item.names)
    below = not item.directory or directory.startswith(item.directory + "/")
    return item.recursive and below


@settings(max_examples=300, deadline=None)
@given(
    st.lists(MARKS, max_size=60),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(1, 3),
)
def test_whatever_is_marked_is_covered_by_what_is_handed_out(marks, max_names, max_dirs, max_held, limit):
    dirty = DirtySet(max_names, max_dirs, max_held)
    open_marks: list[tuple[str, str | None, bool]] = []

    def drain(count: int) -> None:
        items = dirty.take(count)
        for item in items:
            open_marks[:] = [
                (directory, name, recursive)
                for directory, name, recursive in open_marks
                if not (covered(item, directory, name) and (item.recursive or not recursive))
            ]
            assert item.names is None or 0 < len(item.names) <= max_names
            assert item.names is None or item.settled <= item.names
        dirty.done(items)

    for position, (directory, name, settled, recursive) in enumerate(marks):
        dirty.mark(directory, name, settled=settled, recursive=recursive)
        open_marks.append((directory, None if recursive else name, recursive))
        if position % 5 == 4:
            drain(limit)
    assert dirty.pending or not open_marks
    taken = dirty.take(1000)
    assert len(taken) <= max_dirs
    assert sum(len(item.names or ()) for item in taken) <= max_held
    dirty.done(taken)
    for directory, name, recursive in open_marks:
        assert any(covered(item, directory, name) and (item.recursive or not recursive) for item in taken), (
            directory,
            name,
        )
    assert dirty.pending == 0
