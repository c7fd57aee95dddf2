"""The watcher's map: whatever is assigned, lost and forgotten, its counts and its directions agree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.registry import Assigned, Registry


def apart(one: str, other: str) -> bool:
    return False


def alike(one: str, other: str) -> bool:
    return True


@pytest.fixture
def registry():
    registry = Registry()
    for wd, path in enumerate(["", "a", "a/b", "a/b/c", "ab"], start=1):
        assert registry.assign(path, wd, apart) == Assigned()
    return registry


@pytest.mark.parametrize(
    "watches",
    [
        [("z", 11)],
        [("a/b/d", 11), ("a/b/d/0", 12), ("a/b/d/1", 13)],
        [("", 11), ("n", 12)],
    ],
)
def test_watches_that_are_new_are_assigned_at_once_as_one_by_one(registry, watches):
    other = Registry()
    for wd, path in enumerate(["", "a", "a/b", "a/b/c", "ab"], start=1):
        other.assign(path, wd, apart)
    for path, wd in watches:
        other.assign(path, wd, apart)
    taken = registry.assign_all(watches)
    assert taken == (watches[0][0] != "")
    if taken:
        assert vars(registry) == vars(other)
        assert sorted(registry.forget("")) == sorted(other.forget(""))


@pytest.mark.parametrize(
    "watches",
    [
        [],
        [("z", 0)],
        [("z", -28)],
        [("z", 11), ("z/0", 0)],
        [("z", 2), ("z/0", 12)],
        [("z", 11), ("z/0", 11)],
        [("z", 11), ("y", 12)],
        [("z", 11), ("z/0/1", 12)],
        [("a", 11), ("a/n", 12)],
        [("p", 11), ("p/0", 12)],
    ],
)
def test_watches_that_are_not_simply_new_change_nothing(registry, watches):
    registry.poll("p", "ENOSPC")
    registry.set_adrift("q", "moved")
    before = repr(vars(registry))
    assert not registry.assign_all(watches)
    assert repr(vars(registry)) == before


def test_an_inode_that_turns_up_elsewhere_is_remapped_and_its_old_path_set_adrift(registry):
    assert registry.assign("z", 3, apart) == Assigned((), ("a/b",))
    assert registry.paths(3) == ("z",)
    assert (registry.reason("a/b"), "a/b" in registry) == ("moved", True)
    assert registry.retryable(9) == ["a/b"]


def test_another_inode_at_a_path_makes_the_earlier_watch_unused(registry):
    assert registry.assign("a", 9, apart) == Assigned((2,), ())
    assert (registry.paths(2), registry.paths(9)) == ((), ("a",))


def test_one_inode_at_two_paths_stands_for_both_until_one_is_forgotten(registry):
    assert registry.assign("z", 2, alike) == Assigned()
    assert registry.paths(2) == ("a", "z")
    assert registry.forget("z") == []
    assert registry.paths(2) == ("a",)
    assert registry.forget("a") == [2, 3, 4]


def test_forgetting_drops_the_subtree_and_no_directory_of_a_similar_name(registry):
    assert sorted(registry.forget("a")) == [2, 3, 4]
    assert registry.known_paths() == {"", "ab"}
    assert registry.forget("a") == []


def test_a_dropped_watch_leaves_its_path_adrift_and_known(registry):
    assert registry.ignored(3) == ("a/b",)
    assert registry.ignored(3) == ()
    assert (registry.watched, registry.known, registry.reason("a/b")) == (4, 5, "removed")


def test_silent_directories_are_polled_and_never_retried(registry):
    assert registry.poll("a", "nfs", silent=True) == (2,)
    assert registry.poll("a/b", "ENOSPC") == (3,)
    assert registry.polled_paths() == {"a", "a/b"}
    assert registry.retryable(9) == ["a/b"]
    assert registry.reasons == {"nfs": 1, "ENOSPC": 1}


def test_denied_directories_are_found_below_a_path(registry):
    registry.poll("a/b/c", "EACCES", keep_watch=True)
    registry.poll("ab", "EPERM")
    registry.poll("a/b", "ENOSPC")
    assert registry.denied_below("a") == ["a/b/c"]
    assert set(registry.denied_below("")) == {"a/b/c", "ab"}


def test_losing_all_watches_leaves_everything_known_and_polled(registry):
    assert set(registry.lose_watches("died")) == registry.known_paths()
    assert (registry.watched, registry.polled, registry.reasons) == (0, 5, {"died": 5})


PATHS = st.sampled_from(["", "a", "a/a", "a/b", "a/b/a", "b", "b/a", "b/a/a"])
WDS = st.integers(1, 6)
STEPS = st.one_of(
    st.tuples(st.just("assign"), PATHS, WDS, st.booleans()),
    st.tuples(st.just("poll"), PATHS, st.booleans(), st.booleans()),
    st.tuples(st.just("adrift"), PATHS),
    st.tuples(st.just("ignored"), WDS),
    st.tuples(st.just("forget"), PATHS),
    st.tuples(st.just("cover"), PATHS),
    st.tuples(st.just("lose")),
)


def take(registry: Registry, step) -> set[str]:
    """Do one step; returns the paths that must not be known after it."""
    match step:
        case "assign", path, wd, same:
            registry.assign(path, wd, alike if same else apart)
            assert path in registry.paths(wd)
        case "poll", path, silent, keep:
            registry.poll(path, "ENOSPC", silent=silent, keep_watch=keep and not silent)
            assert path in registry.polled_paths()
        case "adrift", path:
            registry.set_adrift(path, "not there")
        case "ignored", wd:
            assert all(path in registry for path in registry.ignored(wd))
            assert registry.paths(wd) == ()
        case "forget", path:
            registry.forget(path)
            prefix = path + "/" if path else ""
            return {other for other in registry.known_paths() if other == path or other.startswith(prefix)}
        case "cover", path:
            registry.cover(path)
        case _:
            registry.lose_watches("died")
            assert registry.watched == 0
    return set()


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_counts_and_directions_agree_after_any_sequence(steps):
    registry = Registry()
    for step in steps:
        before = registry.known_paths()
        assert take(registry, step) == set()
        known = registry.known_paths()
        assert step[0] == "forget" or before <= known
        assert registry.known == len(known)
        assert all(path in registry for path in known)
        assert registry.polled == len(registry.polled_paths()) == sum(registry.reasons.values())
        mapped = [path for wd in range(-40, 7) for path in registry.paths(wd)]
        assert len(mapped) == len(set(mapped)) == registry.watched
        assert set(mapped) <= known
    registry.forget("")
    assert (registry.known, registry.watched, registry._children) == (0, 0, {})
