"""What could not be read below the roots, and when to try again.

A directory answers with an error as a whole, or ``lstat`` of one name in it does. What is known of either
stays as it was until it can be read again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from itertools import islice

from scanner.dirty import DirtySet
from scanner.listing import Listing
from scanner.tree import join, split

LOG = logging.getLogger(__name__)
RETRY_SECONDS = 5.0
RETRY_LIMIT = 1000


class Troubles:
    """Paths with the errno of each in ``unreadable``; directories with unusable names in ``skipped``."""

    def __init__(self, absolute: Callable[[str], str]) -> None:
        self._absolute = absolute
        self._names: dict[str, set[str]] = {}
        self._retry_at = 0.0
        self.unreadable: dict[str, int] = {}
        self.skipped: dict[str, int] = {}

    def note_unreadable(self, path: str, number: int) -> None:
        """A directory, or a name in one, answered with an error."""
        if self.unreadable.get(path) != number:
            LOG.warning("cannot read %s: %s", self._absolute(path), os.strerror(number))
        self.unreadable.pop(path, None)  # the last one to be tried again
        self.unreadable[path] = number

    def note_readable(self, directory: str, look: Listing) -> None:
        """A directory, or some names in it, could be read, except for what the listing says."""
        if look.names is None:
            self._note_whole(directory, look)
        names = self._names.get(directory)
        if names:
            for name in names - look.unreadable.keys():
                if look.names is None or name in look.names:
                    self._drop_name(directory, name)
        for name, number in look.unreadable.items():
            self._names.setdefault(directory, set()).add(name)
            self.note_unreadable(join(directory, name), number)

    def note_same(self, directory: str) -> None:
        """A directory was listed, without any trouble, and is as it was without any."""
        self.unreadable.pop(directory, None)
        for name in list(self._names.get(directory, ())):
            self._drop_name(directory, name)

    def forget(self, directory: str) -> None:
        """The directory is gone."""
        self.note_same(directory)
        self.skipped.pop(directory, None)

    def forget_all(self, directories: Iterable[str]) -> None:
        """These were listed without any trouble, or are gone."""
        if self._names or self.unreadable or self.skipped:
            for directory in directories:
                self.forget(directory)

    def retry(self, dirty: DirtySet, now: float) -> None:
        """Ask for another look at what could not be read, a part at a time."""
        if now < self._retry_at:
            return
        self._retry_at = now + RETRY_SECONDS
        for path in list(islice(self.unreadable, RETRY_LIMIT)):
            directory, name = split(path)
            if name in self._names.get(directory, ()):
                dirty.mark(directory, name, settled=None)
            else:
                dirty.mark(path)

    def _note_whole(self, directory: str, look: Listing) -> None:
        self.unreadable.pop(directory, None)
        if look.skipped:
            self.skipped[directory] = look.skipped
        else:
            self.skipped.pop(directory, None)

    def _drop_name(self, directory: str, name: str) -> None:
        names = self._names[directory]
        names.discard(name)
        if not names:
            del self._names[directory]
        self.unreadable.pop(join(directory, name), None)
