"""Which directories are known to the watcher, and how each of them is kept an eye on.

A known directory is *watched* (an inotify watch names it), *polled* (it cannot be watched, for a reason)
or *adrift* (it was found moved, removed or not there: somebody has to look at it again). Pure
bookkeeping: no system call, no lock.

A watch belongs to an inode, a path is where the inode was when it was last added. Whatever happens in
between, an event leads to that path; adding an inode under another path corrects the map.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

DENIED = ("EACCES", "EPERM")


class Assigned(NamedTuple):
    """What came of giving a watch to a path: watches nobody needs any more, and paths to look at again."""

    unused: tuple[int, ...] = ()
    displaced: tuple[str, ...] = ()


class Registry:
    """The directories of one watcher, by path relative to the data root."""

    def __init__(self) -> None:
        self._wd_of: dict[str, int] = {}
        self._path_of: dict[int, str] = {}
        self._aliases: dict[int, tuple[str, ...]] = {}
        self._silent: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._adrift: dict[str, str] = {}
        self._children: dict[str, set[str]] = {}
        self._reasons: Counter[str] = Counter()
        self._covered = 0  # counts downwards: numbers that no watch has
        self._kept: set[str] = set()  # polled or adrift, and an earlier watch is still in force

    def __contains__(self, path: str) -> bool:
        """Whether the path was added and has not been forgotten."""
        return path in self._wd_of or path in self._failed or path in self._silent or path in self._adrift

    @property
    def watched(self) -> int:
        """How many directories are watched."""
        return len(self._wd_of)

    @property
    def polled(self) -> int:
        """How many directories cannot be watched."""
        return len(self._silent) + len(self._failed)

    @property
    def known(self) -> int:
        """How many directories were added and have not been forgotten."""
        return len(self._wd_of) + self.polled + len(self._adrift) - len(self._kept)

    @property
    def reasons(self) -> dict[str, int]:
        """How many directories are polled for which reason."""
        return {reason: count for reason, count in self._reasons.items() if count}

    def is_watched(self, path: str) -> bool:
        """Whether a watch stands for the path, and nothing is known to be wrong with it."""
        return path in self._wd_of and not (
            path in self._failed or path in self._silent or path in self._adrift
        )

    def polled_paths(self) -> frozenset[str]:
        """The directories that cannot be watched."""
        return frozenset(self._silent) | frozenset(self._failed)

    def known_paths(self) -> frozenset[str]:
        """The directories that were added and have not been forgotten."""
        return frozenset(self._wd_of).union(self._silent, self._failed, self._adrift)

    def reason(self, path: str) -> str | None:
        """Why a directory is polled or adrift, or None."""
        for reasons in (self._silent, self._failed, self._adrift):
            if path in reasons:
                return reasons[path]
        return None

    def denied_below(self, path: str) -> list[str]:
        """The directories below a path whose watch was refused for want of permission."""
        if not any(self._reasons[reason] for reason in DENIED):
            return []
        prefix = path + "/" if path else ""
        return [
            other for other, reason in self._failed.items() if reason in DENIED and other.startswith(prefix)
        ]

    def retryable(self, limit: int) -> list[str]:
        """Up to ``limit`` directories for which a watch may be had by now, longest waiting first."""
        adrift = list(islice(self._adrift, limit))
        return adrift + list(islice(self._failed, limit - len(adrift)))

    def paths(self, wd: int) -> tuple[str, ...]:
        """The paths that a watch stands for; empty for one that was removed."""
        path = self._path_of.get(wd)
        if path is None:
            return ()
        return (path, *self._aliases[wd]) if wd in self._aliases else (path,)

    def assign(self, path: str, wd: int, same: Callable[[str, str], bool]) -> Assigned:
        """A watch was put on the inode that is now at ``path``.

        ``same`` is asked whether two paths lead to one directory at this moment (a bind mount, a root
        that is a symlink); if so the watch stands for both, otherwise the earlier path is set adrift.
        """
        self._know(path)
        known = self._wd_of.get(path)
        if known == wd:
            return Assigned()
        if known is None and wd not in self._path_of:  # new on both sides, as most are
            self._wd_of[path], self._path_of[wd] = wd, path
            return Assigned()
        unused = self._unwatch(path)
        earlier = self.paths(wd)
        kept = [other for other in earlier if same(other, path)]
        displaced = tuple(other for other in earlier if other not in kept)
        for other in displaced:
            del self._wd_of[other]
            self.set_adrift(other, "moved")
        self._wd_of[path] = wd
        self._stand_for(wd, (*kept, path))
        return Assigned(unused, displaced)

    def assign_all(self, watches: Sequence[tuple[str, int]]) -> bool:
        """As :meth:`assign`, for a directory and folders in it; False, and nothing is changed, where it is
        anything else, or any of them or any watch is known already, or is none."""
        paths, wds = [path for path, _ in watches], {wd for _, wd in watches}
        if len(wds) < len(paths) or min(wds, default=0) <= 0:
            return False
        known = (self._wd_of, self._silent, self._failed, self._adrift)
        if any(not some.keys().isdisjoint(paths) for some in known) or not wds.isdisjoint(self._path_of):
            return False
        first, *folders = paths
        if any(path.rpartition("/")[0] != first for path in folders):
            return False
        self._know(first)
        if folders:
            self._children.setdefault(first, set()).update(folders)
        self._wd_of.update(watches)
        self._path_of.update((wd, path) for path, wd in watches)
        return True

    def poll(
        self, path: str, reason: str, *, silent: bool = False, keep_watch: bool = False
    ) -> tuple[int, ...]:
        """The directory cannot be watched. ``silent``: its file system tells nothing, retrying is no use.

        ``keep_watch`` leaves a watch that the path has had in force. Returns the watches that nobody
        needs any more.
        """
        unused = () if keep_watch else self._unwatch(path)
        self._know(path)
        (self._silent if silent else self._failed)[path] = reason
        self._reasons[reason] += 1
        self._note_kept(path)
        return unused

    def cover(self, path: str) -> None:
        """The directory is watched by something that needs no watch of its own for it."""
        self._know(path)
        if path not in self._wd_of:
            self._covered -= 1
            self._wd_of[path] = self._covered
            self._path_of[self._covered] = path

    def set_adrift(self, path: str, reason: str) -> None:
        """The directory was not where it should be: keep it in mind until it is added or forgotten."""
        self._know(path)
        self._adrift[path] = reason
        self._note_kept(path)

    def ignored(self, wd: int) -> tuple[str, ...]:
        """The kernel has dropped a watch: its paths are adrift, and returned."""
        paths = self.paths(wd)
        self._path_of.pop(wd, None)
        self._aliases.pop(wd, None)
        for path in paths:
            del self._wd_of[path]
            self._kept.discard(path)
            if path not in self:
                self._adrift[path] = "removed"
        return paths

    def forget(self, directory: str) -> list[int]:
        """Drop a directory and everything below it; returns the watches that nobody needs any more."""
        unused: list[int] = []
        for path in list(self._subtree(directory)):
            unused.extend(self._unwatch(path))
            self._unpoll(path)
            self._children.pop(path, None)
        self._unlink(directory)
        return unused

    def lose_watches(self, reason: str) -> list[str]:
        """All watches are gone: what was watched is polled for this reason, and returned."""
        lost = list(self._wd_of)
        self._wd_of.clear()
        self._kept.clear()
        self._path_of.clear()
        self._aliases.clear()
        for path in lost:
            self.poll(path, reason)
        return lost

    def _know(self, path: str) -> None:
        """Link a path to its parents, so that subtrees can be found; it is polled or adrift no more."""
        self._unpoll(path)
        while path:
            parent = path.rpartition("/")[0]
            siblings = self._children.setdefault(parent, set())
            if path in siblings:
                return
            siblings.add(path)
            path = parent

    def _unpoll(self, path: str) -> None:
        for polled in (self._silent, self._failed):
            reason = polled.pop(path, None)
            if reason is not None:
                self._reasons[reason] -= 1
        self._adrift.pop(path, None)
        self._kept.discard(path)

    def _note_kept(self, path: str) -> None:
        if path in self._wd_of:
            self._kept.add(path)

    def _unwatch(self, path: str) -> tuple[int, ...]:
        wd = self._wd_of.pop(path, None)
        if wd is None:
            return ()
        self._kept.discard(path)
        others = tuple(other for other in self.paths(wd) if other != path)
        if others:
            self._stand_for(wd, others)
            return ()
        del self._path_of[wd]
        return (wd,)

    def _stand_for(self, wd: int, paths: tuple[str, ...]) -> None:
        self._path_of[wd] = paths[0]
        if len(paths) > 1:
            self._aliases[wd] = paths[1:]
        else:
            self._aliases.pop(wd, None)

    def _subtree(self, directory: str) -> Iterator[str]:
        stack = [directory]
        while stack:
            path = stack.pop()
            yield path
            stack.extend(self._children.get(path, ()))

    def _unlink(self, path: str) -> None:
        """Take a path out of its parent's children, and parents that only led to it out of theirs."""
        while path and path not in self and path not in self._children:
            parent = path.rpartition("/")[0]
            siblings = self._children.get(parent, set())
            siblings.discard(path)
            if siblings:
                return
            self._children.pop(parent, None)
            path = parent
