"""What counts as missed: a difference of which no event told, once all events have been followed."""

from __future__ import annotations

import pytest

from scanner import missed
from scanner.dirty import DirtySet
from scanner.missed import Missed


@pytest.fixture
def dirty() -> DirtySet:
    return DirtySet()


def follow(differences: Missed, dirty: DirtySet) -> None:
    """As the worker does: take hints up, then decide."""
    items = dirty.take(500)
    differences.told(items)
    dirty.done(items)
    differences.settle()


def test_a_difference_that_nothing_tells_of_is_missed(dirty: DirtySet) -> None:
    differences = Missed(dirty, lambda since: True)
    differences.suspect(["f/a/1", "f/b/2"], 0.0)
    dirty.mark("f/a", "2")
    dirty.mark("f/b/2", "x")
    follow(differences, dirty)
    follow(differences, dirty)
    assert (differences.count, differences.suspects) == (2, 0)


@pytest.mark.parametrize(
    ("directory", "name", "recursive"),
    [("f/a", "1", False), ("f/a", None, False), ("f", "a", False), ("", None, True)],
)
def test_a_hint_that_was_waiting_acquits(
    dirty: DirtySet, directory: str, name: str | None, recursive: bool
) -> None:
    differences = Missed(dirty, lambda since: True)
    differences.suspect(["f/a/1"], 0.0)
    differences.settle()
    dirty.mark(directory, name, recursive=recursive)
    follow(differences, dirty)
    follow(differences, dirty)
    assert (differences.count, differences.suspects) == (0, 0)


def test_nothing_is_decided_before_the_reader_has_caught_up(dirty: DirtySet) -> None:
    caught_up = False
    differences = Missed(dirty, lambda since: caught_up and since == 7.0)
    differences.suspect(["f/1", "f/2"], 7.0)
    for _ in range(3):
        follow(differences, dirty)
    assert (differences.count, differences.suspects) == (0, 2)
    dirty.mark("f", "1")
    caught_up = True
    differences.settle()
    differences.suspect(["f/3"], 7.0)
    for _ in range(3):
        follow(differences, dirty)
    assert (differences.count, differences.suspects) == (2, 0)


def test_hints_that_never_cease_do_not_put_it_off(dirty: DirtySet) -> None:
    differences = Missed(dirty, lambda since: True)
    differences.suspect(["f/1"], 0.0)
    for number in range(4):
        dirty.mark("other", str(number))
        differences.settle()
        items = dirty.take(1)
        dirty.mark("more", str(number))
        differences.told(items)
        dirty.done(items)
    assert differences.count == 1


def test_suspects_are_bounded(dirty: DirtySet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missed, "MAX_SUSPECTS", 3)
    differences = Missed(dirty, lambda since: False)
    differences.suspect((f"f/{number}" for number in range(10)), 0.0)
    assert (differences.count, differences.suspects) == (10, 0)
