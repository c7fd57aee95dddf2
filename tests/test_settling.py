"""Files that may still be growing: held back, looked at again, counted once they rest."""

from __future__ import annotations

from scanner.records import Entry
from scanner.settling import Settling

SECOND = 1_000_000_000
NOW_NS = 1_700_000_000 * SECOND


def entry(size: int = 1, age: float = 0.0) -> Entry:
    """A file that was changed ``age`` seconds ago."""
    moment = NOW_NS - int(age * SECOND)
    return Entry("x.jpg", 7, size, moment, moment)


def holds(settling: Settling, seen: Entry, now: float, *, settled: bool = False) -> bool:
    """Ask about ``v/x.jpg`` at monotonic time ``now``."""
    return settling.holds("v/x.jpg", seen, settled=settled, wall_ns=NOW_NS + int(now * SECOND), now=now)


def test_a_file_older_than_a_second_counts_at_once() -> None:
    assert not holds(Settling(), entry(age=1.0), 0.0)


def test_a_young_file_is_held_and_due_a_second_later() -> None:
    settling = Settling()
    assert holds(settling, entry(), 0.0)
    assert settling.paths() == {"v/x.jpg"}
    assert settling.next_due() == 1.0
    assert settling.due(0.9) == {}
    assert settling.due(1.0) == {"v": {"x.jpg": None}}


def test_a_young_file_that_was_closed_or_renamed_counts_at_once() -> None:
    assert not holds(Settling(), entry(), 0.0, settled=True)


def test_a_file_from_the_future_counts_once_it_is_seen_unchanged() -> None:
    settling = Settling()
    future = entry(age=-3600.0)
    assert holds(settling, future, 0.0)
    assert holds(settling, future, 0.5)
    assert not holds(settling, future, 1.0)
    assert len(settling) == 0


def test_a_file_that_grows_waits_anew() -> None:
    settling = Settling()
    assert holds(settling, entry(1, age=-60), 0.0)
    assert holds(settling, entry(2, age=-60), 1.0)
    assert not holds(settling, entry(2, age=-60), 2.0)


def test_a_file_that_is_gone_is_not_due() -> None:
    settling = Settling()
    assert holds(settling, entry(), 0.0)
    settling.drop("v/x.jpg")
    assert settling.due(5.0) == {}


def test_what_was_held_in_a_directory_that_is_gone_is_held_no_more() -> None:
    settling = Settling(1.0)
    for path in ("a/x", "a/y", "ab/x", "x"):
        assert settling.holds(path, entry(), settled=False, wall_ns=NOW_NS, now=0.0)
    settling.drop("a/y")
    settling.drop_directory("a")
    settling.drop_directory("a")
    assert settling.paths() == {"ab/x", "x"}
    assert settling.due(2.0) == {"ab": {"x": None}, "": {"x": None}}


def test_a_file_that_is_again_as_it_was_is_not_waited_for() -> None:
    """Whoever compared it with what is known had no reason to ask about it."""
    settling = Settling()
    assert holds(settling, entry(), 0.0)
    settling.looked_at("v", {"y.jpg"}, ())
    settling.looked_at("w", None, ())
    settling.looked_at("v", {"x.jpg"}, {"v/x.jpg"})
    assert settling.paths() == {"v/x.jpg"}
    settling.looked_at("v", None, ())
    assert not len(settling)
