"""What reading the pipeline database found odd: said once in the log, kept as notices."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from scanner.rows import Table

log = logging.getLogger(__name__)


class Oddities:
    """Lines about the schema, and values that made no sense, counted with an example each."""

    def __init__(self) -> None:
        self.lacking: tuple[str, ...] = ()  # the notices about tables that cannot be done without
        self._schema: tuple[str, ...] = ()
        self._values: dict[tuple[Table, str, str], tuple[int, str]] = {}
        self._said: set[object] = set()

    @property
    def notices(self) -> tuple[str, ...]:
        """One line each, the schema first."""
        values = (_line(key, *found) for key, found in sorted(self._values.items()))
        return (*self._schema, *values)

    def schema(self, lacking: Iterable[str], problems: Iterable[str], remarks: Iterable[str]) -> None:
        """Lacking tables, and what the others lack: remarks are no notices, only lines in the log."""
        self.lacking = tuple(lacking)
        self._schema = (*self.lacking, *problems)
        for line in self._schema:
            self._say(logging.WARNING, line, line)
        for line in remarks:
            self._say(logging.INFO, line, line)

    def forget(self, table: Table) -> None:
        """The table is about to be read in full: its values are counted anew."""
        self._values = {key: found for key, found in self._values.items() if key[0] is not table}

    def value(self, table: Table, column: str, reason: str, example: str) -> None:
        """One value of a column that makes no sense, in the row that ``example`` names."""
        key = (table, column, reason)
        count, first = self._values.get(key, (0, example))
        if not count:
            self._values = {**self._values, key: (1, first)}  # a new one: others may be reading the old
        self._values[key] = (count + 1, first)
        if not count:
            self._say(logging.WARNING, key, _line(key, 1, example))

    def _say(self, level: int, key: object, line: str) -> None:
        if key not in self._said:
            self._said.add(key)
            log.log(level, "pipeline database: %s", line)


def _line(key: tuple[Table, str, str], count: int, example: str) -> str:
    table, column, reason = key
    rows = "1 row" if count == 1 else f"{count} rows"
    return f"{table.value}.{column} {reason} in {rows}, for example {example}"
