"""Events of watches that no path is known of yet.

Another process that puts a watch says later which path it is for; what happens in between is told of a
number that means nothing yet. It is kept until the number has a path, or nobody can say any more which one.
"""

from __future__ import annotations

from collections.abc import Mapping

from scanner.inotify import IN_ATTRIB, IN_IGNORED, Batch, Special

MAX_KEPT = 20_000
"""How many names and other events are kept: a few megabytes, and more than a busy tree has in that time."""


class Unclaimed:
    """What was told of unknown watches, while some are expected. Pure, and no lock of its own.

    ``epoch`` counts how often it became impossible to say what befell the watches that were expected:
    one that was asked for in an earlier epoch may have gone, and events of it may have been lost.
    """

    def __init__(self, limit: int = MAX_KEPT) -> None:
        self.epoch = 0
        self._limit = limit
        self._expected = False
        self._kept: dict[int, Batch] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many names and events are kept."""
        return self._count

    def expect(self, *, more: bool) -> None:
        """Somebody is asked for watches; or there are no ``more`` to come, and what is kept is of none."""
        self._expected = more
        if not more:
            self._clear()

    def names(self, wd: int, names: Mapping[bytes, int]) -> None:
        """Names were told of an unknown watch, each with the mask that decides."""
        if self._expected:
            kept = self._of(wd).names.setdefault(wd, {})
            before = len(kept)
            kept.update((name, mask) for name, mask in names.items() if mask != IN_ATTRIB or name not in kept)
            self._count += len(kept) - before
            self._bound()

    def special(self, event: Special) -> None:
        """Something else was told of an unknown watch."""
        if self._expected:
            self._of(event.wd).specials.append(event)
            self._count += 1
            self._bound()

    def take(self, wd: int) -> Batch | None:
        """The watch has a path now: what was told of it, which is kept no longer."""
        batch = self._kept.pop(wd, None)
        if batch is not None:
            self._count -= len(batch.specials) + len(batch.names.get(wd, ()))
        return batch

    def has_gone(self, wd: int) -> bool:
        """Whether the kernel has dropped the watch since it was put; its number is not given away again."""
        batch = self._kept.get(wd)
        return batch is not None and any(event.mask & IN_IGNORED for event in batch.specials)

    def lose(self) -> None:
        """Events were lost, or watches: nothing is known of what is expected now."""
        self.epoch += 1
        self._clear()

    def _of(self, wd: int) -> Batch:
        return self._kept.setdefault(wd, Batch())

    def _bound(self) -> None:
        if self._count > self._limit:
            self.lose()

    def _clear(self) -> None:
        self._kept.clear()
        self._count = 0
