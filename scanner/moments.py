"""One state of the index, from which everything that is asked meanwhile is answered."""

from __future__ import annotations

from types import TracebackType
from typing import Any

_REVISION = "SELECT value FROM meta WHERE key='revision'"


class Moment:
    """What a connection sees from when this is entered until it is left; inside itself it is the same one.

    Entering gives the revision of the index, which is another number whenever the index has changed.
    ``is_new`` is set by that, for whoever has to do something once a moment.
    """

    def __init__(self, connection: Any) -> None:
        self._db = connection
        self._statement: Any = None
        self._depth = 0
        self._revision = 0
        self.is_new = False

    def __enter__(self) -> int:
        if not self._depth:
            # A statement that has not ended holds the state that it sees: nothing has to begin and to commit.
            self._statement = self._db.cursor()
            row = self._statement.execute(_REVISION).fetchone()
            self._revision = 0 if row is None else int(row[0])
            self.is_new = True
        self._depth += 1
        return self._revision

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            self._statement.close()
