"""Events of watches that have no path yet: kept while some are expected, bounded, and given back once."""

from __future__ import annotations

import pytest

from scanner.inotify import IN_ATTRIB, IN_CLOSE_WRITE, IN_CREATE, IN_IGNORED, IN_MOVE_SELF, Batch, Special
from scanner.unclaimed import Unclaimed


@pytest.fixture
def unclaimed() -> Unclaimed:
    """One that expects watches and keeps up to four."""
    made = Unclaimed(limit=4)
    made.expect(more=True)
    return made


def test_what_was_told_comes_back_once(unclaimed: Unclaimed) -> None:
    moved = Special(7, IN_MOVE_SELF, b"")
    unclaimed.names(7, {b"a": IN_CREATE})
    unclaimed.names(7, {b"a": IN_CLOSE_WRITE, b"b": IN_CREATE})
    unclaimed.special(moved)
    unclaimed.names(8, {b"c": IN_CREATE})
    assert len(unclaimed) == 4
    assert unclaimed.take(7) == Batch({7: {b"a": IN_CLOSE_WRITE, b"b": IN_CREATE}}, [moved])
    assert unclaimed.take(7) is None
    assert len(unclaimed) == 1


def test_a_change_of_attributes_leaves_what_is_known_of_the_writer(unclaimed: Unclaimed) -> None:
    unclaimed.names(7, {b"a": IN_CLOSE_WRITE})
    unclaimed.names(7, {b"a": IN_ATTRIB, b"b": IN_ATTRIB})
    assert unclaimed.take(7) == Batch({7: {b"a": IN_CLOSE_WRITE, b"b": IN_ATTRIB}})


def test_nothing_is_kept_when_nothing_is_expected() -> None:
    unclaimed = Unclaimed()
    unclaimed.names(7, {b"a": IN_CREATE})
    unclaimed.special(Special(7, IN_IGNORED, b""))
    assert not len(unclaimed)
    assert not unclaimed.has_gone(7)


def test_what_is_of_none_that_were_told_is_dropped(unclaimed: Unclaimed) -> None:
    unclaimed.names(7, {b"a": IN_CREATE})
    unclaimed.special(Special(8, IN_IGNORED, b""))
    unclaimed.expect(more=True)
    assert unclaimed.has_gone(8)
    unclaimed.expect(more=False)
    assert not len(unclaimed)
    assert unclaimed.take(7) is None
    assert unclaimed.epoch == 0, "nothing was lost"


def test_a_watch_has_gone_when_the_kernel_has_said_so(unclaimed: Unclaimed) -> None:
    unclaimed.special(Special(7, IN_MOVE_SELF, b""))
    assert not unclaimed.has_gone(7)
    unclaimed.special(Special(7, IN_IGNORED, b""))
    assert unclaimed.has_gone(7)
    assert not unclaimed.has_gone(8)


def test_more_than_the_limit_is_said_to_be_lost_and_it_goes_on(unclaimed: Unclaimed) -> None:
    unclaimed.names(7, {b"%d" % n: IN_CREATE for n in range(4)})
    assert (unclaimed.epoch, len(unclaimed)) == (0, 4)
    unclaimed.special(Special(8, IN_IGNORED, b""))
    assert (unclaimed.epoch, len(unclaimed)) == (1, 0)
    unclaimed.names(7, {b"a": IN_CREATE})
    assert (unclaimed.epoch, len(unclaimed)) == (1, 1)


def test_what_is_lost_by_others_begins_another_epoch(unclaimed: Unclaimed) -> None:
    unclaimed.names(7, {b"a": IN_CREATE})
    unclaimed.lose()
    assert (unclaimed.epoch, len(unclaimed)) == (1, 0)
