"""Families: a folder of images waits for the folders of its artifacts, and nothing waits for ever."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.families import Families, by_family, waits
from scanner.listing import Gone, Listing, Unreadable
from scanner.listpool import Same, Seen
from scanner.portions import LARGE
from scanner.records import Entry
from scanner.worklist import Task


def listing(directory: str, files: int = 0, folders: Sequence[str] = ()) -> Listing:
    """What a directory with so many files was seen to hold."""
    entries = {f"{n}.jpg": Entry(f"{n}.jpg", n + 1, 1, 1, 1) for n in range(files)}
    return Listing(directory, 1, 1, 1, entries, tuple(folders))


def seen(directory: str, files: int = 0, folders: Sequence[str] = (), *, recursive: bool = True) -> Seen:
    """The same, with the task that brought it."""
    return Seen(listing(directory, files, folders), Task(directory, recursive=recursive))


def paths(looks: Sequence[Seen]) -> list[str]:
    """The directories, in order."""
    return [one.look.directory for one in looks]


@pytest.fixture
def families() -> Families:
    """A family of three that waits for its two folders."""
    made = Families()
    released, folders = made.arrived(seen("v", 2, ["0", "1"]), known=False)
    assert released == []
    assert [task.directory for task in folders] == ["v/0", "v/1"]
    return made


def test_a_family_comes_when_its_last_folder_has_and_the_directory_first(families: Families) -> None:
    assert families.arrived(seen("v/1", 3), known=False) == ([], [])
    assert len(families) == 2
    released, folders = families.arrived(seen("v/0", 3), known=False)
    assert (paths(released), folders) == (["v", "v/1", "v/0"], [])
    assert len(families) == 0


def test_the_folders_are_asked_for_as_the_directory_was() -> None:
    task = Task("v", recursive=True, told=False, found=True)
    _, folders = Families().arrived(Seen(listing("v", 1, ["0"]), task), known=False)
    assert folders == [task._replace(directory="v/0")]


@pytest.mark.parametrize(
    "look",
    [
        listing("v", 2),
        listing("v", 0, ["0"]),
        listing("v", LARGE, ["0"]),
        listing("v", 1, [str(n) for n in range(LARGE)]),
        Gone("v"),
        Unreadable("v", 5),
        Same("v", 1, 1, 1),
    ],
    ids=["no folders", "no files", "many files", "many folders", "gone", "unreadable", "same"],
)
def test_what_has_nothing_to_wait_for_comes_at_once(look: Listing | Gone | Unreadable | Same) -> None:
    families = Families()
    one = Seen(look, Task("v", recursive=True))
    assert families.arrived(one, known=False) == ([one], [])
    assert len(families) == 0


def test_what_the_index_knows_or_what_is_not_recursive_comes_at_once() -> None:
    families = Families()
    one = seen("v", 2, ["0"])
    assert families.arrived(one, known=True) == ([one], [])
    other = seen("v", 2, ["0"], recursive=False)
    assert families.arrived(other, known=False) == ([other], [])


def test_a_folder_that_is_gone_or_unreadable_is_waited_for_no_more(families: Families) -> None:
    families.arrived(Seen(Gone("v/0"), Task("v/0", recursive=True)), known=False)
    released, _ = families.arrived(Seen(Unreadable("v/1", 13), Task("v/1", recursive=True)), known=False)
    assert paths(released) == ["v", "v/0", "v/1"]


def test_a_folder_in_a_family_founds_none_of_its_own(families: Families) -> None:
    """What is below it is found when it comes into the index."""
    families.arrived(seen("v/0", 2, ["deeper"]), known=False)
    released, _ = families.arrived(seen("v/1"), known=False)
    assert paths(released) == ["v", "v/0", "v/1"]


def test_a_folder_that_was_looked_at_otherwise_is_waited_for_no_more(families: Families) -> None:
    families.arrived(seen("v/0"), known=False)
    assert paths(families.without("v/1")) == ["v", "v/0"]
    assert families.without("v/1") == []


def test_what_was_seen_of_folders_never_comes_behind_a_newer_look(families: Families) -> None:
    """The directory is looked at, so its folders are new to the index and are listed again."""
    families.arrived(seen("v/0", 1), known=False)
    assert families.overtake("v") == Task("v", recursive=True)
    assert families.overtake("v") is None
    newer = seen("v/0", 2)
    assert families.arrived(newer, known=False) == ([newer], [])
    late = seen("v/1", 3)
    assert families.arrived(late, known=False) == ([late], [])
    assert families.release() == []


def test_a_folder_alone_is_not_overtaken(families: Families) -> None:
    """Nobody can look at it as long as the directory above it is not in the index."""
    assert families.overtake("v/0") is None
    assert families.overtake("w") is None


def test_what_events_told_of_is_listed_again_once_the_family_is_in(families: Families) -> None:
    assert families.remember("v/0")
    assert families.remember("v/new")
    assert not families.remember("w/0")
    assert families.take_again() == []
    families.arrived(seen("v/0"), known=False)
    families.arrived(seen("v/1"), known=False)
    assert sorted(families.take_again()) == ["v/0", "v/new"]
    assert families.take_again() == []


def test_giving_up_releases_all_and_remembers_what_events_told_of(families: Families) -> None:
    families.arrived(seen("v/1"), known=False)
    families.remember("v/0")
    families.arrived(seen("w", 1, ["x"]), known=False)
    assert [paths(family) for family in families.release()] == [["v", "v/1"], ["w"]]
    assert families.take_again() == ["v/0"]
    assert len(families) == 0


def test_what_is_gone_does_not_come(families: Families) -> None:
    families.arrived(seen("v/0"), known=False)
    families.drop_below("v/0")
    families.drop_below("v/00")
    assert paths(families.without("v/1")) == ["v"]


def test_a_family_whose_directory_is_gone_does_not_come(families: Families) -> None:
    families.arrived(seen("v/0"), known=False)
    families.arrived(seen("vv", 1, ["0"]), known=False)
    families.drop_below("v")
    assert [paths(family) for family in families.release()] == [["vv"]]


def test_a_directory_and_all_its_folders_are_one_part() -> None:
    looks = [seen("v", 1, ["0", "1"]), seen("v/1"), seen("v/0"), seen("w", 1, ["0"]), seen("x"), seen("w/0")]
    assert [paths(part) for part in by_family(looks)] == [["v", "v/1", "v/0"], ["w"], ["x"], ["w/0"]]
    gone = [seen("v", 1, ["0"]), Seen(Gone("v/0"), Task("v/0"))]
    assert [paths(part) for part in by_family(gone)] == [["v", "v/0"]]
    assert list(by_family([])) == []


def test_large_directories_do_not_wait() -> None:
    assert waits(listing("v", 1, ["0"]))
    assert not waits(listing("v", LARGE - 1, ["0"]))


@given(st.data())
def test_nothing_is_lost_and_nothing_comes_twice(data: st.DataObject) -> None:
    """Whatever the order of arrival, each look comes out once, and its directory before it."""
    families = Families()
    waiting = [seen(f"v{n}", data.draw(st.integers(0, 2)), [str(k) for k in range(n % 4)]) for n in range(4)]
    expected = {one.look.directory for one in waiting}
    came: list[str] = []
    while waiting:
        one = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
        released, folders = families.arrived(one, known=False)
        came += paths(released)
        for task in folders:
            expected.add(task.directory)
            waiting.append(seen(task.directory, 1))
    came += [path for family in families.release() for path in paths(family)]
    assert sorted(came) == sorted(expected)
    places = {path: place for place, path in enumerate(came)}
    assert all(places[path] > places[path.split("/")[0]] for path in came if "/" in path)
